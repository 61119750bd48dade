//! Metrics for v3 calls: ranges, leases, watches, promotions of learners, and operations on the entire store.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};
use witan_base::metrics::{Register, Striped};

/// Series for v3 calls.
#[derive(Debug)]
#[expect(
    missing_docs,
    reason = "the help text of each metric describes its field"
)]
pub struct V3Metrics {
    /// Durations of successful ranges and of failed ranges.
    ranges: [Striped<Histogram>; 2],
    pub learners_promoted: IntCounter,
    pub leases_renewed: IntCounter,
    defrags_now: IntGauge,
    pub defrag: Histogram,
    pub snapshot: Histogram,
    pub hash: Histogram,
    pub hash_rev: Histogram,
    pub watch_streams: IntGauge,
    pub watchers: IntGauge,
    pub slow_watchers: IntGauge,
    pub pending_events: IntGauge,
    pub events: IntCounter,
}

impl V3Metrics {
    /// Registers the metrics for v3 calls.
    #[rustfmt::skip]
    pub fn register(on: &Register) -> Self {
        let ranges = on.striped_histograms("etcd_server_range_duration_seconds", "The latency distributions of ranges.", (0.0001, 20), &["success"]);
        Self {
            ranges: ["true", "false"].map(|success| ranges.with_label_values(&[success])),
            learners_promoted: on.counter("etcd_server_learner_promote_successes", "The total number of successful learner promotions through this member."),
            leases_renewed: on.counter("etcd_debugging_lease_renewed_total", "The number of renewed leases seen by the leader."),
            defrags_now: on.gauge("etcd_disk_defrag_inflight", "Whether or not defrag is active on the member. 1 means active, 0 means not."),
            defrag: on.histogram("etcd_disk_backend_defrag_duration_seconds", "The latency distribution of defragmentation, which rewrites the checkpoint.", 0.1, 13),
            snapshot: on.histogram("etcd_disk_backend_snapshot_duration_seconds", "The latency distribution of snapshots sent to clients.", 0.01, 17),
            hash: on.histogram("etcd_mvcc_hash_duration_seconds", "The latency distribution of storage hash operation.", 0.01, 15),
            hash_rev: on.histogram("etcd_mvcc_hash_rev_duration_seconds", "The latency distribution of storage hash by revision operation.", 0.01, 15),
            watch_streams: on.gauge("etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams."),
            watchers: on.gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers."),
            slow_watchers: on.gauge("etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers."),
            pending_events: on.gauge("etcd_debugging_mvcc_pending_events_total", "Total number of pending events to be sent."),
            events: on.counter("etcd_debugging_mvcc_events_total", "Total number of events sent by this member."),
        }
    }

    /// Records the duration of a range, by whether it succeeded.
    pub fn record_range(&self, took: Duration, succeeded: bool) {
        let ranges = self.ranges[usize::from(!succeeded)].here();
        ranges.observe(took.as_secs_f64());
    }

    /// Counts a defragmentation as in progress until the returned guard is dropped.
    pub fn one_defrag(&self) -> impl Drop + use<> {
        self.defrags_now.inc();
        InProgress(self.defrags_now.clone())
    }
}

/// Decrements a gauge when it is dropped.
struct InProgress(IntGauge);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.dec();
    }
}
