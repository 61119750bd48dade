//! The series of following.

use prometheus::{IntCounterVec, IntGauge};
use witan_base::metrics::Register;

use super::status::FollowStatus;

/// Series of a member that follows another cluster.
#[derive(Clone, Debug)]
pub(crate) struct FollowMetrics {
    following: IntGauge,
    connected: IntGauge,
    lag: IntGauge,
    fenced: IntGauge,
    comparisons: IntCounterVec,
}

impl FollowMetrics {
    /// Registers the series.
    #[rustfmt::skip]
    pub(crate) fn register(on: &Register) -> Self {
        Self {
            following: on.gauge("witan_follow_following", "Whether this member follows another cluster: 1 before the cut-over."),
            connected: on.gauge("witan_follow_connected", "Whether a member of the followed cluster is read."),
            lag: on.gauge("witan_follow_lag_revisions", "Revisions of the followed cluster that are not copied yet, as far as it is known."),
            fenced: on.gauge("witan_follow_source_fenced", "Whether the followed cluster refuses writes because of a cut-over: of one that is done, or that could not be given up yet."),
            comparisons: on.counters("witan_follow_comparisons_total", "Comparisons of the hashes of all keys with the followed cluster, by outcome.", &["outcome"]),
        }
    }

    /// Shows a status.
    pub(super) fn show(&self, status: &FollowStatus) {
        self.following.set(i64::from(status.following));
        self.connected.set(i64::from(status.endpoint.is_some()));
        self.lag.set(status.lag);
        self.fenced.set(i64::from(status.fenced));
    }

    /// Counts a comparison.
    pub(super) fn compared(&self, equal: bool) {
        let outcome = if equal { "equal" } else { "different" };
        self.comparisons.with_label_values(&[outcome]).inc();
    }
}
