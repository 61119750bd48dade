//! The backup that a new cluster begins from. It is looked up until the cluster has served.

use kube::{Api, Client};

use super::ObserveError;
use crate::{
    crd::{BackupPhase, EtcdBackup, Restore},
    resources::{Cluster, RestoreFrom, location},
};

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
        RestoreSource::Found(Box::new(RestoreFrom {
            store,
            location,
            name,
            bump_revision,
            image,
        }))
    };
    if let Some(store) = &asked.store {
        let folder = location(store, &[]);
        return Ok(Some(found(store.clone(), folder, asked.name.clone())));
    }
    let name = named(asked);
    let api = Api::<EtcdBackup>::namespaced(client.clone(), &cluster.namespace);
    let backup = api.get_opt(name).await;
    let backup = backup.map_err(|source| ObserveError { what: "the EtcdBackup", source })?;
    let Some(backup) = backup else {
        let text = format!("EtcdBackup {name}, which spec.bootstrap.restore names, does not exist");
        return Ok(Some(RestoreSource::Missing(text)));
    };
    let status = backup.status.unwrap_or_default();
    Ok(Some(match (status.phase, status.location) {
        (Some(BackupPhase::Succeeded), Some(location)) => {
            found(backup.spec.settings.store, location, status.name)
        }
        (Some(BackupPhase::Failed), _) => {
            let said = status.message.unwrap_or_default();
            RestoreSource::Missing(format!("EtcdBackup {name} has failed: {said}"))
        }
        (Some(BackupPhase::Pending | BackupPhase::Running | BackupPhase::Succeeded) | None, _) => {
            RestoreSource::Missing(format!("EtcdBackup {name} has not succeeded yet"))
        }
    }))
}

fn named(asked: &Restore) -> &str {
    let named = asked.backup_ref.as_ref();
    named.map_or("", |backup| &backup.name)
}
