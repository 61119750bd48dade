//! The registry in which all modules register their series, and the page that shows the series. Each module declares its series
//! in its `metrics` file. This module declares the series of the page and of the process.
//!
//! Label values of counters on request paths are resolved once, at startup. `striped` has series that several threads update.

mod process;
mod register;
mod striped;

use prometheus::{IntCounter, IntGauge};

use crate::version;

pub use process::{ProcessSeries, anonymous_bytes, file_descriptors, resident_bytes};
pub use register::Register;
pub use striped::{Striped, StripedVec};

/// The content type of the text that [`Register::render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page with all registered series.
#[derive(Debug)]
pub struct MetricsPage {
    series: Register,
    scrapes: IntCounter,
    scrapes_now: IntGauge,
    process: ProcessSeries,
}

impl MetricsPage {
    /// Creates the page for the series in `on`. Registers the series of the process and of the page.
    #[rustfmt::skip]
    pub fn new(on: Register) -> Self {
        let scrapes = on.counters("promhttp_metric_handler_requests_total", "Total number of scrapes of this page, by status code.", &["code"]);
        let [scrapes, _, _] = ["200", "500", "503"].map(|code| scrapes.with_label_values(&[code]));
        let version = on.gauges("etcd_server_version", "Which version is running. 1 for 'server_version' label with current version.", &["server_version"]);
        version.with_label_values(&[version::API]).set(1);
        let release = on.gauges("witan_release_info", "Release of Witan. 1 for 'release' label with current release.", &["release"]);
        release.with_label_values(&[version::WITAN]).set(1);
        Self {
            scrapes,
            scrapes_now: on.gauge("promhttp_metric_handler_requests_in_flight", "Number of scrapes in progress, including this one."),
            process: ProcessSeries::register(&on),
            series: on,
        }
    }

    /// Updates the series of the process and returns all series in the Prometheus text format. Counts the scrape afterward, so
    /// the text contains only earlier scrapes.
    pub fn render(&self) -> String {
        self.scrapes_now.set(1);
        self.process.update();
        let text = self.series.render();
        self.scrapes.inc();
        text
    }
}

/// Converts a value to the signed type of gauges. Returns the maximum if the value is too large.
pub fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
