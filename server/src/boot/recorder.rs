//! The flight recorder of a member, as its flags ask for it.

use std::path::PathBuf;

use witan_base::version;
use witan_config::{Config, FlightRecorder};
use witan_recorder::{RecordedReplica, Ring, RingSettings, Sink};
use witan_replica::{host::Recovered, replica};

use super::BootError;

/// Starts the replica, recorded if that is asked for.
pub(super) fn start_recorded(
    config: &Config,
    settings: replica::Config,
    recovered: Recovered,
) -> Result<RecordedReplica, BootError> {
    let sink = open(config, settings.id)?;
    RecordedReplica::new(settings, recovered, sink)
        .map_err(|source| BootError::corrupt(&config.data_dir, source))
}

/// The folder of the flight recorder's files, if it is on.
pub(super) fn folder(config: &Config) -> Option<PathBuf> {
    let records = config.settings.flight_recorder.bytes > 0;
    records.then(|| config.data_dir.join("recorder"))
}

/// Opens the flight recorder, if it is on.
fn open(config: &Config, member: u64) -> Result<Option<Box<dyn Sink>>, BootError> {
    let FlightRecorder { bytes, values } = config.settings.flight_recorder;
    let Some(folder) = folder(config) else {
        return Ok(None);
    };
    let ring = Ring::open(RingSettings {
        folder,
        bytes,
        member,
        version: version::WITAN.into(),
        values,
    });
    let ring = ring.map_err(BootError::io("open the files of the flight recorder"))?;
    Ok(Some(Box::new(ring)))
}
