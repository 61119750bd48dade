//! Looks up the backup for the first members of a cluster that has not served yet.

use kube::Client;
use witan_crd::{BackupPhase, EtcdBackup, Restore, RestorePoint};

use crate::{
    api_server::{ApiFailure, get},
    resources::{Cluster, location},
};

const ANOTHER: &str = "spec.bootstrap.restore names a different backup, revision or time than the one from which the first members \
    have started";

/// Returns the restore point for the first members: the source that an in-place restore recorded, else the backup in
/// `spec.bootstrap.restore`. `None` if there is neither, or if the cluster has served. The inner error says why a backup cannot
/// be used. All first members must use the same snapshot, so a backup other than the recorded one is such an error.
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
    let mut point = match find_backup(client, &cluster.namespace, asked).await? {
        Ok(found) => found.point,
        Err(missing) => return Ok(Err(missing)),
    };
    let recorded = status.and_then(|status| status.restored_from.as_ref());
    if recorded.is_some_and(|recorded| *recorded != point.url()) {
        return Ok(Err(ANOTHER.to_owned()));
    }
    if point.to_time.is_some() {
        point.to_revision = status.and_then(|status| status.restored_revision);
    }
    Ok(Ok(Some(point)))
}

pub(crate) struct FoundBackup {
    pub(crate) point: RestorePoint,
    /// Name of the EtcdCluster that was backed up; `None` if only the location is known.
    pub(crate) of: Option<String>,
}

/// Looks up a backup. The inner error says why the backup cannot be used.
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
        return Ok(Ok(FoundBackup { point, of: None }));
    }
    let name = asked.backup_ref.as_ref();
    let name = name.map_or("", |backup| &backup.name);
    let missing = |why: &str| Ok(Err(format!("EtcdBackup {name} {why}")));
    let what = "read the EtcdBackup of the cluster";
    let Some(backup) = get::<EtcdBackup>(client, namespace, name, what).await? else {
        return missing(&format!("does not exist in namespace {namespace}"));
    };
    let status = backup.status.unwrap_or_default();
    match (status.phase, status.location, status.name) {
        (Some(BackupPhase::Succeeded), Some(location), Some(stored)) => {
            let point = point(backup.spec.settings.store, location, stored);
            let of = Some(backup.spec.cluster_ref.name);
            Ok(Ok(FoundBackup { point, of }))
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
    use serde_json::json;
    use witan_crd::EtcdCluster;

    use super::*;
    use crate::testing::{self, api::FakeApi, environment, with};

    type Found = Result<Option<RestorePoint>, String>;

    async fn found(fake: &FakeApi, status: serde_json::Value) -> Found {
        found_to(fake, &json!({}), status).await
    }

    async fn found_to(
        fake: &FakeApi,
        more: &serde_json::Value,
        status: serde_json::Value,
    ) -> Found {
        let restore = with(json!({"backupRef": {"name": "first"}}), more);
        let spec = json!({"bootstrap": {"restore": restore}});
        let cluster = testing::cluster(&json!({"spec": spec, "status": status}));
        let cluster: EtcdCluster = serde_json::from_value(cluster).expect("a cluster");
        let named = Cluster::new(&cluster, environment("witan:1.0.0")).expect("names");
        let source = restore_source(&fake.client(), &named).await;
        source.expect("the API server answers")
    }

    fn put(fake: &FakeApi, status: serde_json::Value) {
        fake.put(json!({
            "apiVersion": "witan.dev/v1", "kind": "EtcdBackup",
            "metadata": {"name": "first", "namespace": "shop"}, "status": status,
            "spec": {"clusterRef": {"name": "lost"}, "store": {"s3": {"bucket": "b"}}},
        }));
    }

    /// Members that start from different snapshots would have different data at the same log index.
    #[tokio::test]
    async fn all_first_members_begin_from_one_complete_snapshot() {
        let fake = FakeApi::default();
        let says = |source: Found, words: &str| {
            let text = source.expect_err("it cannot be used");
            assert!(text.contains(words), "{text}");
        };
        says(found(&fake, json!({})).await, "does not exist");
        put(&fake, json!({"phase": "Running"}));
        says(found(&fake, json!({})).await, "has not succeeded yet");
        put(&fake, json!({"phase": "Failed", "message": "no room"}));
        says(found(&fake, json!({})).await, "has failed: no room");
        put(
            &fake,
            json!({"phase": "Succeeded", "location": "s3://b/lost", "name": "first-1"}),
        );
        let recorded = json!({"restoredFrom": "s3://b/lost/first-1"});
        for status in [json!({}), recorded.clone()] {
            let from = found(&fake, status).await.expect("it is complete");
            let from = from.expect("a backup");
            assert_eq!(from.url(), "s3://b/lost/first-1");
        }
        put(
            &fake,
            json!({"phase": "Succeeded", "location": "s3://b/lost", "name": "first-2"}),
        );
        says(found(&fake, recorded).await, "names a different backup");
        assert_eq!(
            found(&fake, json!({"clusterID": "c1"})).await,
            Ok(None),
            "it has served"
        );
    }
    #[tokio::test]
    async fn later_members_begin_from_the_revision_that_the_first_has_found() {
        let fake = FakeApi::default();
        put(
            &fake,
            json!({"phase": "Succeeded", "location": "s3://b/lost", "name": "first-1"}),
        );
        let to_time = json!({"toTime": "2026-01-02T03:04:05Z"});
        let from = "s3://b/lost/first-1@2026-01-02T03:04:05Z";
        for (status, revision) in [
            (json!({}), None),
            (
                json!({"restoredFrom": from, "restoredRevision": 77}),
                Some(77),
            ),
        ] {
            let found = found_to(&fake, &to_time, status).await;
            let found = found.expect("it is complete").expect("a backup");
            assert_eq!(found.to_revision, revision);
            assert_eq!(found.url(), from, "it is the same end");
        }
    }
}
