//! The changes that an EtcdBackupSchedule stores between its snapshots.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the changes between backups are stored.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BackupChanges {
    /// Maximum number of seconds of changes that can be lost if the cluster and its disks are lost.
    #[serde(default = "every_seconds")]
    #[schemars(range(min = 2, max = 3600))]
    pub every_seconds: u32,
}

fn every_seconds() -> u32 {
    10
}

/// The last changes that are stored.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupChangesStatus {
    /// Last revision that is known to be stored. Later revisions may also be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_revision: Option<i64>,
    /// Time until which all changes are stored. Updated every 15 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_time: Option<Time>,
    /// ID of the cluster, in hexadecimal.
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
}
