//! The JSON output of `witan-operator backup`: a backup's record, a fetched backup, and the status of stored changes. The
//! operator reads the output from its jobs and pods. The operator and this command remove old backups according to
//! [`apply_retention`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The result of etcd's `HashKV` for a member's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeysHash {
    /// The hash.
    pub hash: u32,
    /// The compacted revision; 0 or less if nothing was compacted. Only hashes with the same compacted revision are comparable.
    pub compact_revision: i64,
}

/// A backup's record, stored with the snapshot as `NAME.json`, and the output of `save`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupRecord {
    /// Name of the backup.
    pub name: String,
    /// URL of the snapshot.
    pub location: String,
    /// A lower bound of the snapshot's revision: the member had applied it before streaming began.
    pub revision: i64,
    /// Size of the snapshot in bytes, including its digest.
    pub bytes: u64,
    /// SHA-256 of the entire file in hex, including its digest.
    pub sha256: String,
    /// Id of the cluster in hex.
    pub cluster_id: String,
    /// The etcd version that the member reported.
    pub version: String,
    /// Witan release of the member; `None` for etcd, or if the member did not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Feature level of the cluster when the member was queried; the snapshot's level is not lower. `None` for etcd, or if the
    /// member did not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u32>,
    /// The hash of the keys at `revision`; `None` if the hash was not requested, or if a compaction ran before the member could
    /// compute it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_hash: Option<KeysHash>,
    /// The time at which the member was queried.
    pub started_at: Timestamp,
    /// The time at which the snapshot was stored.
    pub completed_at: Timestamp,
    /// SHA-256 in hex of all changes at `revision`, which identifies the history that stored changes must belong to. `None` if
    /// the revision was compacted or is the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_digest: Option<String>,
    /// Whether no quorum confirmed that the member was up to date, or the CORRUPT alarm was raised. The backup can then lack
    /// acknowledged writes or have wrong keys. The retention policy counts such backups separately.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unconfirmed: bool,
    /// Whether the backup started a new generation of changes. `keep_last` does not count such a backup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begins_changes: bool,
    /// Whether the backup must be verified and its verification has not succeeded. The retention policy counts such backups
    /// separately, and `fetch` requires their name. Records of earlier releases lack the field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
    /// Names of the backups that the retention policy removed afterward, as many as fit into the result of the job.
    #[serde(default)]
    pub removed: Vec<String>,
    /// Names a part that the backup lacks, such as `keys_hash`, or a later step that failed, such as the removal of old
    /// backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl BackupRecord {
    /// Returns whether stored changes can be matched to the record: it has a digest, or its revision is at most 1.
    pub fn shows_history(&self) -> bool {
        self.revision_digest.is_some() || self.revision <= 1
    }

    /// Returns whether changes with this digest (in hex) at the record's revision belong to the same history. Returns false if
    /// the record has no digest. Up to revision 1, always returns true.
    pub fn has_digest(&self, digest: &str) -> bool {
        self.revision <= 1 || self.revision_digest.as_deref() == Some(digest)
    }
}

/// The output of `fetch`: a backup, and the changes fetched with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FetchedBackup {
    /// The record of the backup.
    #[serde(flatten)]
    pub record: BackupRecord,
    /// The last revision of the fetched changes; `None` if no changes were fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_revision: Option<i64>,
}

/// The revision and the time up to which a cluster's changes are stored, and what prevents a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangesStatus {
    /// Id of the cluster in hex; empty until a member answers.
    pub cluster_id: String,
    /// The last stored revision.
    pub revision: i64,
    /// All changes made before this time are stored; `None` while the time is unknown.
    pub time: Option<Timestamp>,
    /// Number of gaps since this process started. A gap occurs if revisions are compacted before they are stored, or if the
    /// cluster returns to an earlier revision.
    pub gaps: u64,
    /// The last gap since this process started.
    #[serde(default)]
    pub gap: Option<ChangesGap>,
    /// Whether the stored changes cannot be restored, because the backup that they follow is missing.
    #[serde(default)]
    pub needs_backup: bool,
    /// The current error that prevents storing or restoring changes.
    pub error: Option<String>,
}

/// A period of time without stored changes. The cluster cannot be restored to a point in this period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangesGap {
    /// The last stored time before the gap; `None` if the time is unknown.
    pub after: Option<Timestamp>,
    /// The time at which changes were stored again.
    pub until: Timestamp,
}

/// The facts about a backup that decide whether a retention policy keeps or removes it.
#[derive(Clone, Copy, Debug)]
pub struct RetentionFacts<T> {
    /// The backup.
    pub backup: T,
    /// The time of the backup.
    pub at: Timestamp,
    /// Whether no quorum confirmed that the member was up to date, or the CORRUPT alarm was raised.
    pub unconfirmed: bool,
    /// Whether the policy keeps the backup regardless of `keep_last`, for example because of its age.
    pub kept: bool,
}

/// Returns the confirmed backups of a cluster that a retention policy keeps, and all backups that the policy removes. `newest`
/// is sorted from the newest to the oldest. The newest confirmed backup is always kept.
///
/// Unconfirmed backups can lack acknowledged writes or have wrong keys. These backups are counted separately, so they never
/// displace a confirmed backup. An unconfirmed backup that is not [`kept`](RetentionFacts::kept) is also removed once it is
/// older than all kept confirmed backups.
pub fn apply_retention<T>(newest: Vec<RetentionFacts<T>>, keep_last: usize) -> (Vec<T>, Vec<T>) {
    let (unconfirmed, confirmed): (Vec<_>, Vec<_>) =
        newest.into_iter().partition(|one| one.unconfirmed);
    let (gone, kept): (Vec<_>, Vec<_>) = confirmed
        .into_iter()
        .enumerate()
        .partition(|(at, one)| *at >= keep_last.max(1) && !one.kept);
    let oldest = kept.last().map(|(_, kept)| kept.at);
    let is_older = |one: &RetentionFacts<T>| oldest.is_some_and(|oldest| one.at < oldest);
    let superseded = unconfirmed
        .into_iter()
        .enumerate()
        .filter(|(at, one)| !one.kept && (*at >= keep_last || is_older(one)));
    let removed = gone.into_iter().chain(superseded);
    (
        kept.into_iter().map(|(_, one)| one.backup).collect(),
        removed.map(|(_, one)| one.backup).collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_release_and_the_level_are_optional() {
        let mut record = json!({
            "name": "a", "location": "s3://b/a.db", "revision": 7, "bytes": 3, "sha256": "aa", "clusterId": "c1",
            "version": "3.7.3", "startedAt": "2026-01-02T03:05:00Z", "completedAt": "2026-01-02T03:06:00Z", "removed": [],
        });
        let read = |json: &Value| serde_json::from_value::<BackupRecord>(json.clone()).unwrap();
        let earlier = read(&record);
        assert_eq!((&earlier.release, earlier.level), (&None, None));
        assert_eq!(serde_json::to_value(earlier).unwrap(), record);
        record["release"] = "0.2.0".into();
        record["level"] = 2.into();
        let later = read(&record);
        assert_eq!(
            (later.release.as_deref(), later.level),
            (Some("0.2.0"), Some(2))
        );
        assert_eq!(serde_json::to_value(later).unwrap(), record);
    }
}
