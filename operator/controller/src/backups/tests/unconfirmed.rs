//! Backups of members that were cut off from a quorum, and backups whose phase is from a later release.

use witan_crd::CONFIRMED;

use super::*;

const WHY: &str = "the member did not answer a linearizable read";

/// Returns a scheduled backup that was taken without a quorum.
fn cut_off(hour: u8) -> EtcdBackup {
    let mut backup = ended(hour, "Succeeded");
    let at = format!("2026-01-01T{hour:02}:00:00Z");
    let condition = json!([{
        "type": CONFIRMED, "status": "False", "reason": "Unconfirmed", "message": WHY, "lastTransitionTime": at,
    }]);
    let status = backup.status.as_mut().expect("a status");
    status.conditions = serde_json::from_value(condition).expect("conditions");
    status.message = Some(WHY.to_owned());
    backup
}

#[test]
fn a_status_shows_that_no_quorum_has_confirmed_the_backup() {
    let saved = testing::saved(&json!({"unconfirmed": true, "warning": WHY}));
    let pods = [pod(
        "5",
        json!({"phase": "Succeeded", "containerStatuses": [terminated("save", 0, &saved)]}),
    )];
    let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    let mut backup = backup(json!({"store": s3()}));
    let status = of_pods(&backup, done, &pods);
    assert_eq!(status.phase, Some(BackupPhase::Succeeded));
    assert_eq!(status.message.as_deref(), Some(WHY));
    let [succeeded, confirmed] = &status.conditions[..] else {
        panic!("{:?}", status.conditions);
    };
    assert_eq!(succeeded.status, "True");
    assert_eq!(
        (confirmed.type_.as_str(), confirmed.status.as_str()),
        (CONFIRMED, "False")
    );
    backup.status = Some(status);
    assert!(!backup.is_whole());
}

#[test]
fn an_unconfirmed_backup_is_not_a_success_of_its_schedule() {
    let now = time("2026-01-01T13:30:00Z");
    let early = due(&plain(), &[cut_off(13), ended(12, "Succeeded")], now);
    assert_eq!(early.status.last_backup.as_deref(), Some("hourly-12"));
    let condition = &early.status.conditions[0];
    assert_eq!(condition.reason, "LastBackupUnconfirmed");
    assert!(condition.message.contains(WHY), "{}", condition.message);
    let late = due(&plain(), &[cut_off(12), cut_off(13)], now);
    assert!(late.overdue);
    let condition = &late.status.conditions[0];
    assert_eq!(condition.reason, "Overdue");
    assert!(condition.message.contains(WHY), "{}", condition.message);
}

#[test]
fn retention_counts_backups_without_a_quorum_separately() {
    let now = time("2026-01-01T14:30:00Z");
    let whole = |hour| ended(hour, "Succeeded");
    let removed = |backups: &[EtcdBackup], retention: Value| {
        let schedule = schedule(json!({"retention": retention}), json!({}));
        due(&schedule, backups, now).delete
    };
    let backups = [whole(8), whole(9), cut_off(10), cut_off(11), cut_off(12)];
    assert_eq!(removed(&backups, json!({"keepLast": 2})), ["hourly-10"]);
    assert_eq!(
        removed(&backups, json!({"keepWithin": "1m"})),
        ["hourly-8", "hourly-12", "hourly-11", "hourly-10"]
    );
    // An unconfirmed backup is removed once it is older than all kept confirmed backups.
    let backups = [cut_off(8), whole(9), whole(10)];
    assert_eq!(removed(&backups, json!({"keepLast": 2})), ["hourly-8"]);
}

/// A later release wrote the phase. Only that release can continue the backup.
#[tokio::test]
async fn a_backup_in_an_unknown_phase_is_left_alone() {
    let fake = FakeApi::default();
    fake.put_cluster(&json!({}));
    let mut waits = serde_json::to_value(backup(json!({"store": s3()}))).expect("JSON");
    waits["status"] = json!({"phase": "Verifying"});
    fake.put(waits);
    reconciled(&backups(&fake), &fake).await;
    assert!(fake.all("/jobs/").is_empty());
    let found = fake.get("/etcdbackups/now").expect("a backup");
    assert_eq!(found["status"], json!({"phase": "Verifying"}));
}
