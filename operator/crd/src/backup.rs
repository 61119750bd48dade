//! `EtcdBackup` and `EtcdBackupSchedule`: snapshots of a cluster in an external store.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use super::{
    quantities::{OpenObject, Span},
    security::SecretRef,
};

/// A snapshot of a cluster in a store.
#[skip_serializing_none]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "witan.dev",
    version = "v1",
    kind = "EtcdBackup",
    plural = "etcdbackups",
    shortname = "eb",
    category = "etcd",
    namespaced,
    status = "EtcdBackupStatus",
    derive = "PartialEq",
    doc = "A single backup of an EtcdCluster: a snapshot in a store. Deleting the resource does not delete the snapshot.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Revision", type_ = "integer", json_path = ".status.revision"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.size"),
    printcolumn(name = "Completed", type_ = "date", json_path = ".status.completedAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Name in Store", type_ = "string", json_path = ".status.name", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 52").message("metadata.name must be at most 52 characters (the names of its pods add a suffix and must stay within 63)")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("the spec of an EtcdBackup is immutable: create another EtcdBackup").reason(Reason::FieldValueForbidden)
)]
pub struct EtcdBackupSpec {
    /// The EtcdCluster to back up, in the same namespace.
    pub cluster_ref: SecretRef,
    /// Directory of the backup in the store, below the cluster's directory. A schedule stores its backups in a directory named
    /// after the schedule.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(
        length(max = 63),
        regex(pattern = "^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$")
    )]
    pub folder: String,
    /// Earlier backups in the same directory that are kept when this backup succeeds. By default, all are kept.
    pub retention: Option<BackupRetention>,
    /// The settings that backups and schedules share.
    #[serde(flatten)]
    pub settings: BackupSettings,
}

/// Where and how a snapshot is taken, stored and verified.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupSettings {
    /// Store to which the snapshot is written.
    pub store: BackupStore,
    /// How the stored snapshot is verified before the backup succeeds. `Restore` reads the snapshot back and restores it into a
    /// scratch directory.
    #[serde(default)]
    pub verify: Verify,
    /// Time limit for all attempts of a backup together.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// Name of the ServiceAccount of the backup pod, for stores that use workload identity. If not set, no token is mounted.
    #[schemars(length(max = 253))]
    pub service_account_name: Option<String>,
    /// Pod template that is merged into the backup pod: objects by key, containers and volumes by name.
    pub pod_template: Option<OpenObject>,
}

/// Returns the default of `timeout`.
fn timeout() -> Span {
    Span("1h".to_owned())
}

/// A store of snapshots.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.s3) != has(self.persistentVolumeClaim)").message("store needs exactly one of s3 or persistentVolumeClaim"))]
pub struct BackupStore {
    /// A bucket of an S3-compatible object store.
    pub s3: Option<S3Store>,
    /// A PersistentVolumeClaim.
    pub persistent_volume_claim: Option<VolumeStore>,
}

/// A bucket of an S3-compatible object store.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.kmsKeyID) || (has(self.serverSideEncryption) && self.serverSideEncryption == 'aws:kms')").message("kmsKeyID needs serverSideEncryption: aws:kms"))]
pub struct S3Store {
    /// Name of the bucket. The bucket must exist.
    #[schemars(length(min = 3, max = 63), regex(pattern = "^[a-z0-9][a-z0-9.-]*$"))]
    pub bucket: String,
    /// Prefix of the object keys, without a leading or trailing slash.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(
        length(max = 512),
        regex(pattern = "^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?$")
    )]
    pub prefix: String,
    /// URL of the object store. If not set, AWS S3 is used.
    #[schemars(length(max = 512), regex(pattern = "^https?://"))]
    pub endpoint: Option<String>,
    /// AWS region of the bucket.
    #[serde(default = "region")]
    #[schemars(length(max = 64))]
    pub region: String,
    /// If true, the bucket is part of the URL path instead of the host name. Most stores other than AWS need this.
    #[serde(default)]
    pub path_style: bool,
    /// Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if needed, AWS_SESSION_TOKEN. If not set, the pod uses the
    /// identity of its ServiceAccount or node.
    pub credentials_secret_ref: Option<SecretRef>,
    /// Secret with CA certificates in `ca.crt`. They are trusted for the store's certificate in addition to the public CAs.
    pub ca_secret_ref: Option<SecretRef>,
    /// Server-side encryption of the objects. If not set, the bucket's default applies.
    pub server_side_encryption: Option<Encryption>,
    /// ID of the KMS key for `aws:kms`. If not set, the account's default key is used.
    #[serde(rename = "kmsKeyID")]
    #[schemars(length(max = 2048))]
    pub kms_key_id: Option<String>,
}

/// Returns the default of `region`.
fn region() -> String {
    "us-east-1".to_owned()
}

/// Server-side encryption of the objects. If not set, the bucket's default applies.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Keys managed by the store.
    #[serde(rename = "AES256")]
    Aes256,
    /// A key of the key management service.
    #[serde(rename = "aws:kms")]
    Kms,
}

/// A PersistentVolumeClaim that the backup's pod mounts.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStore {
    /// Name of the PersistentVolumeClaim, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
    /// Directory in the volume, without a leading or trailing slash.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(
        length(max = 512),
        regex(pattern = "^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?$")
    )]
    pub prefix: String,
}

/// How a backup is verified.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Only the checksum is verified, while the snapshot is taken.
    #[default]
    None,
    /// In addition, the stored snapshot is read back and restored into a scratch directory.
    Restore,
}

/// Retention of backups. A backup is kept if either field keeps it. The newest backup is always kept.
#[skip_serializing_none]
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.keepLast) || has(self.keepWithin)").message("retention needs keepLast or keepWithin"))]
pub struct BackupRetention {
    /// Number of newest backups to keep.
    #[schemars(range(min = 1, max = 10000))]
    pub keep_last: Option<u32>,
    /// Time for which a backup is kept.
    pub keep_within: Option<Span>,
}

/// Status of an EtcdBackup.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdBackupStatus {
    /// Phase of the backup.
    pub phase: Option<BackupPhase>,
    /// Time when the Job was created.
    pub started_at: Option<Time>,
    /// Time when the backup succeeded or failed.
    pub completed_at: Option<Time>,
    /// URL of the directory that contains the backup: `s3://bucket/prefix`, or `file:///folder` in a volume.
    pub location: Option<String>,
    /// Name of the backup in that directory, without the file extensions `.db` and `.json`.
    pub name: Option<String>,
    /// Lowest possible revision of the snapshot. The snapshot can contain later revisions.
    pub revision: Option<i64>,
    /// Size of the snapshot in bytes.
    pub bytes: Option<i64>,
    /// Size of the snapshot, rounded, with its unit.
    pub size: Option<String>,
    /// SHA-256 checksum of the stored file, in hexadecimal.
    pub sha256: Option<String>,
    /// ID of the cluster, in hexadecimal.
    #[serde(rename = "clusterID")]
    pub cluster_id: Option<String>,
    /// Version of the member from which the snapshot was taken.
    pub version: Option<String>,
    /// Witan release of that member.
    pub release: Option<String>,
    /// Feature level of the cluster. A release that supports only lower levels cannot restore the backup.
    pub level: Option<i64>,
    /// Not set. Release 0.1.0 of the operator sets it, and the API server refuses a status with an undeclared field.
    pub failed_attempts: Option<i32>,
    /// Why the backup has not succeeded.
    pub message: Option<String>,
    /// Conditions of the backup. `Succeeded` is True or False after the last attempt, and Unknown before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Phase of the backup.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupPhase {
    /// The backup cannot start yet.
    Pending,
    /// The backup's Job is running.
    Running,
    /// The snapshot is stored.
    Succeeded,
    /// All attempts failed.
    Failed,
    /// A value from a later release. The value is only read: the operator leaves such a backup unchanged. The schema does not
    /// list it.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Condition of a backup. It is False if no quorum confirmed that the member was up to date, or if the CORRUPT alarm was raised,
/// and missing otherwise.
pub const CONFIRMED: &str = "Confirmed";

impl EtcdBackupStatus {
    /// Returns whether the backup has succeeded and is confirmed. Only such a backup contains all writes that were acknowledged
    /// before it. A backup without the condition is confirmed.
    pub fn is_whole(&self) -> bool {
        let mut conditions = self.conditions.iter();
        let cut_off = conditions.any(|one| one.type_ == CONFIRMED && one.status == "False");
        self.phase == Some(BackupPhase::Succeeded) && !cut_off
    }
}

impl EtcdBackup {
    /// Returns the phase; `None` until the operator has seen the backup.
    pub fn phase(&self) -> Option<BackupPhase> {
        self.status.as_ref()?.phase
    }

    /// Returns whether the backup has succeeded or finally failed.
    pub fn is_finished(&self) -> bool {
        matches!(
            self.phase(),
            Some(BackupPhase::Succeeded | BackupPhase::Failed)
        )
    }

    /// Returns whether the backup has succeeded and is confirmed.
    pub fn is_whole(&self) -> bool {
        self.status.as_ref().is_some_and(EtcdBackupStatus::is_whole)
    }

    /// Returns the time at which the backup succeeded or failed; `None` if it has not ended.
    pub fn completed_at(&self) -> Option<&Time> {
        self.status.as_ref()?.completed_at.as_ref()
    }
}

/// Takes backups of a cluster on a schedule.
#[skip_serializing_none]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "witan.dev",
    version = "v1",
    kind = "EtcdBackupSchedule",
    plural = "etcdbackupschedules",
    shortname = "ebs",
    category = "etcd",
    namespaced,
    status = "EtcdBackupScheduleStatus",
    derive = "PartialEq",
    doc = "Creates EtcdBackups of an EtcdCluster on a schedule and removes old backups.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
    printcolumn(name = "Paused", type_ = "boolean", json_path = ".spec.paused"),
    printcolumn(name = "Last Success", type_ = "date", json_path = ".status.lastSuccessTime"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime", priority = 1),
    printcolumn(name = "Last Backup", type_ = "string", json_path = ".status.lastBackup", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 41").message("metadata.name must be at most 41 characters (the names of its backups add a number and must stay within 52)")
)]
#[serde(rename_all = "camelCase")]
pub struct EtcdBackupScheduleSpec {
    /// The EtcdCluster to back up, in the same namespace.
    pub cluster_ref: SecretRef,
    /// Schedule in cron format, in UTC: minute, hour, day of the month, month and day of the week, or @hourly, @daily, @weekly,
    /// @monthly or @yearly.
    #[schemars(length(min = 1, max = 128))]
    pub schedule: String,
    /// If true, no backups are taken.
    #[serde(default)]
    pub paused: bool,
    /// Stores the changes between backups, so that a cluster can be restored to any revision or time since the oldest backup. If
    /// not set, changes are not stored.
    pub changes: Option<BackupChanges>,
    /// Backups of this schedule that are kept in the store, with the changes since the oldest kept backup. By default, all are
    /// kept.
    pub retention: Option<BackupRetention>,
    /// The settings of the backups.
    #[serde(flatten)]
    pub settings: BackupSettings,
}

/// How the changes between backups are stored.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BackupChanges {
    /// Maximum number of seconds of changes that can be lost if the cluster and its disks are lost.
    #[serde(default = "every_seconds")]
    #[schemars(range(min = 2, max = 3600))]
    pub every_seconds: u32,
}

/// Returns the default of `everySeconds`.
fn every_seconds() -> u32 {
    10
}

/// The last changes that are stored.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupChangesStatus {
    /// Last revision that is known to be stored. Later revisions may also be stored.
    pub last_revision: Option<i64>,
    /// Time up to which all changes are stored. Updated every 15 seconds.
    pub last_time: Option<Time>,
    /// ID of the cluster, in hexadecimal.
    #[serde(rename = "clusterID")]
    pub cluster_id: Option<String>,
}

/// Status of an EtcdBackupSchedule.
#[skip_serializing_none]
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdBackupScheduleStatus {
    /// Scheduled time of the last backup.
    pub last_schedule_time: Option<Time>,
    /// Scheduled time of the next backup.
    pub next_schedule_time: Option<Time>,
    /// Completion time of the last successful backup.
    pub last_success_time: Option<Time>,
    /// Name of the last successful EtcdBackup.
    pub last_backup: Option<String>,
    /// Name of the running EtcdBackup.
    pub active: Option<String>,
    /// The last changes that are stored.
    pub changes: Option<BackupChangesStatus>,
    /// Conditions of the schedule. `Ready` is False if the schedule is invalid or paused, or if its backups fail or are late.
    /// With `spec.changes`, `ChangesStored` is False if recent changes are not stored yet or stored changes cannot be restored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
