//! Series that several threads update at the same time.
//!
//! An update of a counter changes one atomic number, and an update of a histogram changes four. Updating a number that two
//! cores share costs 0.03 µs of the 2 µs of CPU time that a linearizable read takes. Separate stripes for the threads avoid
//! this cost.

use std::{
    array,
    sync::atomic::{AtomicUsize, Ordering},
};

use prometheus::{
    core::{Collector, Desc, MetricVec, MetricVecBuilder},
    proto::{self, MetricFamily, MetricType},
};

/// Number of stripes. If there are more threads, they share stripes.
const STRIPES: usize = 8;

/// Series with labels, split into stripes that a scrape adds up.
#[derive(Clone, Debug)]
pub struct StripedVec<V>([V; STRIPES]);

/// One series of a [`StripedVec`], split into stripes.
#[derive(Clone, Debug)]
pub struct Striped<M>([M; STRIPES]);

impl<M> Striped<M> {
    /// Returns the stripe of this thread.
    pub fn here(&self) -> &M {
        &self.0[stripe()]
    }
}

impl<T: MetricVecBuilder> StripedVec<MetricVec<T>> {
    /// Creates the stripes with `stripe`, which must create the same series on each call.
    pub(super) fn new(
        stripe: impl Fn() -> prometheus::Result<MetricVec<T>>,
    ) -> prometheus::Result<Self> {
        let first = stripe()?;
        let mut stripes = array::from_fn(|_| first.clone());
        for other in &mut stripes[1..] {
            *other = stripe()?;
        }
        Ok(Self(stripes))
    }

    /// Returns the series with these label values. Creates the series if necessary. Panics if the number of values is wrong.
    pub fn with_label_values(&self, labels: &[&str]) -> Striped<T::M> {
        Striped(
            self.0
                .each_ref()
                .map(|stripe| stripe.with_label_values(labels)),
        )
    }
}

/// Returns the index of this thread's stripe. Stripes are assigned to threads in rotation.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.with(|stripe| *stripe)
}

impl<T: MetricVecBuilder> Collector for StripedVec<MetricVec<T>> {
    fn desc(&self) -> Vec<&Desc> {
        self.0[0].desc()
    }

    /// Returns one family, in which the stripes of each series are added up.
    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0[0].collect();
        for mut other in self.0[1..].iter().flat_map(Collector::collect) {
            for metric in other.take_metric() {
                add(&mut families[0], metric);
            }
        }
        families
    }
}

/// Adds `other`, a series of another stripe, to the series with the same labels in `family`, or to `family` as a new series.
/// All series of a family are counters or histograms.
fn add(family: &mut MetricFamily, other: proto::Metric) {
    let counts = family.get_field_type() == MetricType::COUNTER;
    let all = family.mut_metric();
    let same = |metric: &&mut proto::Metric| metric.get_label() == other.get_label();
    match all.iter_mut().find(same) {
        None => all.push(other),
        Some(metric) if counts => {
            let mut sum = proto::Counter::default();
            sum.set_value(metric.get_counter().get_value() + other.get_counter().get_value());
            metric.set_counter(sum);
        }
        Some(metric) => metric.set_histogram(sum(metric.get_histogram(), other.get_histogram())),
    }
}

/// Returns the sum of two histograms with the same buckets.
fn sum(one: &proto::Histogram, other: &proto::Histogram) -> proto::Histogram {
    let mut buckets = one.get_bucket().to_vec();
    for (bucket, other) in buckets.iter_mut().zip(other.get_bucket()) {
        bucket.set_cumulative_count(bucket.cumulative_count() + other.cumulative_count());
    }
    let mut sum = proto::Histogram::default();
    sum.set_sample_count(one.get_sample_count() + other.get_sample_count());
    sum.set_sample_sum(one.get_sample_sum() + other.get_sample_sum());
    sum.set_bucket(buckets);
    sum
}

#[cfg(test)]
mod tests {
    use std::thread;

    use crate::metrics::{MetricsPage, Register};

    #[test]
    fn a_scrape_adds_the_values_of_all_threads() {
        let register = Register::default();
        let family = register.striped_histograms("seconds", "Durations.", (1.0, 2), &["type"]);
        let of_a = family.with_label_values(&["a"]);
        thread::scope(|scope| {
            for seconds in [1.0, 2.0, 3.0] {
                let of_a = &of_a;
                scope.spawn(move || of_a.here().observe(seconds));
            }
        });
        family.with_label_values(&["b"]).here().observe(5.0);
        let counter = register.striped_counters("calls", "Calls.", &[]);
        let counter = counter.with_label_values(&[]);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| counter.here().inc());
            }
        });
        let page = MetricsPage::new(register).render();
        for line in [
            r#"seconds_bucket{type="a",le="1"} 1"#,
            r#"seconds_bucket{type="a",le="2"} 2"#,
            r#"seconds_bucket{type="a",le="+Inf"} 3"#,
            r#"seconds_sum{type="a"} 6"#,
            r#"seconds_count{type="a"} 3"#,
            r#"seconds_count{type="b"} 1"#,
            "calls 3",
        ] {
            assert_eq!(
                page.lines().filter(|found| *found == line).count(),
                1,
                "{line} in {page}"
            );
        }
    }
}
