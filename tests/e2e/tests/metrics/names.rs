//! Compares names, types, labels, buckets and counts with etcd's, and lists absent families.

use std::collections::{BTreeMap, BTreeSet};

use witan_e2e::{Kind, Launch, Tool};

use super::scrape::{Scrape, scrape};

/// Families of a single etcd 3.7 member that are absent, each group with its reason.
const ABSENT: &str = "
    # Witan does not use bbolt
    etcd_debugging_disk_backend_commit_rebalance_duration_seconds
    etcd_debugging_disk_backend_commit_spill_duration_seconds
    etcd_debugging_disk_backend_commit_write_duration_seconds
    etcd_mvcc_db_open_read_transactions
    # a compaction drops blocks, not keys
    etcd_debugging_mvcc_db_compaction_keys_total
    # a compaction pauses nothing
    etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds
    etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds
    # a compaction runs in steps between other work
    etcd_debugging_mvcc_db_compaction_total_duration_milliseconds
    # only db_total_size sums the sizes of values
    etcd_debugging_mvcc_total_put_size_in_bytes
    # no loop sends the events of a stream, so no rounds can be timed
    etcd_debugging_server_watch_send_loop_control_stream_duration_seconds
    etcd_debugging_server_watch_send_loop_progress_duration_seconds
    etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds
    etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds
    # there are no snapshot files next to the log
    etcd_debugging_snap_save_marshalling_duration_seconds
    etcd_debugging_snap_save_total_duration_seconds
    etcd_snap_db_fsync_duration_seconds
    etcd_snap_db_save_total_duration_seconds
    etcd_snap_fsync_duration_seconds
    # one call writes and syncs: wal_fsync observes both
    etcd_disk_wal_write_duration_seconds
    # this process runs no proxy
    etcd_grpc_proxy_cache_hits_total
    etcd_grpc_proxy_cache_keys_total
    etcd_grpc_proxy_cache_misses_total
    etcd_grpc_proxy_events_coalescing_total
    etcd_grpc_proxy_watchers_coalescing_total
    # no series shows the feature gates
    etcd_server_feature_enabled
    # Witan has no Go runtime
    etcd_server_go_version
    # Witan does not measure these events
    etcd_server_heartbeat_send_failures_total
    etcd_server_snapshot_apply_in_progress_total
";

const SCRIPT: &[&[&str]] = &[
    &["put", "k", "v"],
    &["put", "k", "--ignore-value", "--ignore-lease"],
    &["put", "missing", "--ignore-value"],
    &["get", "k"],
    &["get", "", "--prefix", "--keys-only"],
    &["del", "k"],
    &["lease", "grant", "1000"],
    &["compact", "3"],
    &["compact", "1"],
    &["endpoint", "status"],
    &["member", "list"],
    &["defrag"],
    &["alarm", "list"],
];

fn after_the_script(kind: Kind) -> Scrape {
    let server = Launch::new(kind).arg("--metrics=extensive").start();
    for args in SCRIPT {
        Tool::Etcdctl36.run(&server.url(), args);
    }
    server.http("GET", "/readyz", "");
    scrape(&server)
}

#[test]
fn families_and_calls_are_etcds_after_the_same_script() {
    let [ours, theirs] = [Kind::Witan, Kind::Etcd37].map(after_the_script);
    same_families(&ours, &theirs);
    same_counts(&ours, &theirs);
}

fn same_families(ours: &Scrape, theirs: &Scrape) {
    let lines = ABSENT.lines().map(str::trim);
    let absent = lines.filter(|line| line.starts_with("etcd_"));
    let absent: BTreeSet<&str> = absent.collect();
    let mut wrong = Vec::new();
    for (family, kind) in &theirs.types {
        // These families belong to the Go runtime.
        if family.starts_with("go_") || family.starts_with("process_network_") {
            continue;
        }
        let Some(own) = ours.types.get(family) else {
            if !absent.contains(family.as_str()) {
                wrong.push(format!("{family} is absent without a reason"));
            }
            continue;
        };
        if own != kind {
            wrong.push(format!("{family} is a {kind} on etcd, not {own}"));
        }
        let samples = theirs.sample(family);
        let (got, want) = (ours.labels(&samples), theirs.labels(&samples));
        if got != want {
            wrong.push(format!("{family} has labels {got:?}, not {want:?}"));
        }
        // Go writes large numbers with an exponent.
        let bounds = |scrape: &Scrape| -> BTreeSet<String> {
            let bounds = scrape.values_of(&samples, "le").into_iter();
            let bounds = bounds.map(|text| text.trim_start_matches('+').parse::<f64>());
            bounds.map(|bound| format!("{bound:?}")).collect()
        };
        if kind == "histogram" && bounds(ours) != bounds(theirs) {
            wrong.push(format!("{family} has buckets {:?}", bounds(ours)));
        }
    }
    for family in absent {
        if !theirs.types.contains_key(family) {
            wrong.push(format!("{family} is listed, but etcd does not have it"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks that calls, requests and writes have the same counts. Ignores zeros, durations and RangeStream.
fn same_counts(ours: &Scrape, theirs: &Scrape) {
    let counted = |scrape: &Scrape| -> BTreeMap<String, u64> {
        let series = scrape.series.iter().filter(|(name, _)| {
            let calls = name.starts_with("grpc_server_") && !name.contains("_seconds");
            calls && name.contains("etcdserverpb.")
                || name.starts_with("etcd_server_client_requests_total")
                || name.starts_with("etcd_network_client_grpc_received_bytes_total")
                || name.starts_with("etcd_mvcc_put_total")
                || name.starts_with("etcd_mvcc_delete_total")
                || name.starts_with("etcd_debugging_lease_granted_total")
        });
        let series = series.filter(|(name, _)| !name.contains("RangeStream"));
        series
            .filter(|(_, value)| **value > 0.5)
            .map(|(name, value)| (name.clone(), *value as u64))
            .collect()
    };
    let (got, want) = (counted(ours), counted(theirs));
    let names: BTreeSet<&String> = got.keys().chain(want.keys()).collect();
    let wrong: Vec<String> = names
        .into_iter()
        .filter(|name| got.get(*name) != want.get(*name))
        .map(|name| format!("{name}: {:?}, not {:?}", got.get(name), want.get(name)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(got.len() > 20, "{got:?}");
}

/// Also compares with etcd 3.4 and 3.6.
#[test]
fn families_of_etcd_have_etcds_types() {
    let server = Launch::witan().start();
    // Some families appear at their first use.
    server.http("PUT", "/v2/keys/k", "value=v");
    Tool::Etcdctl36.run(&server.url(), &["put", "k", "v"]);
    let ours = scrape(&server);
    let mut known = BTreeMap::new();
    for kind in [Kind::Etcd34, Kind::Etcd36, Kind::Etcd37] {
        let etcd = Launch::new(kind).start();
        if kind == Kind::Etcd34 {
            etcd.http("PUT", "/v2/keys/k", "value=v");
            etcd.http("GET", "/v2/keys/missing", "");
        }
        Tool::Etcdctl36.run(&etcd.url(), &["put", "k", "v"]);
        let alarm = r#"{"action":"ACTIVATE","alarm":"NOSPACE","memberID":"1"}"#;
        etcd.http("POST", "/v3/maintenance/alarm", alarm);
        known.extend(scrape(&etcd).types);
    }
    let mut differences = Vec::new();
    for (name, kind) in &ours.types {
        match known.get(name) {
            Some(theirs) if theirs == kind => {}
            Some(theirs) => differences.push(format!("{name} is a {theirs} on etcd, not {kind}")),
            // A metric that etcd lacks has its own prefix, or belongs to the process.
            None if name.starts_with("witan_") || name.starts_with("process_") => {}
            None => differences.push(format!("{name} is not etcd's")),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
