//! The series that the alerts and dashboards of etcd (`contrib/mixin`) and of Witan use.

use std::collections::BTreeSet;

use witan_e2e::{Cluster, Kind, Launch, Server, Tool, wait};

use super::scrape::scrape;

/// Series of a single member with etcd's labels. A member must show them from its start, so that a rate includes the first
/// failure.
const ALONE: [&str; 17] = [
    "etcd_server_has_leader",
    "etcd_server_leader_changes_seen_total",
    "grpc_server_started_total",
    "grpc_server_handled_total",
    // This series requires --metrics=extensive.
    "grpc_server_handling_seconds_bucket",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_applied_total",
    "etcd_disk_wal_fsync_duration_seconds_bucket",
    "etcd_disk_backend_commit_duration_seconds_bucket",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_server_quota_backend_bytes",
    "process_resident_memory_bytes",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
];

/// Series that exist from the first connection to another member, and their labels.
const PEERS: [(&str, &str); 4] = [
    ("etcd_network_peer_sent_failures_total", "To"),
    ("etcd_network_peer_round_trip_time_seconds_bucket", "To"),
    ("etcd_network_peer_received_bytes_total", "From"),
    ("etcd_network_peer_sent_bytes_total", "To"),
];

fn start(kind: Kind) -> Server {
    Launch::new(kind).arg("--metrics=extensive").start()
}

#[test]
fn all_series_of_the_mixin_exist_from_the_start() {
    let [ours, theirs] = [Kind::Witan, Kind::Etcd37].map(|kind| scrape(&start(kind)));
    for name in ALONE {
        assert!(ours.has(name) && theirs.has(name), "{name}");
        let (got, want) = (ours.labels(name), theirs.labels(name));
        assert!(got.is_superset(&want), "{name}: {got:?}, not {want:?}");
    }
    for (name, _) in PEERS {
        assert!(!theirs.has(name), "{name}");
    }
    for code in [
        "Unknown",
        "FailedPrecondition",
        "ResourceExhausted",
        "Internal",
        "Unavailable",
        "DataLoss",
        "DeadlineExceeded",
    ] {
        let series = format!(
            "grpc_server_handled_total{{grpc_code=\"{code}\",grpc_method=\"Put\",\
             grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}}"
        );
        assert!(ours.value(&series).abs() < 0.5, "{series}");
    }
}

#[test]
fn extensive_metrics_time_calls() {
    // The server runs with --metrics=extensive.
    let server = start(Kind::Witan);
    let count = "grpc_server_handling_seconds_count{grpc_method=\"Put\",\
                 grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}";
    let before = scrape(&server).value(count);
    for _ in 0..3 {
        Tool::Etcdctl36.run(&server.url(), &["put", "k", "v"]);
    }
    assert!((scrape(&server).value(count) - before - 3.0).abs() < 0.5);
    let basic = scrape(&Launch::witan().start());
    assert!(!basic.has("grpc_server_handling_seconds_bucket"));
}

const OURS: [&str; 2] = [
    include_str!("../../../../charts/witan-operator/files/rules.yaml"),
    include_str!("../../../../charts/witan-operator/files/dashboards/members.json"),
];

fn named(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| {
        let ours = word.starts_with("etcd_") || word.starts_with("witan_");
        ours && !word.ends_with('_') && !word.starts_with("witan_operator_")
    })
}

/// An alert without its series would never fire.
#[test]
fn series_of_our_alerts_and_dashboards_exist_from_the_start() {
    let cluster = Cluster::start(3);
    let missing = || {
        let scraped = scrape(cluster.member(0));
        let asked: BTreeSet<&str> = OURS.into_iter().flat_map(named).collect();
        assert!(asked.len() > 20, "{asked:?}");
        let missing = asked.into_iter().filter(|name| !scraped.has(name));
        missing.map(str::to_owned).collect::<Vec<String>>()
    };
    // Round trips are measured every second.
    wait::until("a measured round trip", || {
        let missing = missing();
        let others = missing.iter().filter(|name| !name.contains("round_trip"));
        assert_eq!(others.count(), 0, "{missing:?}");
        missing.is_empty().then_some(())
    });
    let scraped = scrape(cluster.member(0));
    for (name, label) in PEERS {
        assert!(scraped.labels(name).contains(label), "{name}");
    }
}
