//! Builds the two services: a service for clients, and a headless service for the members' DNS names.

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use witan_crd::ports;
use witan_plan::model::Role;

use super::{
    merge::built,
    names::{Cluster, ROLE, SERVICE},
    with_fingerprint, word,
};

/// Returns the service for clients, which routes connections to ready voters.
pub(crate) fn client_service(cluster: &Cluster<'_>) -> Service {
    let options = cluster.spec().services.as_ref();
    let options = options.and_then(|services| services.client.clone());
    let options = options.unwrap_or_default();
    let mut meta = cluster.meta(cluster.resource.client_service());
    let labels = meta.labels.get_or_insert_default();
    for (key, value) in options.labels {
        labels.entry(key).or_insert(value);
    }
    labels.insert(SERVICE.to_owned(), "client".to_owned());
    let annotations = meta.annotations.get_or_insert_default();
    annotations.extend(options.annotations);
    let mut selector = cluster.selector();
    selector.insert(ROLE.to_owned(), word(Role::Voter));
    with_fingerprint(Service {
        metadata: meta,
        spec: built(json!({
            "type": options.kind,
            "selector": selector,
            "ports": [port("client", ports::CLIENT)],
            "trafficDistribution": options.traffic_distribution,
        })),
        status: None,
    })
}

/// Returns the headless service, which gives members their DNS names even before they are ready.
pub(crate) fn peer_service(cluster: &Cluster<'_>) -> Service {
    let mut meta = cluster.meta(cluster.resource.peer_service());
    let labels = meta.labels.get_or_insert_default();
    labels.insert(SERVICE.to_owned(), "peer".to_owned());
    with_fingerprint(Service {
        metadata: meta,
        spec: built(json!({
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": cluster.selector(),
            "ports": [
                port("peer", ports::PEER),
                port("client", ports::CLIENT),
                port("metrics", ports::METRICS),
            ],
        })),
        status: None,
    })
}

fn port(name: &str, number: i32) -> Value {
    json!({"name": name, "port": number, "targetPort": name, "protocol": "TCP"})
}
