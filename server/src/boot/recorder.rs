//! Sets up a member's flight recorder.

use std::{path::PathBuf, sync::Arc};

use witan_base::version;
use witan_config::{Config, FlightRecorder};
use witan_recorder::{RecordedReplica, Ring, Sink, format::Head};
use witan_replica::{host::Recovered, replica};
use witan_storage::{SpaceMonitor, SpaceStatus};

use super::error::BootError;

/// Starts the replica, with a flight recorder if the flags enable it and the disk has space. First measures the free space.
pub(super) fn start_recorded(
    config: &Config,
    (settings, recovered): (replica::Config, Recovered),
    space: &mut SpaceMonitor,
) -> Result<RecordedReplica, BootError> {
    space.update();
    let sink = open(config, settings.id, space.status());
    RecordedReplica::new(settings, recovered, sink)
        .map_err(|source| BootError::corrupt(&config.data_dir, source))
}

/// Returns the directory of the flight recorder, or `None` if the recorder is disabled.
pub(super) fn folder(config: &Config) -> Option<PathBuf> {
    let records = config.settings.flight_recorder.bytes > 0;
    records.then(|| config.data_dir.join("recorder"))
}

/// Opens the flight recorder. Returns `None` if the recorder is disabled, or after logging a failure, because the member must
/// start without a recorder.
fn open(config: &Config, member: u64, space: Arc<SpaceStatus>) -> Option<Box<dyn Sink>> {
    let FlightRecorder { bytes, values } = config.settings.flight_recorder;
    let head = Head {
        member,
        version: version::WITAN.into(),
        values_in_clear: values,
        ..Head::default()
    };
    let (folder, is_low) = (folder(config)?, Box::new(move || space.is_low()));
    match Ring::open(folder.clone(), bytes, head, is_low) {
        Ok(ring) => Some(Box::new(ring)),
        Err(error) => {
            let folder = folder.display();
            tracing::error!(%folder, %error, "cannot write the flight recorder's files; nothing is recorded until the next startup");
            None
        }
    }
}
