//! The readers of what is on disk by themselves, for `tests/fuzz`; built with the feature `fuzz`
//! alone.

use std::path::PathBuf;

use witan_replica::host::LogRecord;

use super::{
    format,
    identity::DataIdentity,
    log,
    manifest::Manifest,
    tail::{self, LogFileKind, Verdict},
};

/// The byte behind the last whole record of a log file's bytes.
pub fn log_whole_until(bytes: &[u8], seq: u64) -> Option<usize> {
    tail::whole_until(bytes, seq)
}

/// How many bytes of a log file are kept as they are; `Err` if it is damaged as no crash damages it.
pub fn log_kept(bytes: &[u8], seq: u64, last: bool) -> Result<usize, String> {
    match tail::judge(bytes, seq, LogFileKind::Append, last) {
        Ok(Verdict::Whole) => Ok(bytes.len()),
        // The record behind it counts only with another byte.
        Ok(Verdict::Repair { .. }) => Ok(tail::whole_until(bytes, seq).unwrap_or(0)),
        Ok(Verdict::Cut { good, .. }) => Ok(good),
        Ok(Verdict::Remove) => Ok(0),
        Err(damage) => Err(format!("{damage:?}")),
    }
}

/// A stored entry's bytes.
pub fn entry_frame(record: &LogRecord) -> Vec<u8> {
    log::frame(record).value
}

/// What a stored entry's bytes hold.
pub fn entry_unframe(value: Vec<u8>) -> Option<LogRecord> {
    log::unframe(value)
}

/// What the file `identity` says.
pub fn identity(text: &str) -> Result<DataIdentity, String> {
    format::parse(PathBuf::from("identity"), text).map_err(|error| error.to_string())
}

/// The text of the file `identity`.
pub fn identity_text(identity: &DataIdentity) -> String {
    format::text(identity)
}

/// What the file `current` says, written again.
pub fn current(text: &str) -> Option<String> {
    Manifest::decode(text).map(|manifest| manifest.encode())
}

/// The log's line record, read and written again.
pub fn line(bytes: &[u8]) -> Option<Vec<u8>> {
    log::LogStart::decode(bytes).map(log::LogStart::encode)
}
