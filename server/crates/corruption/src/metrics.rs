//! Metrics of the comparisons of state hashes.

use prometheus::{IntCounter, IntCounterVec};
use witan_base::metrics::Register;

use super::agreement::StateAgreement;

/// Metrics of the checker.
#[derive(Clone, Debug)]
pub struct CorruptionMetrics {
    checks: IntCounterVec,
    pub(super) rebuilds: IntCounter,
}

impl CorruptionMetrics {
    /// Registers the metrics.
    #[rustfmt::skip]
    pub fn register(on: &Register) -> Self {
        Self {
            checks: on.counters("witan_corruption_checks_total", "Total number of comparisons of members' states that this member made, by outcome.", &["outcome"]),
            rebuilds: on.counter("witan_corruption_rebuilds_total", "Total number of times that this member replaced its state with the leader's, because it differed from the majority's."),
        }
    }

    /// Counts a comparison by its outcome.
    pub(super) fn compared(&self, agreement: &StateAgreement) {
        let outcome = match agreement {
            StateAgreement::Agreed { complete: true } => "agreed",
            StateAgreement::Agreed { complete: false } => "incomplete",
            StateAgreement::Outvoted { .. } => "outvoted",
            StateAgreement::Undecided => "undecided",
        };
        self.checks.with_label_values(&[outcome]).inc();
    }
}
