//! Changes between the snapshots of an EtcdBackupSchedule, and the point to which a new cluster is restored by them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How changes are stored between snapshots.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BackupChanges {
    /// The longest time in seconds whose changes are lost if the cluster and its disks are.
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
    /// The last revision that is stored at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_revision: Option<i64>,
    /// All changes that were made until this time are stored. It is noted every 15 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_time: Option<Time>,
    /// Id of the cluster in hexadecimal.
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
}
