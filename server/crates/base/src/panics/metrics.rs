//! Metrics of contained panics.

use std::sync::Arc;

use prometheus::IntCounter;

use super::PanicSource;
use crate::metrics::Register;

/// Counters of contained panics by source. Clones share them.
#[derive(Clone, Debug)]
pub struct PanicMetrics(Arc<[IntCounter; PanicSource::LABELS.len()]>);

impl PanicMetrics {
    /// Registers the counters.
    #[rustfmt::skip]
    pub fn register(on: &Register) -> Self {
        let all = on.counters("witan_panics_total", "Total number of panics that ended a request or connection, by handler.", &["handler"]);
        Self(Arc::new(PanicSource::LABELS.map(|source| all.with_label_values(&[source]))))
    }

    /// Counts a contained panic.
    pub fn panicked(&self, source: PanicSource) {
        self.0[source as usize].inc();
    }
}
