//! Requests to the API server that all reconcile loops share, and the handling of their failures.

use std::{fmt::Display, time::Duration};

use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
    core::{DeserializeGuard, Status},
    runtime::{
        controller::{self, Action},
        watcher,
    },
};
use serde::Serialize;
use serde_json::json;
use witan_crd::Object;

use crate::{controller::readable::readable, resources::MANAGER};

/// A request that the API server refused or did not answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {source}")]
pub(crate) struct ApiFailure {
    pub(crate) what: &'static str,
    source: Box<kube::Error>,
}

impl ApiFailure {
    /// Returns the API server's refusal; `None` if it did not answer.
    pub(crate) fn refusal(&self) -> Option<&Status> {
        if let kube::Error::Api(refusal) = &*self.source {
            return Some(refusal);
        }
        None
    }
}

/// Returns a function for `map_err` that makes a failure to do `what`.
pub(crate) fn cannot(what: &'static str) -> impl Fn(kube::Error) -> ApiFailure {
    move |source| ApiFailure { what, source: Box::new(source) }
}

/// Reads an object by name; `None` if it does not exist. Here and below, `what` names the request in errors.
pub(crate) async fn get<K: Object>(
    client: &Client,
    namespace: &str,
    name: &str,
    what: &'static str,
) -> Result<Option<K>, ApiFailure> {
    let api = Api::namespaced(client.clone(), namespace);
    api.get_opt(name).await.map_err(cannot(what))
}

/// Lists the resources of one of our kinds, without those that this release cannot parse.
pub(crate) async fn list_readable<K: Object>(
    client: &Client,
    namespace: &str,
    params: ListParams,
    what: &'static str,
) -> Result<Vec<K>, ApiFailure> {
    let api = Api::<DeserializeGuard<K>>::namespaced(client.clone(), namespace);
    let found = api.list(&params).await.map_err(cannot(what))?;
    Ok(found.items.into_iter().filter_map(readable).collect())
}

pub(crate) async fn list<K: Object>(
    client: &Client,
    namespace: &str,
    (key, value): (&str, &str),
    what: &'static str,
) -> Result<Vec<K>, ApiFailure> {
    let labelled = ListParams::default().labels(&format!("{key}={value}"));
    let api = Api::namespaced(client.clone(), namespace);
    let found = api.list(&labelled).await.map_err(cannot(what))?;
    Ok(found.items)
}

/// Deletes exactly this object, identified by its uid. An object that is already deleted or replaced counts as deleted.
pub(crate) async fn delete<K: Object>(
    client: &Client,
    object: &K,
    what: &'static str,
) -> Result<(), ApiFailure> {
    let this = Preconditions { uid: object.uid(), resource_version: None };
    let params = DeleteParams::default().preconditions(this);
    match api_of(client, object)
        .delete(&object.name_any(), &params)
        .await
    {
        Err(kube::Error::Api(refusal)) if matches!(refusal.code, 404 | 409) => Ok(()),
        deleted => deleted.map(drop).map_err(cannot(what)),
    }
}

/// Applies the status to a resource in exactly the version that was read. Returns `false` if the resource has changed, was
/// deleted or was recreated: the observation may be outdated.
pub(crate) async fn write_status<K: Object>(
    client: &Client,
    resource: &K,
    status: &impl Serialize,
    what: &'static str,
) -> Result<bool, ApiFailure> {
    let name = resource.name_any();
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": name,
            "uid": resource.uid(),
            "resourceVersion": resource.resource_version(),
        },
        "status": status,
    });
    let (api, params) = (
        api_of(client, resource),
        PatchParams::apply(MANAGER).force(),
    );
    match api.patch_status(&name, &params, &Patch::Apply(&body)).await {
        Err(kube::Error::Api(refusal)) if matches!(refusal.code, 404 | 409) => Ok(false),
        written => written.map(|_| true).map_err(cannot(what)),
    }
}

/// Returns the API for the kind and the namespace of an object.
fn api_of<K: Object>(client: &Client, object: &K) -> Api<K> {
    Api::namespaced(client.clone(), &object.namespace().unwrap_or_default())
}

/// Logs a failed pass over a resource, and requeues it.
pub(crate) fn on_failed<K: Object>(of: &K, error: &impl Display, retry: Duration) -> Action {
    let (namespace, name) = (of.namespace().unwrap_or_default(), of.name_any());
    tracing::warn!(namespace, name, kind = %K::kind(&()), %error, "pass failed; retrying");
    Action::requeue(retry)
}

/// Logs a failed watch, for example without permission to list a kind. It is restarted after a pause.
pub(crate) fn log_watch<T, E>(outcome: Result<T, controller::Error<E, watcher::Error>>)
where
    E: std::error::Error + 'static,
{
    match outcome {
        Ok(_)
        | Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
        Err(error) => tracing::warn!(%error, "a watch failed; restarting it"),
    }
}

#[cfg(test)]
mod tests {
    use witan_crd::{EtcdCluster, EtcdClusterStatus};

    use super::*;
    use crate::testing::api::FakeApi;

    /// The status of a cluster that was deleted during a pass must not be written to the next cluster with its name.
    #[tokio::test]
    async fn a_status_is_written_into_the_resource_that_was_read_and_into_no_other() {
        let fake = FakeApi::default();
        let client = fake.client();
        let put = |uid: &str| {
            fake.put(json!({
                "apiVersion": "witan.dev/v1", "kind": "EtcdCluster",
                "metadata": {"name": "a", "namespace": "ns", "uid": uid}, "spec": {},
            }));
        };
        let cluster = async || {
            let found = get::<EtcdCluster>(&client, "ns", "a", "read it").await;
            found.unwrap().unwrap()
        };
        let status = EtcdClusterStatus {
            cluster_id: Some("c1".to_owned()),
            ..EtcdClusterStatus::default()
        };
        let write = async |of: &EtcdCluster| {
            write_status(&client, of, &status, "write it")
                .await
                .unwrap()
        };
        put("old");
        let read = cluster().await;
        assert!(write(&read).await);
        assert!(!write(&read).await, "it has changed since");
        put("new");
        assert!(!write(&read).await);
        let next = cluster().await;
        assert_eq!(next.status, None, "another resource of the same name");
        fake.remove("/a");
        assert!(!write(&next).await, "it is gone");
    }
}
