//! Metrics for following another cluster.

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use witan_base::metrics::Register;

use super::status::FollowStatus;

/// Metrics of a member that follows another cluster.
#[derive(Clone, Debug)]
pub(super) struct FollowMetrics {
    following: IntGauge,
    connected: IntGauge,
    lag: IntGauge,
    fenced: IntGauge,
    guarding: IntGauge,
    raised_again: IntCounter,
    comparisons: IntCounterVec,
}

impl FollowMetrics {
    /// Registers the metrics.
    #[rustfmt::skip]
    pub(super) fn register(on: &Register) -> Self {
        Self {
            following: on.gauge("witan_follow_following", "Whether this member follows another cluster: 1 before the cut-over."),
            connected: on.gauge("witan_follow_connected", "Whether a member of the followed cluster is read."),
            lag: on.gauge("witan_follow_lag_revisions", "Revisions of the followed cluster that this cluster has not copied, by the last revision that was read there. After the cut-over: revisions that only the followed cluster has."),
            fenced: on.gauge("witan_follow_source_fenced", "Whether the followed cluster refuses writes because of a cut-over: of one that is done, or that could not be given up yet."),
            guarding: on.gauge("witan_follow_guarding", "Whether this member checks that the followed cluster refuses writes: 1 from the cut-over until an operator declares that cluster gone."),
            raised_again: on.counter("witan_follow_fence_raised_again_total", "How often the fence of the followed cluster was found lowered after the cut-over and was raised again."),
            comparisons: on.counters("witan_follow_comparisons_total", "Comparisons of the hashes of all keys with the followed cluster, by outcome.", &["outcome"]),
        }
    }

    /// Sets the gauges from a status.
    pub(super) fn show(&self, status: &FollowStatus) {
        self.following.set(i64::from(status.following));
        self.connected.set(i64::from(status.endpoint.is_some()));
        self.lag.set(status.lag);
        self.fenced.set(i64::from(status.fenced));
        self.guarding.set(i64::from(status.guarding));
    }

    /// Counts a fence that was raised again.
    pub(super) fn raised_again(&self) {
        self.raised_again.inc();
    }

    /// Counts a comparison.
    pub(super) fn compared(&self, equal: bool) {
        let outcome = if equal { "equal" } else { "different" };
        self.comparisons.with_label_values(&[outcome]).inc();
    }
}
