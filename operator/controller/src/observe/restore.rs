//! Looks up the backup for the initial members of a cluster that has not served yet.

use kube::Client;
use witan_crd::{BackupPhase, EtcdBackup, Restore, RestorePoint};
use witan_plan::level_of;

use super::wanted_version;
use crate::{
    api_server::{ApiFailure, get},
    resources::{Cluster, location},
};

const ANOTHER: &str = "spec.bootstrap.restore names a different backup, revision or time than the one from which the initial members \
    have started";

/// Returns the restore point for the initial members: the source that an in-place restore recorded, or else the backup in
/// `spec.bootstrap.restore`. Returns `None` if the cluster has served or starts without a backup. The inner error says why a
/// backup cannot be used.
pub(crate) async fn restore_source(
    client: &Client,
    cluster: &Cluster<'_>,
) -> Result<Result<Option<RestorePoint>, String>, ApiFailure> {
    if cluster.id().is_some() {
        return Ok(Ok(None));
    }
    let status = cluster.resource.status.as_ref();
    if let Some(restore) = status.and_then(|status| status.restore.as_ref()) {
        return Ok(Ok(restore.source.clone()));
    }
    let bootstrap = cluster.spec().bootstrap.as_ref();
    let Some(asked) = bootstrap.and_then(|bootstrap| bootstrap.restore.as_ref()) else {
        return Ok(Ok(None));
    };
    let found = match find_backup(client, &cluster.namespace, asked).await? {
        Ok(found) => found,
        Err(missing) => return Ok(Err(missing)),
    };
    if let Some(why) = found.level_above(cluster) {
        return Ok(Err(why));
    }
    let mut point = found.point;
    let recorded = status.and_then(|status| status.restored_from.as_ref());
    if recorded.is_some_and(|recorded| *recorded != point.url()) {
        return Ok(Err(ANOTHER.to_owned()));
    }
    if point.to_time.is_some() {
        point.to_revision = status.and_then(|status| status.restored_revision);
    }
    Ok(Ok(Some(point)))
}

/// A backup from which members can start, unless its feature level is too high.
pub(crate) struct FoundBackup {
    pub(crate) point: RestorePoint,
    /// Name of the EtcdCluster that was backed up; `None` if only the location is known.
    pub(crate) of: Option<String>,
    /// Feature level of the backup; `None` if only the location is known, or if the backup has none.
    level: Option<i64>,
}

impl FoundBackup {
    /// Returns a message if the feature level of the backup is too high for the desired release. Returns `None` if the operator
    /// does not know both levels; then the members check the level.
    pub(crate) fn level_above(&self, cluster: &Cluster<'_>) -> Option<String> {
        let release = wanted_version(cluster)?;
        let (level, supported) = (self.level?, level_of(&release)?);
        (i64::from(supported) < level).then(|| {
            format!(
                "the backup has feature level {level}, but release {release} supports only feature level {supported}; set \
                 spec.version to a later release"
            )
        })
    }
}

/// Finds the backup that `asked` names. The inner error says why that EtcdBackup cannot be used; a backup in a store is not
/// checked.
pub(crate) async fn find_backup(
    client: &Client,
    namespace: &str,
    asked: &Restore,
) -> Result<Result<FoundBackup, String>, ApiFailure> {
    let point = |store, location, name| RestorePoint {
        store,
        location,
        name,
        to_revision: asked.to_revision,
        to_time: asked.to_time.clone(),
        bump_revision: asked.bump_revision,
    };
    if let Some(store) = &asked.store {
        let name = asked.name.clone().unwrap_or_default();
        let point = point(store.clone(), location(store, &[]), name);
        return Ok(Ok(FoundBackup { point, of: None, level: None }));
    }
    let backup = asked.backup_ref.as_ref();
    let name = backup.map_or("", |backup| &backup.name);
    let missing = |why: &str| Ok(Err(format!("EtcdBackup {name} {why}")));
    let action = "read the EtcdBackup of the cluster";
    let Some(backup) = get::<EtcdBackup>(client, namespace, name, action).await? else {
        return missing(&format!("does not exist in namespace {namespace}"));
    };
    let status = backup.status.unwrap_or_default();
    match (status.phase, status.location, status.name) {
        (Some(BackupPhase::Succeeded), Some(location), Some(stored)) => {
            let point = point(backup.spec.settings.store, location, stored);
            let of = Some(backup.spec.cluster_ref.name);
            Ok(Ok(FoundBackup { point, of, level: status.level }))
        }
        (Some(BackupPhase::Failed), ..) => {
            let said = status.message.unwrap_or_default();
            missing(&format!("has failed: {said}"))
        }
        (Some(BackupPhase::Unknown), ..) => {
            missing("has a phase that only a later release of the operator knows")
        }
        (Some(BackupPhase::Pending | BackupPhase::Running | BackupPhase::Succeeded) | None, ..) => {
            missing("has not succeeded yet")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{api::FakeApi, named, with};

    type Found = Result<Option<RestorePoint>, String>;

    /// Returns the restore point of a cluster that starts from the backup `first`. `more` is merged into the cluster.
    async fn found(fake: &FakeApi, more: &Value) -> Found {
        let restore = json!({"backupRef": {"name": "first"}});
        let cluster = json!({"spec": {"bootstrap": {"restore": restore}}});
        let source = restore_source(&fake.client(), &named(&with(cluster, more))).await;
        source.expect("the API server answers")
    }

    fn put(fake: &FakeApi, status: Value) {
        fake.put(json!({
            "apiVersion": "witan.dev/v1", "kind": "EtcdBackup",
            "metadata": {"name": "first", "namespace": "shop"}, "status": status,
            "spec": {"clusterRef": {"name": "lost"}, "store": {"s3": {"bucket": "b"}}},
        }));
    }

    fn put_stored(fake: &FakeApi, name: &str, level: &Value) {
        let (phase, location) = ("Succeeded", "s3://b/lost");
        put(
            fake,
            json!({"phase": phase, "location": location, "name": name, "level": level}),
        );
    }

    /// Members that start from different snapshots would have different data at the same log index.
    #[tokio::test]
    async fn all_initial_members_start_from_one_complete_snapshot() {
        let fake = FakeApi::default();
        let says = |source: Found, words: &str| {
            let text = source.expect_err("it cannot be used");
            assert!(text.contains(words), "{text}");
        };
        says(found(&fake, &json!({})).await, "does not exist");
        put(&fake, json!({"phase": "Running"}));
        says(found(&fake, &json!({})).await, "has not succeeded yet");
        put(&fake, json!({"phase": "Failed", "message": "no room"}));
        says(found(&fake, &json!({})).await, "has failed: no room");
        put_stored(&fake, "first-1", &Value::Null);
        let recorded = json!({"restoredFrom": "s3://b/lost/first-1"});
        for status in [&json!({}), &recorded] {
            let from = found(&fake, &json!({"status": status})).await;
            let from = from.expect("it is complete");
            let from = from.expect("a backup");
            assert_eq!(from.url(), "s3://b/lost/first-1");
        }
        put_stored(&fake, "first-2", &Value::Null);
        let another = found(&fake, &json!({"status": recorded})).await;
        says(another, "names a different backup");
        assert_eq!(
            found(&fake, &json!({"status": {"clusterID": "c1"}})).await,
            Ok(None),
            "it has served"
        );
    }

    /// Each member would download the snapshot and then refuse it.
    #[tokio::test]
    async fn no_member_starts_from_a_backup_above_the_level_of_its_release() {
        let fake = FakeApi::default();
        for (level, version, taken) in [
            (json!(2), "0.1.0", false),
            (json!(1), "0.1.0", true),
            // A backup of an earlier operator or of etcd, and a release that the operator does not know.
            (json!(null), "0.1.0", true),
            (json!(2), "9.0.0", true),
            (json!(2), "latest", true),
        ] {
            put_stored(&fake, "first-1", &level);
            let found = found(&fake, &json!({"spec": {"version": version}})).await;
            assert_eq!(found.is_ok(), taken, "{level} {version} {found:?}");
            if let Err(said) = found {
                let expected = "the backup has feature level 2, but release 0.1.0 supports only feature level 1";
                assert!(said.starts_with(expected), "{said}");
            }
        }
    }

    #[tokio::test]
    async fn later_members_start_from_the_revision_of_the_first_one() {
        let fake = FakeApi::default();
        put_stored(&fake, "first-1", &Value::Null);
        let restore = json!({"toTime": "2026-01-02T03:04:05Z"});
        let spec = json!({"bootstrap": {"restore": restore}});
        let from = "s3://b/lost/first-1@2026-01-02T03:04:05Z";
        for (status, revision) in [
            (json!({}), None),
            (
                json!({"restoredFrom": from, "restoredRevision": 77}),
                Some(77),
            ),
        ] {
            let found = found(&fake, &json!({"spec": spec, "status": status})).await;
            let found = found.expect("it is complete").expect("a backup");
            assert_eq!(found.to_revision, revision);
            assert_eq!(found.url(), from, "all members use the recorded end");
        }
    }
}
