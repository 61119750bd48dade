//! The flight recorder of a member, as its flags ask for it.

use std::{path::PathBuf, sync::Arc};

use witan_base::version;
use witan_config::{Config, FlightRecorder};
use witan_recorder::{RecordedReplica, Ring, RingSettings, Sink};
use witan_replica::{host::Recovered, replica};
use witan_storage::{SpaceMonitor, SpaceStatus};

use super::BootError;

/// Starts the replica, recorded if that is asked for and the disk has room for it.
pub(super) fn start_recorded(
    config: &Config,
    (settings, recovered): (replica::Config, Recovered),
    space: &mut SpaceMonitor,
) -> Result<RecordedReplica, BootError> {
    space.check();
    let sink = open(config, settings.id, space.seen());
    RecordedReplica::new(settings, recovered, sink)
        .map_err(|source| BootError::corrupt(&config.data_dir, source))
}

/// The folder of the flight recorder's files, if it is on.
pub(super) fn folder(config: &Config) -> Option<PathBuf> {
    let records = config.settings.flight_recorder.bytes > 0;
    records.then(|| config.data_dir.join("recorder"))
}

/// Opens the flight recorder, if it is on. A member starts without it rather than not at all.
fn open(config: &Config, member: u64, space: Arc<SpaceStatus>) -> Option<Box<dyn Sink>> {
    let FlightRecorder { bytes, values } = config.settings.flight_recorder;
    let settings = RingSettings {
        folder: folder(config)?,
        bytes,
        member,
        version: version::WITAN.into(),
        values_in_clear: values,
    };
    let folder = settings.folder.clone();
    match Ring::open(settings, Box::new(move || space.is_low())) {
        Ok(ring) => Some(Box::new(ring)),
        Err(error) => {
            let folder = folder.display();
            tracing::error!(%folder, %error, "nothing is recorded until the next start: the flight recorder's files cannot be written");
            None
        }
    }
}
