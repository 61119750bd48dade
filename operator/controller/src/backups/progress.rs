//! Derives the status of an EtcdBackup from its job and the job's pods.

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use witan_api::backup::{BackupRecord, FetchedBackup};
use witan_crd::{
    BackupPhase, CONFIRMED, EtcdBackup, EtcdBackupStatus, PodFailure, container_failure,
    containers, pod_failure,
};

use crate::{
    report::{self, ConditionState, rounded},
    resources::{
        FETCH,
        backup::{ACCEPT, SAVE, location, stored_name},
    },
};

const RESULT_MISSING: &str = "the Job has completed, but none of its pods reports a result; check the store, and \
    create another EtcdBackup";

/// Returns the status of a backup whose job cannot start yet.
pub(super) fn pending(backup: &EtcdBackup, why: String, now: Timestamp) -> EtcdBackupStatus {
    let status = EtcdBackupStatus {
        phase: Some(BackupPhase::Pending),
        message: Some(why),
        ..EtcdBackupStatus::default()
    };
    with_condition(status, backup, "Pending", now)
}

/// Returns the status of a backup with a job. `refused` says why the job has no pods, and is used if no pod reports a failure.
/// A completed job without a reported result is a failure.
pub(super) fn status(
    backup: &EtcdBackup,
    job: &Job,
    pods: &[Pod],
    refused: Option<PodFailure>,
    now: Timestamp,
) -> EtcdBackupStatus {
    let mut pods: Vec<_> = pods.iter().collect();
    pods.sort_by_key(|pod| pod.creation_timestamp().map(|time| time.0));
    let mut status = EtcdBackupStatus {
        started_at: job.creation_timestamp(),
        location: Some(location(backup)),
        name: Some(stored_name(backup)),
        ..EtcdBackupStatus::default()
    };
    // The result of `accept` also shows whether the retention policy was applied.
    let saved = [ACCEPT, SAVE].into_iter().find_map(|name| {
        let mut newest = pods.iter().rev();
        newest.find_map(|pod| result::<BackupRecord>(pod, name))
    });
    let unconfirmed = saved.as_ref().is_some_and(|saved| saved.unconfirmed);
    if let Some(saved) = saved {
        status.revision = Some(saved.revision);
        status.bytes = i64::try_from(saved.bytes).ok();
        status.size = Some(rounded(saved.bytes));
        status.sha256 = Some(saved.sha256);
        status.cluster_id = Some(saved.cluster_id);
        status.version = Some(saved.version);
        status.release = saved.release;
        status.level = saved.level.map(i64::from);
        status.message = saved.warning;
    }
    let failure = pods.iter().rev().find_map(|pod| named_pod_failure(pod));
    let failure = failure.or(refused);
    if let Some(done) = condition(job, "Complete") {
        let job = job.status.as_ref();
        let completed = job.and_then(|job| job.completion_time.clone());
        status.completed_at = completed.or_else(|| done.last_transition_time.clone());
        if status.revision.is_none() {
            status.phase = Some(BackupPhase::Failed);
            status.message = Some(RESULT_MISSING.to_owned());
            return with_condition(status, backup, "ResultMissing", now);
        }
        status.phase = Some(BackupPhase::Succeeded);
        let status = with_condition(status, backup, "Stored", now);
        return match unconfirmed {
            true => with(status, backup, CONFIRMED, "False", "Unconfirmed", now),
            false => status,
        };
    }
    if let Some(failed) = condition(job, "Failed") {
        status.phase = Some(BackupPhase::Failed);
        status.completed_at = failed.last_transition_time.clone();
        let PodFailure { reason, message } = failure.unwrap_or_else(|| PodFailure {
            reason: "JobFailed".to_owned(),
            message: failed.message.clone().unwrap_or_default(),
        });
        status.message = Some(message);
        return with_condition(status, backup, &reason, now);
    }
    status.phase = Some(BackupPhase::Running);
    let (reason, message) = failure.map(|found| (found.reason, found.message)).unzip();
    status.message = message;
    with_condition(status, backup, reason.as_deref().unwrap_or("Running"), now)
}

/// Returns whether a job has completed or failed.
pub(super) fn is_over(job: &Job) -> bool {
    condition(job, "Complete").is_some() || condition(job, "Failed").is_some()
}

/// Returns the condition of this type if it is true, otherwise `None`.
pub(crate) fn condition<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    let mut conditions = job.status.as_ref()?.conditions.as_ref()?.iter();
    conditions.find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Returns the last revision to restore, as a pod that has fetched changes reports it; `None` if there are no changes, or if
/// the pod has not fetched them successfully.
pub(crate) fn fetched_revision(pod: &Pod) -> Option<i64> {
    result::<FetchedBackup>(pod, FETCH)?.to_revision
}

/// Parses the termination message of a container; `None` unless the container has succeeded with a valid message.
fn result<T: DeserializeOwned>(pod: &Pod, name: &str) -> Option<T> {
    let container = containers(pod).find(|container| container.name == name)?;
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    let succeeded = ended.exit_code == 0;
    succeeded.then(|| serde_json::from_str(ended.message.as_deref()?).ok())?
}

/// Returns why a pod is crash-looping or cannot start, with the pod's name; `None` if nothing is wrong.
pub(super) fn crash(pod: &Pod) -> Option<String> {
    let last = containers(pod).find_map(|container| {
        container.state.as_ref()?.waiting.as_ref()?;
        container_failure(&container.name, container.last_state.as_ref()?)
    });
    let found = last.or_else(|| pod_failure(pod));
    found.map(|found| with_pod_name(pod, found).message)
}

/// Returns why a pod has failed or cannot start, with the pod's name; `None` if nothing is wrong.
pub(crate) fn named_pod_failure(pod: &Pod) -> Option<PodFailure> {
    pod_failure(pod).map(|found| with_pod_name(pod, found))
}

fn with_pod_name(pod: &Pod, failure: PodFailure) -> PodFailure {
    let message = format!("pod {}: {}", pod.name_any(), failure.message);
    PodFailure { message, ..failure }
}

/// Adds the `Succeeded` condition, whose value follows from the phase.
fn with_condition(
    status: EtcdBackupStatus,
    backup: &EtcdBackup,
    reason: &str,
    now: Timestamp,
) -> EtcdBackupStatus {
    let value = match status.phase {
        Some(BackupPhase::Succeeded) => "True",
        Some(BackupPhase::Failed) => "False",
        Some(BackupPhase::Pending | BackupPhase::Running | BackupPhase::Unknown) | None => {
            "Unknown"
        }
    };
    with(status, backup, "Succeeded", value, reason, now)
}

/// Adds a condition of the type `kind` with the message of the status.
fn with(
    mut status: EtcdBackupStatus,
    backup: &EtcdBackup,
    kind: &str,
    value: &str,
    reason: &str,
    now: Timestamp,
) -> EtcdBackupStatus {
    let before = backup.status.as_ref();
    let before = before.map_or(&[][..], |status| &status.conditions);
    let message = status.message.clone().unwrap_or_default();
    let state = ConditionState { status: value, reason, message };
    let generation = backup.metadata.generation;
    let made = report::condition(before, kind, state, generation, Time(now));
    status.conditions.push(made);
    status
}
