//! The backup that a cluster starts from, and the record of an in-place restore.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use super::{backup::BackupStore, security::SecretRef};

/// A backup, and the revision at which the restored cluster continues.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.backupRef) != has(self.store)").message("restore needs exactly one of backupRef (an EtcdBackup) or store (where the snapshot is)"),
    validation = Rule::new("has(self.name) == has(self.store)").message("restore.store needs restore.name, so that all members restore the same snapshot; with backupRef, name must not be set"),
    validation = Rule::new("!(has(self.toRevision) && has(self.toTime))").message("restore allows only one of toRevision and toTime")
)]
pub struct Restore {
    /// A successful EtcdBackup in the same namespace.
    pub backup_ref: Option<SecretRef>,
    /// Store from which the snapshot is read. Here, `prefix` is the full path of the directory that contains the snapshot.
    pub store: Option<BackupStore>,
    /// Name of the backup in the store, or of a snapshot file saved by etcdctl, such as `old.db`.
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$")
    )]
    pub name: Option<String>,
    /// Also restores the changes after the snapshot, up to this revision. The changes must have been stored by the same
    /// EtcdBackupSchedule as the snapshot.
    #[schemars(range(min = 1))]
    pub to_revision: Option<i64>,
    /// Also restores the changes after the snapshot, up to this time. The restore waits until all these changes are stored.
    pub to_time: Option<Time>,
    /// Number to add to the revision of the restored cluster. The skipped revisions are treated as compacted. A client that has
    /// seen later revisions than the backup contains therefore restarts its watches and misses no changes.
    #[serde(default)]
    #[schemars(range(min = 0, max = 4_000_000_000_000_000_i64))]
    pub bump_revision: i64,
}

/// A backup that replaces the data of an EtcdCluster.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RestoreInPlace {
    /// The backup to restore.
    #[serde(flatten)]
    pub from: Restore,
    /// Name of the EtcdCluster that was backed up, if it is a different cluster.
    #[schemars(length(min = 1, max = 45))]
    pub from_cluster: Option<String>,
    /// If true, the restore starts even if PersistentVolumeClaims of an earlier restore are still kept. Afterward, `undoRestore`
    /// cannot return to these claims.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forget_kept_disks: bool,
}

/// A snapshot in a store, and the end of the changes to restore after it.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RestorePoint {
    /// Store from which the snapshot is read.
    pub store: BackupStore,
    /// URL of the directory that contains the snapshot.
    pub location: String,
    /// Name of the backup or of the snapshot file.
    pub name: String,
    /// Revision up to which changes are restored. With `toTime`, the last revision at that time, as soon as it is known.
    pub to_revision: Option<i64>,
    /// Time up to which changes are restored.
    pub to_time: Option<Time>,
    /// Number to add to the revision of the restored cluster.
    #[serde(default)]
    pub bump_revision: i64,
}

impl RestorePoint {
    /// Returns the URL of the snapshot and the end of the changes, as recorded in the status.
    pub fn url(&self) -> String {
        let url = format!("{}/{}", self.location, self.name);
        match (self.to_revision, &self.to_time) {
            (_, Some(time)) => format!("{url}@{}", time.0),
            (Some(revision), None) => format!("{url}@{revision}"),
            (None, None) => url,
        }
    }
}

/// An in-place restore. It is recorded before any member is stopped.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatus {
    /// Name of the EtcdOperation that requested the restore.
    pub operation: String,
    /// UID of that EtcdOperation.
    #[serde(rename = "operationUID")]
    pub operation_uid: String,
    /// Number of restores of this cluster from a backup. The cluster token contains this number, so that each restored cluster
    /// has its own ID.
    pub number: i32,
    /// Phase of the restore.
    pub phase: RestorePhase,
    /// Time when the restore was recorded.
    pub started_at: Time,
    /// Snapshot from which all members start. Not set if the cluster returns to disks that an earlier restore kept.
    pub source: Option<RestorePoint>,
    /// Lowest ordinal of the new members. Set when they can start.
    pub first_ordinal: Option<i32>,
    /// PersistentVolumeClaims to which the cluster returns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<String>,
    /// ID of the cluster on these disks, in hexadecimal.
    #[serde(rename = "clusterID")]
    pub cluster_id: Option<String>,
    /// PersistentVolumeClaims of the stopped members. They are kept, and no member starts from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_disks: Vec<String>,
    /// ID of the cluster on the kept disks, in hexadecimal. Not set if that cluster never served.
    #[serde(rename = "keptClusterID")]
    pub kept_cluster_id: Option<String>,
}

/// Phase of the restore.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum RestorePhase {
    /// Members are stopped, and their disks are set aside.
    Stopping,
    /// Members start from the snapshot, or from the disks that the cluster returns to.
    Starting,
    /// A quorum has served.
    Done,
    /// A value from a later release, which is written back unchanged. The schema does not list it.
    #[serde(untagged)]
    #[schemars(skip, !untagged)]
    Unknown(String),
}
