//! Metrics of the comparisons of state hashes.

use prometheus::{IntCounter, IntCounterVec};
use witan_base::metrics::Register;

use super::agreement::StateAgreement;

/// The values of the label `outcome`.
const OUTCOMES: [&str; 5] = ["agreed", "incomplete", "outvoted", "undecided", "failed"];

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
        let checks = on.counters("witan_corruption_checks_total", "Total number of comparisons of members' states that this member made, by outcome.", &["outcome"]);
        // A series that begins at 1 shows no increase, so an alert would not notice the first comparison.
        for outcome in OUTCOMES {
            checks.with_label_values(&[outcome]).inc_by(0);
        }
        Self {
            checks,
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

    /// Counts a failed comparison, for example if this member could not hash its own state.
    pub(super) fn failed(&self) {
        self.checks.with_label_values(&["failed"]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the count, a member whose comparisons always fail would look like a member without comparisons.
    #[test]
    fn a_failed_comparison_is_counted() {
        let on = Register::default();
        let metrics = CorruptionMetrics::register(&on);
        metrics.compared(&StateAgreement::Undecided);
        metrics.failed();
        let shown = on.render();
        for (outcome, count) in [("agreed", 0), ("undecided", 1), ("failed", 1)] {
            let line = format!("witan_corruption_checks_total{{outcome=\"{outcome}\"}} {count}");
            assert!(shown.contains(&line), "{shown}");
        }
    }
}
