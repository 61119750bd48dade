//! The watch of EtcdClusters. It skips those that this release cannot parse: after a rollback a resource may have a
//! value that only the later release knows. Skipped resources are reported and left alone.

use futures_util::{Stream, TryStreamExt as _, future};
use kube::{
    Api, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        reflector::Store,
        watcher::{self, Event},
    },
};
use witan_crd::EtcdCluster;

use super::watches::stored;

/// Watches EtcdClusters; returns the store of the parsed ones, and the stream of their changes.
pub(super) fn clusters(
    api: Api<DeserializeGuard<EtcdCluster>>,
) -> (
    Store<EtcdCluster>,
    impl Stream<Item = Result<EtcdCluster, watcher::Error>> + Send,
) {
    let events = kube::runtime::watcher(api, watcher::Config::default()).default_backoff();
    stored(events.try_filter_map(|event| future::ok(readable(event))))
}

/// Returns the event if its object can be read.
fn readable(event: Event<DeserializeGuard<EtcdCluster>>) -> Option<Event<EtcdCluster>> {
    let read = |guard: DeserializeGuard<EtcdCluster>| {
        let (name, namespace) = (guard.name_any(), guard.namespace());
        let read = guard.0;
        let read = read.inspect_err(|error| {
            tracing::error!(namespace, cluster = name, %error, "this release cannot read the EtcdCluster and leaves it alone");
        });
        read.ok()
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(guard) => Event::InitApply(read(guard)?),
        Event::Apply(guard) => Event::Apply(read(guard)?),
        Event::Delete(guard) => Event::Delete(read(guard)?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        assert!(readable(Event::InitApply(later)).is_none());
        let sound = readable(Event::InitApply(cluster("sound", json!({}))));
        assert!(matches!(sound, Some(Event::InitApply(_))));
    }
}
