//! Operations against a fake API server, without members.

mod once;
mod restore;

use serde_json::{Value, json};
use witan_crd::{
    EtcdOperationSpec, MoveLeader,
    OperationPhase::{Failed, Pending, Running, Succeeded},
};
use witan_plan::model::{MemberSeen, Membership, Observed};

use super::*;
use crate::testing::{NoMembers, api::FakeApi, named, operator};

const CLUSTER: &str = "/etcdclusters/orders";

/// Returns `Operations` without any state, as after a restart of the operator.
fn started(fake: &FakeApi) -> Operations<NoMembers> {
    Operations::new(Arc::new(operator(fake, "witan:1.0.0")))
}

/// Creates or replaces an EtcdOperation on `orders`. Its uid is its name.
fn ask(fake: &FakeApi, name: &str, created: &str, spec: &Value) {
    let mut spec = spec.clone();
    spec["clusterName"] = json!("orders");
    let written = |manager, time, subresource| json!({"manager": manager, "operation": "Update", "time": time, "subresource": subresource});
    fake.put(json!({
        "apiVersion": "witan.dev/v1", "kind": "EtcdOperation",
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "creationTimestamp": created,
            "managedFields": [
                written("witan-operator", created, json!("status")),
                written("kubectl-edit", "2099-09-01T00:00:00Z", json!(null)),
                written("kubectl-create", created, json!(null)),
            ],
        },
        "spec": spec,
    }));
}

/// Runs one pass over an operation and returns its status afterward.
async fn pass(fake: &FakeApi, by: &Operations<NoMembers>, name: &str) -> EtcdOperationStatus {
    let path = format!("/etcdoperations/{name}");
    let read = fake.get(&path).expect("the operation");
    let operation: EtcdOperation = serde_json::from_value(read).expect("an operation");
    by.reconcile(&operation).await.expect("a pass");
    let after = fake.get(&path).unwrap_or_default();
    serde_json::from_value(after["status"].clone()).unwrap_or_default()
}

#[track_caller]
fn says(text: Option<String>, words: &str) {
    let text = text.unwrap_or_default();
    assert!(text.contains(words), "{text}");
}

/// Asserts the phase in a status, and returns the status.
#[track_caller]
fn in_phase(status: EtcdOperationStatus, phase: OperationPhase) -> EtcdOperationStatus {
    assert_eq!(status.phase, Some(phase), "{status:?}");
    status
}

fn requested(fake: &FakeApi) -> Value {
    fake.get(CLUSTER).expect("the cluster")["status"]["requests"]["operation"]["recoverQuorum"]
        .clone()
}

/// Returns the spec of an operation that forces a new cluster from `orders-1`.
fn recovery() -> Value {
    json!({"recoverQuorum": {"survivor": "orders-1"}})
}

fn seconds_ago(seconds: i64) -> String {
    let at = Timestamp::from_second(Timestamp::now().as_second() - seconds);
    at.expect("the time is valid").to_string()
}

/// Returns a time before [`late`], within the default start deadline.
fn early() -> String {
    seconds_ago(100)
}

fn late() -> String {
    seconds_ago(90)
}

/// A new operator runs each pass, so only the record shows where the last operator stopped.
#[tokio::test]
async fn an_operation_continues_after_a_restart_and_runs_once() {
    let fake = FakeApi::with_cluster(&json!({}));
    ask(&fake, "lost", &early(), &recovery());
    let begun = in_phase(pass(&fake, &started(&fake), "lost").await, Running);
    assert_eq!(begun.requested_by.as_deref(), Some("kubectl-create"));
    assert_eq!(
        requested(&fake),
        Value::Null,
        "the start is recorded before any change"
    );
    assert_eq!(once::past(&fake)[0]["verb"], "RecoverQuorum");
    pass(&fake, &started(&fake), "lost").await;
    assert_eq!(requested(&fake), "orders-1");
    in_phase(pass(&fake, &started(&fake), "lost").await, Running);
    let done = json!({"member": "orders-1", "phase": "Done", "startedAt": late()});
    fake.change(CLUSTER, &json!({"status": {"recovery": done}}));
    let operations = started(&fake);
    let done = in_phase(pass(&fake, &operations, "lost").await, Succeeded);
    assert_eq!(done.conditions[0].status, "True");
    assert_eq!(once::past(&fake)[0]["result"], "Succeeded");
    assert_eq!(
        requested(&fake),
        Value::Null,
        "it would block the next operation"
    );
    let counted = operations.operator.metrics.render();
    let series = r#"witan_operator_operations_total{name="orders",namespace="shop",result="succeeded",verb="RecoverQuorum"} 1"#;
    assert!(counted.contains(series), "{counted}");
    // The object is kept, so that nothing recreates it.
    assert_eq!(pass(&fake, &started(&fake), "lost").await, done);
    assert_eq!(
        requested(&fake),
        Value::Null,
        "a finished operation does nothing"
    );
}

#[tokio::test]
async fn one_operation_of_a_cluster_runs_at_a_time() {
    let fake = FakeApi::with_cluster(&json!({}));
    let spec = json!({"consistencyCheck": {}});
    ask(&fake, "second", &late(), &spec);
    ask(&fake, "first", &early(), &spec);
    // `ended` has no completion time, but it is not running.
    ask(&fake, "ended", &late(), &spec);
    let status = json!({"phase": "Failed"});
    fake.change("/etcdoperations/ended", &json!({"status": status}));
    let operations = started(&fake);
    let waits = in_phase(pass(&fake, &operations, "second").await, Pending);
    says(waits.message, "EtcdOperation first");
    in_phase(pass(&fake, &operations, "first").await, Running);
    ask(&fake, "older", "2026-01-01T00:00:00Z", &spec);
    // A running operation takes precedence over an older operation.
    says(pass(&fake, &operations, "older").await.message, "first");
}

/// An observation reads all objects of the cluster and queries every member, and many operations can wait.
#[tokio::test]
async fn an_operation_that_waits_for_another_does_not_observe_the_cluster() {
    let fake = FakeApi::with_cluster(&json!({}));
    let spec = json!({"consistencyCheck": {}});
    ask(&fake, "first", &early(), &spec);
    ask(&fake, "second", &late(), &spec);
    // An operator whose image has no repository cannot observe a cluster.
    let operations = Operations::new(Arc::new(operator(&fake, "")));
    let read = |name: &str| {
        let found = fake.get(&format!("/etcdoperations/{name}"));
        serde_json::from_value::<EtcdOperation>(found.expect("the operation")).expect("its type")
    };
    assert!(operations.reconcile(&read("first")).await.is_err());
    in_phase(pass(&fake, &operations, "second").await, Pending);
}

/// A restore waits for its backup, and a restart for a quorum. A recovery must wait for neither operation.
#[tokio::test]
async fn a_repair_precedes_waiting_operations() {
    let fake = FakeApi::with_cluster(&json!({}));
    let operations = started(&fake);
    let lost = json!({"restore": {"backupRef": {"name": "gone"}}});
    for (name, spec) in [("all", json!({"restart": {}})), ("back", lost)] {
        ask(&fake, name, &early(), &spec);
        in_phase(pass(&fake, &operations, name).await, Pending);
    }
    ask(&fake, "lost", &late(), &recovery());
    let waits = pass(&fake, &operations, "all").await.message;
    says(waits.clone(), "EtcdOperation lost (Pending)");
    says(waits, "delete lost");
    in_phase(pass(&fake, &operations, "lost").await, Running);
}

#[tokio::test]
async fn a_recovery_begins_immediately_or_fails() {
    let fake = FakeApi::default();
    let operations = started(&fake);
    ask(&fake, "lost", &early(), &recovery());
    let failed = in_phase(pass(&fake, &operations, "lost").await, Failed);
    says(failed.message, "a recovery does not wait");
    for more in [
        json!({"spec": {"paused": true}}),
        json!({"spec": {"replicas": 0}}),
    ] {
        fake.put_cluster(&more);
        ask(&fake, "lost", &early(), &recovery());
        in_phase(pass(&fake, &operations, "lost").await, Failed);
    }
    fake.put_cluster(&json!({}));
    ask(&fake, "check", &early(), &json!({"consistencyCheck": {}}));
    pass(&fake, &operations, "check").await;
    ask(&fake, "lost", &late(), &recovery());
    let failed = in_phase(pass(&fake, &operations, "lost").await, Failed);
    says(failed.message.clone(), "EtcdOperation check (Running)");
    says(failed.message, "delete check");
    assert_eq!(requested(&fake), Value::Null);
}

/// The clocks of two operators can differ. The second restart must still be requested.
#[tokio::test]
async fn each_restart_is_another_request() {
    let fake = FakeApi::with_cluster(&json!({"status": {"requests": {"restart": "before"}}}));
    ask(&fake, "all", &early(), &json!({"restart": {}}));
    let begun = json!({"phase": "Running", "startedAt": early(), "clusterUID": "u"});
    fake.change("/etcdoperations/all", &json!({"status": begun}));
    let status = pass(&fake, &started(&fake), "all").await;
    let cluster = fake.get(CLUSTER).expect("the cluster");
    assert_eq!(
        cluster["status"]["requests"]["restart"], "all",
        "{status:?}"
    );
}

#[tokio::test]
async fn an_operation_does_nothing_to_a_later_cluster_of_the_same_name() {
    let fake = FakeApi::with_cluster(&json!({}));
    ask(&fake, "lost", &early(), &recovery());
    let operations = started(&fake);
    pass(&fake, &operations, "lost").await;
    fake.put_cluster(&json!({"metadata": {"uid": "another"}}));
    in_phase(pass(&fake, &operations, "lost").await, Failed);
    assert_eq!(requested(&fake), Value::Null);
}

#[tokio::test]
async fn impossible_operations_fail_immediately_and_expire() {
    let members = json!([{"name": "orders-0", "id": "a0"}]);
    let fake = FakeApi::with_cluster(&json!({"status": {"members": members}}));
    ask(
        &fake,
        "a",
        &early(),
        &json!({"rotateCertificates": {}, "ttlSecondsAfterFinished": 0}),
    );
    let operations = started(&fake);
    in_phase(pass(&fake, &operations, "a").await, Failed);
    pass(&fake, &operations, "a").await;
    assert_eq!(fake.get("/etcdoperations/a"), None, "its TTL has passed");
    for (spec, words) in [
        (
            json!({"rotateCertificates": {}}),
            "does not issue the certificates",
        ),
        (
            json!({"recoverQuorum": {"survivor": "other-1"}}),
            "is not a member of orders",
        ),
        (recovery(), "orders-1 is not a member"),
    ] {
        ask(&fake, "b", &early(), &spec);
        let failed = in_phase(pass(&fake, &operations, "b").await, Failed);
        says(failed.message, words);
    }
    for (more, words) in [
        (json!({"spec": {"paused": true}}), "spec.paused"),
        (json!({"spec": {"replicas": 0}}), "is hibernated"),
        (json!({}), "quorum"),
    ] {
        fake.put_cluster(&more);
        ask(&fake, "c", &early(), &json!({"restart": {}}));
        let held = in_phase(pass(&fake, &operations, "c").await, Pending);
        says(held.message, words);
    }
}

/// By the time the operation starts, the successor of a replaced member can have its name.
#[tokio::test]
async fn a_replacement_that_waits_knows_its_member_by_id() {
    let members = json!([{"name": "orders-1", "id": "a1"}]);
    let fake = FakeApi::with_cluster(&json!({"status": {"members": members}}));
    let operations = started(&fake);
    ask(
        &fake,
        "bad",
        &early(),
        &json!({"replaceMember": {"name": "orders-1"}}),
    );
    let waits = in_phase(pass(&fake, &operations, "bad").await, Pending);
    assert_eq!(waits.member_id.as_deref(), Some("a1"));
    let next = |id| was_replaced(&waits, Some(&("orders-1".to_owned(), id)));
    assert_eq!(next(0xa1), None);
    says(next(0xa2), "its id was a1");
}

/// Members accept no writes during a transfer, which a member that does not serve would not complete.
#[test]
fn leadership_is_not_transferred_to_a_member_that_does_not_serve() {
    let member = |id, name: &str, healthy| MemberSeen {
        id,
        name: name.to_owned(),
        healthy,
        ..MemberSeen::default()
    };
    let seen = |healthy| Observed {
        membership: Some(Membership {
            linearizable: true,
            leader: Some(1),
            members: vec![member(1, "orders-0", true), member(2, "orders-1", healthy)],
            ..Membership::default()
        }),
        ..Observed::default()
    };
    let (cluster, to) = (named(&json!({})), "orders-1".to_owned());
    let asked = MoveLeader { to: Some(to.clone()) };
    let verb = Verb::MoveLeader(&asked);
    let begun = Start::Begin(Some((to.clone(), 2)));
    assert_eq!(begin(verb, &cluster, &seen(true)), begun);
    let why = "orders-1 is not healthy, so it cannot become the leader";
    let refused = Start::End(Err(why.to_owned()));
    assert_eq!(begin(verb, &cluster, &seen(false)), refused);
    let move_leader = Some(asked.clone());
    let spec = EtcdOperationSpec { move_leader, ..EtcdOperationSpec::default() };
    let mut operation = EtcdOperation::new("move", spec);
    let (member, member_id) = (Some(to), Some("2".to_owned()));
    operation.status =
        Some(EtcdOperationStatus { member, member_id, ..EtcdOperationStatus::default() });
    let next = |healthy| advance(verb, &operation, &cluster, &seen(healthy));
    assert_eq!(next(true), Next::MoveLeader { from: 1, to: 2 });
    assert_eq!(
        next(false),
        Next::Watch("waiting until orders-1 is healthy".to_owned())
    );
}

/// The survivor of the first operation cannot start, and the other members are stopped.
#[tokio::test]
async fn a_recovery_continues_with_another_survivor() {
    let running = json!({"member": "orders-0", "phase": "Running", "startedAt": early()});
    let fake = FakeApi::with_cluster(&json!({"status": {"recovery": running}}));
    ask(&fake, "other", &early(), &recovery());
    let operations = started(&fake);
    in_phase(pass(&fake, &operations, "other").await, Running);
    pass(&fake, &operations, "other").await;
    assert_eq!(requested(&fake), "orders-1");
}

#[tokio::test]
async fn a_migration_is_requested_until_its_operation_ends() {
    let fake = FakeApi::with_cluster(&json!({}));
    ask(&fake, "move", &early(), &json!({"migrateStorage": {}}));
    let begun = json!({"phase": "Running", "startedAt": early(), "clusterUID": "u"});
    fake.change("/etcdoperations/move", &json!({"status": begun}));
    let operations = started(&fake);
    pass(&fake, &operations, "move").await;
    let request =
        || fake.get(CLUSTER).expect("the cluster")["status"]["requests"]["operation"].clone();
    assert_eq!(
        request(),
        json!({"name": "move", "uid": "move", "migrateStorage": true})
    );
    let on_delete = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}});
    fake.change(CLUSTER, &on_delete);
    let failed = in_phase(pass(&fake, &operations, "move").await, Failed);
    says(failed.message, "OnDelete");
    assert_eq!(request(), Value::Null);
}

/// After a rollback of the operator, the later release continues its operation.
#[tokio::test]
async fn an_operation_in_an_unknown_phase_stays_and_others_wait() {
    let fake = FakeApi::with_cluster(&json!({}));
    ask(&fake, "later", &early(), &json!({"restart": {}}));
    let status = json!({"phase": "Verifying", "startedAt": late()});
    fake.change("/etcdoperations/later", &json!({"status": status}));
    let operations = started(&fake);
    pass(&fake, &operations, "later").await;
    let after = fake.get("/etcdoperations/later").expect("the operation");
    assert_eq!(after["status"], status);
    ask(&fake, "next", &late(), &json!({"restart": {}}));
    let waits = in_phase(pass(&fake, &operations, "next").await, Pending);
    says(waits.message, "waiting for EtcdOperation later");
}

#[tokio::test]
async fn no_operation_starts_while_a_restore_is_in_an_unknown_phase() {
    let restore = json!({
        "operation": "back", "operationUID": "o", "number": 1, "phase": "Verifying",
        "startedAt": "2026-01-02T03:04:05Z",
    });
    let fake = FakeApi::with_cluster(&json!({"status": {"restore": restore}}));
    ask(&fake, "next", &early(), &json!({"restart": {}}));
    let waits = in_phase(pass(&fake, &started(&fake), "next").await, Pending);
    says(waits.message, "status.restore.phase=Verifying");
}
