//! The status of an EtcdBackup, as its job and the pods of the job show it.

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition},
        core::v1::{ContainerState, ContainerStatus, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::ResourceExt as _;
use serde::{Deserialize, de::DeserializeOwned};
use witan_backup::{BackupRecord, FetchedBackup};
use witan_crd::{BackupPhase, EtcdBackup, EtcdBackupStatus};

use crate::{
    report::{self, rounded},
    resources::{
        FETCH,
        backup::{SAVE, location, stored_name},
    },
};

/// What `witan-operator backup` writes into its termination message when it fails.
#[derive(Debug, Deserialize)]
struct Failed {
    reason: String,
    message: String,
}

const NOTHING_SAID: &str = "the job has completed, and none of its pods tells what was stored: look into the store, and \
    create another EtcdBackup";

/// Returns the status of a backup that waits for something outside of its job.
pub(super) fn pending(backup: &EtcdBackup, why: String, now: Timestamp) -> EtcdBackupStatus {
    let status = EtcdBackupStatus {
        phase: Some(BackupPhase::Pending),
        message: Some(why),
        ..EtcdBackupStatus::default()
    };
    with_condition(status, backup, "Pending", now)
}

/// Returns the status of a backup whose job exists.
pub(super) fn status(
    backup: &EtcdBackup,
    job: &Job,
    pods: &[Pod],
    now: Timestamp,
) -> EtcdBackupStatus {
    let mut pods: Vec<_> = pods.iter().collect();
    pods.sort_by_key(|pod| pod.creation_timestamp().map(|time| time.0));
    let mut status = EtcdBackupStatus {
        started_at: job.creation_timestamp(),
        location: Some(location(backup)),
        name: Some(stored_name(backup)),
        failed_attempts: job.status.as_ref().and_then(|status| status.failed),
        ..EtcdBackupStatus::default()
    };
    let saved = pods.iter().rev().find_map(|pod| saved(pod));
    if let Some(saved) = saved {
        status.revision = Some(saved.revision);
        status.bytes = i64::try_from(saved.bytes).ok();
        status.size = Some(rounded(saved.bytes));
        status.sha256 = Some(saved.sha256);
        status.cluster_id = Some(saved.cluster_id);
        status.version = Some(saved.version);
        status.message = saved.warning;
    }
    let trouble = pods.iter().rev().find_map(|pod| trouble(pod));
    if let Some(done) = condition(job, "Complete") {
        let completed = job
            .status
            .as_ref()
            .and_then(|status| status.completion_time.clone());
        status.completed_at = completed.or_else(|| done.last_transition_time.clone());
        if status.revision.is_none() {
            status.phase = Some(BackupPhase::Failed);
            status.message = Some(NOTHING_SAID.to_owned());
            return with_condition(status, backup, "ResultMissing", now);
        }
        status.phase = Some(BackupPhase::Succeeded);
        return with_condition(status, backup, "Stored", now);
    }
    if let Some(failed) = condition(job, "Failed") {
        status.phase = Some(BackupPhase::Failed);
        status.completed_at = failed.last_transition_time.clone();
        let job_says = failed.message.clone().unwrap_or_default();
        let (reason, message) = trouble.unwrap_or_else(|| ("JobFailed".to_owned(), job_says));
        status.message = Some(message);
        return with_condition(status, backup, &reason, now);
    }
    status.phase = Some(BackupPhase::Running);
    let (reason, message) = trouble.unzip();
    status.message = message;
    with_condition(
        status,
        backup,
        &reason.unwrap_or_else(|| "Running".to_owned()),
        now,
    )
}

/// Whether a job has ended.
pub(super) fn is_over(job: &Job) -> bool {
    condition(job, "Complete").is_some() || condition(job, "Failed").is_some()
}

/// Returns the condition of a job that is true and of this kind.
pub(crate) fn condition<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Returns the statuses of all containers of a pod, the init containers first.
fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    init.into_iter().chain(main).flatten()
}

/// Returns what a pod has stored; `None` unless it has stored something.
fn saved(pod: &Pod) -> Option<BackupRecord> {
    result(pod, SAVE)
}

/// Returns the revision to which the changes go that a pod has fetched with its backup; `None` if it has fetched none.
pub(crate) fn fetched_revision(pod: &Pod) -> Option<i64> {
    result::<FetchedBackup>(pod, FETCH)?.to_revision
}

/// Returns the termination message of a container that has succeeded.
fn result<T: DeserializeOwned>(pod: &Pod, name: &str) -> Option<T> {
    let container = containers(pod).find(|container| container.name == name)?;
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    let succeeded = ended.exit_code == 0;
    succeeded.then(|| serde_json::from_str(ended.message.as_deref()?).ok())?
}

/// Returns why a pod has failed or cannot start, as reason and message; `None` if nothing is wrong.
pub(crate) fn trouble(pod: &Pod) -> Option<(String, String)> {
    let name = pod.name_any();
    let found = containers(pod).find_map(|container| {
        let state = container.state.as_ref()?;
        ended(&container.name, state).or_else(|| waits(state))
    });
    let (reason, message) = found.or_else(|| ended_pod(pod))?;
    Some((reason, format!("pod {name}: {message}")))
}

/// Returns why a pod that is restarted again and again does not run, or cannot start; `None` while it runs.
pub(super) fn crash(pod: &Pod) -> Option<String> {
    let last = containers(pod).find_map(|container| {
        container.state.as_ref()?.waiting.as_ref()?;
        ended(&container.name, container.last_state.as_ref()?)
    });
    let last = last.map(|(_, message)| format!("pod {}: {message}", pod.name_any()));
    last.or_else(|| trouble(pod).map(|(_, message)| message))
}

/// Returns why a container has ended with an error.
fn ended(container: &str, state: &ContainerState) -> Option<(String, String)> {
    let ended = state
        .terminated
        .as_ref()
        .filter(|ended| ended.exit_code != 0)?;
    let said = ended.message.as_deref().unwrap_or_default().trim();
    Some(match serde_json::from_str::<Failed>(said) {
        Ok(failed) => (failed.reason, failed.message),
        Err(_) => {
            let code = ended.exit_code;
            let text = format!("container {container} ended with exit code {code}: {said}");
            ("ContainerFailed".to_owned(), text)
        }
    })
}

/// Returns why a container cannot start; `None` while it is about to.
fn waits(state: &ContainerState) -> Option<(String, String)> {
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.clone()?;
    let normal = ["ContainerCreating", "PodInitializing"];
    let message = waiting.message.clone().unwrap_or_else(|| reason.clone());
    (!normal.contains(&reason.as_str())).then_some((reason, message))
}

/// Returns why a pod as a whole has failed, such as an eviction, or cannot be scheduled.
fn ended_pod(pod: &Pod) -> Option<(String, String)> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        let reason = status.reason.clone()?;
        let message = status.message.clone().unwrap_or_else(|| reason.clone());
        return Some((reason, message));
    }
    let conditions = status.conditions.as_ref()?;
    let mut unscheduled = conditions.iter().filter(|condition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    });
    let message = unscheduled.next()?.message.clone().unwrap_or_default();
    Some(("Unschedulable".to_owned(), message))
}

/// Adds the condition `Succeeded` to a status, with its message.
fn with_condition(
    mut status: EtcdBackupStatus,
    backup: &EtcdBackup,
    reason: &str,
    now: Timestamp,
) -> EtcdBackupStatus {
    let value = match status.phase {
        Some(BackupPhase::Succeeded) => "True",
        Some(BackupPhase::Failed) => "False",
        Some(BackupPhase::Pending | BackupPhase::Running) | None => "Unknown",
    };
    let before = backup.status.as_ref();
    let before = before.map_or(&[][..], |status| &status.conditions);
    let message = status.message.clone().unwrap_or_default();
    let generation = backup.metadata.generation;
    let made = report::condition(
        before,
        ["Succeeded", value, reason],
        message,
        generation,
        Time(now),
    );
    status.conditions = vec![made];
    status
}
