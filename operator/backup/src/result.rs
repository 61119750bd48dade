//! The results of commands for programs: the record of a backup, or the reason of a failure.

use std::{fs, io, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use witan_members::KeysHash;

use crate::{changes::history::RevisionDigest, reason::BackupError};

/// Maximum size of a result in bytes; beyond it, texts and lists are truncated. Kubernetes keeps this many bytes of a
/// termination message.
const RESULT_BYTES_MAX: usize = 4096;

/// The record of a backup, stored with the snapshot as `NAME.json`; also the result of `save`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupRecord {
    /// Name of the backup.
    pub name: String,
    /// URL of the snapshot.
    pub location: String,
    /// The snapshot contains at least this revision: the member had applied it before the stream began. The stream itself
    /// contains no revision.
    pub revision: i64,
    /// Size of the snapshot, including its digest.
    pub bytes: u64,
    /// SHA-256 of the whole file in hex, including its digest.
    pub sha256: String,
    /// Id of the cluster in hex.
    pub cluster_id: String,
    /// Version of the member.
    pub version: String,
    /// The hash of the keys at the revision; `None` if it was not requested, or if keys were compacted meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_hash: Option<KeysHash>,
    /// When the member was queried.
    pub started_at: Timestamp,
    /// When the snapshot was stored.
    pub completed_at: Timestamp,
    /// SHA-256 of all changes at the revision in hex, for matching stored changes; none if the revision was compacted or is the
    /// first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_digest: Option<String>,
    /// Whether the backup was taken for a new generation of changes. `keep_last` does not count it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub begins_changes: bool,
    /// Names of the backups that were removed afterwards, as many as fit.
    #[serde(default)]
    pub removed: Vec<String>,
    /// A failure after the backup succeeded, such as a failed removal or a missing hash of the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Tells serde to omit the field.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

impl BackupRecord {
    /// Returns whether changes can be matched with its history.
    pub(crate) fn shows_history(&self) -> bool {
        self.revision_digest.is_some() || self.revision <= 1
    }

    /// Returns whether changes at its revision belong to its history. Revision 1 has no changes to compare.
    pub(crate) fn has_digest(&self, found: &RevisionDigest) -> bool {
        self.revision <= 1 || self.revision_digest.as_ref() == Some(&found.digest)
    }
}

/// A fetched backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FetchedBackup {
    /// Its record.
    #[serde(flatten)]
    pub record: BackupRecord,
    /// The last revision of the changes that were fetched with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_revision: Option<i64>,
}

/// A fetched file without a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PlainFile {
    pub(crate) name: String,
    pub(crate) location: String,
    /// Size of the file, including its digest.
    pub(crate) bytes: u64,
    /// SHA-256 of the whole file in hex.
    pub(crate) sha256: String,
}

/// The result of a command.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum CommandResult {
    Backup(BackupRecord),
    Fetched(FetchedBackup),
    File(PlainFile),
    Failed(BackupError),
}

impl CommandResult {
    /// Writes the result to a file, as JSON of at most [`RESULT_BYTES_MAX`] bytes.
    pub(crate) fn write(self, path: &Path) -> io::Result<()> {
        fs::write(path, self.json()?)
    }

    /// Returns the JSON, with texts and lists cut to fit.
    fn json(mut self) -> io::Result<String> {
        loop {
            let json = serde_json::to_string(&self)?;
            let over = json.len().saturating_sub(RESULT_BYTES_MAX);
            if over == 0 || !self.shorten(over) {
                return Ok(json);
            }
        }
    }

    /// Removes about this many bytes, at least one. Returns whether anything was left to remove.
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
            Self::File(_) => false,
            Self::Failed(error) => cut(&mut error.message, bytes),
        }
    }
}

/// Removes about this many bytes from the end of a text. Returns whether the text became shorter.
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
    fn a_record_has_the_names_of_the_contract() {
        let json = serde_json::to_value(record("a", 1)).unwrap();
        let names: Vec<_> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let contract =
            "name location revision bytes sha256 clusterId version startedAt completedAt removed";
        assert_eq!(names.join(" "), contract);
        assert_eq!(json["startedAt"], "1970-01-01T00:00:01Z");
    }

    #[test]
    fn a_result_fits_into_a_termination_message() {
        let message = "é\n".repeat(4000);
        let failed = CommandResult::Failed(BackupError::new(Reason::StoreFull, message));
        let json = failed.json().unwrap();
        assert!(json.len() <= RESULT_BYTES_MAX);
        let read: BackupError = serde_json::from_str(&json).unwrap();
        assert_eq!(read.reason, Reason::StoreFull);
        assert!(read.message.starts_with("é\né"));

        let mut saved = record("a", 1);
        saved.removed = (0..100).map(|at| format!("{at:0100}")).collect();
        let json = CommandResult::Backup(saved).json().unwrap();
        assert!(json.len() <= RESULT_BYTES_MAX);
        let read: BackupRecord = serde_json::from_str(&json).unwrap();
        assert!(read.removed.len() > 30);
    }
}
