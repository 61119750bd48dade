//! The loop that runs passes over objects: when an object changes, when another object requests a pass, and after a delay.
//!
//! kube's generic streams and requests are instantiated here once, for untyped objects. A pass receives a typed object.

use std::{sync::Arc, time::Duration};

use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _, future,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt as _, applier,
        controller::{self, Action, Config, ReconcileRequest},
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use witan_crd::{CLUSTER, EtcdCluster, Object};

use crate::{
    act::ActError,
    api_server::{ApiFailure, kind_of, readable},
    metrics::Metrics,
    resources::{MANAGER, ResourceError},
};

const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error(transparent)]
    Resource(#[from] ResourceError),
    #[error("step {step}: {source}")]
    Act {
        step: String,
        #[source]
        source: Box<ActError>,
    },
    #[error("the pass did not finish within {} s", .0.as_secs())]
    TooLong(Duration),
    #[error(transparent)]
    Api(#[from] ApiFailure),
}

/// The result of a pass: the time of the next pass over the object, or an error.
pub(crate) type PassResult = Result<Action, PassError>;

/// Aborts a pass after `longest`. A request without a response must not hold resources that other passes need.
pub(crate) async fn with_timeout(
    longest: Duration,
    pass: impl Future<Output = PassResult>,
) -> PassResult {
    let ended = tokio::time::timeout(longest, pass).await;
    ended.unwrap_or(Err(PassError::TooLong(longest)))
}

/// The work that the loop does for each object of a kind.
pub(crate) trait Passes<K>: Send + Sync + 'static {
    /// Runs a pass over an object.
    fn pass(&self, object: &K) -> impl Future<Output = PassResult> + Send;

    /// Returns the time until the next pass after a failed pass.
    fn retry(&self, _namespace: &str, _name: &str) -> Duration {
        RETRY
    }

    /// Drops the state of a deleted object.
    fn forget(&self, _namespace: &str, _name: &str) {}
}

/// A stream of requests for passes over the objects of one kind.
pub(crate) type Requests =
    BoxStream<'static, Result<ReconcileRequest<DynamicObject>, watcher::Error>>;

type Pass = BoxFuture<'static, PassResult>;

/// Returns the delay after a failed pass over the object with this namespace and name.
type Retry = Box<dyn Fn(&str, &str) -> Duration + Send + Sync>;

/// Forgets the deleted object with this namespace and name.
type Forget = Box<dyn Fn(&str, &str) + Send>;

/// Runs passes over the objects of a kind in a namespace (`None` for all), and for each request of `others`. Forgets objects
/// that this release cannot parse. Returns the store of the objects, and a stream that runs the passes while it is polled.
pub(crate) fn run<K: Object>(
    work: Arc<impl Passes<K>>,
    client: &Client,
    metrics: &Arc<Metrics>,
    namespace: Option<&str>,
    others: impl IntoIterator<Item = Requests>,
) -> (Store<DynamicObject>, BoxStream<'static, ()>) {
    let kind = kind_of::<K>();
    let (store, own) = objects(client, namespace, kind.clone());
    let queue = stream::select_all([own].into_iter().chain(others)).boxed();
    let (passes, retries, metrics) = (work.clone(), work.clone(), metrics.clone());
    let pass = move |object: Arc<DynamicObject>, _: Arc<()>| -> Pass {
        let passes = passes.clone();
        Box::pin(async move {
            match readable::<K>(&object) {
                Some(object) => passes.pass(&object).await,
                None => {
                    // Forget the object, because its metrics would otherwise keep their last values.
                    let (namespace, name) = (object.namespace(), object.name_any());
                    passes.forget(namespace.as_deref().unwrap_or_default(), &name);
                    Ok(Action::await_change())
                }
            }
        })
    };
    let retry = move |namespace: &str, name: &str| retries.retry(namespace, name);
    let forget = move |namespace: &str, name: &str| work.forget(namespace, name);
    let watch_failed = move || metrics.watch_failed(&kind.kind);
    let passes = apply(
        store.clone(),
        queue,
        Box::new(pass),
        Box::new(retry),
        Box::new(forget),
        Box::new(watch_failed),
    );
    (store, passes.boxed())
}

/// Runs `pass` for each request. Retries failed passes and watches. Forgets deleted objects.
fn apply(
    store: Store<DynamicObject>,
    queue: Requests,
    pass: Box<dyn Fn(Arc<DynamicObject>, Arc<()>) -> Pass + Send>,
    retry: Retry,
    forget: Forget,
    watch_failed: Box<dyn Fn() + Send>,
) -> impl Stream<Item = ()> + Send {
    let failed = move |object: Arc<DynamicObject>, error: &PassError, _: Arc<()>| {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let delay = retry(&namespace, &name);
        let kind = object.types.as_ref().map(|types| &*types.kind);
        tracing::warn!(namespace, name, kind, %error, delay_ms = delay.as_millis(), "pass failed; retrying after delay_ms");
        Action::requeue(delay)
    };
    let passes = applier(pass, failed, Arc::new(()), store, queue, Config::default());
    passes.map(move |outcome| match outcome {
        Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
        Err(controller::Error::ObjectNotFound(gone)) => {
            forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
        }
        // One cause is a missing permission to list the kind.
        Err(error) => {
            watch_failed();
            tracing::warn!(%error, "a watch failed; restarting it");
        }
    })
}

/// Returns a store with the objects of a kind in a namespace (`None` for all). Also returns a stream with a request for each
/// object that changes.
fn objects(
    client: &Client,
    namespace: Option<&str>,
    kind: ApiResource,
) -> (Store<DynamicObject>, Requests) {
    let writer = Writer::new(kind.clone());
    let store = writer.as_reader();
    let changed = watch(client, namespace, &kind, watcher::Config::default());
    let changed = changed.reflect(writer).touched_objects();
    let request = move |object| ObjectRef::from_obj_with(&object, kind.clone()).into();
    (store, changed.map_ok(request).boxed())
}

/// Watches the objects of a kind that `config` selects, in a namespace (`None` for all). Restarts a failed watch with backoff.
fn watch(
    client: &Client,
    namespace: Option<&str>,
    kind: &ApiResource,
    config: watcher::Config,
) -> BoxStream<'static, Result<Event<DynamicObject>, watcher::Error>> {
    let api = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, kind),
        None => Api::all_with(client.clone(), kind),
    };
    watcher(api, config).default_backoff().boxed()
}

/// Returns the configuration of a watch of objects with the operator's label.
pub(crate) fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGER}"))
}

/// Watches the operator's objects of a kind in a namespace (`None` for all). Returns their store, and requests for passes over
/// their clusters. The store lacks objects that this release cannot parse.
pub(crate) fn parts<K: Object>(client: &Client, namespace: Option<&str>) -> (Store<K>, Requests) {
    let (store, mut writer) = reflector::store::<K>();
    let clusters = kind_of::<EtcdCluster>();
    // Owner references are not enough, because a kept claim has no owner.
    let cluster = move |of: &DynamicObject| named(of, of.labels().get(CLUSTER)?, &clusters);
    let events = watch(client, namespace, &kind_of::<K>(), ours());
    let requests = events.try_filter_map(move |event| {
        let request = touched(&event).and_then(&cluster);
        if let Some(event) = typed_event(&event) {
            writer.apply_watcher_event(&event);
        }
        future::ok(request)
    });
    (store, requests.boxed())
}

/// Watches the objects of the kind `W` in a namespace (`None` for all). Returns requests for passes over the `K` that `of`
/// names.
pub(crate) fn related<W: Object, K: Object>(
    client: &Client,
    namespace: Option<&str>,
    config: watcher::Config,
    of: fn(&DynamicObject) -> Option<&String>,
) -> Requests {
    let kind = kind_of::<K>();
    let events = watch(client, namespace, &kind_of::<W>(), config);
    let request = move |event| {
        let request = touched(&event).and_then(|object| named(object, of(object)?, &kind));
        future::ok(request)
    };
    events.try_filter_map(request).boxed()
}

/// Returns the request for the object `name` in the namespace of `other`, or `None` if `other` has no namespace.
fn named(
    other: &DynamicObject,
    name: &str,
    kind: &ApiResource,
) -> Option<ReconcileRequest<DynamicObject>> {
    let namespace = other.metadata.namespace.as_deref()?;
    let object = ObjectRef::new_with(name, kind.clone()).within(namespace);
    Some(object.into())
}

/// Returns the object of an event; `None` for the start and the end of a list.
fn touched(event: &Event<DynamicObject>) -> Option<&DynamicObject> {
    match event {
        Event::Init | Event::InitDone => None,
        Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) => Some(object),
    }
}

/// Converts the object of an event to the type `K`; `None` if this release cannot parse it.
fn typed_event<K: Object>(event: &Event<DynamicObject>) -> Option<Event<K>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(readable(object)?),
        Event::Apply(object) => Event::Apply(readable(object)?),
        Event::Delete(object) => Event::Delete(readable(object)?),
    })
}
