//! Creates and registers series. Names are constants, so an error is a bug in the declaring module and causes a panic.

use prometheus::{
    Counter, Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
    exponential_buckets,
};

use super::StripedVec;

const VALID: &str = "metric names are valid constants and each is registered once";

/// The registry. Each module registers its series and keeps their handles.
#[derive(Debug, Default)]
pub struct Register {
    registry: Registry,
}

impl Register {
    /// Returns all series in the Prometheus text format. If encoding fails, logs the error and returns a partial text.
    pub fn render(&self) -> String {
        let mut text = Vec::with_capacity(32 << 10);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "failed to encode metrics");
        }
        String::from_utf8(text).unwrap_or_default()
    }

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

    /// Registers a counter with labels.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.put(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// Like [`Self::counters`], but striped, for counters that several threads increment at each request.
    pub fn striped_counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> StripedVec<IntCounterVec> {
        let stripe = || IntCounterVec::new(Opts::new(name, help), labels);
        self.put(StripedVec::new(stripe))
    }

    /// Registers a counter with fractional values, such as seconds.
    pub fn seconds(&self, name: &str, help: &str) -> Counter {
        self.put(Counter::new(name, help))
    }

    /// Registers a gauge with fractional values.
    pub fn float(&self, name: &str, help: &str) -> Gauge {
        self.put(Gauge::new(name, help))
    }

    /// Registers a gauge with labels and fractional values.
    pub fn floats(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.put(GaugeVec::new(Opts::new(name, help), labels))
    }

    /// Registers a gauge without labels.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.put(IntGauge::new(name, help))
    }

    /// Registers a gauge with labels.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.put(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// Registers a histogram with `count` buckets. Their upper bounds start at `first` and double with each bucket. Panics
    /// unless both numbers are positive.
    pub fn histogram(&self, name: &str, help: &str, first: f64, count: usize) -> Histogram {
        self.put(Histogram::with_opts(options(name, help, (first, count))))
    }

    /// Registers a histogram with labels and the default buckets of Prometheus clients, which suit network latencies.
    pub fn latencies(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.put(HistogramVec::new(HistogramOpts::new(name, help), labels))
    }

    /// Registers a histogram with labels. `buckets` contains the upper bound of the first bucket and the number of buckets;
    /// each bound is twice the previous one. Panics unless both numbers are positive.
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: (f64, usize),
        labels: &[&str],
    ) -> HistogramVec {
        self.put(HistogramVec::new(options(name, help, buckets), labels))
    }

    /// Like [`Self::histograms`], but striped, for histograms that several threads update at each request.
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

/// Returns the options of a histogram with `count` buckets. Their upper bounds start at `first` and double with each bucket.
/// Panics unless both numbers are positive.
fn options(name: &str, help: &str, (first, count): (f64, usize)) -> HistogramOpts {
    HistogramOpts::new(name, help)
        .buckets(exponential_buckets(first, 2.0, count).expect("a positive start and count"))
}
