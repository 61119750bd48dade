//! Creates the pod that stores the changes of a schedule while the schedule requests changes, and reads its progress.

use std::{net::SocketAddr, time::Duration};

use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt as _;
use witan_api::backup::{ChangesGap, ChangesStatus};
use witan_crd::{BackupChanges, BackupChangesStatus, EtcdBackupSchedule, EtcdCluster, pod_phase};
use witan_members::{Members, page};

use super::{Backups, no_cluster, progress, scheduled};
use crate::{
    api_server::{create_missing, delete, get, list},
    passes::PassError,
    report::{self, ConditionState},
    resources::{CHANGES, Cluster, STATUS_PORT, changes_pod, is_current, is_owned},
};

const POLL: Duration = Duration::from_secs(15);
/// The time until the next pass if the pod has not responded.
const SOON: Duration = Duration::from_secs(3);
/// The time limit of a query to the pod.
const ANSWER: Duration = Duration::from_secs(2);
/// The tolerated lead of the pod's clock over the operator's clock.
const AHEAD: SignedDuration = SignedDuration::from_secs(10);
/// Allowed delay in addition to twice the interval in `spec.changes`, because the pod may have just started.
const GRACE: SignedDuration = SignedDuration::from_secs(30);
/// The type of the condition that shows whether recent changes are stored and can be restored.
const STORED: &str = "ChangesStored";
const BACKUP_MISSING: &str = "BackupMissing";
const SAVING: &str =
    "the stored changes cannot be restored yet: the backup from which they start is being saved";
/// The start of the message about points in time that cannot be restored.
const GAP: &str = "points in time between ";

/// The progress of a schedule's changes, as its pod reports it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// The pod's response; `None` if the pod did not respond.
    pub(super) answer: Option<ChangesStatus>,
    /// The reason why changes are not being stored; `None` if they are stored, or if the reason is unknown.
    pub(super) trouble: Option<String>,
}

impl Seen {
    /// Returns the time until the next pass: shorter while the pod does not respond.
    pub(super) fn requeue_after(&self) -> Duration {
        if self.answer.is_some() { POLL } else { SOON }
    }
}

impl<M: Members> Backups<M> {
    /// Creates the pod of a schedule, or deletes pods that have ended or do not match the schedule, and reads the progress. If
    /// no pod can be built, deletes all pods of the schedule and returns the reason. Returns `None` if the schedule stores no
    /// changes or is paused.
    pub(super) async fn reconcile_changes_pod(
        &self,
        schedule: &EtcdBackupSchedule,
        now: Timestamp,
    ) -> Result<Option<Seen>, PassError> {
        let namespace = schedule.namespace().unwrap_or_default();
        let (client, name) = (&self.operator.client, schedule.name_any());
        let action = "list the pods that store changes";
        let mut pods = list::<Pod>(client, &namespace, (CHANGES, &name), action).await?;
        pods.retain(|pod| is_owned(pod, schedule.uid().as_deref()));
        let wanted = match asked(schedule) {
            Some(changes) => Some(self.wanted(schedule, changes, now).await?),
            None => None,
        };
        for pod in &pods {
            let ended = matches!(pod_phase(pod), Some("Failed" | "Succeeded"));
            let fits = matches!(&wanted, Some(Ok(wanted)) if is_current(wanted, pod));
            if (ended || !fits) && pod.metadata.deletion_timestamp.is_none() {
                delete(client, pod, "delete a pod that stores changes").await?;
            }
        }
        let wanted = match wanted {
            Some(Ok(wanted)) => wanted,
            Some(Err(why)) => return Ok(Some(Seen { answer: None, trouble: Some(why) })),
            None => return Ok(None),
        };
        // Wait until a terminating pod is gone. Otherwise, two pods would store the same changes.
        if pods.is_empty() {
            let action = "create the pod that stores changes";
            let trouble = match create_missing(client, &namespace, &wanted, action).await? {
                Ok(Some(_)) => None,
                Ok(None) => Some(format!(
                    "another pod has the name {}: the pod that stores changes is created when that pod is gone; if its node is permanently lost, force-delete it",
                    wanted.name_any()
                )),
                Err(refusal) => Some(refusal),
            };
            return Ok(Some(Seen { answer: None, trouble }));
        }
        Ok(Some(ask_pod(&pods).await))
    }

    /// Builds the pod that a schedule requests. The inner error says why it cannot be built.
    async fn wanted(
        &self,
        schedule: &EtcdBackupSchedule,
        changes: BackupChanges,
        now: Timestamp,
    ) -> Result<Result<Pod, String>, PassError> {
        let namespace = schedule.namespace().unwrap_or_default();
        let (client, name) = (&self.operator.client, &schedule.spec.cluster_ref.name);
        let action = "read the EtcdCluster";
        let Some(cluster) = get::<EtcdCluster>(client, &namespace, name, action).await? else {
            return Ok(Err(no_cluster(&namespace, name)));
        };
        let named = Cluster::new(&cluster, &self.operator.environment)?;
        let of = scheduled(schedule, now);
        let pod = changes_pod(schedule, &of, changes, &named);
        Ok(pod.map_err(|error| error.to_string()))
    }
}

/// Returns `spec.changes` of a schedule; `None` while the schedule is paused.
pub(super) fn asked(schedule: &EtcdBackupSchedule) -> Option<BackupChanges> {
    schedule.spec.changes.filter(|_| !schedule.spec.paused)
}

/// Queries the pod that stores a schedule's changes for its progress. Does not query a pod that is terminating, is crashing or
/// has no address. Reports a terminating or crashing pod, a failed query, an invalid response, or an error in the response as
/// trouble.
async fn ask_pod(pods: &[Pod]) -> Seen {
    let mut running = pods.iter();
    let running = running.find(|pod| pod.metadata.deletion_timestamp.is_none());
    let Some(pod) = running else {
        let ends = pods.first().map(|pod| {
            let (name, spec) = (pod.name_any(), pod.spec.as_ref());
            let node = spec.and_then(|spec| spec.node_name.as_deref());
            let node = node.unwrap_or_default();
            format!("pod {name} is still terminating; if node {node} is permanently lost, force-delete the pod")
        });
        return Seen { answer: None, trouble: ends };
    };
    let trouble = progress::crash(pod);
    let status = pod.status.as_ref();
    let ip = status.and_then(|status| status.pod_ip.as_ref()?.parse().ok());
    let Some(ip) = ip.filter(|_| trouble.is_none()) else {
        return Seen { answer: None, trouble };
    };
    let url = format!("http://{}/", SocketAddr::new(ip, STATUS_PORT));
    let got = page::get(&url, None, ANSWER, page::PAGE_BYTES_MAX).await;
    let got = got.map_err(|error| error.to_string());
    let answer = got.and_then(|json| {
        serde_json::from_slice::<ChangesStatus>(&json)
            .map_err(|error| format!("invalid status: {error}"))
    });
    match answer {
        Ok(answer) => Seen { trouble: answer.error.clone(), answer: Some(answer) },
        Err(error) => Seen {
            answer: None,
            trouble: Some(format!("pod {}: {error}", pod.name_any())),
        },
    }
}

/// Returns the message about points in time that cannot be restored, or `None` if no condition contains such a message. The
/// message is at the end of a condition's message.
fn gap_told(conditions: &[Condition]) -> Option<&str> {
    let mut messages = conditions.iter().map(|condition| &condition.message);
    messages.find_map(|message| Some(&message[message.find(GAP)?..]))
}

/// Returns the message about points in time that cannot be restored if it is new in the conditions `after`.
pub(super) fn new_gap<'a>(before: &[Condition], after: &'a [Condition]) -> Option<&'a str> {
    gap_told(after).filter(|told| gap_told(before) != Some(*told))
}

/// Formats the message about a gap, which starts with [`GAP`].
fn gap_text(gap: &ChangesGap) -> String {
    let (after, until) = (gap.after, gap.until);
    let after = after.map_or("the last stored change".to_owned(), |time| time.to_string());
    format!(
        "{GAP}{after} and {until} cannot be restored, because the changes between them were not stored; for later points, start from a backup that was started at {until} or later"
    )
}

/// Returns the new status of a schedule's changes, and the `ChangesStored` condition. While the pod does not answer, a missing
/// backup and a gap that the pod reported stay in the condition. The condition is False if the last stored change is too old or
/// too far in the future, or if a backup is missing. Otherwise, it is Unknown until a change is stored. The status changes only
/// once its time is at least [`POLL`] later, or if the cluster id changes.
pub(super) fn status(
    schedule: &EtcdBackupSchedule,
    seen: &Seen,
    every: BackupChanges,
    now: Timestamp,
) -> (BackupChangesStatus, Condition) {
    let before = schedule.status.as_ref();
    let shown = before.and_then(|status| status.changes.clone());
    let known = shown.unwrap_or_default();
    let answer = seen.answer.as_ref().filter(|answer| answer.time.is_some());
    let status = answer.map_or(known.clone(), |answer| BackupChangesStatus {
        last_revision: Some(answer.revision),
        last_time: answer.time.map(Time),
        cluster_id: Some(answer.cluster_id.clone()),
    });
    // Each write of the status triggers another pass, which must not write again.
    let later = match (&known.last_time, &status.last_time) {
        (Some(known), Some(last)) => last.0.duration_since(known.0).unsigned_abs() >= POLL,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    let is_new = later || known.cluster_id != status.cluster_id;
    let status = if is_new { status } else { known };
    let created = schedule.creation_timestamp().map_or(now, |time| time.0);
    let last = status.last_time.as_ref().map_or(created, |time| time.0);
    let late = SignedDuration::from_secs(2 * i64::from(every.every_seconds)) + GRACE;
    let age = now.duration_since(last);
    let is_ahead = age < -AHEAD;
    let conditions = before.map_or(&[][..], |status| &status.conditions);
    let is_missing = |one: &Condition| one.type_ == STORED && one.reason == BACKUP_MISSING;
    let needs_backup = match (&seen.answer, answer) {
        (Some(said), _) if said.needs_backup => true,
        (_, Some(_)) => false,
        (_, None) => conditions.iter().any(is_missing),
    };
    let (value, reason) = match (age > late || is_ahead, &seen.trouble) {
        (true, _) => ("False", "Late"),
        (false, _) if needs_backup => ("False", BACKUP_MISSING),
        (false, _) if status.last_time.is_none() => ("Unknown", "Starting"),
        (false, Some(_)) => ("True", "Delayed"),
        (false, None) => ("True", "Stored"),
    };
    let ahead = is_ahead.then(|| {
        format!(
            "the stored changes have times up to {last}, which is in the future; correct the clock of the node that stores them"
        )
    });
    let saving = needs_backup.then(|| SAVING.to_owned());
    let told = ahead.or_else(|| seen.trouble.clone()).or(saving);
    let found = seen.answer.as_ref().and_then(|said| said.gap.as_ref());
    let kept = gap_told(conditions).filter(|_| answer.is_none());
    let gap = found.map(gap_text).or_else(|| kept.map(str::to_owned));
    let message: Vec<_> = told.into_iter().chain(gap).collect();
    let message = message.join("; ");
    let state = ConditionState { status: value, reason, message };
    let generation = schedule.metadata.generation;
    let condition = report::condition(conditions, STORED, state, generation, Time(now));
    (status, condition)
}
