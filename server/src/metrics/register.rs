//! Creates and registers series. Names are constants of this module, so a failure is a bug here.

use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector, exponential_buckets,
};

const VALID: &str = "metric names are valid constants and each is registered once";

/// The registry while it is being filled.
pub(super) struct SeriesRegistry {
    pub(super) registry: Registry,
}

impl SeriesRegistry {
    pub(super) fn new() -> Self {
        Self {
            registry: Registry::new(),
        }
    }

    fn put<C: Collector + Clone + 'static>(&self, series: prometheus::Result<C>) -> C {
        let series = series.expect(VALID);
        self.registry
            .register(Box::new(series.clone()))
            .expect(VALID);
        series
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.put(IntCounter::new(name, help))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.put(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// A counter of fractions.
    pub(super) fn seconds(&self, name: &str, help: &str) -> Counter {
        self.put(Counter::new(name, help))
    }

    /// A gauge of fractions.
    pub(super) fn float(&self, name: &str, help: &str) -> Gauge {
        self.put(Gauge::new(name, help))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.put(IntGauge::new(name, help))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.put(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// Buckets double from `first`, `count` of them.
    pub(super) fn histogram(&self, name: &str, help: &str, first: f64, count: usize) -> Histogram {
        self.put(Histogram::with_opts(options(name, help, (first, count))))
    }

    /// Buckets for calls over a network, as Prometheus' clients have them.
    pub(super) fn latencies(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.put(HistogramVec::new(HistogramOpts::new(name, help), labels))
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: (f64, usize),
        labels: &[&str],
    ) -> HistogramVec {
        self.put(HistogramVec::new(options(name, help, buckets), labels))
    }
}

/// Counts one more in a gauge for as long as it lives.
pub(super) struct InProgress(IntGauge);

impl InProgress {
    pub(super) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn options(name: &str, help: &str, (first, count): (f64, usize)) -> HistogramOpts {
    HistogramOpts::new(name, help)
        .buckets(exponential_buckets(first, 2.0, count).expect("a positive start and count"))
}
