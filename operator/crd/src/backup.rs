//! `EtcdBackup`: one snapshot of a cluster in a store outside of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    changes::{BackupChanges, BackupChangesStatus},
    security::SecretRef,
    text::{OpenObject, Span},
};

/// A snapshot of a cluster in a store.
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
    doc = "A snapshot of an EtcdCluster that the operator takes once and keeps in a store. Deleting the resource does not delete the snapshot.",
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
    /// The EtcdCluster, in the same namespace.
    pub cluster_ref: SecretRef,
    /// Folder of the store below that of the cluster. The backups of a schedule have one of its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(
        length(max = 63),
        regex(pattern = "^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$")
    )]
    pub folder: String,
    /// Which earlier backups in the same folder stay in the store after this one has succeeded; all of them by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<BackupRetention>,
    /// The settings that schedules share.
    #[serde(flatten)]
    pub settings: BackupSettings,
}

/// Where a snapshot is stored, how it is verified, and how long earlier ones are kept.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupSettings {
    /// Where the snapshot is stored.
    pub store: BackupStore,
    /// Whether the stored snapshot is read back and restored into a scratch directory before the backup counts.
    #[serde(default)]
    pub verify: Verify,
    /// How long all attempts together may take.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// Service account of the pod, for stores that trust one (workload identity). Its token is not mounted otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service_account_name: Option<String>,
    /// Merged into the pod that takes the backup: objects by their keys, containers and volumes by their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<OpenObject>,
}

fn timeout() -> Span {
    Span("1h".to_owned())
}

/// A store of snapshots.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.s3) != has(self.persistentVolumeClaim)").message("store needs exactly one of s3 or persistentVolumeClaim"))]
pub struct BackupStore {
    /// A bucket of an S3-compatible object store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Store>,
    /// A volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<VolumeStore>,
}

/// A bucket of an S3-compatible object store.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.kmsKeyID) || (has(self.serverSideEncryption) && self.serverSideEncryption == 'aws:kms')").message("kmsKeyID needs serverSideEncryption: aws:kms"))]
pub struct S3Store {
    /// Name of the bucket, which must exist.
    #[schemars(length(min = 3, max = 63), regex(pattern = "^[a-z0-9][a-z0-9.-]*$"))]
    pub bucket: String,
    /// Prefix of the keys, without slashes at its ends.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(
        length(max = 512),
        regex(pattern = "^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?$")
    )]
    pub prefix: String,
    /// URL of the store; that of AWS by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = "^https?://"))]
    pub endpoint: Option<String>,
    /// Region of the bucket.
    #[serde(default = "region")]
    #[schemars(length(max = 64))]
    pub region: String,
    /// Whether the bucket is in the path of a URL instead of its host name. Needed by most stores that are not AWS.
    #[serde(default)]
    pub path_style: bool,
    /// A secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if needed, AWS_SESSION_TOKEN. Without it the service
    /// account or the node identifies the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// A secret with `ca.crt`: the authorities of the store's certificate, besides the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretRef>,
    /// How the store encrypts the objects at rest; as the bucket says by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_side_encryption: Option<Encryption>,
    /// The key for `aws:kms`; the account's default key if not set.
    #[serde(rename = "kmsKeyID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub kms_key_id: Option<String>,
}

fn region() -> String {
    "us-east-1".to_owned()
}

/// How the store encrypts objects at rest.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// With keys of the store.
    #[serde(rename = "AES256")]
    Aes256,
    /// With a key of the key management service.
    #[serde(rename = "aws:kms")]
    Kms,
}

/// A claim for a volume that the backup's pod mounts.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStore {
    /// Name of the claim, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
    /// Folder in the volume, without slashes at its ends.
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
    /// Its checksum is verified while it is taken.
    #[default]
    None,
    /// The stored snapshot is also read back and restored into a scratch directory.
    Restore,
}

/// Which earlier backups stay. A backup stays while one of the two keeps it; the newest always stays.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.keepLast) || has(self.keepWithin)").message("retention needs keepLast or keepWithin"))]
pub struct BackupRetention {
    /// How many of the newest stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub keep_last: Option<u32>,
    /// How long one stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_within: Option<Span>,
}

/// Status of an EtcdBackup.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdBackupStatus {
    /// Human-readable summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackupPhase>,
    /// When the job was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the backup succeeded or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// Where it is stored, as a URL: `s3://bucket/prefix`, or `file:///folder` in a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Its name there, without the endings of its files, `.db` and `.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The revision that it has at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Size of the snapshot in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Size of the snapshot, rounded, with a unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// SHA-256 of the stored file in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Id of the cluster in hexadecimal.
    #[serde(rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Version of the member that made the snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Attempts that have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_attempts: Option<i32>,
    /// Why it has not succeeded, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `Succeeded`: True, False after the last attempt, Unknown before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The stage of a backup.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupPhase {
    /// It cannot begin yet.
    Pending,
    /// Its job runs.
    Running,
    /// It is stored.
    Succeeded,
    /// No attempt succeeded.
    Failed,
}

impl EtcdBackup {
    /// Returns the stage; `None` until the operator has seen the backup.
    pub fn phase(&self) -> Option<BackupPhase> {
        self.status.as_ref()?.phase
    }

    /// Whether it has succeeded or failed for good.
    pub fn is_finished(&self) -> bool {
        matches!(
            self.phase(),
            Some(BackupPhase::Succeeded | BackupPhase::Failed)
        )
    }

    /// Returns when it has succeeded or failed; `None` before.
    pub fn completed_at(&self) -> Option<&Time> {
        self.status.as_ref()?.completed_at.as_ref()
    }
}

/// Takes backups of a cluster at set times.
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
    doc = "Creates an EtcdBackup of an EtcdCluster at each time of a schedule, and removes old ones.",
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
    /// The EtcdCluster, in the same namespace.
    pub cluster_ref: SecretRef,
    /// When a backup is taken: minute, hour, day of the month, month, day of the week, in UTC; or @hourly, @daily, @weekly,
    /// @monthly, @yearly.
    #[schemars(length(min = 1, max = 128))]
    pub schedule: String,
    /// Takes no backups.
    #[serde(default)]
    pub paused: bool,
    /// Stores the changes between the backups, too, so that a cluster can be restored to any revision and time since the
    /// oldest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<BackupChanges>,
    /// Which backups of this schedule stay in the store, with the changes since the oldest one; all of them by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<BackupRetention>,
    /// The settings of the backups.
    #[serde(flatten)]
    pub settings: BackupSettings,
}

/// Status of an EtcdBackupSchedule.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdBackupScheduleStatus {
    /// The time of the schedule for which the last backup was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// The next time of the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
    /// When the last successful backup was completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success_time: Option<Time>,
    /// The last successful EtcdBackup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<String>,
    /// The EtcdBackup that is being taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// How far the changes are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<BackupChangesStatus>,
    /// `Ready`: False if the schedule cannot be read, is paused, or its backups fail or are late. `ChangesStored`, with
    /// `spec.changes`: False if the stored changes are not those of the last seconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
