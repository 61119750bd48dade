//! The changes that an EtcdBackupSchedule stores between its snapshots.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How changes are stored between backups.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BackupChanges {
    /// How many seconds of changes can be lost at most if the cluster and its disks are lost.
    #[serde(default = "every_seconds")]
    #[schemars(range(min = 2, max = 3600))]
    pub every_seconds: u32,
}

fn every_seconds() -> u32 {
    10
}

/// How far the changes of a schedule are stored.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupChangesStatus {
    /// The last stored revision. More may be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_revision: Option<i64>,
    /// All changes made until this time are stored. Updated every 15 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_time: Option<Time>,
    /// Id of the cluster in hexadecimal.
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
}
