//! `spec.backup` of an Etcd as an EtcdBackupSchedule.

use super::super::{
    fields::Fields,
    made::Made,
    stores::{self, Bucket},
    values::seconds,
};

/// Providers whose stores speak S3.
const SPEAK_S3: [&str; 7] = ["S3", "s3", "aws", "OCS", "ocs", "openshift", "stackit"];

/// Backups that druid's sidecar keeps by default, and for how long it keeps backups in the policy Exponential, in hours: the oldest
/// ones of that policy are those of the weeks of a month.
const KEEP_DEFAULT: i64 = 7;
const EXPONENTIAL: &str = "672h";

/// When a backup is taken if nothing says so.
const SCHEDULE_DEFAULT: &str = "@daily";

/// Why settings of the sidecar are left out.
const SIDECAR: &str = "no sidecar takes the backups";

/// Fields that have no counterpart.
const GONE: [(&str, &str); 13] = [
    ("spec.backup.port", SIDECAR),
    ("spec.backup.tls", SIDECAR),
    ("spec.backup.image", SIDECAR),
    (
        "spec.backup.resources",
        "a backup's pod needs few; spec.podTemplate of the schedule sets them",
    ),
    ("spec.backup.enableProfiling", SIDECAR),
    ("spec.backup.leaderElection", SIDECAR),
    ("spec.backup.compression", "backups are not compressed"),
    (
        "spec.backup.snapshotCompaction",
        "changes are removed with the backup before them",
    ),
    (
        "spec.backup.deltaSnapshotRetentionPeriod",
        "changes are removed with the backup before them",
    ),
    (
        "spec.backup.deltaSnapshotMemoryLimit",
        "changes are stored at 8 MiB at the latest",
    ),
    (
        "spec.backup.garbageCollectionPeriod",
        "old backups are removed after each backup",
    ),
    (
        "spec.backup.etcdSnapshotTimeout",
        "spec.timeout of the schedule is that of all attempts, 1h",
    ),
    ("spec.backup.store.secretRef.namespace", super::NAMESPACE),
];

/// Makes an EtcdBackupSchedule of `spec.backup`; `None` if no store is named, or it cannot be a store of ours.
pub(super) fn convert(fields: &mut Fields, cluster: &Made) -> Option<Made> {
    let store = store(fields);
    let times = "spec.backup.fullSnapshotSchedule";
    let mut made = stores::schedule_of(fields, cluster, times, SCHEDULE_DEFAULT);
    retention(fields, &mut made, store.is_some());
    if let Some(seconds) = seconds(fields, "spec.backup.deltaSnapshotPeriod").filter(|n| *n > 0) {
        stores::changes(&mut made, seconds);
    }
    fields.all_gone(&GONE);
    made.set("store", store?);
    Some(made)
}

fn retention(fields: &mut Fields, made: &mut Made, stored: bool) {
    let policy = fields.word("spec.backup.garbageCollectionPolicy");
    let path = "spec.backup.maxBackupsLimitBasedGC";
    let number = fields.number(path);
    if policy.as_deref() == Some("Exponential") {
        made.set("retention.keepWithin", EXPONENTIAL);
        if stored {
            fields.notes.note("spec.retention of the schedule: it keeps all backups of four weeks; Exponential keeps fewer of the older ones");
        }
    } else {
        stores::keep_last(fields, made, path, number.unwrap_or(KEEP_DEFAULT));
    }
}

/// Converts `spec.backup.store`, whose provider has to speak S3; `None` if it cannot be a store.
fn store(fields: &mut Fields) -> Option<serde_json::Value> {
    let provider = fields.word("spec.backup.store.provider");
    let bucket = fields.word("spec.backup.store.container");
    let prefix = fields.word("spec.backup.store.prefix");
    let parts = Bucket {
        endpoint: "spec.backup.store.endpointOverride",
        region: "spec.backup.store.region",
        path_style: "spec.backup.store.pathStyle",
        secret: "spec.backup.store.secretRef.name",
    };
    let prefix = prefix.unwrap_or_default();
    let bucket = bucket.unwrap_or_default();
    let store = stores::s3(fields, &bucket, &prefix, &parts);
    // without a provider druid takes no backups
    let provider = provider?;
    let speaks = SPEAK_S3.contains(&provider.as_str());
    let Some(mut store) = store.filter(|_| speaks) else {
        let reason = format!(
            "{provider}: backups go to stores that speak S3, or to volumes, so that none is taken"
        );
        fields.refuse("spec.backup.store", reason);
        return None;
    };
    if store["s3"].get("endpoint").is_some() {
        store["s3"]["pathStyle"] = true.into();
    }
    let secret = store["s3"]["credentialsSecretRef"]["name"].as_str();
    if let Some(secret) = secret {
        stores::credentials(fields, secret, "accessKeyID, secretAccessKey and region");
    }
    fields.notes.by_hand("spec.store.s3.region of the schedule: the old secret has it; without a region here it is us-east-1");
    Some(store)
}
