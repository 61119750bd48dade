//! One pod stores the changes of a schedule, and the status reports its progress.

use witan_api::backup::{ChangesGap, ChangesStatus};

use super::*;
use crate::backups::changes::{Seen, new_gap, status};

fn with_changes(more: Value, before: Value) -> EtcdBackupSchedule {
    schedule(with(json!({"changes": {"everySeconds": 5}}), &more), before)
}

fn pods(fake: &FakeApi) -> Vec<Value> {
    fake.all("/pods/")
}

#[tokio::test]
async fn one_pod_stores_changes_while_a_schedule_requests_it() {
    let fake = FakeApi::default();
    let backups = backups(&fake);
    let now = time("2026-01-01T13:20:00Z");
    let look = async |schedule: &EtcdBackupSchedule| {
        backups
            .reconcile_changes_pod(schedule, now)
            .await
            .expect("a pass")
    };
    assert_eq!(look(&schedule(json!({}), json!({}))).await, None);
    let of = with_changes(json!({}), json!({}));
    let missing = look(&of).await.expect("changes are requested");
    assert!(
        missing
            .trouble
            .expect("a reason")
            .contains("EtcdCluster orders does not exist")
    );
    fake.put_cluster(&json!({}));
    for _ in 0..2 {
        look(&of).await;
        assert_eq!(pods(&fake).len(), 1);
    }
    let pod = &pods(&fake)[0];
    assert_eq!(
        arguments(&pod["spec"]["containers"][0])[..6],
        [
            "backup",
            "changes",
            "--to=s3://b/etcd/shop/orders/hourly",
            "--every=5s",
            "--listen=[::]:8080",
            "--result=/dev/termination-log",
        ]
    );
    assert_eq!(
        pod["metadata"]["name"], "hourly-changes",
        "the fixed name allows only one pod"
    );
    assert!(pod["metadata"]["labels"].get("witan.dev/cluster").is_none());
    // The next pass creates a pod for the new spec.
    let other = with_changes(json!({"changes": {"everySeconds": 6}}), json!({}));
    look(&other).await;
    assert!(pods(&fake).is_empty());
    look(&other).await;
    assert!(arguments(&pods(&fake)[0]["spec"]["containers"][0]).contains(&"--every=6s"));
    let paused = with_changes(json!({"paused": true}), json!({}));
    assert_eq!(look(&paused).await, None);
    assert!(pods(&fake).is_empty());
}

/// An admission webhook can refuse the pod for hours.
#[tokio::test]
async fn changes_are_late_while_their_pod_cannot_be_created() {
    let fake = FakeApi::default();
    let backups = backups(&fake);
    fake.put_cluster(&json!({}));
    let of = with_changes(json!({}), json!({}));
    fake.put(serde_json::to_value(&of).expect("JSON"));
    let down = "failed calling webhook";
    fake.refuse(
        "/hourly-changes",
        "",
        (StatusCode::INTERNAL_SERVER_ERROR, down),
    );
    let read = read_schedule(&fake);
    backups.reconcile_schedule(&read).await.expect("a pass");
    let conditions = read_schedule(&fake).status.expect("a status").conditions;
    let stored = conditions.iter().find(|one| one.type_ == "ChangesStored");
    let stored = stored.expect("a condition");
    assert_eq!(
        (stored.status.as_str(), stored.reason.as_str()),
        ("False", "Late")
    );
    assert!(stored.message.contains(down), "{}", stored.message);
    let shown = backups.operator.metrics.render();
    let late = r#"witan_operator_backup_changes_late{name="hourly",namespace="shop"} 1"#;
    assert!(shown.contains(late), "{shown}");
}

#[test]
fn a_template_for_a_verification_adds_no_container() {
    let init = json!([{"name": "save", "resources": {}}, {"name": "fetch", "resources": {}}]);
    let template = json!({"spec": {"initContainers": init, "nodeSelector": {"zone": "a"}}});
    let schedule = with_changes(json!({"podTemplate": template}), json!({}));
    let named = named(&json!({}));
    let of = super::super::scheduled(&schedule, Timestamp::UNIX_EPOCH);
    let every = schedule.spec.changes.expect("changes");
    let pod = crate::resources::changes_pod(&schedule, &of, every, &named);
    let spec = pod.expect("a pod").spec.expect("a spec");
    assert_eq!(spec.init_containers.unwrap_or_default().len(), 0);
    assert_eq!(spec.containers.len(), 1);
    assert_eq!(spec.node_selector.expect("a selector")["zone"], "a");
}

fn answer(revision: i64, at: &str) -> Seen {
    let answer = ChangesStatus {
        cluster_id: "c1".to_owned(),
        revision,
        time: Some(time(at)),
        ..ChangesStatus::default()
    };
    Seen { answer: Some(answer), trouble: None }
}

#[test]
fn a_status_shows_how_far_changes_are_stored() {
    let before = json!({"changes": {
        "lastRevision": 7, "lastTime": "2026-01-01T13:00:00Z", "clusterID": "c1",
    }});
    let of = with_changes(json!({}), before);
    let every = of.spec.changes.expect("changes");
    let now = time("2026-01-01T13:00:20Z");
    let shown = |seen: &Seen, now| {
        let (status, condition) = status(&of, seen, every, now);
        (status.last_revision, condition.status, condition.reason)
    };
    let is = |revision, status: &str, reason: &str| {
        (Some(revision), status.to_owned(), reason.to_owned())
    };
    let soon = answer(8, "2026-01-01T13:00:14Z");
    assert_eq!(
        shown(&soon, now),
        is(7, "True", "Stored"),
        "at most one status write per 15 s"
    );
    let later = answer(9, "2026-01-01T13:00:15Z");
    assert_eq!(shown(&later, now), is(9, "True", "Stored"));
    let silent = Seen { answer: None, trouble: Some("no answer".to_owned()) };
    assert_eq!(shown(&silent, now), is(7, "True", "Delayed"));
    // A backup is in progress or has failed.
    let mut unrestorable = answer(9, "2026-01-01T13:00:15Z");
    unrestorable
        .answer
        .as_mut()
        .expect("an answer")
        .needs_backup = true;
    assert_eq!(shown(&unrestorable, now), is(9, "False", "BackupMissing"));
    let (_, condition) = status(&of, &unrestorable, every, now);
    assert!(
        condition.message.contains("is being saved"),
        "{}",
        condition.message
    );
    unrestorable.trouble = Some("the bucket is full".to_owned());
    assert_eq!(shown(&unrestorable, now), is(9, "False", "BackupMissing"));
    let late = time("2026-01-01T13:00:41Z");
    assert_eq!(shown(&silent, late), is(7, "False", "Late"));
    // A time from a clock that is ahead does not show which changes are stored.
    let ahead = answer(9, "2026-01-01T13:00:31Z");
    assert_eq!(shown(&ahead, now), is(9, "False", "Late"));
    let (_, condition) = status(&of, &ahead, every, now);
    assert!(
        condition.message.contains("is in the future"),
        "{}",
        condition.message
    );
    let near = answer(9, "2026-01-01T13:00:30Z");
    assert_eq!(shown(&near, now), is(9, "True", "Stored"));
    let first = with_changes(json!({}), json!({}));
    let created = first.metadata.creation_timestamp.clone().expect("a time").0;
    let (_, condition) = status(&first, &Seen::default(), every, created);
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("Unknown", "Starting")
    );
    // No change was ever stored.
    let (_, condition) = status(&first, &silent, every, created);
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("Unknown", "Starting")
    );
}

/// A pod that does not answer, or has just started, reports neither a missing backup nor a gap.
#[test]
fn a_missing_backup_and_a_gap_remain_in_the_status_until_the_pod_answers() {
    let now = time("2026-01-01T13:00:20Z");
    let mut known = json!({"changes": {
        "lastRevision": 7, "lastTime": "2026-01-01T13:00:14Z", "clusterID": "c1",
    }});
    let mut shown = |seen: &Seen| {
        let of = with_changes(json!({}), known.clone());
        let every = of.spec.changes.expect("changes");
        let (_, condition) = status(&of, seen, every, now);
        let before = of.status.expect("a status").conditions;
        let gap = new_gap(&before, std::slice::from_ref(&condition)).map(str::to_owned);
        known["conditions"] = json!([condition]);
        (condition.reason, condition.message, gap)
    };
    let mut missing = answer(7, "2026-01-01T13:00:14Z");
    let said = missing.answer.as_mut().expect("an answer");
    said.needs_backup = true;
    said.gap = Some(ChangesGap {
        after: Some(time("2026-01-01T12:00:00Z")),
        until: time("2026-01-01T12:30:00Z"),
    });
    let (reason, message, gap) = shown(&missing);
    assert_eq!(reason, "BackupMissing");
    let gap = gap.expect("a gap");
    assert!(message.ends_with(&gap), "{message}");
    assert!(
        gap.contains("between 2026-01-01T12:00:00Z and 2026-01-01T12:30:00Z"),
        "{gap}"
    );
    let silent = Seen { answer: None, trouble: Some("no answer".to_owned()) };
    let (reason, message, gap) = shown(&silent);
    assert_eq!((reason.as_str(), gap), ("BackupMissing", None));
    assert!(
        message.starts_with("no answer; points in time"),
        "{message}"
    );
    let begun = Seen { answer: Some(ChangesStatus::default()), trouble: None };
    let (reason, message, _) = shown(&begun);
    assert_eq!(reason, "BackupMissing");
    assert!(
        message.contains("between 2026-01-01T12:00:00Z"),
        "{message}"
    );
    let (reason, message, gap) = shown(&answer(7, "2026-01-01T13:00:14Z"));
    assert_eq!(
        (reason.as_str(), message.as_str(), gap),
        ("Stored", "", None)
    );
}
