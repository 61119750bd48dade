//! In-place restores and the deadlines of operations. A new operator runs each pass.

use serde_json::{Value, json};
use witan_crd::{
    EtcdOperation, EtcdOperationStatus,
    OperationPhase::{Failed, Pending, Running},
    UndoRestore,
};
use witan_plan::model::{ClaimSeen, MemberSeen, Membership, Observed, OrdinalSeen};

use super::{
    super::{decide::Start, restore::may_return},
    CLUSTER, ask, early, in_phase, late, pass, recovery, requested, says, started,
};
use crate::testing::{CLAIM, api::FakeApi, named, object, saved, with};

/// Adds a cluster that has served, with a disk for each of three members.
pub(super) fn put_served(fake: &FakeApi, status: &Value) {
    let full = json!({
        "clusterID": "c1", "bootstrapMembers": 3,
        "members": [{"name": "orders-0", "ordinal": 0}],
    });
    fake.put_cluster(&json!({"status": with(full, status)}));
    let labels = json!({"labels": {"witan.dev/cluster": "orders"}});
    for ordinal in 0..3 {
        let name = format!("data-orders-{ordinal}");
        fake.put(object("v1", CLAIM, &name, &labels));
    }
}

pub(super) fn put_backup(fake: &FakeApi, phase: &str) {
    fake.put(json!({
        "apiVersion": "witan.dev/v1", "kind": "EtcdBackup",
        "metadata": {"name": "monday", "namespace": "shop"},
        "spec": {"clusterRef": {"name": "orders"}, "store": {"s3": {"bucket": "b"}}},
        "status": {"phase": phase, "location": "s3://b/shop/orders", "name": "monday-1"},
    }));
}

pub(super) fn served(status: &Value) -> FakeApi {
    let fake = FakeApi::default();
    put_served(&fake, status);
    put_backup(&fake, "Succeeded");
    fake
}

pub(super) fn restore() -> Value {
    json!({"restore": {"backupRef": {"name": "monday"}, "bumpRevision": 1000}})
}

pub(super) async fn next(fake: &FakeApi, name: &str) -> EtcdOperationStatus {
    pass(fake, &started(fake), name).await
}

fn end_check(fake: &FakeApi, operation: &str, condition: &str) {
    let ended = json!({"type": condition, "status": "True", "message": "no more tries"});
    let job = format!("/jobs/restore-check-{operation}");
    fake.change(&job, &json!({"status": {"conditions": [ended]}}));
}

/// Adds the pod of an operation's check, whose container `fetch` has terminated.
fn end_fetch(fake: &FakeApi, operation: &str, exit_code: i32, said: &Value) {
    let job = fake.get(&format!("/jobs/restore-check-{operation}"));
    let uid = job.expect("the job")["metadata"]["uid"].clone();
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "check", "uid": uid});
    let labels = json!({"witan.dev/operation": operation});
    let ended = json!({"terminated": {"exitCode": exit_code, "message": said.to_string()}});
    fake.put(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop", "labels": labels, "ownerReferences": [owner]},
        "status": {"initContainerStatuses": [{"name": "fetch", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": ended}]},
    }));
}

/// Runs passes until the check of the backup has succeeded and the restore is recorded. Returns the record.
pub(super) async fn recorded(fake: &FakeApi, operation: &str) -> Value {
    next(fake, operation).await;
    next(fake, operation).await;
    end_check(fake, operation, "Complete");
    next(fake, operation).await;
    record(fake)
}

fn begun_early(fake: &FakeApi, operation: &str) {
    let operation = format!("/etcdoperations/{operation}");
    fake.change(&operation, &json!({"status": {"startedAt": early()}}));
}

pub(super) fn record(fake: &FakeApi) -> Value {
    fake.get(CLUSTER).expect("the cluster")["status"]["restore"].clone()
}

/// Sets the phase of the restore's record, as passes over the cluster do.
pub(super) fn at_stage(fake: &FakeApi, phase: &str) {
    fake.change(CLUSTER, &json!({"status": {"restore": {"phase": phase}}}));
}

#[tokio::test]
async fn a_backup_is_restored_in_a_scratch_directory_before_the_restore_is_recorded() {
    let fake = FakeApi::default();
    put_served(&fake, &json!({}));
    ask(&fake, "again", &early(), &restore());
    let waits = in_phase(next(&fake, "again").await, Pending);
    says(waits.message, "monday does not exist");
    put_backup(&fake, "Succeeded");
    let begun = in_phase(next(&fake, "again").await, Running);
    assert_eq!(
        begun.source.map(|source| source.name).as_deref(),
        Some("monday-1")
    );
    // A later change of the backup no longer matters.
    put_backup(&fake, "Failed");
    for _ in 0..2 {
        says(next(&fake, "again").await.progress, "scratch directory");
        assert_eq!(
            record(&fake),
            Value::Null,
            "the check has not succeeded yet"
        );
    }
    let job = fake.get("/jobs/restore-check-again").expect("one job");
    let pod = &job["spec"]["template"]["spec"];
    let fetch = pod["initContainers"][0]["args"].to_string();
    assert!(fetch.contains("--from=s3://b/shop/orders") && fetch.contains("--name=monday-1"));
    let restores = pod["containers"][0]["args"].to_string();
    assert!(restores.contains("--bump-revision=1000") && restores.contains("--mark-compacted"));
    let volumes = pod["volumes"].to_string();
    assert!(
        !volumes.contains("data-orders"),
        "no disk of a member: {volumes}"
    );
    end_check(&fake, "again", "Complete");
    next(&fake, "again").await;
    let made = record(&fake);
    assert_eq!(made["phase"], "Stopping");
    assert_eq!(
        made["keptDisks"],
        json!(["data-orders-0", "data-orders-1", "data-orders-2"])
    );
    assert_eq!(
        (&made["keptClusterID"], &made["number"]),
        (&json!("c1"), &json!(1))
    );
    in_phase(next(&fake, "again").await, Running);
    assert_eq!(record(&fake), made, "the restore is recorded only once");
    at_stage(&fake, "Starting");
    says(next(&fake, "again").await.progress, "undoRestore");
    assert_eq!(record(&fake)["phase"], "Starting");
}

/// Requests a restore whose check fails to fetch the backup.
async fn fail_check(fake: &FakeApi) {
    ask(fake, "again", &early(), &restore());
    next(fake, "again").await;
    next(fake, "again").await;
    let said = json!({"reason": "BackupBroken", "message": "the checksum differs"});
    end_fetch(fake, "again", 1, &said);
}

#[tokio::test]
async fn a_backup_that_cannot_be_restored_stops_no_member() {
    let fake = served(&json!({}));
    fail_check(&fake).await;
    let running = next(&fake, "again").await;
    says(running.progress, "the checksum differs");
    end_check(&fake, "again", "Failed");
    let failed = in_phase(next(&fake, "again").await, Failed);
    says(failed.message.clone(), "no member was stopped");
    says(failed.message, "the checksum differs");
    assert_eq!(record(&fake), Value::Null);
}

/// The watch and the garbage collector can lag behind the deletion.
#[tokio::test]
async fn a_deleted_restore_stops_no_member() {
    let fake = served(&json!({}));
    ask(&fake, "again", &early(), &restore());
    next(&fake, "again").await;
    next(&fake, "again").await;
    end_check(&fake, "again", "Complete");
    let path = "/etcdoperations/again";
    let known = fake.get(path).expect("the operation");
    let known: EtcdOperation = serde_json::from_value(known).expect("an operation");
    fake.remove(path);
    let passed = started(&fake).reconcile(&known).await;
    passed.expect("a pass");
    assert_eq!(record(&fake), Value::Null);
}

/// Users can put the label on any pod.
#[tokio::test]
async fn a_check_reads_only_the_pods_of_its_job() {
    let fake = served(&json!({}));
    fail_check(&fake).await;
    fake.change("/pods/p", &json!({"metadata": {"ownerReferences": null}}));
    let running = next(&fake, "again").await.progress;
    assert!(!running.unwrap_or_default().contains("the checksum differs"));
}

/// The check determines the revision. Every member starts from this revision, even if the store contains later changes.
#[tokio::test]
async fn the_revision_of_a_time_is_recorded_before_members_are_stopped() {
    let at = late();
    for (exit_code, revision) in [(0, json!(77)), (1, Value::Null)] {
        let fake = served(&json!({}));
        let mut spec = restore();
        spec["restore"]["toTime"] = json!(at);
        ask(&fake, "again", &early(), &spec);
        next(&fake, "again").await;
        next(&fake, "again").await;
        let fetched = saved(&json!({"toRevision": 77}));
        end_fetch(&fake, "again", exit_code, &fetched);
        let source = recorded(&fake, "again").await["source"].clone();
        assert_eq!(
            (&source["toTime"], &source["toRevision"]),
            (&json!(at), &revision)
        );
    }
}

/// Once the members were stopped, the restore and its undo would both wait for the name.
#[tokio::test]
async fn a_restore_stops_no_member_while_a_name_is_taken() {
    // A claim that has lost its labels can still be a disk of the cluster.
    let label = "add the label witan.dev/cluster=orders";
    for (kind, name, advice) in [
        (CLAIM, "data-orders-3", label),
        ("Pod", "orders-4", "would need; delete it"),
    ] {
        let fake = served(&json!({}));
        let other = object("v1", kind, name, &json!({}));
        fake.put(other.clone());
        ask(&fake, "again", &early(), &restore());
        let held = in_phase(next(&fake, "again").await, Pending);
        says(held.message.clone(), name);
        says(held.message, advice);
        fake.remove(&format!("/{name}"));
        in_phase(next(&fake, "again").await, Running);
        next(&fake, "again").await;
        // The name is taken while the backup is checked.
        fake.put(other);
        end_check(&fake, "again", "Complete");
        says(next(&fake, "again").await.progress, name);
        assert_eq!(record(&fake), Value::Null);
        fake.remove(&format!("/{name}"));
        next(&fake, "again").await;
        assert_eq!(record(&fake)["phase"], "Stopping");
    }
}

/// A user has added a member with a very high ordinal in its peer URL.
#[tokio::test]
async fn a_restore_stops_no_member_while_the_new_members_have_no_numbers() {
    let fake = served(&json!({}));
    let labels = json!({"labels": {"witan.dev/cluster": "orders"}});
    ask(&fake, "again", &early(), &restore());
    for last in ["data-orders-999999", "data-orders-999997"] {
        fake.put(object("v1", CLAIM, last, &labels));
        let held = in_phase(next(&fake, "again").await, Pending);
        says(held.message, last);
        fake.remove(&format!("/{last}"));
    }
    // Three numbers are left for the three members.
    fake.put(object("v1", CLAIM, "data-orders-999996", &labels));
    in_phase(next(&fake, "again").await, Running);
}

#[tokio::test]
async fn an_undo_stops_no_member_while_a_name_is_taken() {
    let fake = FakeApi::default();
    put_served(&fake, &json!({"restore": kept("Done")}));
    fake.put(object("v1", CLAIM, "data-orders-3", &json!({})));
    ask(&fake, "back", &early(), &json!({"undoRestore": {}}));
    let held = in_phase(next(&fake, "back").await, Pending);
    says(held.message, "data-orders-3");
    // Members may already be stopped, so the undo must replace the restore.
    at_stage(&fake, "Stopping");
    in_phase(next(&fake, "back").await, Running);
}

#[tokio::test]
async fn a_restore_waits_for_the_secrets_of_the_members() {
    let fake = served(&json!({}));
    let root = json!({"enabled": true, "rootCredentialsSecretRef": {"name": "root"}});
    fake.change(CLUSTER, &json!({"spec": {"auth": root}}));
    ask(&fake, "again", &early(), &restore());
    let held = in_phase(next(&fake, "again").await, Pending);
    says(held.message, "do not exist: root");
    fake.put(object("v1", "Secret", "root", &json!({})));
    in_phase(next(&fake, "again").await, Running);
}

/// The restore replaces the backup from which the cluster should have started.
#[tokio::test]
async fn a_restore_does_not_wait_for_the_secrets_of_the_backup_that_it_replaces() {
    let fake = served(&json!({"clusterID": null}));
    let s3 = json!({"bucket": "b", "credentialsSecretRef": {"name": "gone"}});
    let bootstrap = json!({"restore": {"store": {"s3": s3}, "name": "sunday"}});
    let root = json!({"enabled": true, "rootCredentialsSecretRef": {"name": "gone"}});
    fake.change(
        CLUSTER,
        &json!({"spec": {"bootstrap": bootstrap, "auth": root}}),
    );
    ask(&fake, "again", &early(), &restore());
    // The members also need this secret.
    says(next(&fake, "again").await.message, "do not exist: gone");
    fake.change(CLUSTER, &json!({"spec": {"auth": null}}));
    in_phase(next(&fake, "again").await, Running);
}

/// The members could not start again from the earlier disks.
#[test]
fn an_undo_waits_while_the_spec_makes_no_pods() {
    let cluster = named(&json!({"status": {"clusterID": "c1", "restore": kept("Done")}}));
    let disk = |ordinal| {
        let claim = Some(ClaimSeen::default());
        (ordinal, OrdinalSeen { claim, ..OrdinalSeen::default() })
    };
    let mut seen = Observed { ordinals: [0, 1, 2].map(disk).into(), ..Observed::default() };
    let start = |seen: &Observed| may_return(&cluster, seen, &UndoRestore::default());
    assert_eq!(start(&seen), Start::Begin(None));
    seen.rejected = Some("spec.tolerations is not valid".to_owned());
    assert!(matches!(start(&seen), Start::Hold(_)), "{:?}", start(&seen));
}

/// Release 0.1.0 has given the number of a deleted disk to a later member.
#[test]
fn an_undo_does_not_use_the_disk_of_a_later_member() {
    let cluster = named(&json!({"status": {"clusterID": "c1", "restore": kept("Done")}}));
    let disk = |ordinal| {
        let claim = Some(ClaimSeen::default());
        (ordinal, OrdinalSeen { claim, ..OrdinalSeen::default() })
    };
    let later = MemberSeen { ordinal: Some(1), ..MemberSeen::default() };
    let membership = Membership { members: vec![later], ..Membership::default() };
    let seen = Observed {
        ordinals: [0, 1, 2].map(disk).into(),
        membership: Some(membership),
        ..Observed::default()
    };
    let Start::End(Err(why)) = may_return(&cluster, &seen, &UndoRestore::default()) else {
        panic!("the undo is refused");
    };
    says(Some(why), "data-orders-1");
}

#[tokio::test]
async fn a_restore_starts_only_if_it_can_be_undone() {
    let fake = FakeApi::default();
    put_backup(&fake, "Succeeded");
    let memory = json!({"spec": {"storage": {"medium": "Memory"}}});
    let elsewhere = json!({"status": {"members": [{"name": "far"}]}});
    for (cluster, words) in [
        (memory, "no durable disks"),
        (elsewhere, "far is not a pod"),
    ] {
        fake.put_cluster(&cluster);
        ask(&fake, "again", &early(), &restore());
        let failed = in_phase(next(&fake, "again").await, Failed);
        says(failed.message, words);
    }
}

/// Returns the record of a restore that has kept the disks 0 to 2.
pub(super) fn kept(phase: &str) -> Value {
    json!({
        "operation": "gone", "operationUID": "gone", "number": 1, "phase": phase, "startedAt": early(),
        "source": {"store": {}, "location": "s3://b", "name": "x"}, "firstOrdinal": 3,
        "keptDisks": ["data-orders-0", "data-orders-1", "data-orders-2"], "keptClusterID": "c0",
    })
}

#[tokio::test]
async fn a_cluster_returns_to_its_kept_disks() {
    let fake = FakeApi::default();
    put_served(&fake, &json!({}));
    let undo = json!({"undoRestore": {}});
    ask(&fake, "back", &early(), &undo);
    let failed = next(&fake, "back").await;
    says(failed.message, "nothing to undo");
    put_served(
        &fake,
        &json!({"clusterID": null, "restore": kept("Starting")}),
    );
    for lost in [0, 1] {
        fake.remove(&format!("/data-orders-{lost}"));
    }
    ask(&fake, "back", &early(), &undo);
    let failed = next(&fake, "back").await;
    says(failed.message, "1 of the 3 kept PVCs");
    put_served(
        &fake,
        &json!({"clusterID": null, "restore": kept("Starting")}),
    );
    fake.remove("/data-orders-1");
    // Other operations wait for the restore, even if its operation is deleted.
    ask(&fake, "other", &early(), &recovery());
    let held = next(&fake, "other").await;
    says(held.message, "EtcdOperation gone");
    fake.remove("/etcdoperations/other");
    ask(&fake, "back", &early(), &undo);
    next(&fake, "back").await;
    next(&fake, "back").await;
    let made = record(&fake);
    assert_eq!(
        (&made["phase"], &made["source"]),
        (&json!("Stopping"), &Value::Null)
    );
    assert_eq!(made["disks"], kept("")["keptDisks"]);
    assert_eq!(
        (&made["clusterID"], &made["keptClusterID"]),
        (&json!("c0"), &Value::Null)
    );
}

/// The disks that the first restore kept are kept again, because members that have never served have no newer data.
#[tokio::test]
async fn another_restore_after_one_that_never_served_keeps_the_first_disks() {
    let fake = FakeApi::default();
    put_backup(&fake, "Succeeded");
    for (phase, id, disks, kept_id) in [
        ("Starting", Value::Null, kept("")["keptDisks"].clone(), "c0"),
        (
            "Done",
            json!("c1"),
            json!(["data-orders-0", "data-orders-1", "data-orders-2"]),
            "c1",
        ),
    ] {
        put_served(&fake, &json!({"clusterID": id, "restore": kept(phase)}));
        let mut spec = restore();
        spec["restore"]["forgetKeptDisks"] = json!(true);
        ask(&fake, "again", &early(), &spec);
        let made = recorded(&fake, "again").await;
        assert_eq!(
            (&made["keptDisks"], &made["keptClusterID"]),
            (&disks, &json!(kept_id))
        );
        assert_eq!(made["number"], 2, "each restore changes the cluster id");
        fake.remove("/jobs/restore-check-again");
    }
}

#[tokio::test]
async fn an_operation_fails_after_its_deadline_and_its_request_is_removed() {
    let fake = FakeApi::with_cluster(&json!({}));
    let mut spec = recovery();
    spec["activeDeadlineSeconds"] = json!(60);
    ask(&fake, "lost", &early(), &spec);
    next(&fake, "lost").await;
    next(&fake, "lost").await;
    assert_eq!(requested(&fake), "orders-1");
    in_phase(next(&fake, "lost").await, Running);
    begun_early(&fake, "lost");
    // Members were stopped, so the recovery must be completed.
    let runs = json!({"member": "orders-1", "phase": "Running", "startedAt": late()});
    fake.change(CLUSTER, &json!({"status": {"recovery": runs}}));
    in_phase(next(&fake, "lost").await, Running);
    assert_eq!(requested(&fake), "orders-1");
    fake.change(CLUSTER, &json!({"status": {"recovery": null}}));
    let failed = in_phase(next(&fake, "lost").await, Failed);
    assert_eq!(failed.conditions[0].reason, "DeadlineExceeded");
    says(failed.message, "60 s (spec.activeDeadlineSeconds)");
    assert_eq!(requested(&fake), Value::Null, "it must not start later");
}

#[tokio::test]
async fn a_recorded_restore_does_not_fail_after_its_deadline() {
    let fake = served(&json!({}));
    let mut spec = restore();
    spec["activeDeadlineSeconds"] = json!(60);
    ask(&fake, "again", &early(), &spec);
    recorded(&fake, "again").await;
    begun_early(&fake, "again");
    in_phase(next(&fake, "again").await, Running);
    fake.change(CLUSTER, &json!({"status": {"restore": null}}));
    let failed = next(&fake, "again").await;
    says(failed.message, "no member was stopped");
}
