//! The machine-readable results of commands: the record of a backup, or the reason of a failure.

use std::{fs, io, path::Path};

use serde::Serialize;
use witan_api::backup::{BackupRecord, FetchedBackup};

use crate::reason::BackupError;

/// Number of bytes of a termination message that Kubernetes keeps. The strings and lists of a longer result are truncated.
const TERMINATION_MESSAGE_BYTES: usize = 4096;

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum CommandResult {
    Backup(BackupRecord),
    Fetched(FetchedBackup),
    Failed(BackupError),
}

impl CommandResult {
    /// Writes the result to a file, as JSON of at most [`TERMINATION_MESSAGE_BYTES`] bytes.
    pub(crate) fn write(self, path: &Path) -> io::Result<()> {
        fs::write(path, self.json()?)
    }

    /// Returns the JSON. Truncates strings and lists until the JSON fits [`TERMINATION_MESSAGE_BYTES`], or until nothing is
    /// left to truncate.
    fn json(mut self) -> io::Result<String> {
        loop {
            let json = serde_json::to_string(&self)?;
            let over = json.len().saturating_sub(TERMINATION_MESSAGE_BYTES);
            if over == 0 || !self.shorten(over) {
                return Ok(json);
            }
        }
    }

    /// Removes an entry of a list, or about `bytes` bytes of a string. Returns `false` if nothing is left to remove.
    fn shorten(&mut self, bytes: usize) -> bool {
        match self {
            Self::Backup(record) | Self::Fetched(FetchedBackup { record, .. }) => {
                if record.removed.pop().is_some() {
                    return true;
                }
                record
                    .warning
                    .as_mut()
                    .is_some_and(|warning| cut(warning, bytes))
            }
            Self::Failed(error) => cut(&mut error.message, bytes),
        }
    }
}

/// Removes about `bytes` bytes from the end of a string. Returns whether the string became shorter.
fn cut(text: &mut String, bytes: usize) -> bool {
    let left = text.floor_char_boundary(text.len().saturating_sub(bytes));
    let shorter = left < text.len();
    text.truncate(left);
    shorter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{reason::Reason, testing::record};

    #[test]
    fn a_result_fits_into_a_termination_message() {
        let message = "é\n".repeat(4000);
        let failed = CommandResult::Failed(BackupError::new(Reason::StoreFull, message));
        let json = failed.json().unwrap();
        assert!(json.len() <= TERMINATION_MESSAGE_BYTES);
        let read: BackupError = serde_json::from_str(&json).unwrap();
        assert_eq!(read.reason, Reason::StoreFull);
        assert!(read.message.starts_with("é\né"));

        let mut saved = record("a", 1);
        saved.removed = (0..100).map(|at| format!("{at:0100}")).collect();
        let json = CommandResult::Backup(saved).json().unwrap();
        assert!(json.len() <= TERMINATION_MESSAGE_BYTES);
        let read: BackupRecord = serde_json::from_str(&json).unwrap();
        assert!(read.removed.len() > 30);
    }
}
