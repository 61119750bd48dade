//! The objects as they are applied.

use serde_json::json;

use super::{Cluster, client_service};
use crate::crd::{EtcdCluster, EtcdClusterSpec};

#[test]
fn names_sort_by_number() {
    let mut resource = EtcdCluster::new("orders", EtcdClusterSpec::minimal());
    resource.metadata.namespace = Some("shop".to_owned());
    resource.metadata.uid = Some("u-1".to_owned());
    let cluster = Cluster::new(&resource, "example.dev/witan:1.0.0").expect("a cluster");
    assert_eq!(cluster.ordinal("orders-10"), Some(10));
    for other in ["orders-01", "orders-", "orders-x", "orders", "other-1"] {
        assert_eq!(cluster.ordinal(other), None, "{other}");
    }
    let service = serde_json::to_value(client_service(&cluster)).expect("JSON");
    assert_eq!(service["spec"]["ports"][0]["port"], json!(2379));
}
