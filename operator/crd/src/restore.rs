//! The backup that a new cluster begins from.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{backup::BackupStore, security::SecretRef};

/// A backup, and how its revisions are continued.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.backupRef) != has(self.store)").message("restore needs exactly one of backupRef (an EtcdBackup) or store (where the snapshot is)"),
    validation = Rule::new("has(self.name) == has(self.store)").message("restore.store needs restore.name, so that all members restore the same snapshot; an EtcdBackup knows its own"),
    validation = Rule::new("!(has(self.toRevision) && has(self.toTime))").message("restore takes one of toRevision and toTime")
)]
pub struct Restore {
    /// An EtcdBackup in the same namespace that has succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_ref: Option<SecretRef>,
    /// Where the snapshot is: here `prefix` is the whole folder of the snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<BackupStore>,
    /// Name of the backup in the store, or of a file that etcdctl has saved, such as `old.db`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$")
    )]
    pub name: Option<String>,
    /// Also restores the changes after the snapshot, up to this revision. A schedule with `changes` has stored them beside the
    /// snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub to_revision: Option<i64>,
    /// Also restores the changes after the snapshot that were received until this time, once it is certain that all of them
    /// are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_time: Option<Time>,
    /// Adds this number to all revisions and marks the earlier ones as compacted, so that watches of clients which have
    /// seen later revisions than the backup has begin anew instead of missing changes. 0 for none.
    #[serde(default)]
    #[schemars(range(min = 0, max = 4_000_000_000_000_000_i64))]
    pub bump_revision: i64,
}
