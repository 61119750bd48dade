//! Watches of our own kinds that skip resources which this release cannot parse. After a rollback, a resource can have a value
//! that only the later release knows, and the API server admits invalid times. Skipped resources are reported and left
//! unchanged.

use futures_util::{Stream, TryStreamExt as _, future};
use kube::{
    Client, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        reflector::Store,
        watcher::{self, Event},
    },
};
use witan_crd::Object;

use super::watches::{api, stored};

/// Watches the resources of a kind in a namespace (`None` for all). Returns the store of the parsed resources, and the stream
/// of their changes.
pub(crate) fn watch<K: Object>(
    client: &Client,
    namespace: Option<&str>,
) -> (
    Store<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>,
) {
    let api = api::<DeserializeGuard<K>>(client, namespace);
    let events = kube::runtime::watcher(api, watcher::Config::default()).default_backoff();
    stored(events.try_filter_map(|event| future::ok(readable_event(event))))
}

/// Returns the resource if it can be parsed, or logs an error.
pub(crate) fn readable<K: Object>(guard: DeserializeGuard<K>) -> Option<K> {
    let (name, namespace) = (guard.name_any(), guard.namespace());
    let read = guard.0;
    let read = read.inspect_err(|error| {
        tracing::error!(namespace, name, kind = %K::kind(&()), %error, "ignoring a resource that this release of the operator cannot parse");
    });
    read.ok()
}

/// Returns the event if its object can be parsed.
fn readable_event<K: Object>(event: Event<DeserializeGuard<K>>) -> Option<Event<K>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(guard) => Event::InitApply(readable(guard)?),
        Event::Apply(guard) => Event::Apply(readable(guard)?),
        Event::Delete(guard) => Event::Delete(readable(guard)?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use witan_crd::{EtcdCluster, EtcdOperation};

    use super::*;

    #[test]
    fn a_cluster_that_cannot_be_read_hides_no_other() {
        let cluster = |name: &str, spec| {
            let object = json!({
                "apiVersion": "witan.dev/v1", "kind": "EtcdCluster",
                "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
            });
            serde_json::from_value(object).expect("a guard takes everything")
        };
        let later = cluster("later", json!({"imagePullPolicy": "Whenever"}));
        assert!(readable_event::<EtcdCluster>(Event::InitApply(later)).is_none());
        let sound = readable_event::<EtcdCluster>(Event::InitApply(cluster("sound", json!({}))));
        assert!(matches!(sound, Some(Event::InitApply(_))));
    }

    /// The API server's schema bounds the hours of a time zone only to two digits.
    #[test]
    fn an_operation_with_a_time_of_no_calendar_is_skipped() {
        let restore = |time: &str| {
            let object = json!({
                "apiVersion": "witan.dev/v1", "kind": "EtcdOperation",
                "metadata": {"name": "back", "namespace": "shop"},
                "spec": {"clusterName": "a", "restore": {"from": {"s3": {"bucket": "b"}}, "toTime": time}},
            });
            readable::<EtcdOperation>(
                serde_json::from_value(object).expect("a guard takes everything"),
            )
        };
        assert!(restore("2026-01-31T12:00:00+99:00").is_none());
        assert!(restore("2026-01-31T12:00:00+09:00").is_some());
    }
}
