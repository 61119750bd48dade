//! The operator's metrics: clusters, backups, operations, passes and their errors, steps, leadership, and the process.
//!
//! The series of a deleted cluster are removed. Members export their own metrics.

use std::{collections::HashMap, time::Duration};

use kube::{Resource, ResourceExt as _};
use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, core::Collector as _};
use witan_base::metrics::{ProcessSeries, Register};
use witan_crd::{EtcdClusterSpec, EtcdClusterStatus, quorum};
use witan_plan::model::Observed;

use crate::report::is_true;

/// The first bucket bound in seconds, and the number of buckets.
const DURATION_BUCKETS: (f64, usize) = (0.002, 13);

const CLUSTER: [&str; 2] = ["namespace", "name"];

type Value = fn(&EtcdClusterSpec, &Observed, &EtcdClusterStatus) -> i64;

/// A gauge of a cluster: its name, help and value.
type State = (&'static str, &'static str, Value);

#[rustfmt::skip]
const STATES: [State; 11] = [
    ("witan_operator_cluster_members_desired", "Desired number of members (spec.replicas).", |spec, _, _| spec.replicas.into()),
    ("witan_operator_cluster_members", "Number of members in the member list.", |_, seen, _| i64::try_from(seen.members().count()).unwrap_or(i64::MAX)),
    ("witan_operator_cluster_members_ready", "Number of ready members.", |_, _, status| status.ready_replicas.unwrap_or(0).into()),
    ("witan_operator_cluster_learners", "Number of learners.", |_, _, status| status.learners.unwrap_or(0).into()),
    ("witan_operator_cluster_has_quorum", "Whether a quorum of voters is healthy. 1 is yes, 0 is no.", |_, seen, _| has_quorum(seen).into()),
    ("witan_operator_cluster_has_leader", "Whether the cluster has a leader. 1 is yes, 0 is no.", |_, seen, _| seen.membership.as_ref().is_some_and(|all| all.leader.is_some()).into()),
    ("witan_operator_cluster_available", "Whether the cluster serves reads and writes. 1 is yes, 0 is no.", |_, _, status| is_true(status, "Available").into()),
    ("witan_operator_cluster_paused", "Whether spec.paused is true. 1 is yes, 0 is no.", |spec, _, _| spec.paused.into()),
    ("witan_operator_cluster_progressing", "Whether the Progressing condition is true. 1 is yes, 0 is no.", |_, _, status| is_true(status, "Progressing").into()),
    ("witan_operator_cluster_degraded", "Whether the Degraded condition is true. 1 is yes, 0 is no.", |_, _, status| is_true(status, "Degraded").into()),
    ("witan_operator_cluster_up_to_date", "Whether all existing pods have the current template and storage. 1 is yes, 0 is no.", |_, _, status| (status.updated_replicas == status.replicas).into()),
];

/// Returns whether a quorum of the voters is healthy; `false` if no voters are known.
fn has_quorum(seen: &Observed) -> bool {
    let voters = seen.members().filter(|member| !member.learner).count();
    voters > 0 && seen.healthy_voters() >= quorum(voters)
}

#[derive(Debug)]
pub(crate) struct Metrics {
    series: Register,
    states: Vec<IntGaugeVec>,
    durations: HistogramVec,
    errors: IntCounterVec,
    steps: IntCounterVec,
    backups: IntCounterVec,
    operations: IntCounterVec,
    pub(crate) schedule: Punctuality,
    pub(crate) changes: Punctuality,
    gaps: IntCounterVec,
    watches: IntCounterVec,
    leader: IntGauge,
    process: ProcessSeries,
}

/// The gauges that show whether the backups or the stored changes of a schedule are late.
#[derive(Debug)]
pub(crate) struct Punctuality {
    last: IntGaugeVec,
    late: IntGaugeVec,
}

impl Metrics {
    #[rustfmt::skip]
    pub(crate) fn new() -> Self {
        let on = Register::default();
        let gauge = |name: &str, help: &str| on.gauges(name, help, &CLUSTER);
        Self {
            states: STATES.iter().map(|(name, help, _)| gauge(name, help)).collect(),
            durations: on.histograms("witan_operator_reconcile_duration_seconds", "Duration of the reconciliation of a cluster in seconds.", DURATION_BUCKETS, &CLUSTER),
            errors: on.counters("witan_operator_reconcile_errors_total", "Total number of failed reconciliations of a cluster, its backups, backup schedules and operations.", &CLUSTER),
            steps: on.counters("witan_operator_steps_total", "Total number of steps that the operator took, by kind.", &["namespace", "name", "step"]),
            backups: on.counters("witan_operator_backups_total", "Total number of finished backups of a cluster, by result.", &["namespace", "name", "result"]),
            operations: on.counters("witan_operator_operations_total", "Total number of finished EtcdOperations on a cluster, by verb and result.", &["namespace", "name", "verb", "result"]),
            schedule: Punctuality {
                last: gauge("witan_operator_backup_schedule_last_success_timestamp_seconds", "Time when the last successful backup of a schedule finished, in seconds since the Unix epoch."),
                late: gauge("witan_operator_backup_schedule_overdue", "Whether a schedule is invalid, or neither of its last two backups has succeeded. 1 is yes, 0 is no."),
            },
            changes: Punctuality {
                last: gauge("witan_operator_backup_changes_last_timestamp_seconds", "Unix time in seconds up to which all changes to the schedule's cluster are stored."),
                late: gauge("witan_operator_backup_changes_late", "Whether recent changes of a schedule are not stored, or stored changes cannot be restored. 1 is yes, 0 is no."),
            },
            gaps: on.counters("witan_operator_backup_changes_gaps_total", "Total number of gaps in the stored changes of a schedule.", &CLUSTER),
            watches: on.counters("witan_operator_watch_errors_total", "Total number of failed watches, by the kind of the reconciled resource.", &["kind"]),
            leader: on.gauge("witan_operator_leader", "Whether this replica of the operator is the leader and acts. 1 is yes, 0 is no."),
            process: ProcessSeries::register(&on),
            series: on,
        }
    }

    /// Returns all series in the Prometheus text format, after updating the series of the process.
    pub(crate) fn render(&self) -> String {
        self.process.update();
        self.series.render()
    }

    /// Sets the gauge that shows whether this replica acts.
    pub(crate) fn acts(&self, acts: bool) {
        self.leader.set(i64::from(acts));
    }

    /// Sets the gauges of a cluster, and creates its error counter. `labels` are its namespace and name.
    pub(crate) fn cluster(
        &self,
        labels: [&str; 2],
        spec: &EtcdClusterSpec,
        seen: &Observed,
        status: &EtcdClusterStatus,
    ) {
        for (series, (_, _, value)) in self.states.iter().zip(STATES) {
            let value = value(spec, seen, status);
            series.with_label_values(&labels).set(value);
        }
        self.errors.with_label_values(&labels);
    }

    /// Counts a finished backup of a cluster as successful or failed.
    pub(crate) fn backup(&self, namespace: &str, cluster: &str, succeeded: bool) {
        let labels = [namespace, cluster, result(succeeded)];
        self.backups.with_label_values(&labels).inc();
    }

    /// Counts a finished operation on a cluster under its verb, as successful or failed.
    pub(crate) fn operation(&self, [namespace, cluster, verb]: [&str; 3], succeeded: bool) {
        let labels = [namespace, cluster, verb, result(succeeded)];
        self.operations.with_label_values(&labels).inc();
    }

    /// Adds `count` gaps to the counter of the EtcdBackupSchedule `name`. Creates the counter if needed, even if `count` is 0.
    pub(crate) fn gaps(&self, namespace: &str, name: &str, count: u64) {
        let labels = [namespace, name];
        self.gaps.with_label_values(&labels).inc_by(count);
    }

    /// Removes the series of a deleted schedule.
    pub(crate) fn forget_schedule(&self, namespace: &str, name: &str) {
        // An error means that the schedule never had the series.
        drop(self.gaps.remove_label_values(&[namespace, name]));
        self.schedule.forget(namespace, name);
        self.changes.forget(namespace, name);
    }

    /// Removes the series of a deleted cluster, its backups and its operations. The series of its schedules remain.
    pub(crate) fn forget_cluster(&self, namespace: &str, name: &str) {
        let labels = [namespace, name];
        // An error means that the cluster never had the series.
        for series in &self.states {
            drop(series.remove_label_values(&labels));
        }
        drop(self.errors.remove_label_values(&labels));
        drop(self.durations.remove_label_values(&labels));
        for counters in [&self.steps, &self.backups, &self.operations] {
            for family in counters.collect() {
                for series in family.get_metric() {
                    let labels = series.get_label().iter();
                    let labels: HashMap<_, _> =
                        labels.map(|each| (each.name(), each.value())).collect();
                    if (labels["namespace"], labels["name"]) == (namespace, name) {
                        drop(counters.remove(&labels));
                    }
                }
            }
        }
    }

    /// Records the duration of a pass over a cluster, and counts the pass if it failed.
    pub(crate) fn pass(&self, namespace: &str, name: &str, took: Duration, failed: bool) {
        let durations = self.durations.with_label_values(&[namespace, name]);
        durations.observe(took.as_secs_f64());
        if failed {
            self.errors.with_label_values(&[namespace, name]).inc();
        }
    }

    /// Counts a failed pass over an object that names a cluster.
    pub(crate) fn failed_pass(&self, object: &impl Resource, cluster: &str) {
        let namespace = object.namespace().unwrap_or_default();
        let labels = [namespace.as_str(), cluster];
        self.errors.with_label_values(&labels).inc();
    }

    /// Counts a failed watch of the resource kind `kind`.
    pub(crate) fn watch_failed(&self, kind: &str) {
        self.watches.with_label_values(&[kind]).inc();
    }

    /// Counts a step of the kind `step`.
    pub(crate) fn step(&self, namespace: &str, name: &str, step: &str) {
        self.steps.with_label_values(&[namespace, name, step]).inc();
    }
}

/// Returns the value of the label `result`.
fn result(succeeded: bool) -> &'static str {
    if succeeded { "succeeded" } else { "failed" }
}

impl Punctuality {
    /// Sets the gauges of a schedule. `last` is Unix time in seconds; `None` leaves that gauge unchanged.
    pub(crate) fn set(&self, namespace: &str, name: &str, last: Option<i64>, late: bool) {
        let labels = [namespace, name];
        self.late.with_label_values(&labels).set(late.into());
        if let Some(last) = last {
            self.last.with_label_values(&labels).set(last);
        }
    }

    /// Removes the gauges of a schedule.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        for series in [&self.last, &self.late] {
            drop(series.remove_label_values(&[namespace, name]));
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;
    use crate::report::{ConditionState, condition};

    #[test]
    fn a_gauge_shows_whether_a_cluster_progresses() {
        let metrics = Metrics::new();
        let (spec, seen) = (EtcdClusterSpec::minimal(), Observed::default());
        for (status, value) in [("True", 1), ("False", 0)] {
            let state = ConditionState { status, reason: "Test", message: String::new() };
            let since = Time(Timestamp::UNIX_EPOCH);
            let conditions = vec![condition(&[], "Progressing", state, None, since)];
            let status = EtcdClusterStatus { conditions, ..EtcdClusterStatus::default() };
            metrics.cluster(["a", "b"], &spec, &seen, &status);
            let shown = metrics.render();
            let name = "witan_operator_cluster_progressing";
            let line = format!(r#"{name}{{name="b",namespace="a"}} {value}"#);
            assert!(shown.contains(&line), "{shown}");
        }
    }

    #[test]
    fn a_deleted_cluster_leaves_no_series() {
        let metrics = Metrics::new();
        let spec = EtcdClusterSpec { replicas: 3, ..EtcdClusterSpec::minimal() };
        let (seen, status) = (Observed::default(), EtcdClusterStatus::default());
        metrics.cluster(["a", "b"], &spec, &seen, &status);
        metrics.pass("a", "b", Duration::from_millis(3), false);
        metrics.step("a", "b", "AddLearner");
        metrics.backup("a", "b", false);
        metrics.operation(["a", "b", "Restart"], true);
        assert!(metrics.render().contains(r#"verb="Restart""#));
        metrics.step("a", "other", "AddLearner");
        let shown = metrics.render();
        assert!(
            shown.contains(r#"witan_operator_cluster_members_desired{name="b",namespace="a"} 3"#),
            "{shown}"
        );
        assert!(
            shown.contains(r#"witan_operator_reconcile_errors_total{name="b",namespace="a"} 0"#),
            "{shown}"
        );
        metrics.forget_cluster("a", "b");
        let shown = metrics.render();
        assert!(!shown.contains(r#"name="b""#), "{shown}");
        assert!(shown.contains(r#"name="other""#), "{shown}");
    }

    /// A pass needs a watch, so no other metric shows the failure.
    #[test]
    fn a_failed_watch_is_counted_by_kind() {
        let metrics = Metrics::new();
        metrics.watch_failed("EtcdBackupSchedule");
        let shown = metrics.render();
        let line = r#"witan_operator_watch_errors_total{kind="EtcdBackupSchedule"} 1"#;
        assert!(shown.contains(line), "{shown}");
    }

    #[test]
    fn a_deleted_schedule_leaves_no_series() {
        let metrics = Metrics::new();
        let series = r#"witan_operator_backup_changes_gaps_total{name="b",namespace="a"}"#;
        let gaps = || {
            let shown = metrics.render();
            let found = shown.lines().find(|line| line.starts_with(series));
            found.map(str::to_owned)
        };
        for (more, total) in [(0, 0), (1, 1), (0, 1)] {
            metrics.gaps("a", "b", more);
            assert_eq!(gaps(), Some(format!("{series} {total}")));
        }
        metrics.schedule.set("a", "b", Some(1), true);
        metrics.forget_schedule("a", "b");
        assert_eq!(gaps(), None);
        assert!(!metrics.render().contains(r#"name="b""#));
    }
}
