//! Metrics for health checks, v2 requests, v3 calls and v3 watchers. The node counts the effects of the requests on the state.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use witan_base::metrics::{Register, Striped};

/// Metrics for health checks.
#[derive(Debug)]
#[expect(
    missing_docs,
    reason = "the help text of each metric describes its field"
)]
pub struct HealthMetrics {
    pub success: IntCounter,
    pub failures: IntCounter,
    results: IntGaugeVec,
    checks: IntCounterVec,
}

impl HealthMetrics {
    /// Registers the metrics for health checks.
    #[rustfmt::skip]
    pub fn register(on: &Register) -> Self {
        Self {
            success: on.counter("etcd_server_health_success", "The total number of successful health checks."),
            failures: on.counter("etcd_server_health_failures", "The total number of failed health checks."),
            results: on.gauges("etcd_server_healthcheck", "The result of each kind of healthcheck. 1 if the last check succeeded, 0 otherwise.", &["type", "name"]),
            checks: on.counters("etcd_server_healthchecks_total", "The total number of each kind of healthcheck.", &["type", "name", "status"]),
        }
    }

    /// Sets the last result of `check` of the probe `livez` or `readyz`, and counts the check by its result.
    pub fn record_check(&self, probe: &str, check: &str, succeeded: bool) {
        let status = if succeeded { "success" } else { "error" };
        let result = self.results.with_label_values(&[probe, check]);
        result.set(succeeded.into());
        let checks = self.checks.with_label_values(&[probe, check, status]);
        checks.inc();
    }
}

/// The values of the label `method`. QGET is a GET with `quorum=true`.
const METHODS: [&str; 6] = ["GET", "QGET", "HEAD", "PUT", "POST", "DELETE"];

/// Returns the index of one of the [`METHODS`]. Panics for any other method.
fn index(method: &str) -> usize {
    let known = METHODS.iter().position(|known| *known == method);
    known.expect("v2 serves no other method")
}

/// Failure statuses whose counters exist from startup, so that a rate includes the first failure.
const COMMON_FAILURES: [&str; 4] = ["400", "404", "412", "500"];

/// Metrics for v2 requests.
#[derive(Debug)]
pub struct V2Metrics {
    received: [IntCounter; METHODS.len()],
    successful: [Histogram; METHODS.len()],
    failed: IntCounterVec,
    /// Counters for non-recursive reads and for recursive reads.
    reads: [IntCounter; 2],
    /// The numbers of reads that found a node and of reads that failed, for the statistics of v1 and v2.
    lookups: [AtomicU64; 2],
}

impl V2Metrics {
    /// Registers the metrics for v2 requests.
    #[rustfmt::skip]
    pub fn register(on: &Register) -> Self {
        let received = on.counters("etcd_http_received_total", "Counter of v2 requests received into the system (successfully parsed and authd).", &["method"]);
        let successful = on.histograms("etcd_http_successful_duration_seconds", "Bucketed histogram of processing time (s) of successfully handled v2 requests (non-watches), by method (GET/PUT etc.).", (0.0005, 13), &["method"]);
        let failed = on.counters("etcd_http_failed_total", "Counter of handle failures of v2 requests (non-watches), by method (GET/PUT etc.) and code (400, 500 etc.).", &["method", "code"]);
        for method in METHODS {
            for code in COMMON_FAILURES {
                failed.with_label_values(&[method, code]);
            }
        }
        let reads = on.counters("etcd_debugging_store_reads_total", "Total number of v2 reads by action (get/getRecursive), local to this member.", &["action"]);
        Self {
            received: METHODS.map(|method| received.with_label_values(&[method])),
            successful: METHODS.map(|method| successful.with_label_values(&[method])),
            failed,
            reads: ["get", "getRecursive"].map(|action| reads.with_label_values(&[action])),
            lookups: Default::default(),
        }
    }

    /// Counts a request that was parsed and authorized. Panics if v2 does not serve `method`.
    pub fn count_received(&self, method: &str) {
        self.received[index(method)].inc();
    }

    /// Records the response to a request other than a watch: its duration if `status` is below 400, otherwise a failure. Panics
    /// for a status below 400 if v2 does not serve `method`.
    pub fn record_response(&self, method: &str, status: u16, took: Duration) {
        if status < 400 {
            self.successful[index(method)].observe(took.as_secs_f64());
        } else {
            let labels = [method, &status.to_string()];
            self.failed.with_label_values(&labels).inc();
        }
    }

    /// Counts a successful read, by whether it was `recursive`.
    pub fn count_read(&self, recursive: bool) {
        self.reads[usize::from(recursive)].inc();
    }

    /// Counts a v1 or v2 read, by whether it found a node.
    pub fn count_lookup(&self, found: bool) {
        self.lookups[usize::from(!found)].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of v1 and v2 reads that found a node, and the number of reads that failed.
    pub fn lookups(&self) -> [u64; 2] {
        let count = |lookups: &AtomicU64| lookups.load(Ordering::Relaxed);
        self.lookups.each_ref().map(count)
    }
}

/// Metrics for v3 calls.
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

#[cfg(test)]
mod tests {
    use super::*;
    use witan_base::metrics::MetricsPage;

    #[test]
    fn requests_are_counted_by_their_result() {
        let on = Register::default();
        let metrics = V2Metrics::register(&on);
        metrics.count_received("QGET");
        metrics.record_response("PUT", 412, Duration::from_millis(1));
        metrics.record_response("PUT", 403, Duration::from_millis(1));
        metrics.record_response("PUT", 201, Duration::from_micros(600));
        let text = MetricsPage::new(on).render();
        for line in [
            r#"etcd_http_received_total{method="QGET"} 1"#,
            r#"etcd_http_failed_total{code="412",method="PUT"} 1"#,
            r#"etcd_http_failed_total{code="403",method="PUT"} 1"#,
            r#"etcd_http_failed_total{code="404",method="GET"} 0"#,
            r#"etcd_http_successful_duration_seconds_bucket{method="PUT",le="0.0005"} 0"#,
            r#"etcd_http_successful_duration_seconds_bucket{method="PUT",le="0.001"} 1"#,
            r#"etcd_server_version{server_version="3.7.3"} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "no {line:?} in\n{text}");
        }
    }
}
