//! The watches that lead to a cluster.

use std::fmt::Debug;

use futures_util::{Stream, TryStreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        controller::ReconcileRequest,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;

use crate::{crd::EtcdCluster, resources::CLUSTER};

/// Returns the cluster of an object by its label; `None` without the label. A claim that was kept has no
/// owner reference.
pub(super) fn owner<K: Resource>(object: K) -> Option<ReconcileRequest<EtcdCluster>> {
    let name = object.labels().get(CLUSTER)?;
    let namespace = object.meta().namespace.as_deref()?;
    Some(ObjectRef::new(name).within(namespace).into())
}

/// Watches all objects of a kind; returns the store that holds them and the stream of their changes.
pub(super) fn kept<K>(
    client: &Client,
    namespace: Option<&str>,
    config: watcher::Config,
) -> (
    Store<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>,
)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let api = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let (store, writer) = reflector::store::<K>();
    let events = watcher(api, config)
        .default_backoff()
        .reflect(writer)
        .touched_objects();
    (
        store,
        events.inspect_err(|error| tracing::debug!(%error, "watch")),
    )
}
