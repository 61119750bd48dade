//! Selects the events about a cluster and its objects.

use k8s_openapi::api::core::v1::{Event, ObjectReference};
use kube::ResourceExt as _;

use super::super::facts::Facts;

/// The length of the suffix that Kubernetes appends to a job's name for its pods.
const POD_SUFFIX: usize = 5;

pub(super) fn of_cluster(mut events: Vec<Event>, facts: &Facts) -> Vec<Event> {
    events.retain(|event| is_about(&event.involved_object, facts));
    events
}

/// Returns whether an object belongs to a cluster. Objects of another cluster `orders-eu` also begin with `orders-`.
fn is_about(object: &ObjectReference, facts: &Facts) -> bool {
    let cluster = &facts.cluster;
    let name = object.name.as_deref().unwrap_or_default();
    let is_backup = |name: &str| facts.backups.iter().any(|each| each.name_any() == name);
    match object.kind.as_deref().unwrap_or_default() {
        "EtcdCluster" => name == cluster.name_any(),
        "EtcdBackup" | "Job" => is_backup(name),
        "EtcdBackupSchedule" => facts.schedules.iter().any(|each| each.name_any() == name),
        "Pod" => {
            let of_job = name.rsplit_once('-');
            let of_job = of_job.filter(|(_, suffix)| suffix.len() == POD_SUFFIX);
            cluster.ordinal(name).is_some() || of_job.is_some_and(|(job, _)| is_backup(job))
        }
        "PersistentVolumeClaim" => {
            let member = name.strip_prefix("data-");
            member.is_some_and(|member| cluster.ordinal(member).is_some())
        }
        // Services and disruption budgets.
        _ => [
            cluster.name_any(),
            cluster.client_service(),
            cluster.peer_service(),
        ]
        .iter()
        .any(|own| own == name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn events_are_those_of_the_cluster() {
        let event = |(kind, name): (&str, &str)| -> Event {
            let object = json!({"kind": kind, "name": name});
            serde_json::from_value(json!({"metadata": {}, "involvedObject": object})).unwrap()
        };
        let of = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "witan.dev/v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": spec});
        let backup = json!({"clusterRef": {"name": "orders"}, "store": {"s3": {"bucket": "b"}}});
        let facts: Facts = serde_json::from_value(json!({
            "cluster": of("EtcdCluster", "orders", json!({})),
            "backups": [of("EtcdBackup", "nightly-1", backup)],
        }))
        .unwrap();
        let own = [
            ("EtcdCluster", "orders"),
            ("Pod", "orders-0"),
            ("PersistentVolumeClaim", "data-orders-0"),
            ("Service", "orders-client"),
            ("Service", "orders-peer"),
            ("EtcdBackup", "nightly-1"),
            ("Job", "nightly-1"),
            ("Pod", "nightly-1-x7k2p"),
        ];
        let foreign = [
            ("EtcdCluster", "orders-0"),
            ("EtcdCluster", "orders-eu"),
            ("Pod", "orders-eu-0"),
            ("PersistentVolumeClaim", "data-orders-eu-0"),
            ("Service", "orders-eu"),
            ("EtcdBackup", "orders-eu-1"),
            ("Pod", "ordersx"),
        ];
        let events = own.iter().chain(&foreign).copied().map(event).collect();
        let kept = of_cluster(events, &facts).into_iter();
        let kept: Vec<_> = kept
            .filter_map(|event| event.involved_object.name)
            .collect();
        assert_eq!(kept, own.map(|(_, name)| name));
    }
}
