//! Gauges whose label values follow the state.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::IntGaugeVec;
use witan_base::sync::Mutex;

/// A gauge with labels, whose set of series is updated at each scrape.
#[derive(Debug)]
pub(super) struct LabeledGauges {
    gauges: IntGaugeVec,
    /// The label values of the series that exist.
    shown: Mutex<BTreeSet<Vec<String>>>,
}

impl LabeledGauges {
    pub(super) fn new(gauges: IntGaugeVec) -> Self {
        Self { gauges, shown: Mutex::default() }
    }

    /// Sets the value of each series in `series` and removes all other series. Never removes and recreates a series, because a
    /// concurrent scrape would miss it.
    pub(super) fn show(&self, series: BTreeMap<Vec<String>, i64>) {
        let mut shown = self.shown.lock();
        for (labels, value) in &series {
            self.gauges.with_label_values(labels).set(*value);
        }
        for gone in shown.iter().filter(|labels| !series.contains_key(*labels)) {
            // An error means that the series does not exist.
            let _ = self.gauges.remove_label_values(gone);
        }
        *shown = series.into_keys().collect();
    }
}

#[cfg(test)]
mod tests {
    use witan_base::metrics::{MetricsPage, Register};

    use super::*;

    #[test]
    fn a_series_that_stays_is_not_replaced() {
        let on = Register::default();
        let gauges = on.gauges("known", "Known members.", &["member"]);
        let known = LabeledGauges::new(gauges.clone());
        let page = MetricsPage::new(on);
        let show = |members: &[&str]| {
            let series = members.iter().map(|member| (vec![(*member).to_owned()], 1));
            known.show(series.collect());
        };
        show(&["a", "b"]);
        let of_a = gauges.with_label_values(&["a"]);
        of_a.set(2);
        show(&["a", "c"]);
        assert_eq!(of_a.get(), 1, "a scrape at this moment would miss it");
        let rendered = page.render();
        for (member, expect) in [("a", true), ("b", false), ("c", true)] {
            let line = format!("known{{member=\"{member}\"}} 1");
            assert_eq!(rendered.contains(&line), expect, "{line}");
        }
    }
}
