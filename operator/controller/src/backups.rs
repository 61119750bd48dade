//! Backups: a job for each EtcdBackup, and an EtcdBackup at each scheduled time of an EtcdBackupSchedule.
//!
//! `progress` and `schedule` are pure: they derive the status of a backup from its job, and the next backup of a schedule. This
//! file reads and writes objects. Names are deterministic, so repeating a step changes nothing.

mod changes;
pub(crate) mod progress;
mod schedule;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Resource as _, ResourceExt as _,
    api::{ListParams, ObjectMeta},
    runtime::{controller::Action, watcher},
};
use tokio::sync::Mutex;
use witan_crd::{
    BackupPhase, EtcdBackup, EtcdBackupSchedule, EtcdBackupSpec, EtcdBackupStatus, EtcdCluster,
};
use witan_members::Members;
use witan_plan::model::Notice;

use crate::{
    announce,
    api_server::{create_missing, delete, get, list, list_readable, write_status},
    operator::Operator,
    passes::{self, PassError, PassResult, Passes, with_timeout},
    resources::{BACKUP, BACKUP_OF, Cluster, SCHEDULE, backup::job, is_owned},
    warnings,
};

/// Delay before a backup that cannot start is retried.
const PENDING: Duration = Duration::from_secs(15);
/// Interval between checks of a running job. No watch reports why its pod is waiting.
const POLL: Duration = Duration::from_secs(10);
/// The time limit of a pass.
const PASS_LONGEST: Duration = Duration::from_secs(60);

pub(crate) struct Backups<M> {
    operator: Arc<Operator<M>>,
    /// The lock that is held while the next backup of a cluster is chosen.
    turn: Mutex<()>,
}

impl<M: Members> Backups<M> {
    pub(crate) fn new(operator: Arc<Operator<M>>) -> Self {
        Self { operator, turn: Mutex::default() }
    }

    /// Returns a stream that runs the passes over the backups and schedules of a namespace (`None` for all).
    pub(crate) fn stream(self: Arc<Self>, namespace: Option<&str>) -> BoxStream<'static, ()> {
        let (client, metrics) = (&self.operator.client, &self.operator.metrics);
        let jobs = passes::related::<Job, EtcdBackup>(client, namespace, passes::ours(), |job| {
            let mut owners = job.owner_references().iter();
            let backup = owners.find(|owner| owner.kind == EtcdBackup::kind(&()))?;
            Some(&backup.name)
        });
        let any = watcher::Config::default();
        let created =
            passes::related::<EtcdBackup, EtcdBackupSchedule>(client, namespace, any, |backup| {
                backup.labels().get(SCHEDULE)
            });
        let this = self.clone();
        let (_, backups) = passes::run::<EtcdBackup>(this, client, metrics, namespace, [jobs]);
        let this = self.clone();
        let (_, schedules) =
            passes::run::<EtcdBackupSchedule>(this, client, metrics, namespace, [created]);
        stream::select(backups, schedules).boxed()
    }

    /// Creates the job of a backup if it does not exist, writes the resulting status and announces it. Does nothing if the
    /// backup has finished, is being deleted or has an unknown phase.
    async fn reconcile(&self, backup: &EtcdBackup) -> PassResult {
        let before = backup.status.clone().unwrap_or_default();
        // Only a later release knows what an unknown phase needs.
        let is_later = before.phase == Some(BackupPhase::Unknown);
        let is_ending = backup.metadata.deletion_timestamp.is_some();
        if backup.is_finished() || is_later || is_ending {
            return Ok(Action::await_change());
        }
        let namespace = backup.namespace().unwrap_or_default();
        let (client, name) = (&self.operator.client, backup.name_any());
        let found = get::<Job>(client, &namespace, &name, "read the job").await?;
        let now = Timestamp::now();
        let status = match found {
            Some(job) if !is_owned(&job, backup.uid().as_deref()) => {
                let text = format!("another Job has the name {name}; delete it");
                progress::pending(backup, text, now)
            }
            Some(job) => {
                let (label, action) = ((BACKUP, name.as_str()), "list the pods of the job");
                let mut pods = list::<Pod>(client, &namespace, label, action).await?;
                // Users can put the label on any pod.
                pods.retain(|pod| is_owned(pod, job.uid().as_deref()));
                let refused = warnings::why_no_pods(client, &job, pods.len()).await;
                progress::status(backup, &job, &pods, refused, now)
            }
            None => match self.begin(backup, &namespace).await? {
                Ok(job) => progress::status(backup, &job, &[], None, now),
                Err(why) => progress::pending(backup, why, now),
            },
        };
        let action = "write the status of the EtcdBackup";
        if status != before && write_status(client, backup, &status, action).await? {
            self.announce(backup, &before, &status).await;
        }
        Ok(match status.phase {
            Some(BackupPhase::Succeeded | BackupPhase::Failed | BackupPhase::Unknown) => {
                Action::await_change()
            }
            Some(BackupPhase::Pending) | None => Action::requeue(PENDING),
            Some(BackupPhase::Running) => Action::requeue(POLL),
        })
    }

    /// Creates the job of a backup if it does not exist. The inner error says why the job was not created, for example because
    /// another backup of the cluster is running.
    async fn begin(
        &self,
        backup: &EtcdBackup,
        namespace: &str,
    ) -> Result<Result<Job, String>, PassError> {
        let (client, name) = (&self.operator.client, &backup.spec.cluster_ref.name);
        let action = "read the EtcdCluster";
        let Some(cluster) = get::<EtcdCluster>(client, namespace, name, action).await? else {
            return Ok(Err(no_cluster(namespace, name)));
        };
        let named = Cluster::new(&cluster, &self.operator.environment)?;
        let wanted = match job(backup, &named) {
            Ok(wanted) => wanted,
            Err(error) => return Ok(Err(error.to_string())),
        };
        // Without the lock, two concurrent passes could both find no other backup.
        let _turn = self.turn.lock().await;
        let same = (BACKUP_OF, name.as_str());
        let same = list::<Job>(client, namespace, same, "list the jobs").await?;
        let mut others = same.iter().filter(|job| job.labels().contains_key(BACKUP));
        let other = |job: &&Job| job.name_any() != backup.name_any() && !progress::is_over(job);
        if let Some(other) = others.find(other) {
            let other = other.name_any();
            return Ok(Err(format!(
                "waiting for EtcdBackup {other}: only one backup of a cluster runs at a time"
            )));
        }
        let created = create_missing(client, namespace, &wanted, "create the job").await?;
        // The next pass reads a job that an earlier pass has created.
        Ok(created.map(|job| job.unwrap_or(wanted)))
    }

    /// Publishes an event about a new status and counts a finished backup. Ignores an unfinished backup whose message is empty
    /// or unchanged.
    async fn announce(
        &self,
        backup: &EtcdBackup,
        before: &EtcdBackupStatus,
        status: &EtcdBackupStatus,
    ) {
        let namespace = backup.namespace().unwrap_or_default();
        let (metrics, cluster) = (&self.operator.metrics, &backup.spec.cluster_ref.name);
        let message = status.message.clone().unwrap_or_default();
        let (reason, message) = match status.phase {
            Some(BackupPhase::Succeeded) => {
                metrics.backup(&namespace, cluster, true);
                let (name, size) = (status.name.as_deref(), status.size.as_deref());
                let stored = format!("stored {}", name.unwrap_or_default());
                let stored = format!("{stored}, {} bytes", size.unwrap_or("unknown"));
                match status.is_whole() {
                    true => ("BackupSucceeded", stored),
                    false => ("BackupUnconfirmed", format!("{stored}; {message}")),
                }
            }
            Some(BackupPhase::Failed) => {
                metrics.backup(&namespace, cluster, false);
                ("BackupFailed", message)
            }
            Some(BackupPhase::Pending | BackupPhase::Running | BackupPhase::Unknown) | None => {
                if message.is_empty() || before.message == status.message {
                    return;
                }
                ("BackupDelayed", message)
            }
        };
        let warning = reason != "BackupSucceeded";
        let notice = Notice { reason, member: None, message, warning };
        announce::publish(&self.operator.recorder, backup, &notice).await;
    }

    /// Creates a due backup, deletes expired backups, reconciles the pod that stores changes, and writes the status. Sets the
    /// metrics and publishes events about new failures. If the schedule is being deleted, only removes its metrics.
    async fn reconcile_schedule(&self, schedule: &EtcdBackupSchedule) -> PassResult {
        let (client, metrics) = (&self.operator.client, &self.operator.metrics);
        let namespace = schedule.namespace().unwrap_or_default();
        let name = schedule.name_any();
        if schedule.metadata.deletion_timestamp.is_some() {
            metrics.forget_schedule(&namespace, &name);
            return Ok(Action::await_change());
        }
        let labels = ListParams::default().labels(&format!("{SCHEDULE}={name}"));
        let action = "list the EtcdBackups";
        let ours = list_readable::<EtcdBackup>(client, &namespace, labels, action).await?;
        let now = Timestamp::now();
        let mut due = schedule::due(schedule, &ours, now);
        let last_success = due.status.last_success_time.as_ref();
        let success_s = last_success.map(|time| time.0.as_second());
        let punctuality = &metrics.schedule;
        punctuality.set(&namespace, &name, success_s, due.overdue);
        if let Some(time) = due.create {
            let (backup, action) = (scheduled(schedule, time), "create an EtcdBackup");
            match create_missing(client, &namespace, &backup, action).await? {
                Ok(_) => {
                    due.status.last_schedule_time = Some(Time(time));
                    due.status.active = Some(backup.name_any());
                }
                Err(why) => {
                    due.status.conditions = schedule::ready(schedule, "BackupRefused", &why, now);
                }
            }
        }
        let expired = |backup: &&EtcdBackup| due.delete.contains(&backup.name_any());
        for old in ours.iter().filter(expired) {
            delete(client, old, "delete an old EtcdBackup").await?;
        }
        self.reconcile_changes(schedule, &mut due).await?;
        let before = schedule.status.clone().unwrap_or_default();
        let action = "write the status of the EtcdBackupSchedule";
        if due.status != before && write_status(client, schedule, &due.status, action).await? {
            let after = &due.status.conditions;
            let gap = changes::new_gap(&before.conditions, after).map(str::to_owned);
            if gap.is_some() {
                metrics.gaps(&namespace, &name, 1);
            }
            let worse = worsened(&before.conditions, after).into_iter();
            let not_ready = worse.map(|text| ("BackupScheduleNotReady", text));
            let missing = gap.map(|text| ("ChangesMissing", text));
            for (reason, message) in not_ready.chain(missing) {
                let notice = Notice { reason, member: None, message, warning: true };
                announce::publish(&self.operator.recorder, schedule, &notice).await;
            }
        }
        Ok(Action::requeue(due.requeue_after))
    }

    /// Reconciles the pod that stores the changes of a schedule. Adds the pod's progress to the status and the metrics, and can
    /// shorten the time until the next pass. While changes are requested, a failure is only logged and shown in the condition.
    async fn reconcile_changes(
        &self,
        schedule: &EtcdBackupSchedule,
        due: &mut schedule::Due,
    ) -> Result<(), PassError> {
        let namespace = schedule.namespace().unwrap_or_default();
        let (metrics, name) = (&self.operator.metrics, schedule.name_any());
        let now = Timestamp::now();
        let seen = match self.reconcile_changes_pod(schedule, now).await {
            // If this error ended the pass, the condition and the metric would not show that no changes are stored.
            Err(error) if changes::asked(schedule).is_some() => {
                tracing::warn!(namespace, schedule = name, %error, "failed to reconcile the pod that stores changes; retrying");
                Some(changes::Seen { answer: None, trouble: Some(error.to_string()) })
            }
            seen => seen?,
        };
        let (Some(every), Some(seen)) = (changes::asked(schedule), seen) else {
            metrics.changes.forget(&namespace, &name);
            return Ok(());
        };
        let (status, condition) = changes::status(schedule, &seen, every, now);
        let last = status.last_time.as_ref().map(|time| time.0.as_second());
        // Recent changes are not stored, or stored changes cannot be restored.
        let late = condition.status == "False";
        metrics.changes.set(&namespace, &name, last, late);
        // The counter starts at 0, so that a query sees the first gap.
        metrics.gaps(&namespace, &name, 0);
        due.status.changes = Some(status);
        due.status.conditions.push(condition);
        due.requeue_after = due.requeue_after.min(seen.requeue_after());
        Ok(())
    }
}

impl<M: Members> Passes<EtcdBackup> for Backups<M> {
    async fn pass(&self, backup: &EtcdBackup) -> PassResult {
        let outcome = with_timeout(PASS_LONGEST, self.reconcile(backup)).await;
        let (metrics, cluster) = (&self.operator.metrics, &backup.spec.cluster_ref.name);
        outcome.inspect_err(|_| metrics.failed_pass(backup, cluster))
    }
}

impl<M: Members> Passes<EtcdBackupSchedule> for Backups<M> {
    async fn pass(&self, schedule: &EtcdBackupSchedule) -> PassResult {
        let outcome = with_timeout(PASS_LONGEST, self.reconcile_schedule(schedule)).await;
        let (metrics, cluster) = (&self.operator.metrics, &schedule.spec.cluster_ref.name);
        outcome.inspect_err(|_| metrics.failed_pass(schedule, cluster))
    }

    fn forget(&self, namespace: &str, name: &str) {
        self.operator.metrics.forget_schedule(namespace, name);
    }
}

/// Returns the message that an EtcdCluster does not exist.
pub(crate) fn no_cluster(namespace: &str, name: &str) -> String {
    format!("EtcdCluster {name} does not exist in namespace {namespace}")
}

/// Returns the reason and message of each condition that has become false or is false for a new reason. Ignores a paused
/// schedule.
fn worsened(before: &[Condition], after: &[Condition]) -> Vec<String> {
    let known = |after: &Condition| {
        let mut before = before.iter();
        before.any(|before| before.type_ == after.type_ && before.reason == after.reason)
    };
    let worse = after.iter().filter(|after| after.status == "False");
    let worse = worse.filter(|after| after.reason != "Paused" && !known(after));
    let texts = worse.map(|one| format!("{}: {}", one.reason, one.message));
    texts.collect()
}

/// Builds the EtcdBackup of a schedule for a scheduled time. The name ends with the Unix time in minutes, like the names of a
/// CronJob's jobs. The EtcdBackup has no owner reference, so it outlives the schedule.
fn scheduled(schedule: &EtcdBackupSchedule, time: Timestamp) -> EtcdBackup {
    let name = schedule.name_any();
    let spec = EtcdBackupSpec {
        cluster_ref: schedule.spec.cluster_ref.clone(),
        folder: name.clone(),
        retention: schedule.spec.retention.clone(),
        settings: schedule.spec.settings.clone(),
    };
    let metadata = ObjectMeta {
        name: Some(format!("{name}-{}", time.as_second() / 60)),
        namespace: schedule.namespace(),
        labels: Some([(SCHEDULE.to_owned(), name)].into()),
        ..ObjectMeta::default()
    };
    EtcdBackup { metadata, spec, status: None }
}
