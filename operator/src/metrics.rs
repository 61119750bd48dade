//! The operator's own series: the state of each cluster, passes and their errors, steps, who acts, the process.
//!
//! The series of a deleted cluster are removed. Members export their own series.

use std::{fs, time::Duration};

use prometheus::{
    Encoder as _, Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector as _,
};
use witan_crd::Verb;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bucket bounds for durations of passes: a pass without changes takes milliseconds, one that waits for unreachable
/// members takes seconds.
const DURATION_BUCKETS_S: [f64; 11] = [
    0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Results of backups and operations.
const RESULTS: [&str; 2] = ["succeeded", "failed"];

const CLUSTER: [&str; 2] = ["namespace", "name"];

/// The state of one cluster, as the gauges show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// Members that the specification asks for.
    pub members_desired: i64,
    /// Members of the membership.
    pub members: i64,
    /// Members that are ready.
    pub members_ready: i64,
    /// Members that do not vote.
    pub learners: i64,
    /// Whether more than half of the voters answer.
    pub has_quorum: bool,
    /// Whether members follow a leader.
    pub has_leader: bool,
    /// Whether the cluster serves.
    pub available: bool,
    /// Whether the operator is paused.
    pub paused: bool,
    /// Whether something needs attention.
    pub degraded: bool,
    /// Whether all members have the present template.
    pub up_to_date: bool,
}

/// All series.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    members_desired: IntGaugeVec,
    members: IntGaugeVec,
    members_ready: IntGaugeVec,
    learners: IntGaugeVec,
    has_quorum: IntGaugeVec,
    has_leader: IntGaugeVec,
    available: IntGaugeVec,
    paused: IntGaugeVec,
    degraded: IntGaugeVec,
    up_to_date: IntGaugeVec,
    durations: HistogramVec,
    errors: IntCounterVec,
    steps: IntCounterVec,
    backups: IntCounterVec,
    operations: IntCounterVec,
    backup_success: IntGaugeVec,
    backup_overdue: IntGaugeVec,
    changes_last: IntGaugeVec,
    changes_late: IntGaugeVec,
    leader: IntGauge,
    process: ProcessSeries,
}

impl Metrics {
    /// Registers all series on a registry of their own.
    ///
    /// # Errors
    /// Two series have one name.
    #[rustfmt::skip]
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let gauges = |name: &str, help: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let made = IntGaugeVec::new(Opts::new(format!("witan_operator_cluster_{name}"), help), &CLUSTER)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let made = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let schedules = |name: &str, help: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let made = IntGaugeVec::new(Opts::new(name, help), &CLUSTER)?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let durations = HistogramVec::new(
            HistogramOpts::new("witan_operator_reconcile_duration_seconds", "Duration of a pass over a cluster.")
                .buckets(DURATION_BUCKETS_S.to_vec()),
            &CLUSTER,
        )?;
        registry.register(Box::new(durations.clone()))?;
        let leader = IntGauge::new("witan_operator_leader", "1 on the replica of the operator that acts.")?;
        registry.register(Box::new(leader.clone()))?;
        Ok(Self {
            members_desired: gauges("members_desired", "Members that the specification asks for.")?,
            members: gauges("members", "Members of the membership.")?,
            members_ready: gauges("members_ready", "Members that are ready.")?,
            learners: gauges("learners", "Members that do not vote.")?,
            has_quorum: gauges("has_quorum", "1 if more than half of the voters answer.")?,
            has_leader: gauges("has_leader", "1 if the members follow a leader.")?,
            available: gauges("available", "1 if the cluster serves reads and writes.")?,
            paused: gauges("paused", "1 if the specification pauses the operator.")?,
            degraded: gauges("degraded", "1 if something needs attention: the condition Degraded.")?,
            up_to_date: gauges("up_to_date", "1 if all members have the present template: the condition UpToDate.")?,
            errors: counters("witan_operator_reconcile_errors_total", "Passes over a cluster that failed.", &CLUSTER)?,
            steps: counters("witan_operator_steps_total", "Steps taken, by kind.", &["namespace", "name", "step"])?,
            backups: counters("witan_operator_backups_total", "Backups of a cluster that have ended, by result.", &["namespace", "name", "result"])?,
            operations: counters("witan_operator_operations_total", "Operations on a cluster that have ended, by verb and result.", &["namespace", "name", "verb", "result"])?,
            backup_success: schedules("witan_operator_backup_schedule_last_success_timestamp_seconds", "When the last successful backup of a schedule was completed.")?,
            backup_overdue: schedules("witan_operator_backup_schedule_overdue", "1 if the last two backups of the schedule have not succeeded.")?,
            changes_last: schedules("witan_operator_backup_changes_last_timestamp_seconds", "All changes of a schedule's cluster that were made until this time are stored.")?,
            changes_late: schedules("witan_operator_backup_changes_late", "1 if a schedule stores changes, and those of the last seconds are not stored.")?,
            process: ProcessSeries::register(&registry)?,
            durations, leader, registry,
        })
    }

    /// Returns all series in Prometheus' text format.
    pub fn render(&self) -> String {
        self.process.update();
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "failed to encode metrics");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// Sets whether this replica of the operator acts: it holds the lease, or there is no election.
    pub fn acts(&self, acts: bool) {
        self.leader.set(i64::from(acts));
    }

    /// Sets the gauges of a cluster, and creates its counter of errors at 0, so that a rate sees the first
    /// error.
    pub fn cluster(&self, namespace: &str, name: &str, state: ClusterState) {
        let labels = [namespace, name];
        for (series, value) in self.states(state) {
            series.with_label_values(&labels).set(value);
        }
        self.errors.with_label_values(&labels);
    }

    /// Counts a backup of a cluster that has ended.
    pub fn backup(&self, namespace: &str, cluster: &str, succeeded: bool) {
        let result = if succeeded { RESULTS[0] } else { RESULTS[1] };
        let labels = [namespace, cluster, result];
        self.backups.with_label_values(&labels).inc();
    }

    /// Counts an operation that has ended, by namespace, cluster and verb.
    pub fn operation(&self, [namespace, cluster, verb]: [&str; 3], succeeded: bool) {
        let result = if succeeded { RESULTS[0] } else { RESULTS[1] };
        let labels = [namespace, cluster, verb, result];
        self.operations.with_label_values(&labels).inc();
    }

    /// Sets the gauges of a schedule. `success` is in seconds since 1970; without one there is no series of it.
    pub fn schedule(&self, namespace: &str, name: &str, success: Option<i64>, overdue: bool) {
        let labels = [namespace, name];
        let overdue = i64::from(overdue);
        self.backup_overdue.with_label_values(&labels).set(overdue);
        if let Some(success) = success {
            self.backup_success.with_label_values(&labels).set(success);
        }
    }

    /// Sets the gauges of the changes of a schedule. `last` is in seconds since 1970; without one there is no series of it.
    pub fn changes(&self, namespace: &str, name: &str, last: Option<i64>, late: bool) {
        let labels = [namespace, name];
        self.changes_late
            .with_label_values(&labels)
            .set(i64::from(late));
        if let Some(last) = last {
            self.changes_last.with_label_values(&labels).set(last);
        }
    }

    /// Removes the series of a schedule that stores no changes.
    pub fn forget_changes(&self, namespace: &str, name: &str) {
        let labels = [namespace, name];
        drop(self.changes_late.remove_label_values(&labels));
        drop(self.changes_last.remove_label_values(&labels));
    }

    /// Removes all series of a deleted schedule.
    pub fn forget_schedule(&self, namespace: &str, name: &str) {
        let labels = [namespace, name];
        self.forget_changes(namespace, name);
        // a series that the schedule never had is no error
        drop(self.backup_overdue.remove_label_values(&labels));
        drop(self.backup_success.remove_label_values(&labels));
    }

    /// Removes all series of a deleted cluster.
    pub fn forget(&self, namespace: &str, name: &str) {
        let labels = [namespace, name];
        // a series that the cluster never had is no error
        for (series, _) in self.states(ClusterState::default()) {
            drop(series.remove_label_values(&labels));
        }
        drop(self.errors.remove_label_values(&labels));
        drop(self.durations.remove_label_values(&labels));
        for result in RESULTS {
            drop(self.backups.remove_label_values(&[namespace, name, result]));
            for verb in Verb::NAMES {
                let labels = [namespace, name, verb, result];
                drop(self.operations.remove_label_values(&labels));
            }
        }
        for family in self.steps.collect() {
            for series in family.get_metric() {
                // labels are in the order of their names
                if let [of, within, step] = series.get_label()
                    && (within.value(), of.value()) == (namespace, name)
                {
                    let labels = [namespace, name, step.value()];
                    drop(self.steps.remove_label_values(&labels));
                }
            }
        }
        tracing::debug!(namespace, name, "removed the series of a deleted cluster");
    }

    /// Counts a pass, its duration and whether it failed.
    pub fn pass(&self, namespace: &str, name: &str, took: Duration, failed: bool) {
        self.durations
            .with_label_values(&[namespace, name])
            .observe(took.as_secs_f64());
        if failed {
            self.errors.with_label_values(&[namespace, name]).inc();
        }
    }

    /// Counts a step by its kind.
    pub fn step(&self, namespace: &str, name: &str, step: &str) {
        self.steps.with_label_values(&[namespace, name, step]).inc();
    }

    /// Pairs the gauges of a cluster with their values in `state`; `true` is 1.
    fn states(&self, state: ClusterState) -> [(&IntGaugeVec, i64); 10] {
        [
            (&self.members_desired, state.members_desired),
            (&self.members, state.members),
            (&self.members_ready, state.members_ready),
            (&self.learners, state.learners),
            (&self.has_quorum, i64::from(state.has_quorum)),
            (&self.has_leader, i64::from(state.has_leader)),
            (&self.available, i64::from(state.available)),
            (&self.paused, i64::from(state.paused)),
            (&self.degraded, i64::from(state.degraded)),
            (&self.up_to_date, i64::from(state.up_to_date)),
        ]
    }
}

/// Linux reports processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// Series of the process, read from `/proc` at each scrape; a value that cannot be read stays unchanged.
#[derive(Debug)]
struct ProcessSeries {
    cpu: prometheus::Counter,
    start: Gauge,
    resident: Gauge,
    open_fds: Gauge,
}

impl ProcessSeries {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let made = Self {
            cpu: prometheus::Counter::new(
                "process_cpu_seconds_total",
                "Processor time in seconds.",
            )?,
            start: Gauge::new("process_start_time_seconds", "Unix time of the start.")?,
            resident: Gauge::new("process_resident_memory_bytes", "Memory in RAM.")?,
            open_fds: Gauge::new("process_open_fds", "File descriptors in use.")?,
        };
        registry.register(Box::new(made.cpu.clone()))?;
        for gauge in [&made.start, &made.resident, &made.open_fds] {
            registry.register(Box::new(gauge.clone()))?;
        }
        Ok(made)
    }

    /// Sets the series from `/proc`; a value that cannot be read stays unchanged.
    fn update(&self) {
        // fields from the third on: the second is the program's name in parentheses and may hold spaces
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| {
                rest.split_whitespace()
                    .map(|field| field.parse().unwrap_or(0.0))
                    .collect()
            })
            .unwrap_or_default();
        if let (Some(user), Some(system)) = (fields.get(11), fields.get(12)) {
            self.cpu
                .inc_by(((user + system) / TICKS_PER_SECOND - self.cpu.get()).max(0.0));
        }
        let boot = number_after(
            &fs::read_to_string("/proc/stat").unwrap_or_default(),
            "btime ",
        );
        if let (Some(boot), Some(start)) = (boot, fields.get(19)) {
            self.start.set(boot + start / TICKS_PER_SECOND);
        }
        if let Some(kib) = number_after(
            &fs::read_to_string("/proc/self/status").unwrap_or_default(),
            "VmRSS:",
        ) {
            self.resident.set(kib * 1024.0);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            self.open_fds.set(entries.count() as f64);
        }
    }
}

/// Returns the number after `begin` in the first line that begins with it; `None` if there is none.
fn number_after(text: &str, begin: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(begin))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_cluster_leaves_no_series() {
        let metrics = Metrics::new().unwrap();
        metrics.cluster(
            "a",
            "b",
            ClusterState { members: 3, ..ClusterState::default() },
        );
        metrics.pass("a", "b", Duration::from_millis(3), false);
        metrics.step("a", "b", "AddLearner");
        metrics.operation(["a", "b", Verb::Restart.name()], true);
        assert!(metrics.render().contains(r#"verb="Restart""#));
        metrics.step("a", "other", "AddLearner");
        let shown = metrics.render();
        assert!(
            shown.contains(r#"witan_operator_cluster_members{name="b",namespace="a"} 3"#),
            "{shown}"
        );
        assert!(
            shown.contains(r#"witan_operator_reconcile_errors_total{name="b",namespace="a"} 0"#),
            "{shown}"
        );
        metrics.forget("a", "b");
        let shown = metrics.render();
        assert!(!shown.contains(r#"name="b""#), "{shown}");
        assert!(shown.contains(r#"name="other""#), "{shown}");
    }

    #[test]
    fn the_process_is_shown() {
        let metrics = Metrics::new().unwrap();
        metrics.render();
        assert!(metrics.process.resident.get() > 1024.0 * 1024.0);
        assert!(metrics.process.start.get() > 1.6e9);
        assert!(metrics.process.open_fds.get() >= 3.0);
    }
}
