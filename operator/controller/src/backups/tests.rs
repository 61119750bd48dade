//! The status of backups and schedules, their jobs, and the objects that passes create.

mod changes;
mod unconfirmed;
mod verified;

use std::sync::Arc;

use http::StatusCode;
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    jiff::Timestamp,
};
use serde_json::{Value, json};
use witan_crd::{BackupPhase, EtcdBackup, EtcdBackupSchedule, EtcdBackupStatus};

use super::{Backups, progress, schedule::due, worsened};
use crate::{
    passes::Passes as _,
    resources::backup::job,
    testing::{self, api::FakeApi, named, with},
};

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn s3() -> Value {
    json!({"s3": {
        "bucket": "b", "prefix": "etcd", "endpoint": "https://store:9000", "pathStyle": true,
        "credentialsSecretRef": {"name": "s3"}, "caSecretRef": {"name": "ca"},
        "serverSideEncryption": "aws:kms", "kmsKeyID": "key",
    }})
}

fn backup(spec: Value) -> EtcdBackup {
    let object = json!({
        "apiVersion": "witan.dev/v1", "kind": "EtcdBackup",
        "metadata": {
            "name": "now", "namespace": "shop", "uid": "u1",
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "spec": with(spec, &json!({"clusterRef": {"name": "orders"}})),
    });
    serde_json::from_value(object).expect("a backup")
}

fn made(of: Value, cluster_spec: Value) -> Value {
    let members = [1, 4].map(|at| json!({"name": format!("orders-{at}"), "ordinal": at}));
    let cluster = named(&json!({"spec": cluster_spec, "status": {"members": members}}));
    let job = job(&backup(of), &cluster).expect("a job");
    serde_json::to_value(job).expect("JSON")
}

fn arguments(container: &Value) -> Vec<&str> {
    let arguments = container["args"].as_array().expect("arguments").iter();
    arguments
        .map(|argument| argument.as_str().expect("text"))
        .collect()
}

#[test]
fn a_job_saves_the_snapshot_of_a_cluster_with_tls_and_users() {
    let spec = json!({
        "replicas": 2, "tls": {"client": {"managed": {}}},
        "auth": {"enabled": true, "rootCredentialsSecretRef": {"name": "root"}},
    });
    let job = made(
        json!({"store": s3(), "retention": {"keepLast": 3, "keepWithin": "24h"}}),
        spec,
    );
    let pod = &job["spec"]["template"]["spec"];
    let members = [1, 4].map(|at| format!("https://orders-{at}.orders-peer.shop.svc:2379"));
    let members = members.join(",");
    assert_eq!(
        arguments(&pod["containers"][0]),
        [
            "backup",
            "save",
            &format!("--endpoints={members},https://orders-client.shop.svc:2379"),
            "--cacert=/etc/witan/operator/ca.crt",
            "--cert=/etc/witan/operator/tls.crt",
            "--key=/etc/witan/operator/tls.key",
            "--user=root",
            "--password-file=/etc/witan/login/password",
            "--to=s3://b/etcd/shop/orders",
            "--name=now-20260102T030405Z",
            "--result=/dev/termination-log",
            "--keep-last=3",
            "--keep-within=24h",
            "--s3-region=us-east-1",
            "--s3-endpoint=https://store:9000",
            "--s3-path-style",
            "--s3-server-side-encryption=aws:kms",
            "--s3-kms-key-id=key",
            "--s3-cacert=/etc/witan/store/ca.crt",
        ]
    );
    let volumes = pod["volumes"].as_array().expect("volumes").iter();
    let secrets: Vec<_> = volumes
        .map(|volume| volume["secret"]["secretName"].clone())
        .collect();
    assert_eq!(secrets, ["ca", "orders-operator-tls", "root"]);
    // The members' label would make services and budgets select the pod.
    assert_eq!(
        job["spec"]["template"]["metadata"]["labels"].get("witan.dev/cluster"),
        None
    );
}

fn of_job(status: Value) -> Job {
    let object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "now"}, "status": status});
    serde_json::from_value(object).expect("a job")
}

/// Returns the status of a backup whose Job has this status and these pods.
fn of_pods(backup: &EtcdBackup, job: Value, pods: &[Pod]) -> EtcdBackupStatus {
    progress::status(backup, &of_job(job), pods, None, Timestamp::UNIX_EPOCH)
}

fn pod(created: &str, status: Value) -> Pod {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("now-{created}"), "creationTimestamp": format!("2026-01-02T03:0{created}:00Z")},
        "status": status,
    });
    serde_json::from_value(object).expect("a pod")
}

fn terminated(name: &str, code: i32, message: &Value) -> Value {
    let message = message
        .as_str()
        .map_or_else(|| message.to_string(), str::to_owned);
    json!({
        "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "message": message}},
    })
}

#[test]
fn a_status_shows_what_was_stored() {
    let more = json!({"bytes": 3_000_000, "release": "0.2.0", "level": 2, "removed": []});
    let saved = testing::saved(&more);
    let failed = json!({"reason": "StoreUnreachable", "message": "the store does not answer"});
    let pods = [
        pod(
            "5",
            json!({"phase": "Succeeded", "containerStatuses": [terminated("save", 0, &saved)]}),
        ),
        pod(
            "4",
            json!({"phase": "Failed", "containerStatuses": [terminated("save", 1, &failed)]}),
        ),
    ];
    let backup = backup(json!({"store": s3()}));
    let running = of_pods(&backup, json!({"failed": 1}), &pods[1..]);
    assert_eq!(running.phase, Some(BackupPhase::Running));
    assert_eq!(
        running.message.as_deref(),
        Some("pod now-4: the store does not answer")
    );
    assert_eq!(running.conditions[0].reason, "StoreUnreachable");

    let done = json!({"conditions": [{"type": "Complete", "status": "True"}], "completionTime": "2026-01-02T03:06:00Z"});
    // The pods may have been deleted before they are read.
    let lost = of_pods(&backup, done.clone(), &[]);
    assert_eq!(lost.phase, Some(BackupPhase::Failed));
    assert_eq!(lost.conditions[0].reason, "ResultMissing");
    assert_eq!(
        lost.completed_at.map(|at| at.0),
        Some(time("2026-01-02T03:06:00Z"))
    );
    let status = of_pods(&backup, done, &pods);
    assert_eq!(status.phase, Some(BackupPhase::Succeeded));
    assert_eq!(
        (status.revision, status.bytes, status.size.as_deref()),
        (Some(7), Some(3_000_000), Some("2.9Mi"))
    );
    assert_eq!(status.location.as_deref(), Some("s3://b/etcd/shop/orders"));
    assert_eq!(
        (status.release.as_deref(), status.level),
        (Some("0.2.0"), Some(2))
    );
    assert_eq!(
        (status.message, status.conditions[0].status.as_str()),
        (None, "True")
    );
}

#[test]
fn a_pod_that_cannot_start_is_named() {
    let waits = json!({"containerStatuses": [{
        "name": "save", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"s3\" not found"}},
    }]});
    let backup = backup(json!({"store": s3()}));
    let pods = [pod("4", waits)];
    let status = of_pods(&backup, json!({}), &pods);
    assert_eq!(
        status.message.as_deref(),
        Some("pod now-4: secret \"s3\" not found")
    );
    let refused = witan_crd::PodFailure {
        reason: "FailedCreate".to_owned(),
        message: "exceeded quota".to_owned(),
    };
    let job = of_job(json!({}));
    let status = progress::status(&backup, &job, &[], Some(refused), Timestamp::UNIX_EPOCH);
    assert_eq!(status.message.as_deref(), Some("exceeded quota"));
    assert_eq!(status.conditions[0].reason, "FailedCreate");
}

fn schedule(spec: Value, status: Value) -> EtcdBackupSchedule {
    let all = json!({"clusterRef": {"name": "orders"}, "schedule": "0 * * * *", "store": s3()});
    let object = json!({
        "apiVersion": "witan.dev/v1", "kind": "EtcdBackupSchedule",
        "metadata": {
            "name": "hourly", "namespace": "shop", "uid": "u2",
            "creationTimestamp": "2026-01-01T10:30:00Z",
        },
        "spec": with(all, &spec), "status": status,
    });
    serde_json::from_value(object).expect("a schedule")
}

fn plain() -> EtcdBackupSchedule {
    schedule(json!({}), json!({}))
}

fn ended(hour: u8, phase: &str) -> EtcdBackup {
    let mut ended = backup(json!({"store": s3()}));
    ended.metadata.name = Some(format!("hourly-{hour}"));
    let at = format!("2026-01-01T{hour:02}:00:00Z");
    ended.metadata.creation_timestamp = serde_json::from_value(json!(at)).expect("a time");
    let status = json!({"phase": phase, "completedAt": at, "message": "no room"});
    ended.status = serde_json::from_value(status).expect("a status");
    ended
}

#[test]
fn the_last_missed_time_of_a_schedule_is_due_once() {
    let now = time("2026-01-01T13:20:00Z");
    let first = due(&plain(), &[], now);
    assert_eq!(
        first.create,
        Some(time("2026-01-01T13:00:00Z")),
        "only the last missed time is due"
    );
    let known = schedule(
        json!({}),
        json!({"lastScheduleTime": "2026-01-01T13:00:00Z"}),
    );
    let second = due(&known, &[], now);
    assert_eq!((second.create, second.requeue_after.as_secs()), (None, 300));
    let next = second.status.next_schedule_time.expect("a time");
    assert_eq!(next.0, time("2026-01-01T14:00:00Z"));
    let before_the_first = due(&plain(), &[], time("2026-01-01T10:59:59Z"));
    assert_eq!(
        (
            before_the_first.create,
            before_the_first.requeue_after.as_secs()
        ),
        (None, 1)
    );
    let paused = due(&schedule(json!({"paused": true}), json!({})), &[], now);
    assert_eq!((paused.create, paused.overdue), (None, false));
}

#[test]
fn a_running_backup_delays_the_next_one() {
    let now = time("2026-01-01T13:20:00Z");
    let due = due(&plain(), &[ended(12, "Running")], now);
    assert_eq!(
        (due.create, due.status.active.as_deref()),
        (None, Some("hourly-12"))
    );
}

#[test]
fn a_schedule_without_success_is_overdue_after_two_of_its_times() {
    let of = plain();
    let failures = [ended(11, "Failed"), ended(12, "Failed")];
    let early = due(&of, &failures[..1], time("2026-01-01T11:30:00Z"));
    assert!(!early.overdue);
    assert_eq!(early.status.conditions[0].reason, "LastBackupFailed");
    let late = due(&of, &failures, time("2026-01-01T12:30:00Z"));
    assert!(late.overdue);
    let condition = &late.status.conditions[0];
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("False", "Overdue")
    );
    assert!(
        condition.message.contains("hourly-12 has failed: no room"),
        "{}",
        condition.message
    );
    let backups = [ended(12, "Succeeded")];
    let good = due(&of, &backups, time("2026-01-01T13:30:00Z"));
    assert_eq!(
        (good.overdue, good.status.conditions[0].reason.as_str()),
        (false, "Scheduled")
    );
}

#[test]
fn retention_keeps_a_backup_that_any_of_its_rules_keeps() {
    let now = time("2026-01-01T14:30:00Z");
    let backups: Vec<_> = (8..14).map(|hour| ended(hour, "Succeeded")).collect();
    let removed = |retention| {
        due(
            &schedule(json!({"retention": retention}), json!({})),
            &backups,
            now,
        )
        .delete
    };
    assert_eq!(removed(json!({"keepLast": 4})), ["hourly-9", "hourly-8"]);
    assert_eq!(
        removed(json!({"keepWithin": "5h"})),
        ["hourly-9", "hourly-8"]
    );
    assert_eq!(
        removed(json!({"keepLast": 5, "keepWithin": "1h"})),
        ["hourly-8"]
    );
    assert_eq!(
        removed(json!({"keepWithin": "1m"})).len(),
        5,
        "the newest stays"
    );
    let unlimited = due(&plain(), &backups, now);
    assert!(unlimited.delete.is_empty());
    let failed: Vec<_> = (8..14).map(|hour| ended(hour, "Failed")).collect();
    let kept = due(&plain(), &failed, now);
    assert_eq!(kept.delete, ["hourly-10", "hourly-9", "hourly-8"]);
}

#[test]
fn an_invalid_schedule_is_reported() {
    for text in [
        "hourly",
        "* * * *",
        "0 0 * * * *",
        "61 * * * *",
        "0 0 30 2 *",
    ] {
        let due = due(
            &schedule(json!({"schedule": text}), json!({})),
            &[],
            Timestamp::now(),
        );
        let condition = &due.status.conditions[0];
        assert_eq!(
            (due.create, condition.reason.as_str()),
            (None, "InvalidSchedule"),
            "{text}"
        );
        assert!(due.overdue, "{text}");
    }
}

fn backups(fake: &FakeApi) -> Backups<testing::NoMembers> {
    Backups::new(Arc::new(testing::operator(fake, "witan:1.0.0")))
}

#[tokio::test]
async fn a_backup_waits_for_its_cluster_and_then_gets_one_job() {
    let fake = FakeApi::default();
    let backups = backups(&fake);
    let waits = backup(json!({"store": s3()}));
    fake.put(serde_json::to_value(&waits).expect("JSON"));
    let status = reconciled(&backups, &fake).await;
    assert_eq!(status.phase, Some(BackupPhase::Pending));
    let text = "EtcdCluster orders does not exist in namespace shop";
    assert_eq!(status.message.as_deref(), Some(text));
    fake.put_cluster(&json!({}));
    for _ in 0..2 {
        let status = reconciled(&backups, &fake).await;
        assert_eq!(fake.all("/jobs/").len(), 1);
        assert_eq!(status.phase, Some(BackupPhase::Running));
    }
}

/// Without the count, no alert would report that a backup does not start.
#[tokio::test]
async fn a_failed_pass_over_a_backup_is_counted() {
    let fake = FakeApi::default();
    let backups = backups(&fake);
    fake.put_cluster(&json!({}));
    fake.put(serde_json::to_value(backup(json!({"store": s3()}))).expect("JSON"));
    let down = (StatusCode::INTERNAL_SERVER_ERROR, "failed calling webhook");
    fake.refuse("/jobs/now", "", down);
    backups.pass(&read(&fake)).await.expect_err("no job");
    let shown = backups.operator.metrics.render();
    let failed = r#"witan_operator_reconcile_errors_total{name="orders",namespace="shop"} 1"#;
    assert!(shown.contains(failed), "{shown}");
}

#[tokio::test]
async fn one_backup_of_a_cluster_is_taken_at_a_time() {
    let fake = FakeApi::default();
    let backups = backups(&fake);
    fake.put_cluster(&json!({}));
    fake.put(serde_json::to_value(backup(json!({"store": s3()}))).expect("JSON"));
    let mut other = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "first", "namespace": "shop", "labels": {
            "witan.dev/backup": "first", "witan.dev/backup-of": "orders",
        }},
    });
    fake.put(other.clone());
    let status = reconciled(&backups, &fake).await;
    assert_eq!(status.phase, Some(BackupPhase::Pending));
    let says = status.message.unwrap_or_default();
    assert!(says.contains("EtcdBackup first"), "{says}");
    other["status"] = json!({"conditions": [{"type": "Failed", "status": "True"}]});
    fake.put(other);
    let status = reconciled(&backups, &fake).await;
    assert_eq!(status.phase, Some(BackupPhase::Running));
}

/// A user's Job, or a Job of an earlier EtcdBackup with the same name, is not treated as the Job of this backup.
#[tokio::test]
async fn the_job_of_another_owner_is_not_changed() {
    let fake = FakeApi::default();
    fake.put(serde_json::to_value(backup(json!({"store": s3()}))).expect("JSON"));
    fake.put(json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "now", "namespace": "shop"},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]},
    }));
    let status = reconciled(&backups(&fake), &fake).await;
    assert_eq!(status.phase, Some(BackupPhase::Pending));
}

fn read(fake: &FakeApi) -> EtcdBackup {
    let found = fake.get("/etcdbackups/now").expect("a backup");
    serde_json::from_value(found).expect("a backup")
}

/// Runs one pass over the backup and returns its status afterward.
async fn reconciled(backups: &Backups<testing::NoMembers>, fake: &FakeApi) -> EtcdBackupStatus {
    backups.reconcile(&read(fake)).await.expect("a pass");
    read(fake).status.expect("a status")
}

fn read_schedule(fake: &FakeApi) -> EtcdBackupSchedule {
    let found = fake.get("/etcdbackupschedules/hourly").expect("a schedule");
    serde_json::from_value(found).expect("a schedule")
}

/// A schedule whose backups cannot be created must not stay ready. A pod that cannot be created must not block the status.
#[tokio::test]
async fn a_schedule_reports_why_its_objects_cannot_be_created() {
    let fake = FakeApi::default();
    let backups = backups(&fake);
    fake.put_cluster(&json!({}));
    let hourly = schedule(json!({"changes": {"everySeconds": 60}}), json!({}));
    fake.put(serde_json::to_value(&hourly).expect("JSON"));
    fake.put(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "hourly-changes", "namespace": "shop", "uid": "of-another"},
    }));
    let quota = "exceeded quota: count/etcdbackups.witan.dev";
    fake.refuse("", "EtcdBackup\"", (StatusCode::FORBIDDEN, quota));
    let read = || read_schedule(&fake);
    backups.reconcile_schedule(&read()).await.expect("a pass");
    let status = read().status.expect("a status");
    let says = |kind: &str| {
        let mut all = status.conditions.iter();
        let condition = all.find(|condition| condition.type_ == kind);
        condition
            .map(|one| (one.status.clone(), one.message.clone()))
            .expect(kind)
    };
    let (ready, why) = says("Ready");
    assert_eq!(
        (ready.as_str(), why.contains(quota)),
        ("False", true),
        "{why}"
    );
    assert!(status.last_schedule_time.is_none());
    let (_, why) = says("ChangesStored");
    assert!(why.contains("hourly-changes"), "{why}");
    let worse = worsened(&[], &status.conditions);
    assert_eq!(worse.len(), 2, "{worse:?}");
    assert!(worsened(&status.conditions, &status.conditions).is_empty());
    fake.admit();
    backups.reconcile_schedule(&read()).await.expect("a pass");
    let status = read().status.expect("a status");
    assert!(status.last_schedule_time.is_some() && status.active.is_some());
}
