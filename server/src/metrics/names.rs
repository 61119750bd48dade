//! The names and help texts of all series but the gRPC ones (`calls`). Types and buckets are etcd's.

use prometheus::{Histogram, IntCounter, Registry};
use witan_replica::machine::tree;

use super::{
    FactSeries, HttpMethod, HttpSeries, Series, applies, calls, clients, process,
    register::SeriesRegistry, space,
};

/// A row per series.
#[rustfmt::skip]
pub(super) fn series(on: &SeriesRegistry, extensive: bool) -> Series {
    let kv_ranges = on.counter("etcd_mvcc_range_total", "Ranges that this member has seen.");
    let kv_puts = on.counter("etcd_mvcc_put_total", "Puts that this member has seen.");
    let kv_deletes = on.counter("etcd_mvcc_delete_total", "Deletions that this member has seen.");
    let kv_txns = on.counter("etcd_mvcc_txn_total", "Transactions that this member has seen.");
    let told = fact_series(on, [&kv_ranges, &kv_puts, &kv_deletes, &kv_txns]);
    let tree_reads = on.counters("etcd_debugging_store_reads_total", "v2 reads by action, local to this member.", &["action"]);
    Series {
        registry: Registry::new(),
        calls: calls::CallSeries::new(on, extensive),
        clients: clients::ClientVersions::new(on),
        applies: applies::ApplySeries::new(on),
        scrapes: on.counters("promhttp_metric_handler_requests_total", "Scrapes of this page, by status.", &["code"]),
        range: range_durations(on),
        http: http(on),
        http_failed: on.counters("etcd_http_failed_total", "v2 requests that failed, by method and status.", &["method", "code"]),
        tree_writes: tree_writes(on),
        refused: on.counters("witan_refused_total", "Requests refused early because too much is in flight already, by what.", &["what"]),
        panics: on.counters("witan_panics_total", "Panics that ended one request or connection each, by whose work panicked.", &["handler"]),
        health_results: on.gauges("etcd_server_healthcheck", "1 if a check of a probe went well the last time, else 0.", &["type", "name"]),
        health_checks: on.counters("etcd_server_healthchecks_total", "Checks of probes, by how they went.", &["type", "name", "status"]),
        tls_expires: on.gauge("witan_tls_certificate_not_after_seconds", "Unix time at which the certificate of the client port ends, 0 without one."),
        tls_handshakes_failed: on.counters("witan_tls_handshake_failures_total", "TLS handshakes with clients that failed, by reason.", &["reason"]),
        facts: told,
        grpc_received_bytes: on.counter("etcd_network_client_grpc_received_bytes_total", "Bytes of messages received from gRPC clients."),
        grpc_sent_bytes: on.counter("etcd_network_client_grpc_sent_bytes_total", "Bytes of messages sent to gRPC clients."),
        leader_changes: on.counter("etcd_server_leader_changes_seen_total", "Changes of leader seen."),
        proposals_pending: on.gauge("etcd_server_proposals_pending", "Proposals waiting to be committed."),
        proposals_failed: on.counter("etcd_server_proposals_failed_total", "Proposals that failed."),
        slow_apply: on.counter("etcd_server_slow_apply_total", "Slow applies (an overloaded disk or processor)."),
        checkpoint_failures: on.counter("witan_checkpoint_failures_total", "Checkpoints that could not be written."),
        slow_read_indexes: on.counter("etcd_server_slow_read_indexes_total", "Linearizable reads that were not confirmed in time."),
        read_indexes_failed: on.counter("etcd_server_read_indexes_failed_total", "Linearizable reads that failed."),
        health_success: on.counter("etcd_server_health_success", "Health checks that succeeded."),
        health_failures: on.counter("etcd_server_health_failures", "Health checks that failed."),
        wal_fsync: on.histogram("etcd_disk_wal_fsync_duration_seconds", "Durations of making the raft log durable.", 0.001, 14),
        wal_write_bytes: on.gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the raft log."),
        backend_commit: on.histogram("etcd_disk_backend_commit_duration_seconds", "Durations of making a checkpoint durable.", 0.001, 14),
        defrags_now: on.gauge("etcd_disk_defrag_inflight", "Defragmentations under way."),
        defrag: on.histogram("etcd_disk_backend_defrag_duration_seconds", "Durations of defragmentations: a checkpoint written anew.", 0.1, 13),
        snapshot: on.histogram("etcd_disk_backend_snapshot_duration_seconds", "Durations of snapshots sent to clients.", 0.01, 17),
        hash: on.histogram("etcd_mvcc_hash_duration_seconds", "Durations of hashing the whole store.", 0.01, 15),
        hash_rev: on.histogram("etcd_mvcc_hash_rev_duration_seconds", "Durations of hashing the key space at a revision.", 0.01, 15),
        compaction_last: on.gauge("etcd_debugging_mvcc_db_compaction_last", "Unix time of the last compaction."),
        kv_ranges,
        kv_puts,
        kv_deletes,
        kv_txns,
        leases_granted: on.counter("etcd_debugging_lease_granted_total", "Leases that began."),
        leases_revoked: on.counter("etcd_debugging_lease_revoked_total", "Leases that were ended."),
        leases_expired: on.counter("etcd_debugging_server_lease_expired_total", "Leases that ended because their time was over."),
        leases_renewed: on.counter("etcd_debugging_lease_renewed_total", "Keep-alives that this leader took."),
        lease_ttls: on.histogram("etcd_debugging_lease_ttl_total", "Seconds of each lease that began.", 1.0, 24),
        watch_streams: on.gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams open now."),
        watchers: on.gauge("etcd_debugging_mvcc_watcher_total", "Watchers open now."),
        slow_watchers: on.gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that have not caught up."),
        pending_events: on.gauge("etcd_debugging_mvcc_pending_events_total", "Events read for watchers and not sent yet."),
        events: on.counter("etcd_debugging_mvcc_events_total", "Events sent to watchers."),
        tree_gets: tree_reads.with_label_values(&["get"]),
        tree_gets_recursive: tree_reads.with_label_values(&["getRecursive"]),
        tree_expires: on.counter("etcd_debugging_store_expires_total", "v2 keys that expired."),
        tree_watch_requests: on.counter("etcd_debugging_store_watch_requests_total", "v2 watches asked for, new and repeated."),
        tree_watchers: on.gauge("etcd_debugging_store_watchers", "v2 watchers waiting now."),
    }
}

#[rustfmt::skip]
fn fact_series(on: &SeriesRegistry, kv: [&IntCounter; 4]) -> FactSeries {
    let twins = [
        ("etcd_debugging_mvcc_range_total", "Ranges that this member has seen (old name)."),
        ("etcd_debugging_mvcc_put_total", "Puts that this member has seen (old name)."),
        ("etcd_debugging_mvcc_delete_total", "Deletions that this member has seen (old name)."),
        ("etcd_debugging_mvcc_txn_total", "Transactions that this member has seen (old name)."),
    ];
    FactSeries {
        has_leader: on.gauge("etcd_server_has_leader", "1 if a leader is known, else 0."),
        is_leader: on.gauge("etcd_server_is_leader", "1 if this member is the leader, else 0."),
        is_learner: on.gauge("etcd_server_is_learner", "1 if this member does not vote, else 0."),
        committed: on.gauge("etcd_server_proposals_committed_total", "Proposals committed (the commit index)."),
        applied: on.gauge("etcd_server_proposals_applied_total", "Proposals applied (the applied index)."),
        quota_bytes: on.gauge("etcd_server_quota_backend_bytes", "Storage quota in bytes."),
        space: space::SpaceSeries::new(on),
        alarms: on.gauges("etcd_debugging_server_alarms", "1 for each alarm that stands, by the member that raised it.", &["server_id", "alarm_type"]),
        id: on.gauges("etcd_server_id", "Always 1; the label is this member's id.", &["server_id"]),
        version: on.gauges("etcd_server_version", "Always 1; the label is this server's version.", &["server_version"]),
        cluster_version: on.gauges("etcd_cluster_version", "Always 1; the label is the cluster's version.", &["cluster_version"]),
        db_size: on.gauge("etcd_mvcc_db_total_size_in_bytes", "Size of the v3 key space."),
        db_size_debugging: on.gauge("etcd_debugging_mvcc_db_total_size_in_bytes", "Size of the v3 key space (old name)."),
        db_size_in_use: on.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Size of the live part of the v3 key space."),
        known_peers: on.gauges("etcd_network_known_peers", "1 for each known member.", &["Local", "Remote"]),
        scrapes_now: on.gauge("promhttp_metric_handler_requests_in_flight", "Scrapes being answered, this one included."),
        keys: on.gauge("etcd_debugging_mvcc_keys_total", "Live v3 keys."),
        revision: on.gauge("etcd_debugging_mvcc_current_revision", "Revision of the v3 key space."),
        compacted: on.gauge("etcd_debugging_mvcc_compact_revision", "Revision of the last compaction."),
        fd_used: on.gauge("os_fd_used", "File descriptors in use."),
        fd_limit: on.gauge("os_fd_limit", "File descriptors that may be in use."),
        process: process::ProcessSeries::new(on),
        debugging_aliases: kv
            .into_iter()
            .zip(twins)
            .map(|(source, (name, help))| (source.clone(), on.counter(name, help)))
            .collect(),
    }
}

/// Of those that went well, and of those that failed.
fn range_durations(on: &SeriesRegistry) -> [Histogram; 2] {
    let all = on.histograms(
        "etcd_server_range_duration_seconds",
        "Durations of ranges.",
        (0.0001, 20),
        &["success"],
    );
    ["true", "false"].map(|success| all.with_label_values(&[success]))
}

fn http(on: &SeriesRegistry) -> [HttpSeries; HttpMethod::ALL.len()] {
    let received = on.counters(
        "etcd_http_received_total",
        "v2 requests received and understood.",
        &["method"],
    );
    let duration = on.histograms(
        "etcd_http_successful_duration_seconds",
        "Durations of v2 requests other than watches that succeeded.",
        (0.0005, 13),
        &["method"],
    );
    HttpMethod::ALL.map(|method| HttpSeries {
        received: received.with_label_values(&[method.label()]),
        duration: duration.with_label_values(&[method.label()]),
    })
}

fn tree_writes(on: &SeriesRegistry) -> [(tree::Action, IntCounter); 6] {
    let writes = on.counters(
        "etcd_debugging_store_writes_total",
        "v2 writes by action, seen by this member.",
        &["action"],
    );
    [
        (tree::Action::Set, "set"),
        (tree::Action::Create, "create"),
        (tree::Action::Update, "update"),
        (tree::Action::CompareAndSwap, "compareAndSwap"),
        (tree::Action::CompareAndDelete, "compareAndDelete"),
        (tree::Action::Delete, "delete"),
    ]
    .map(|(action, label)| (action, writes.with_label_values(&[label])))
}
