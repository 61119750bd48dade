//! Decides which EtcdBackups of an EtcdBackupSchedule to create or delete. Computes the schedule's status. Times are in UTC.

use std::time::Duration;

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::{Timestamp, tz::TimeZone},
};
use kube::ResourceExt as _;
use witan_api::backup::{RetentionFacts, apply_retention};
use witan_crd::{
    BackupPhase, BackupRetention, EtcdBackup, EtcdBackupSchedule, EtcdBackupScheduleStatus,
};

use crate::report::{self, ConditionState};

const FAILED_KEPT: usize = 3;

/// Maximum number of successful EtcdBackups that a schedule keeps, even if its retention keeps more. Files in the store are not
/// affected.
const SUCCEEDED_KEPT: usize = 100;

/// The longest time between two passes over a schedule.
const POLL: Duration = Duration::from_secs(300);

/// The decision about a schedule: which EtcdBackups to create and delete, and the new status.
#[derive(Debug, PartialEq)]
pub(super) struct Due {
    /// The scheduled time for which a backup is created.
    pub(super) create: Option<Timestamp>,
    /// Names of the EtcdBackups to delete.
    pub(super) delete: Vec<String>,
    pub(super) status: EtcdBackupScheduleStatus,
    /// Whether the schedule is invalid, or two consecutive scheduled times passed without a successful backup.
    pub(super) overdue: bool,
    pub(super) requeue_after: Duration,
}

struct Times(Cron);

impl Times {
    /// Parses five fields or a nickname such as `@daily`. Fails with a message for the user.
    fn parse(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let parsed = parser.parse(text);
        parsed.map(Self).map_err(|error| {
            format!("spec.schedule {text:?} is invalid: {error}. A schedule has five fields: minute, hour, day of the month, month, day of the week")
        })
    }

    /// Returns the first scheduled time after `time`; `None` if the schedule has no such time.
    fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let time = time.to_zoned(TimeZone::UTC);
        Some(self.0.find_next_occurrence(&time, false).ok()?.timestamp())
    }

    /// Returns the last scheduled time that is not after `time`; `None` if the schedule has no such time.
    fn until(&self, time: Timestamp) -> Option<Timestamp> {
        let time = time.to_zoned(TimeZone::UTC);
        let last = self.0.find_previous_occurrence(&time, true).ok()?;
        Some(last.timestamp())
    }
}

/// Returns the decision for a paused or invalid schedule: creates no backup, and the next pass follows after [`POLL`].
fn without_backup(delete: Vec<String>, status: EtcdBackupScheduleStatus, overdue: bool) -> Due {
    Due { create: None, delete, status, overdue, requeue_after: POLL }
}

/// Decides which backups of a schedule to create and delete now. Does not create a backup while another backup has not
/// finished, or if the schedule is paused or invalid; still deletes expired backups. Of several missed scheduled times, only
/// the last one is due. `backups` are the EtcdBackups that the schedule created.
pub(super) fn due(schedule: &EtcdBackupSchedule, backups: &[EtcdBackup], now: Timestamp) -> Due {
    let before = schedule.status.clone().unwrap_or_default();
    let mut newest: Vec<_> = backups.iter().collect();
    newest.sort_by_key(|backup| std::cmp::Reverse(backup.creation_timestamp().map(|time| time.0)));
    let last = newest.iter().find(|backup| backup.is_whole());
    let active = newest.iter().find(|backup| !backup.is_finished());
    let mut status = EtcdBackupScheduleStatus {
        active: active.map(|backup| backup.name_any()),
        last_backup: last.map(|backup| backup.name_any()).or(before.last_backup),
        last_success_time: last
            .and_then(|backup| backup.completed_at().cloned())
            .or(before.last_success_time),
        last_schedule_time: before.last_schedule_time,
        ..EtcdBackupScheduleStatus::default()
    };
    let delete = expired(&newest, schedule.spec.retention.as_ref(), now);
    let parsed = Times::parse(&schedule.spec.schedule).and_then(|times| {
        let next = times.after(now);
        let next = next.ok_or("spec.schedule never matches a date")?;
        Ok((times, next))
    });
    let (times, next) = match parsed {
        Ok(found) => found,
        Err(error) => {
            status.conditions = ready(schedule, "InvalidSchedule", &error, now);
            // An invalid schedule has no scheduled times, so it is reported as overdue.
            return without_backup(delete, status, true);
        }
    };
    if schedule.spec.paused {
        status.conditions = ready(schedule, "Paused", "spec.paused is true", now);
        return without_backup(delete, status, false);
    }
    let created = schedule.creation_timestamp().map_or(now, |time| time.0);
    // Times in the future, from a clock that was ahead, must not stop the schedule.
    let past = |time: &Option<Time>| time.as_ref().map(|time| time.0).filter(|time| *time <= now);
    let known = past(&status.last_schedule_time).unwrap_or(created);
    let create = times.until(now);
    let create = create.filter(|time| *time > known && active.is_none());
    status.next_schedule_time = Some(Time(next));
    let success = past(&status.last_success_time).unwrap_or(created);
    let second = times.after(success).and_then(|first| times.after(first));
    let overdue = second.is_some_and(|second| now > second);
    let (reason, message) = ready_state(overdue, &newest, active);
    status.conditions = ready(schedule, reason, &message, now);
    let wait = Duration::try_from(next.duration_since(now));
    let requeue_after = wait.unwrap_or_default().min(POLL);
    Due { create, delete, status, overdue, requeue_after }
}

/// Returns the reason and message of the `Ready` condition of a schedule that is neither paused nor invalid. `overdue` means
/// that two scheduled times have passed since the last success. `newest` lists the backups, the newest first. `active` is the
/// unfinished backup, if there is one.
fn ready_state(
    overdue: bool,
    newest: &[&EtcdBackup],
    active: Option<&&EtcdBackup>,
) -> (&'static str, String) {
    let says = |backup: &EtcdBackup, how: &str| {
        let said = backup.status.as_ref()?.message.as_deref()?;
        Some(format!("EtcdBackup {} {how}: {said}", backup.name_any()))
    };
    let ended = newest.iter().find(|backup| backup.is_finished());
    let troubled = ended.filter(|backup| !backup.is_whole());
    let trouble = troubled.and_then(|backup| match backup.phase() == Some(BackupPhase::Failed) {
        true => Some(("LastBackupFailed", says(backup, "has failed")?)),
        false => Some(("LastBackupUnconfirmed", says(backup, "is unconfirmed")?)),
    });
    if overdue {
        let late = "neither of the last two backups of the schedule has succeeded";
        let waits = active.and_then(|backup| says(backup, "has not succeeded yet"));
        let why = waits.or(trouble.map(|(_, text)| text));
        let text = why.map_or(late.to_owned(), |why| format!("{late}. {why}"));
        return ("Overdue", text);
    }
    trouble.unwrap_or(("Scheduled", String::new()))
}

/// Returns the names of the EtcdBackups to delete. `retention`, [`FAILED_KEPT`] and [`SUCCEEDED_KEPT`] limit how many are kept.
/// `newest` is sorted newest first. Backups that no quorum confirmed are counted separately. `retention` does not apply to
/// backups of an earlier cluster of the same name. The jobs apply the same policy to the files.
fn expired(
    newest: &[&EtcdBackup],
    retention: Option<&BackupRetention>,
    now: Timestamp,
) -> Vec<String> {
    let of = |phase| {
        let all = newest.iter().copied();
        all.filter(move |backup| backup.phase() == Some(phase))
    };
    let failed = of(BackupPhase::Failed).skip(FAILED_KEPT);
    let succeeded: Vec<_> = of(BackupPhase::Succeeded).collect();
    let id = |backup: &EtcdBackup| backup.status.as_ref()?.cluster_id.clone();
    let present = succeeded.first().and_then(|newest| id(newest));
    let (whole, cut_off): (Vec<_>, Vec<_>) =
        succeeded.into_iter().partition(|backup| backup.is_whole());
    let surplus = whole.iter().skip(SUCCEEDED_KEPT);
    let surplus = surplus.chain(cut_off.iter().skip(SUCCEEDED_KEPT)).copied();
    let listed = whole.iter().take(SUCCEEDED_KEPT);
    let listed = listed.chain(cut_off.iter().take(SUCCEEDED_KEPT)).copied();
    // Backups of a lost cluster with the same name are kept, like their files.
    let of_cluster = listed.filter(|backup| id(backup) == present);
    let facts = of_cluster.map(|backup| {
        let created = backup.creation_timestamp();
        RetentionFacts {
            backup,
            at: created.map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            unconfirmed: !backup.is_whole(),
            kept: retention.is_none_or(|kept| is_young(kept, backup, now)),
        }
    });
    let last = retention.and_then(|kept| kept.keep_last);
    let (_, old) = apply_retention(facts.collect(), last.map_or(0, |last| last as usize));
    let all = failed.chain(old).chain(surplus);
    all.map(|backup| backup.name_any()).collect()
}

/// Returns whether a backup is not older than `keepWithin`; `false` if that limit is not set. A backup without a completion
/// time is young.
fn is_young(kept: &BackupRetention, backup: &EtcdBackup, now: Timestamp) -> bool {
    kept.keep_within.as_ref().is_some_and(|span| {
        let age = backup.completed_at();
        let age = age.map(|time| now.duration_since(time.0));
        let age = age.and_then(|age| Duration::try_from(age).ok());
        age.unwrap_or_default() <= span.duration()
    })
}

/// Returns the conditions of a schedule: only `Ready`, which is true for the reason `Scheduled` and false for any other reason.
pub(super) fn ready(
    schedule: &EtcdBackupSchedule,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Vec<Condition> {
    let status = match reason == "Scheduled" {
        true => "True",
        false => "False",
    };
    let before = schedule.status.as_ref();
    let before = before.map_or(&[][..], |status| &status.conditions);
    let state = ConditionState { status, reason, message: message.to_owned() };
    let generation = schedule.metadata.generation;
    let condition = report::condition(before, "Ready", state, generation, Time(now));
    vec![condition]
}
