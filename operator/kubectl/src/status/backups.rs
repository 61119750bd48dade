//! The backups in the status of a cluster: the newest successful backup, later failures, and schedules.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use witan_crd::{EtcdBackup, EtcdBackupSchedule, EtcdBackupStatus};

use super::super::{
    facts::Facts,
    table::{MESSAGE_CHARS, Table, age, clipped, or_unknown, span},
};

/// Returns the newest successful backup and its completion time, or `None` if no backup has succeeded. Ignores unconfirmed
/// backups.
fn newest_success(facts: &Facts) -> Option<(&EtcdBackup, Timestamp)> {
    let backups = facts.backups.iter();
    let succeeded = backups.filter(|backup| backup.is_whole());
    let timed = succeeded.filter_map(|backup| Some((backup, backup.completed_at()?.0)));
    timed.max_by_key(|(_, time)| *time)
}

/// Returns a line about the newest success, and one for each later backup that failed, has not ended or is unconfirmed.
pub(super) fn summary(facts: &Facts, now: Timestamp) -> String {
    let newest = newest_success(facts);
    let mut text = match newest {
        Some((backup, time)) => {
            let status = backup.status.clone().unwrap_or_default();
            let EtcdBackupStatus { revision, size, location, .. } = status;
            format!(
                "{}, {} ago, revision {}, {}, in {}",
                backup.name_any(),
                age(time, now),
                or_unknown(revision),
                or_unknown(size),
                or_unknown(location),
            )
        }
        None if facts.unread.is_empty() => "none".to_owned(),
        None => "unknown".to_owned(),
    };
    let since = |backup: &&EtcdBackup| {
        let completed = backup.completed_at();
        completed.is_none_or(|time| newest.is_none_or(|(_, newest)| time.0 > newest))
    };
    for backup in facts.backups.iter().filter(since) {
        let said = backup
            .status
            .as_ref()
            .and_then(|status| status.message.clone());
        let said = said.map(|said| format!(": {}", clipped(&said, MESSAGE_CHARS)));
        let phase = backup.phase();
        let phase = phase.map_or_else(|| "Pending".to_owned(), |phase| format!("{phase:?}"));
        let name = backup.name_any();
        text.push_str(&format!(
            "\n{:12} {name} {phase}{}",
            "",
            said.unwrap_or_default()
        ));
    }
    text
}

/// Returns a table of the schedules; `None` if the cluster has none.
pub(super) fn schedules(facts: &Facts, now: Timestamp) -> Option<String> {
    let mut table = Table::new(["SCHEDULE", "WHEN (UTC)", "LAST SUCCESS", "NEXT", "STATE"]);
    for schedule in &facts.schedules {
        let status = schedule.status.clone().unwrap_or_default();
        let last = status
            .last_success_time
            .map(|time| age(time.0, now) + " ago");
        let next = status.next_schedule_time.map(|time| {
            let seconds = time.0.as_second() - now.as_second();
            if seconds < 0 {
                "due".to_owned()
            } else {
                format!("in {}", span(seconds))
            }
        });
        table.row([
            schedule.name_any(),
            schedule.spec.schedule.clone(),
            last.unwrap_or_else(|| "never".to_owned()),
            or_unknown(next),
            state(schedule),
        ]);
    }
    table.text()
}

/// Returns `ready`, or why a schedule is not ready, or why its recent changes are not stored or cannot be restored.
fn state(schedule: &EtcdBackupSchedule) -> String {
    let status = schedule.status.as_ref();
    let of = |kind: &str| {
        let mut conditions = status?.conditions.iter();
        conditions.find(|condition| condition.type_ == kind)
    };
    let Some(ready) = of("Ready") else {
        return "not seen by the operator yet".to_owned();
    };
    let not_ready = Some(ready).filter(|ready| ready.status != "True");
    let stored = of("ChangesStored");
    match not_ready.or(stored.filter(|stored| stored.status == "False")) {
        Some(bad) => format!("{}: {}", bad.reason, clipped(&bad.message, MESSAGE_CHARS)),
        None => "ready".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schedule_whose_changes_cannot_be_restored_is_not_ready() {
        let condition = |kind, status, reason, message| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-10-02T02:30:00Z",
            })
        };
        for (status, reason, shown) in [
            ("True", "Stored", "ready"),
            ("Unknown", "Starting", "ready"),
            ("False", "BackupMissing", "BackupMissing: no space"),
        ] {
            let conditions = [
                condition("Ready", "True", "Scheduled", ""),
                condition("ChangesStored", status, reason, "no space"),
            ];
            let schedule = json!({
                "apiVersion": "witan.dev/v1", "kind": "EtcdBackupSchedule",
                "metadata": {"name": "daily"},
                "spec": {
                    "clusterRef": {"name": "orders"}, "schedule": "@daily",
                    "store": {"s3": {"bucket": "b"}},
                },
                "status": {"conditions": conditions},
            });
            let schedule = serde_json::from_value(schedule).unwrap();
            assert_eq!(state(&schedule), shown);
        }
    }
}
