//! The series that the alerts and the dashboard of etcd's mixin (`contrib/mixin`) ask for, with the
//! labels that they select or aggregate by, and those that our own ask for.

use std::collections::BTreeSet;

use witan_e2e::{Cluster, Kind, Launch, Server, Tool, wait};

use super::scrape::{Scrape, scrape};

/// Where a series comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The server, from its start.
    Start,
    /// The server, with `--metrics=extensive`.
    Extensive,
    /// The server, with the first other member that it talks to. On a lone etcd they are absent, too.
    Peers,
    /// Prometheus itself.
    Prometheus,
}

use Source::{Extensive, Peers, Prometheus, Start};

/// An alert or a panel, a series of its expression, and labels of that series.
const ASKED: &[(&str, &str, &[&str], Source)] = &[
    ("etcdMembersDown", "up", &[], Prometheus),
    (
        "etcdMembersDown",
        "etcd_network_peer_sent_failures_total",
        &["To"],
        Peers,
    ),
    ("etcdInsufficientMembers", "up", &[], Prometheus),
    ("etcdNoLeader", "etcd_server_has_leader", &[], Start),
    (
        "etcdHighNumberOfLeaderChanges",
        "etcd_server_leader_changes_seen_total",
        &[],
        Start,
    ),
    (
        "etcdHighNumberOfFailedGRPCRequests",
        "grpc_server_handled_total",
        &["grpc_type", "grpc_code", "grpc_method", "grpc_service"],
        Start,
    ),
    (
        "etcdGRPCRequestsSlow",
        "grpc_server_handling_seconds_bucket",
        &["grpc_type", "grpc_method", "grpc_service", "le"],
        Extensive,
    ),
    (
        "etcdMemberCommunicationSlow",
        "etcd_network_peer_round_trip_time_seconds_bucket",
        &["To", "le"],
        Peers,
    ),
    (
        "etcdHighNumberOfFailedProposals",
        "etcd_server_proposals_failed_total",
        &[],
        Start,
    ),
    (
        "etcdHighFsyncDurations",
        "etcd_disk_wal_fsync_duration_seconds_bucket",
        &["le"],
        Start,
    ),
    (
        "etcdHighCommitDurations",
        "etcd_disk_backend_commit_duration_seconds_bucket",
        &["le"],
        Start,
    ),
    (
        "etcdDatabaseQuotaLowSpace",
        "etcd_mvcc_db_total_size_in_bytes",
        &[],
        Start,
    ),
    (
        "etcdDatabaseQuotaLowSpace",
        "etcd_server_quota_backend_bytes",
        &[],
        Start,
    ),
    (
        "etcdExcessiveDatabaseGrowth",
        "etcd_mvcc_db_total_size_in_bytes",
        &[],
        Start,
    ),
    (
        "etcdExcessiveDatabaseGrowth",
        "etcd_server_quota_backend_bytes",
        &[],
        Start,
    ),
    (
        "etcdDatabaseHighFragmentationRatio",
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        &[],
        Start,
    ),
    (
        "etcdDatabaseHighFragmentationRatio",
        "etcd_mvcc_db_total_size_in_bytes",
        &[],
        Start,
    ),
    ("panel Up", "etcd_server_has_leader", &[], Start),
    (
        "panel RPC rate",
        "grpc_server_started_total",
        &["grpc_type"],
        Start,
    ),
    (
        "panel RPC rate",
        "grpc_server_handled_total",
        &["grpc_type", "grpc_code"],
        Start,
    ),
    (
        "panel Active streams",
        "grpc_server_started_total",
        &["grpc_service", "grpc_type"],
        Start,
    ),
    (
        "panel Active streams",
        "grpc_server_handled_total",
        &["grpc_service", "grpc_type"],
        Start,
    ),
    (
        "panel DB size",
        "etcd_mvcc_db_total_size_in_bytes",
        &[],
        Start,
    ),
    (
        "panel Disk sync duration",
        "etcd_disk_wal_fsync_duration_seconds_bucket",
        &["le"],
        Start,
    ),
    (
        "panel Disk sync duration",
        "etcd_disk_backend_commit_duration_seconds_bucket",
        &["le"],
        Start,
    ),
    ("panel Memory", "process_resident_memory_bytes", &[], Start),
    (
        "panel Client traffic in",
        "etcd_network_client_grpc_received_bytes_total",
        &[],
        Start,
    ),
    (
        "panel Client traffic out",
        "etcd_network_client_grpc_sent_bytes_total",
        &[],
        Start,
    ),
    (
        "panel Peer traffic in",
        "etcd_network_peer_received_bytes_total",
        &["From"],
        Peers,
    ),
    (
        "panel Peer traffic out",
        "etcd_network_peer_sent_bytes_total",
        &["To"],
        Peers,
    ),
    (
        "panel Raft proposals",
        "etcd_server_leader_changes_seen_total",
        &[],
        Start,
    ),
    (
        "panel Raft proposals",
        "etcd_server_proposals_failed_total",
        &[],
        Start,
    ),
    (
        "panel Raft proposals",
        "etcd_server_proposals_pending",
        &[],
        Start,
    ),
    (
        "panel Raft proposals",
        "etcd_server_proposals_committed_total",
        &[],
        Start,
    ),
    (
        "panel Raft proposals",
        "etcd_server_proposals_applied_total",
        &[],
        Start,
    ),
    (
        "panel Total leader elections",
        "etcd_server_leader_changes_seen_total",
        &[],
        Start,
    ),
    (
        "panel Peer round trip time",
        "etcd_network_peer_round_trip_time_seconds_bucket",
        &["To", "le"],
        Peers,
    ),
];

/// The rows of [`ASKED`] whose series or labels a server does not show.
fn missing(scrape: &Scrape, from: &[Source]) -> Vec<String> {
    let lacks = |series: &str, label: &&str| {
        let labels = scrape.labels(series);
        !labels.contains(*label)
    };
    ASKED
        .iter()
        .filter(|(_, _, _, source)| from.contains(source))
        .filter(|(_, series, labels, _)| {
            !scrape.has(series) || labels.iter().any(|label| lacks(series, label))
        })
        .map(|(alert, series, labels, _)| format!("{alert}: {series}{labels:?}"))
        .collect()
}

fn start(kind: Kind) -> Server {
    Launch::new(kind).arg("--metrics=extensive").start()
}

#[test]
fn all_series_of_the_mixin_exist_from_the_start() {
    let ours = scrape(&start(Kind::Witan));
    let found = missing(&ours, &[Start, Extensive]);
    assert!(found.is_empty(), "{}", found.join("\n"));
    // so that a rate sees the first failure
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

/// The list is right about etcd: what a lone member shows, and that it shows nothing of peers.
#[test]
fn a_lone_etcd_shows_the_same_of_it() {
    let theirs = scrape(&start(Kind::Etcd37));
    let found = missing(&theirs, &[Start, Extensive]);
    assert!(found.is_empty(), "{}", found.join("\n"));
    let peers = ASKED
        .iter()
        .filter(|(_, _, _, from)| *from == Peers)
        .count();
    assert_eq!(missing(&theirs, &[Peers]).len(), peers);
}

#[test]
fn extensive_metrics_time_calls() {
    // --metrics=extensive
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

/// Our alerts and dashboards of members.
const OURS: [&str; 2] = [
    include_str!("../../../../charts/witan-operator/files/rules.yaml"),
    include_str!("../../../../charts/witan-operator/files/dashboards/members.json"),
];

/// The members' series that a text names.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| {
        let ours = word.starts_with("etcd_") || word.starts_with("witan_");
        ours && !word.ends_with('_') && !word.starts_with("witan_operator_")
    })
}

/// A rule without a series says the same as one that is satisfied.
#[test]
fn what_our_alerts_and_dashboards_ask_for_is_there_from_the_start() {
    let cluster = Cluster::start(3);
    let missing = || {
        let scraped = scrape(cluster.member(0));
        let asked: BTreeSet<&str> = OURS.into_iter().flat_map(named).collect();
        assert!(asked.len() > 20, "{asked:?}");
        let missing = asked.into_iter().filter(|name| !scraped.has(name));
        missing.map(str::to_owned).collect::<Vec<String>>()
    };
    // round trips are measured each second
    wait::until("the first round trip", || {
        let missing = missing();
        let others = missing.iter().filter(|name| !name.contains("round_trip"));
        assert_eq!(others.count(), 0, "{missing:?}");
        missing.is_empty().then_some(())
    });
}
