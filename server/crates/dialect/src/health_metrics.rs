//! Metrics for health checks and probes.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};
use witan_base::metrics::Register;

/// Series for health checks.
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
