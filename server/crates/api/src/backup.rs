//! What `witan-operator backup` reports as JSON: the record of a backup, the result of a fetch, and how far changes are stored.
//! The operator reads them from its jobs and pods.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The hash of a member's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeysHash {
    /// The hash, which etcd calls HashKV.
    pub hash: u32,
    /// The revision up to which keys were compacted, not positive if they never were. Only hashes with the same compacted
    /// revision are comparable.
    pub compact_revision: i64,
}

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
    /// The hash of the keys at the revision; `None` if it was not requested, or if a compaction ran before the keys were hashed.
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begins_changes: bool,
    /// Names of the backups that were removed afterwards, as many as fit.
    #[serde(default)]
    pub removed: Vec<String>,
    /// A failure after the backup succeeded, such as a failed removal or a missing hash of the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl BackupRecord {
    /// Returns whether changes can be matched with its history.
    pub fn shows_history(&self) -> bool {
        self.revision_digest.is_some() || self.revision <= 1
    }

    /// Returns whether changes with this digest at its revision belong to its history. Revision 1 has no changes to compare.
    pub fn has_digest(&self, found: &str) -> bool {
        self.revision <= 1 || self.revision_digest.as_deref() == Some(found)
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

/// How far the changes of a cluster are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangesStatus {
    /// Id of the cluster in hex; empty until a member has answered.
    pub cluster_id: String,
    /// The last stored revision.
    pub revision: i64,
    /// All changes that were made until this time are stored.
    pub time: Option<Timestamp>,
    /// How often revisions were compacted before they were stored, since this process started.
    pub gaps: u64,
    /// Whether the stored changes cannot be restored, because the backup that they start from is missing.
    #[serde(default)]
    pub needs_backup: bool,
    /// Why changes cannot currently be stored or restored.
    pub error: Option<String>,
}
