//! Metrics for v2 requests. The node counts the effects of the requests on the tree.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus::{Histogram, IntCounter, IntCounterVec};
use witan_base::metrics::Register;

/// The values of the label `method`. QGET is a GET with `quorum=true`.
const METHODS: [&str; 6] = ["GET", "QGET", "HEAD", "PUT", "POST", "DELETE"];

/// Returns the index of one of the [`METHODS`]. Panics for any other method.
fn index(method: &str) -> usize {
    let known = METHODS.iter().position(|known| *known == method);
    known.expect("v2 serves no other method")
}

/// Failure statuses whose counters exist from startup, so that a rate includes the first failure.
const COMMON_FAILURES: [&str; 4] = ["400", "404", "412", "500"];

/// Series for v2 requests.
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
    /// if v2 does not serve `method`.
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
