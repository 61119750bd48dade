//! Creates and registers series. Names are constants, so a failure is a bug of the module that declares them.

use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, core::Collector, exponential_buckets,
};

use super::StripedVec;

const VALID: &str = "metric names are valid constants and each is registered once";

/// The registry during startup. Each module registers its own series and keeps their handles.
#[derive(Debug, Default)]
pub struct Register {
    pub(super) registry: Registry,
}

impl Register {
    /// Registers series and returns them. Panics if the name is invalid or taken.
    fn put<C: Collector + Clone + 'static>(&self, series: prometheus::Result<C>) -> C {
        let series = series.expect(VALID);
        self.registry
            .register(Box::new(series.clone()))
            .expect(VALID);
        series
    }

    /// Registers a counter without labels.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.put(IntCounter::new(name, help))
    }

    /// Registers counters by labels.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.put(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// Like [`Self::counters`], for counters that several threads increment at each request.
    pub fn striped_counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> StripedVec<IntCounterVec> {
        let stripe = || IntCounterVec::new(Opts::new(name, help), labels);
        self.put(StripedVec::new(stripe))
    }

    /// Registers a counter of fractional numbers.
    pub fn seconds(&self, name: &str, help: &str) -> Counter {
        self.put(Counter::new(name, help))
    }

    /// Registers a gauge of fractional numbers.
    pub fn float(&self, name: &str, help: &str) -> Gauge {
        self.put(Gauge::new(name, help))
    }

    /// Registers gauges of fractional numbers by labels.
    pub fn floats(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.put(GaugeVec::new(Opts::new(name, help), labels))
    }

    /// Registers a gauge without labels.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.put(IntGauge::new(name, help))
    }

    /// Registers gauges by labels.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.put(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// Registers a histogram with `count` buckets that double from `first`.
    pub fn histogram(&self, name: &str, help: &str, first: f64, count: usize) -> Histogram {
        self.put(Histogram::with_opts(options(name, help, (first, count))))
    }

    /// Registers histograms by labels, with the buckets that Prometheus' clients use for calls over a network.
    pub fn latencies(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.put(HistogramVec::new(HistogramOpts::new(name, help), labels))
    }

    /// Registers histograms by labels, with `count` buckets that double from `first`.
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: (f64, usize),
        labels: &[&str],
    ) -> HistogramVec {
        self.put(HistogramVec::new(options(name, help, buckets), labels))
    }

    /// Like [`Self::histograms`], for histograms that several threads update at each request.
    pub fn striped_histograms(
        &self,
        name: &str,
        help: &str,
        buckets: (f64, usize),
        labels: &[&str],
    ) -> StripedVec<HistogramVec> {
        let stripe = || HistogramVec::new(options(name, help, buckets), labels);
        self.put(StripedVec::new(stripe))
    }
}

/// Creates the options of a histogram with `count` buckets. The first bucket is `first`, and each further bucket is twice as
/// large.
fn options(name: &str, help: &str, (first, count): (f64, usize)) -> HistogramOpts {
    HistogramOpts::new(name, help)
        .buckets(exponential_buckets(first, 2.0, count).expect("a positive start and count"))
}
