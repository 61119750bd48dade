//! Passes of the controller against a fake API server, as a user sees them.

use std::sync::Arc;

use http::StatusCode;
use kube::{
    Api,
    core::Status,
    runtime::reflector::{self, ObjectRef},
};
use serde_json::{Value, json};
use witan_crd::{EtcdCluster, EtcdClusterStatus};
use witan_plan::model::{Step, Stop};

use super::Scope;
use crate::{
    act::ActError,
    api_server::cannot,
    observe::{Objects, Stores},
    resources::Cluster,
    rollouts::Rollouts,
    testing::{CLAIM, NoMembers, api::FakeApi, object, operator, outdated_pod, saved},
};

fn scope(fake: &FakeApi) -> Scope<NoMembers> {
    let operator = operator(fake, "registry.example/witan:1.0.0");
    let stores = Stores {
        pods: reflector::store().0,
        claims: reflector::store().0,
        services: reflector::store().0,
        budgets: reflector::store().0,
    };
    Scope { operator: Arc::new(operator), stores }
}

async fn read(scope: &Scope<NoMembers>) -> EtcdCluster {
    let api = Api::<EtcdCluster>::namespaced(scope.operator.client.clone(), "shop");
    api.get("orders").await.expect("the cluster")
}

/// Runs one pass with [`Scope::act`]. Returns whether it succeeded.
async fn pass(scope: &Scope<NoMembers>) -> bool {
    scope.act(&read(scope).await).await.is_ok()
}

/// Returns the type, reason and note of all events.
fn events(fake: &FakeApi) -> Vec<[String; 3]> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let seen = |event: &Value| ["type", "reason", "note"].map(|field| text(&event[field]));
    fake.all("/events/").iter().map(seen).collect()
}

/// `plan` does not count earlier time when it measures how long a member has been silent.
#[tokio::test]
async fn a_pass_knows_when_the_operator_became_active() {
    let fake = FakeApi::default();
    let mut scope = scope(&fake);
    let operator = Arc::get_mut(&mut scope.operator).expect("the only owner");
    operator.acting_since = 5;
    fake.put_cluster(&json!({}));
    let read = read(&scope).await;
    let mut named = Cluster::new(&read, &scope.operator.environment).expect("names");
    let observation = scope.observe(&mut named, Objects::default(), true).await;
    assert_eq!(observation.expect("a pass").seen.acting_since, 5);
}

/// Other members start later, when the store may have more changes.
#[tokio::test]
async fn the_revision_that_the_first_member_has_fetched_is_recorded() {
    let fake = FakeApi::default();
    let scope = scope(&fake);
    fake.put_cluster(&json!({}));
    let read = read(&scope).await;
    let mut named = Cluster::new(&read, &scope.operator.environment).expect("names");
    let observation = scope.observe(&mut named, Objects::default(), true).await;
    let mut observation = observation.expect("a pass");
    let fetched = saved(&json!({"toRevision": 77}));
    let ended = json!({"terminated": {"exitCode": 0, "message": fetched.to_string()}});
    let pod = json!({"metadata": {}, "status": {"initContainerStatuses": [
        {"name": "fetch", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": ended},
    ]}});
    let pod = serde_json::from_value(pod).expect("a pod");
    observation.objects.pods.insert(0, Arc::new(pod));
    let mut before = EtcdClusterStatus::default();
    for (from, known, expected) in [
        (None, None, None),
        (Some("s3://b/first@later"), None, Some(77)),
        (Some("s3://b/first@later"), Some(76), Some(76)),
    ] {
        (before.restored_from, before.restored_revision) = (from.map(str::to_owned), known);
        let after = scope.report(&named, &before, &observation, &Step::Done);
        assert_eq!(after.restored_revision, expected, "{from:?}");
    }
}

/// A policy that refuses the new template of some clusters must not block the updates of all other clusters.
#[tokio::test]
async fn a_cluster_whose_update_is_refused_keeps_no_permit() {
    let fake = FakeApi::default();
    let mut scope = scope(&fake);
    let operator = Arc::get_mut(&mut scope.operator).expect("the only owner");
    operator.rollouts = Rollouts::new(1);
    fake.put_cluster(&json!({}));
    let read = read(&scope).await;
    let mut named = Cluster::new(&read, &scope.operator.environment).expect("names");
    let observation = scope.observe(&mut named, Objects::default(), true).await;
    let observation = observation.expect("a pass");
    let step = Step::DeletePod { ordinal: 0, reason: Stop::Outdated };
    let other = ObjectRef::new("other").within("shop");
    let rollouts = &scope.operator.rollouts;
    assert!(rollouts.take_or_release(ObjectRef::from_obj(&read), &step, &observation.seen));
    assert!(!scope.operator.rollouts.admits(&other));
    let refusal = Status::failure("denied by a policy", "Forbidden").with_code(403);
    let refusal = cannot("try the template")(kube::Error::Api(Box::new(refusal)));
    let status = EtcdClusterStatus::default();
    let failed = Err(ActError::Api(refusal));
    let outcome = scope.conclude(&read, [&status, &status], &observation, &step, failed);
    assert!(outcome.await.is_err());
    assert!(scope.operator.rollouts.admits(&other));
}

/// Updates of other clusters may hold all permits for a long time.
#[tokio::test]
async fn the_repair_of_a_pod_needs_no_permit() {
    let fake = FakeApi::default();
    let mut scope = scope(&fake);
    let operator = Arc::get_mut(&mut scope.operator).expect("the only owner");
    operator.rollouts = Rollouts::new(0);
    let status = json!({"clusterID": "c1", "bootstrapMembers": 1});
    fake.put_cluster(&json!({"spec": {"replicas": 1}, "status": status}));
    let labels = json!({"labels": {"witan.dev/cluster": "orders"}});
    fake.put(object("v1", CLAIM, "data-orders-0", &labels));
    // The container of the pod does not run.
    outdated_pod(&fake, "orders-0");
    // The first pass applies the Services.
    for _ in 0..2 {
        assert!(pass(&scope).await);
    }
    assert_eq!(fake.get("/pods/orders-0"), None);
}

/// Kubernetes aggregates events with the same reason and shows only the first note.
#[tokio::test]
async fn each_refusal_is_a_separate_warning() {
    let fake = FakeApi::default();
    let scope = scope(&fake);
    let long = "denied by a webhook that says much: ".repeat(100);
    let all = ["exceeded quota: services", &long];
    for (generation, words) in (1..).zip(all) {
        fake.put_cluster(&json!({"metadata": {"generation": generation}}));
        fake.refuse("/orders-peer", "", (StatusCode::FORBIDDEN, words));
        assert!(!pass(&scope).await, "{words}");
    }
    let seen = events(&fake);
    for words in all {
        let meant = |[kind, reason, note]: &[String; 3]| {
            let said = note.contains(&words[..20]) && note.len() <= 1024;
            kind == "Warning" && reason == "StepRefused" && said
        };
        assert_eq!(
            seen.iter().filter(|event| meant(event)).count(),
            1,
            "{seen:?}"
        );
    }
}

/// Returns the claim of ordinal 1 of the cluster `orders`, as the API server would.
fn claim_of_orders(labels: &Value) -> Value {
    let meta = json!({
        "uid": "p", "labels": labels, "annotations": {"witan.dev/cluster-id": "c1"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "o"},
            {"apiVersion": "witan.dev/v1", "kind": "EtcdCluster", "name": "orders", "uid": "u", "controller": true},
        ],
    });
    object("v1", CLAIM, "data-orders-1", &meta)
}

/// Once the generation is observed, a user may delete the cluster and expect its disks to be kept.
#[tokio::test]
async fn a_generation_is_observed_once_its_retention_policy_is_applied() {
    let fake = FakeApi::default();
    let scope = scope(&fake);
    let spec =
        json!({"replicas": 0, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}});
    let status = json!({"clusterID": "c1", "bootstrapMembers": 1, "observedGeneration": 6});
    fake.put_cluster(&json!({"metadata": {"generation": 7}, "spec": spec, "status": status}));
    fake.put(claim_of_orders(&json!({"witan.dev/cluster": "orders"})));
    for _ in 0..3 {
        let before = fake.get("/data-orders-1").expect("the claim");
        let kept = before["metadata"]["ownerReferences"][1].is_null();
        let cluster = fake.get("/etcdclusters/orders").expect("the cluster");
        assert!(kept || cluster["status"]["observedGeneration"] == 6);
        assert!(pass(&scope).await);
    }
    let claim = fake.get("/data-orders-1").expect("the claim");
    let owners = &claim["metadata"]["ownerReferences"];
    assert_eq!(owners[0]["name"], "other");
    assert!(owners[1].is_null(), "{owners}");
    let cluster = fake.get("/etcdclusters/orders").expect("the cluster");
    assert_eq!(cluster["status"]["observedGeneration"], 7);
}

/// Labels are only an index. A claim without labels is found by its owner or by the pod that mounts it.
#[tokio::test]
async fn a_claim_without_labels_belongs_to_the_pod_that_mounts_it() {
    let fake = FakeApi::default();
    let scope = scope(&fake);
    fake.put_cluster(&json!({"status": {"clusterID": "c1", "bootstrapMembers": 3}}));
    outdated_pod(&fake, "orders-1");
    let data = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-orders-1"}});
    fake.change("/pods/orders-1", &json!({"spec": {"volumes": [data]}}));
    for owned in [true, false] {
        let mut claim = claim_of_orders(&json!({}));
        if !owned {
            claim["metadata"]["ownerReferences"] = json!([]);
        }
        fake.put(claim);
        let read = read(&scope).await;
        let named = Cluster::new(&read, &scope.operator.environment).expect("names");
        let objects = Objects::from_api_server(&scope.operator.client, &named).await;
        let objects = objects.expect("objects");
        assert!(objects.claim(1).is_some(), "owned: {owned}");
        assert!(!objects.lacks_mounted_claim(&named) && objects.taken.is_empty());
    }
}

/// After a rollback of the operator, the later release continues from its records.
#[tokio::test]
async fn records_of_a_later_release_are_not_changed() {
    let fake = FakeApi::default();
    let scope = scope(&fake);
    let at = "2026-01-02T03:04:05Z";
    let status = json!({
        "clusterID": "c1", "bootstrapMembers": 3,
        "members": [{"name": "orders-0", "ordinal": 0, "phase": "Draining"}],
        "restore": {"operation": "back", "operationUID": "o", "number": 1, "phase": "Verifying", "startedAt": at},
        "recovery": {"member": "orders-0", "phase": "Copying", "startedAt": at},
        "pastOperations": [{"name": "back", "uid": "o", "verb": "Restore", "startedAt": at, "result": "Paused"}],
    });
    fake.put_cluster(&json!({"status": status}));
    for _ in 0..3 {
        assert!(pass(&scope).await);
    }
    let cluster = fake.get("/etcdclusters/orders").expect("the cluster");
    for field in ["restore", "recovery", "pastOperations"] {
        assert_eq!(cluster["status"][field], status[field], "{field}");
    }
    assert!(fake.all("/pods/").is_empty() && fake.all("/services/").is_empty());
    let seen = events(&fake);
    let says = |[kind, reason, note]: &[String; 3]| {
        let named = note.contains("status.restore.phase=Verifying");
        kind == "Warning" && reason == "LaterOperator" && named
    };
    assert_eq!(
        seen.iter().filter(|event| says(event)).count(),
        1,
        "{seen:?}"
    );
}
