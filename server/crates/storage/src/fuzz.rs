//! Gives `tests/fuzz` access to the parsers of on-disk files. Built only with the feature `fuzz`.

use std::path::PathBuf;

use witan_replica::host::LogRecord;

use super::{
    FORMATS, identity_file, log,
    manifest::Manifest,
    owner::LogOwner,
    tail::{self, LogFileKind, LogFileRepair},
};

/// Returns the end of the complete records at the start of a log file with sequence number `seq`, or `None` if the file's
/// header is incomplete.
pub fn log_whole_until(bytes: &[u8], seq: u64) -> Option<usize> {
    tail::whole_until(bytes, seq)
}

/// Returns the number of leading bytes that a repair of a log file keeps. `last` means that the file is the newest one. Returns
/// `Err` for damage that a crash cannot cause.
pub fn log_kept(bytes: &[u8], seq: u64, last: bool) -> Result<usize, String> {
    match tail::decide_repair(bytes, seq, LogFileKind::Append, last) {
        Ok(LogFileRepair::Whole) => Ok(bytes.len()),
        // The repair changes the record at this offset, so only the bytes before it are kept unchanged.
        Ok(LogFileRepair::Repair { .. }) => Ok(tail::whole_until(bytes, seq).unwrap_or(0)),
        Ok(LogFileRepair::Cut { good, .. }) => Ok(good),
        Ok(LogFileRepair::Remove) => Ok(0),
        Err((at, what)) => Err(format!("byte {at}: {what}")),
    }
}

/// Encodes a log entry as stored on disk.
pub fn entry_frame(record: &LogRecord) -> Vec<u8> {
    log::frame(record, FORMATS[0].frame_version).value
}

/// Decodes a stored log entry, or returns `None` if it is invalid.
pub fn entry_unframe(value: Vec<u8>) -> Option<LogRecord> {
    log::unframe(value)
}

/// Parses the lines of an `identity` file and encodes them again. Adds the checksum, because random input never contains a
/// correct one. Returns the lines without the checksum, or `None` if the lines are invalid.
pub fn identity(lines: &str) -> Option<String> {
    let stored = identity_file::parse(PathBuf::from("identity"), &identity_file::seal(lines)).ok();
    stored.map(|stored| stored.lines())
}

/// Parses the lines of an `owner` file without the checksum and encodes them again. Returns `None` if the lines are invalid.
pub fn owner(lines: &str) -> Option<String> {
    LogOwner::parse(lines).map(|owner| owner.lines())
}

/// Parses the text of the file `current` and encodes it again. Returns `None` if the text is invalid.
pub fn current(text: &str) -> Option<String> {
    Manifest::decode(text).map(|manifest| manifest.encode())
}

/// Decodes the log-start record and encodes it again. Returns `None` if the record is too short.
pub fn line(bytes: &[u8]) -> Option<Vec<u8>> {
    log::LogStart::decode(bytes).map(log::LogStart::encode)
}
