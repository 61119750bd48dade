//! The backup that a new cluster begins from. It is looked up until the cluster has served.

use kube::{Api, Client};
use witan_crd::{BackupPhase, EtcdBackup, Restore};

use super::ObserveError;
use crate::resources::{Cluster, RestoreFrom, RestoreTo, location};

/// The backup of `spec.bootstrap.restore`.
#[derive(Clone, Debug, PartialEq)]
pub enum RestoreSource {
    /// The snapshot.
    Found(Box<RestoreFrom>),
    /// Why there is none, for people.
    Missing(String),
}

/// Looks up the backup that a cluster begins from; `None` if it begins without one or has served. `image` is the one of
/// `witan-operator`.
///
/// # Errors
/// The API server does not answer, or does not let the operator read.
pub async fn restore_source(
    client: &Client,
    cluster: &Cluster<'_>,
    image: &str,
) -> Result<Option<RestoreSource>, ObserveError> {
    let bootstrap = cluster.spec().bootstrap.as_ref();
    let asked = bootstrap.and_then(|bootstrap| bootstrap.restore.as_ref());
    let Some(asked) = asked.filter(|_| cluster.id().is_none()) else {
        return Ok(None);
    };
    let found = |store, location, name| {
        let (bump_revision, image) = (asked.bump_revision, image.to_owned());
        let to = match (asked.to_revision, &asked.to_time) {
            (Some(revision), _) => Some(RestoreTo::Revision(revision)),
            (None, time) => time.as_ref().map(|time| RestoreTo::Time(time.0)),
        };
        RestoreSource::Found(Box::new(RestoreFrom {
            store,
            location,
            name,
            to,
            bump_revision,
            image,
        }))
    };
    if let Some(store) = &asked.store {
        let name = asked.name.clone().unwrap_or_default();
        return Ok(Some(found(store.clone(), location(store, &[]), name)));
    }
    let name = named(asked);
    let missing = |why: &str| {
        Ok(Some(RestoreSource::Missing(format!(
            "EtcdBackup {name} {why}"
        ))))
    };
    let api = Api::<EtcdBackup>::namespaced(client.clone(), &cluster.namespace);
    let backup = api.get_opt(name).await;
    let backup = backup.map_err(|source| ObserveError { what: "the EtcdBackup", source })?;
    let Some(backup) = backup else {
        return missing("does not exist, and spec.bootstrap.restore names it");
    };
    let status = backup.status.unwrap_or_default();
    let source = match (status.phase, status.location, status.name) {
        (Some(BackupPhase::Succeeded), Some(location), Some(stored)) => {
            found(backup.spec.settings.store, location, stored)
        }
        (Some(BackupPhase::Failed), ..) => {
            let said = status.message.unwrap_or_default();
            return missing(&format!("has failed: {said}"));
        }
        (Some(BackupPhase::Pending | BackupPhase::Running | BackupPhase::Succeeded) | None, ..) => {
            return missing("has not succeeded yet");
        }
    };
    if is_another(cluster, &source) {
        return missing(
            "or the end of its changes is another one than that from which the first members have begun",
        );
    }
    Ok(Some(source))
}

/// Whether the members that have begun were started from another snapshot: all of them must begin from the same one.
fn is_another(cluster: &Cluster<'_>, source: &RestoreSource) -> bool {
    let status = cluster.resource.status.as_ref();
    let recorded = status.and_then(|status| status.restored_from.as_ref());
    let RestoreSource::Found(from) = source else {
        return false;
    };
    recorded.is_some_and(|recorded| *recorded != from.url())
}

fn named(asked: &Restore) -> &str {
    let named = asked.backup_ref.as_ref();
    named.map_or("", |backup| &backup.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use witan_crd::EtcdCluster;

    use super::*;
    use crate::testing::api::FakeApi;

    async fn found(fake: &FakeApi, status: serde_json::Value) -> Option<RestoreSource> {
        let cluster = json!({
            "apiVersion": "witan.dev/v1", "kind": "EtcdCluster",
            "metadata": {"name": "again", "namespace": "shop", "uid": "u"},
            "spec": {"bootstrap": {"restore": {"backupRef": {"name": "first"}}}}, "status": status,
        });
        let cluster: EtcdCluster = serde_json::from_value(cluster).expect("a cluster");
        let named = Cluster::new(&cluster, "witan:1.0.0").expect("names");
        let source = restore_source(&fake.client(), &named, "operator:1.0.0").await;
        source.expect("the API server answers")
    }

    fn put(fake: &FakeApi, status: serde_json::Value) {
        fake.put(json!({
            "apiVersion": "witan.dev/v1", "kind": "EtcdBackup",
            "metadata": {"name": "first", "namespace": "shop"}, "status": status,
            "spec": {"clusterRef": {"name": "lost"}, "store": {"s3": {"bucket": "b"}}},
        }));
    }

    /// Members that begin from different snapshots would have different data at the same place of the log.
    #[tokio::test]
    async fn all_first_members_begin_from_one_complete_snapshot() {
        let fake = FakeApi::default();
        let says = |source: Option<RestoreSource>, words: &str| match source {
            Some(RestoreSource::Missing(text)) => assert!(text.contains(words), "{text}"),
            other => panic!("{other:?}"),
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
            let Some(RestoreSource::Found(from)) = found(&fake, status).await else {
                panic!("it is complete");
            };
            assert_eq!(from.url(), "s3://b/lost/first-1");
        }
        put(
            &fake,
            json!({"phase": "Succeeded", "location": "s3://b/lost", "name": "first-2"}),
        );
        says(found(&fake, recorded).await, "another one");
        assert_eq!(
            found(&fake, json!({"clusterID": "c1"})).await,
            None,
            "it has served"
        );
    }
}
