//! The watches that trigger passes.

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        controller::{ReconcileRequest, trigger_with},
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use witan_crd::{CLUSTER, EtcdCluster, Object};

use crate::resources::MANAGER;

/// Returns the cluster of an object by its label; `None` without the label. Owner references would not do, because a kept claim
/// has none.
fn owner<K: Resource>(object: K) -> Option<ReconcileRequest<EtcdCluster>> {
    let name = object.labels().get(CLUSTER)?;
    let namespace = object.meta().namespace.as_deref()?;
    Some(ObjectRef::new(name).within(namespace).into())
}

/// Returns the API of a namespace, or of all namespaces.
pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Selects the objects that the operator created.
pub(crate) fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGER}"))
}

/// Watches the operator's objects of a kind in a namespace (`None` for all). Returns their store, and the stream of the
/// clusters whose objects change.
pub(super) fn parts<K: Object>(
    client: &Client,
    namespace: Option<&str>,
) -> (
    Store<K>,
    BoxStream<'static, Result<ReconcileRequest<EtcdCluster>, watcher::Error>>,
) {
    let (store, changes) = stored(watcher(api(client, namespace), ours()).default_backoff());
    (store, trigger_with(changes, owner::<K>).boxed())
}

/// Keeps the objects delivered by a watch in a local store. Returns the store and the stream of changed objects.
pub(super) fn stored<K: Object>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send,
) -> (
    Store<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send,
) {
    let (store, writer) = reflector::store::<K>();
    let changes = events.reflect(writer).touched_objects();
    let changes = changes.inspect_err(|error| tracing::debug!(%error, "watch"));
    (store, changes)
}
