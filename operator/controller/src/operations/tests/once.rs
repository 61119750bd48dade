//! An operation that replaces data or disks takes effect once, soon after its creation, and only on the intended cluster.

use serde_json::{Value, json};
use witan_crd::{
    EtcdClusterStatus, EtcdOperation, EtcdOperationStatus,
    OperationPhase::{Failed, Pending, Running, Succeeded},
};

use super::{
    super::once,
    CLUSTER, ask, early, in_phase, late, recovery, requested,
    restore::{at_stage, kept, next, put_backup, put_served, record, recorded, restore, served},
    says, seconds_ago,
};
use crate::testing::{api::FakeApi, with};

#[track_caller]
fn is_refused(status: &EtcdOperationStatus, reason: &str, words: &str) {
    assert_eq!(status.phase, Some(Failed), "{status:?}");
    assert_eq!(status.conditions[0].reason, reason);
    says(status.message.clone(), words);
}

pub(super) fn past(fake: &FakeApi) -> Value {
    fake.get(CLUSTER).expect("the cluster")["status"]["pastOperations"].clone()
}

/// A GitOps controller recreates a deleted object.
#[tokio::test]
async fn a_recreated_operation_does_not_run_again() {
    let fake = served(&json!({}));
    ask(&fake, "monday", &early(), &restore());
    recorded(&fake, "monday").await;
    assert_eq!(past(&fake)[0]["uid"], "monday");
    assert_eq!(past(&fake)[0]["result"], Value::Null);
    // After a restart, the record of this operation does not prevent its continuation.
    in_phase(next(&fake, "monday").await, Running);
    at_stage(&fake, "Done");
    let made = record(&fake);
    ask(&fake, "monday", &late(), &restore());
    let new = json!({"metadata": {"uid": "another"}});
    fake.change("/etcdoperations/monday", &new);
    is_refused(&next(&fake, "monday").await, "AlreadyDone", "another name");
    assert_eq!(record(&fake), made);
}

#[tokio::test]
async fn an_operation_does_not_wait_for_a_later_cluster() {
    let fake = FakeApi::default();
    put_backup(&fake, "Succeeded");
    ask(&fake, "soon", &early(), &restore());
    in_phase(next(&fake, "soon").await, Pending);
    put_served(&fake, &json!({}));
    let created = json!({"metadata": {"creationTimestamp": late()}});
    fake.change(CLUSTER, &created);
    is_refused(
        &next(&fake, "soon").await,
        "ClusterIsYounger",
        "create an EtcdOperation with another name",
    );
    fake.remove(CLUSTER);
    for (limit, age) in [(json!({}), 600), (json!({"startDeadlineSeconds": 60}), 60)] {
        ask(&fake, "long", &seconds_ago(age), &with(restore(), &limit));
        let failed = next(&fake, "long").await;
        is_refused(&failed, "StartDeadlineExceeded", "nothing was changed");
    }
    // An operation that replaces nothing has no start deadline.
    ask(
        &fake,
        "check",
        &seconds_ago(6000),
        &json!({"consistencyCheck": {}}),
    );
    in_phase(next(&fake, "check").await, Pending);
}

#[tokio::test]
async fn an_operation_for_one_cluster_does_nothing_to_another_of_its_name() {
    let fake = FakeApi::with_cluster(&json!({}));
    for (uid, verb) in [("v", recovery()), ("w", json!({"consistencyCheck": {}}))] {
        let spec = with(verb, &json!({"clusterUID": uid}));
        ask(&fake, "other", &early(), &spec);
        is_refused(&next(&fake, "other").await, "ClusterUIDMismatch", uid);
    }
    ask(
        &fake,
        "own",
        &early(),
        &with(recovery(), &json!({"clusterUID": "u"})),
    );
    in_phase(next(&fake, "own").await, Running);
}

#[tokio::test]
async fn the_backup_of_another_cluster_must_be_named() {
    let fake = served(&json!({}));
    let of = json!({"spec": {"clusterRef": {"name": "carts"}}});
    fake.change("/etcdbackups/monday", &of);
    ask(&fake, "wrong", &early(), &restore());
    is_refused(
        &next(&fake, "wrong").await,
        "Failed",
        "fromCluster to carts",
    );
    assert_eq!(past(&fake)[0]["result"], "Failed");
    let named = json!({"restore": {"backupRef": {"name": "monday"}, "fromCluster": "carts"}});
    ask(&fake, "right", &early(), &named);
    in_phase(next(&fake, "right").await, Running);
}

#[tokio::test]
async fn a_restore_replaces_the_kept_disks_of_the_previous_restore_only_on_request() {
    let fake = served(&json!({"restore": kept("Done")}));
    ask(&fake, "again", &early(), &restore());
    is_refused(&next(&fake, "again").await, "Failed", "forgetKeptDisks");
    let mut spec = restore();
    spec["restore"]["forgetKeptDisks"] = json!(true);
    ask(&fake, "sure", &early(), &spec);
    in_phase(next(&fake, "sure").await, Running);
}

#[tokio::test]
async fn undoing_a_restore_twice_does_nothing() {
    let fake = FakeApi::default();
    put_served(&fake, &json!({"restore": kept("Done")}));
    let undo = json!({"undoRestore": {}});
    ask(&fake, "back", &early(), &undo);
    next(&fake, "back").await;
    next(&fake, "back").await;
    let made = record(&fake);
    assert_eq!(made["disks"], kept("")["keptDisks"]);
    // The operation is deleted before it finishes, and the next operation continues the return.
    fake.remove("/etcdoperations/back");
    ask(&fake, "again", &early(), &undo);
    next(&fake, "again").await;
    next(&fake, "again").await;
    let continued = record(&fake);
    assert_eq!(continued["operation"], "again");
    assert_eq!(continued["disks"], made["disks"]);
    assert_eq!(continued["keptDisks"], made["keptDisks"]);
    fake.remove("/etcdoperations/again");
    at_stage(&fake, "Done");
    ask(&fake, "thrice", &early(), &undo);
    let done = in_phase(next(&fake, "thrice").await, Succeeded);
    says(done.message, "nothing to do");
}

/// The user requests the undo of a restore that stopped no member. The earlier restore must not be undone.
#[tokio::test]
async fn an_undo_of_one_restore_does_not_undo_another() {
    let fake = FakeApi::default();
    put_served(&fake, &json!({"restore": kept("Done")}));
    for (name, meant) in [("a", "later"), ("b", "gone")] {
        ask(
            &fake,
            name,
            &early(),
            &json!({"undoRestore": {"operation": meant}}),
        );
        let status = next(&fake, name).await;
        match meant {
            "gone" => assert_eq!(status.phase, Some(Running), "{status:?}"),
            _ => is_refused(&status, "Failed", "nothing to undo"),
        }
    }
}

/// A GitOps controller creates a recovery at each sync, and one recovery coincides with a short outage.
#[tokio::test]
async fn an_operation_that_failed_before_it_began_does_not_begin_later() {
    let fake = FakeApi::with_cluster(&json!({"spec": {"paused": true}}));
    ask(&fake, "lost", &early(), &recovery());
    in_phase(next(&fake, "lost").await, Failed);
    assert_eq!(past(&fake)[0]["result"], "Failed");
    fake.change(CLUSTER, &json!({"spec": {"paused": false}}));
    ask(&fake, "lost", &late(), &recovery());
    let new = json!({"metadata": {"uid": "another"}});
    fake.change("/etcdoperations/lost", &new);
    is_refused(&next(&fake, "lost").await, "AlreadyDone", "another name");
    assert_eq!(requested(&fake), Value::Null);
}

/// The pod of the check can be pending for days.
#[tokio::test]
async fn an_operation_that_stops_members_does_not_stop_them_much_later() {
    let fake = served(&json!({}));
    ask(&fake, "slow", &early(), &restore());
    next(&fake, "slow").await;
    let begun = |ago| json!({"status": {"startedAt": seconds_ago(ago)}});
    fake.change("/etcdoperations/slow", &begun(3500));
    in_phase(next(&fake, "slow").await, Running);
    fake.change("/etcdoperations/slow", &begun(3600));
    is_refused(
        &next(&fake, "slow").await,
        "DeadlineExceeded",
        "no member was stopped",
    );
    assert_eq!(record(&fake), Value::Null);
}

#[tokio::test]
async fn a_cluster_that_is_paused_meanwhile_is_not_restored() {
    let fake = served(&json!({}));
    ask(&fake, "again", &early(), &restore());
    next(&fake, "again").await;
    fake.change(CLUSTER, &json!({"spec": {"paused": true}}));
    says(next(&fake, "again").await.progress, "spec.paused");
    assert!(fake.get("/restore-check-again").is_none());
}

#[test]
fn many_replacements_do_not_displace_the_record_of_a_restore() {
    let operation = |name: &str, verb: Value| {
        let spec = with(json!({"clusterName": "orders"}), &verb);
        let made = json!({"metadata": {"name": name, "uid": name}, "spec": spec});
        serde_json::from_value::<EtcdOperation>(with(
            json!({"apiVersion": "witan.dev/v1", "kind": "EtcdOperation"}),
            &made,
        ))
        .expect("an operation")
    };
    let record = |status, name: &str, verb| {
        once::recorded(&operation(name, verb), &status).expect("a record")
    };
    let mut status = record(EtcdClusterStatus::default(), "monday", restore());
    for number in 0..60 {
        let verb = json!({"replaceMember": {"name": "orders-1"}});
        status = record(status, &format!("r{number}"), verb);
    }
    let past = status.past_operations;
    assert_eq!(
        (past.len(), past[0].name.as_str(), past[1].name.as_str()),
        (50, "monday", "r11")
    );
}
