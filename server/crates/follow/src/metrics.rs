//! Metrics of following another cluster.

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use witan_base::metrics::Register;

use super::status::FollowStatus;

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
    #[rustfmt::skip]
    pub(super) fn register(on: &Register) -> Self {
        Self {
            following: on.gauge("witan_follow_following", "Whether this member follows another cluster. 1 before the cut-over, 0 otherwise."),
            connected: on.gauge("witan_follow_connected", "Whether this member is connected to a member of the followed cluster. 1 is yes, 0 is no."),
            lag: on.gauge("witan_follow_lag_revisions", "Number of revisions of the followed cluster that this cluster has not copied. After the cut-over, number of revisions that only the followed cluster has."),
            fenced: on.gauge("witan_follow_source_fenced", "Whether the followed cluster is fenced, so that it refuses writes. 1 is yes, 0 is no."),
            guarding: on.gauge("witan_follow_guarding", "Whether this member checks that the followed cluster stays fenced. 1 from the cut-over until an operator declares that the cluster is gone."),
            raised_again: on.counter("witan_follow_fence_raised_again_total", "Total number of times that the followed cluster was found without its fence after the cut-over and was fenced again."),
            comparisons: on.counters("witan_follow_comparisons_total", "Total number of comparisons of the key space hash with the hash of the followed cluster, by outcome.", &["outcome"]),
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

    /// Counts a fence that was raised again after the cut-over.
    pub(super) fn raised_again(&self) {
        self.raised_again.inc();
    }

    /// Counts a comparison by whether the keys are equal.
    pub(super) fn compared(&self, equal: bool) {
        let outcome = if equal { "equal" } else { "different" };
        self.comparisons.with_label_values(&[outcome]).inc();
    }
}
