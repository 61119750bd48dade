//! The series of refusals.

use prometheus::IntCounter;

use crate::metrics::Register;

/// Requests that each budget refused.
#[derive(Debug)]
pub struct BudgetMetrics {
    pub(super) proposals: IntCounter,
    pub(super) answers: IntCounter,
    pub(super) requests: IntCounter,
    pub(super) calls: IntCounter,
    pub(super) watchers: IntCounter,
}

impl BudgetMetrics {
    /// Registers the counters of refused reservations.
    #[rustfmt::skip]
    pub fn register(on: &Register) -> Self {
        let refused = on.counters("witan_refused_total", "Requests refused early because too much is in flight already, by what.", &["what"]);
        let [proposals, answers, requests, calls, watchers] = ["proposals", "answers", "requests", "calls", "watchers"].map(|what| refused.with_label_values(&[what]));
        Self { proposals, answers, requests, calls, watchers }
    }
}
