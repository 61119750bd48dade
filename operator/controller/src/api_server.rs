//! Requests to the API server and their errors.
//!
//! kube's generic requests are instantiated here once, for untyped objects. The objects are converted to and from their types.

use kube::{
    Api, Client, ResourceExt as _,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
        Preconditions,
    },
    core::Status,
};
use serde::Serialize;
use serde_json::json;
use witan_crd::Object;

use crate::resources::MANAGER;

/// A request that the API server refused or did not answer, or an object that cannot be converted.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {source}")]
pub(crate) struct ApiFailure {
    pub(crate) action: &'static str,
    source: Box<kube::Error>,
}

impl ApiFailure {
    /// Returns the API server's refusal; `None` for any other error, such as a lost connection.
    pub(crate) fn refusal(&self) -> Option<&Status> {
        if let kube::Error::Api(refusal) = &*self.source {
            return Some(refusal);
        }
        None
    }
}

/// Returns a function for `map_err` that creates an [`ApiFailure`]. `action` names the failed action, such as `read the job`.
pub(crate) fn cannot(action: &'static str) -> impl Fn(kube::Error) -> ApiFailure {
    move |source| ApiFailure { action, source: Box::new(source) }
}

pub(crate) fn kind_of<K: Object>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// Returns the API for untyped objects of the kind `K` in a namespace.
pub(crate) fn untyped<K: Object>(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind_of::<K>())
}

/// Converts an untyped object to the type `K`. Fails if this release cannot parse the object.
pub(crate) fn typed<K: Object>(object: &DynamicObject) -> Result<K, kube::Error> {
    let json = serde_json::to_value(object);
    json.and_then(serde_json::from_value)
        .map_err(kube::Error::SerdeError)
}

/// Converts an untyped object to the type `K`. If this release cannot parse the object, logs an error and returns `None`. One
/// cause is a value that a later release wrote before a rollback. The operator leaves such resources unchanged.
pub(crate) fn readable<K: Object>(object: &DynamicObject) -> Option<K> {
    let read = typed(object).inspect_err(|error| {
        let (name, namespace) = (object.name_any(), object.namespace());
        tracing::error!(namespace, name, kind = %K::kind(&()), %error, "ignoring a resource that this release of the operator cannot parse");
    });
    read.ok()
}

/// Reads an object by name; `None` if it does not exist. Fails if this release cannot parse it. Here and below, an error says
/// that `action` failed.
pub(crate) async fn get<K: Object>(
    client: &Client,
    namespace: &str,
    name: &str,
    action: &'static str,
) -> Result<Option<K>, ApiFailure> {
    let found = untyped::<K>(client, namespace).get_opt(name).await;
    let found = found.and_then(|found| found.as_ref().map(typed).transpose());
    found.map_err(cannot(action))
}

/// Lists the objects that this release can parse. Logs and skips all other objects.
pub(crate) async fn list_readable<K: Object>(
    client: &Client,
    namespace: &str,
    params: ListParams,
    action: &'static str,
) -> Result<Vec<K>, ApiFailure> {
    let found = untyped::<K>(client, namespace).list(&params).await;
    let found = found.map_err(cannot(action))?;
    Ok(found.items.iter().filter_map(readable).collect())
}

/// Lists the objects with the label `key=value`. Fails if one of them cannot be parsed.
pub(crate) async fn list<K: Object>(
    client: &Client,
    namespace: &str,
    (key, value): (&str, &str),
    action: &'static str,
) -> Result<Vec<K>, ApiFailure> {
    let labeled = ListParams::default().labels(&format!("{key}={value}"));
    let found = untyped::<K>(client, namespace).list(&labeled).await;
    let found = found.and_then(|found| found.items.iter().map(typed).collect());
    found.map_err(cannot(action))
}

/// Creates an object. Returns the object that the API server stored.
pub(crate) async fn create<K: Object>(
    client: &Client,
    namespace: &str,
    params: &PostParams,
    object: &K,
) -> Result<K, kube::Error> {
    let json = serde_json::to_value(object).and_then(serde_json::from_value);
    let object = json.map_err(kube::Error::SerdeError)?;
    let api = untyped::<K>(client, namespace);
    typed(&api.create(params, &object).await?)
}

/// Creates an object and returns it as stored; `None` if an object with this name exists. The inner error is the message of a
/// refusal with the code 400, 403 or 422.
pub(crate) async fn create_missing<K: Object>(
    client: &Client,
    namespace: &str,
    object: &K,
    action: &'static str,
) -> Result<Result<Option<K>, String>, ApiFailure> {
    match create(client, namespace, &PostParams::default(), object).await {
        Ok(created) => Ok(Ok(Some(created))),
        // The code 409 is ambiguous: a conflicting update of a quota also returns it.
        Err(kube::Error::Api(refusal)) if refusal.reason == "AlreadyExists" => Ok(Ok(None)),
        Err(kube::Error::Api(refusal)) if [400, 403, 422].contains(&refusal.code) => Ok(Err(
            format!("the API server refuses to {action}: {}", refusal.message),
        )),
        Err(error) => Err(cannot(action)(error)),
    }
}

/// Deletes exactly this object, identified by its uid. Succeeds if the object is already deleted or replaced.
pub(crate) async fn delete<K: Object>(
    client: &Client,
    object: &K,
    action: &'static str,
) -> Result<(), ApiFailure> {
    let this = Preconditions { uid: object.uid(), resource_version: None };
    let params = DeleteParams::default().preconditions(this);
    let api = untyped::<K>(client, &object.namespace().unwrap_or_default());
    match api.delete(&object.name_any(), &params).await {
        Err(kube::Error::Api(refusal)) if matches!(refusal.code, 404 | 409) => Ok(()),
        deleted => deleted.map(drop).map_err(cannot(action)),
    }
}

/// Applies the status to a resource only if the resource still has the version that was read. Returns `false` if the resource
/// has changed, was deleted or was recreated, because the observation may be outdated.
pub(crate) async fn write_status<K: Object>(
    client: &Client,
    resource: &K,
    status: &impl Serialize,
    action: &'static str,
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
    let api = untyped::<K>(client, &resource.namespace().unwrap_or_default());
    let params = PatchParams::apply(MANAGER).force();
    match api.patch_status(&name, &params, &Patch::Apply(body)).await {
        Err(kube::Error::Api(refusal)) if matches!(refusal.code, 404 | 409) => Ok(false),
        written => written.map(|_| true).map_err(cannot(action)),
    }
}

#[cfg(test)]
mod tests {
    use witan_crd::{EtcdCluster, EtcdClusterStatus, EtcdOperation};

    use super::*;
    use crate::testing::api::FakeApi;

    #[tokio::test]
    async fn a_status_is_written_only_to_the_resource_that_was_read() {
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

    /// The schema of the CRD accepts any two digits as the hours of a time zone.
    #[test]
    fn an_operation_with_an_invalid_time_is_skipped() {
        let restore = |time: &str| {
            let object = json!({
                "apiVersion": "witan.dev/v1", "kind": "EtcdOperation",
                "metadata": {"name": "back", "namespace": "shop"},
                "spec": {"clusterName": "a", "restore": {"from": {"s3": {"bucket": "b"}}, "toTime": time}},
            });
            let object = serde_json::from_value(object).expect("an object");
            readable::<EtcdOperation>(&object)
        };
        assert!(restore("2026-01-31T12:00:00+99:00").is_none());
        assert!(restore("2026-01-31T12:00:00+09:00").is_some());
    }
}
