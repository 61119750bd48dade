//! Whole passes against a fake API server: the effects of steps on the objects of the cluster and of other owners.

mod removal;

use http::StatusCode;
use serde_json::{Value, json};
use witan_crd::{CLUSTER, EtcdCluster};
use witan_members::CallError;
use witan_plan::{
    model::{Bootstrap, Observed, PeerTls, PodPlan, Role, Step, Stop},
    plan,
};

use super::{ActError, Actor};
use crate::{
    observe::{Objects, Secrets, observe},
    resources::Cluster,
    testing::{CLAIM, NoMembers, api::FakeApi, environment, object, outdated_pod},
};

/// Observes the cluster, executes the step from `choose` and stores the status. Returns the step, its message and its result.
async fn act(
    fake: &FakeApi,
    choose: impl FnOnce(&EtcdCluster, &Observed) -> Step,
) -> (Step, String, Result<(), ActError>) {
    let client = fake.client();
    let resource = fake.get("/etcdclusters/orders").expect("the cluster");
    let resource: EtcdCluster = serde_json::from_value(resource).expect("a cluster");
    let environment = environment("registry.example/witan:1.0.0");
    let named = Cluster::new(&resource, environment).expect("names");
    let objects = Objects::from_api_server(&client, &named)
        .await
        .expect("objects");
    let secrets = Secrets::default().of(&client, &named, true).await;
    let observation = observe(&named, objects, secrets.expect("secrets"), &NoMembers).await;
    let step = choose(&resource, &observation.seen);
    let said = step.notice("orders", &observation.seen);
    let actor = Actor {
        client: &client,
        members: &NoMembers,
        cluster: &named,
        observation: &observation,
    };
    let mut status = resource.status.clone().unwrap_or_default();
    let done = actor.act(&step, &mut status).await;
    let mut written = fake.get("/etcdclusters/orders").expect("the cluster");
    written["status"] = json!(status);
    fake.put(written);
    (
        step,
        said.map(|said| said.message).unwrap_or_default(),
        done,
    )
}

async fn pass(fake: &FakeApi) -> (Step, String, Result<(), ActError>) {
    let planned = |cluster: &EtcdCluster, seen: &Observed| {
        let status = cluster.status.clone().unwrap_or_default();
        plan(&cluster.spec, &status, seen)
    };
    act(fake, planned).await
}

/// Executes one step on the current objects. `between` runs between the observation and the step.
async fn try_step(fake: &FakeApi, step: &Step, between: impl Fn()) -> Result<(), ActError> {
    let chosen = |_: &EtcdCluster, _: &Observed| {
        between();
        step.clone()
    };
    act(fake, chosen).await.2
}

/// Runs passes until a pass waits or fails. Returns the message of that pass.
async fn settle(fake: &FakeApi) -> String {
    for _ in 0..20 {
        match pass(fake).await {
            (Step::Wait { why, .. }, said, Ok(())) => return format!("{why:?}: {said}"),
            (_, _, Ok(())) => {}
            (step, _, Err(error)) => return format!("{step:?}: {error}"),
        }
    }
    panic!("passes do not settle");
}

/// Other operators use the same names. Such an object must survive the EtcdCluster, and its clients must not be redirected.
#[tokio::test]
async fn objects_of_other_owners_are_not_changed() {
    let druid = json!({"ownerReferences": [{"apiVersion": "druid.gardener.cloud/v1alpha1", "kind": "Etcd", "name": "orders", "uid": "d", "controller": true}]});
    let (none, tls) = (json!({}), json!({"tls": {"client": {"managed": {}}}}));
    let names = json!({"client": {"name": "shop-etcd"}, "peer": {"name": "shop-etcd-headless"}});
    let named = json!({ "services": names });
    let others = [
        (&tls, "v1", "Service", "orders-client", &druid),
        (&tls, "v1", "Service", "orders-peer", &druid),
        (&named, "v1", "Service", "shop-etcd", &none),
        (&named, "v1", "Service", "shop-etcd-headless", &none),
        (&tls, "policy/v1", "PodDisruptionBudget", "orders", &druid),
        (&tls, "v1", CLAIM, "data-orders-1", &none),
        (&tls, "v1", "Pod", "orders-2", &druid),
        (&tls, "v1", "Secret", "orders-ca", &none),
        (&tls, "v1", "Secret", "orders-client-tls", &none),
    ];
    for (spec, version, kind, name, meta) in others {
        let fake = FakeApi::with_cluster(&json!({ "spec": spec }));
        fake.put(object(version, kind, name, meta));
        let end = format!("s/{name}");
        let before = fake.get(&end);
        let said = settle(&fake).await;
        assert_eq!(fake.get(&end), before, "{kind} {name} is unchanged; {said}");
        if kind == "PodDisruptionBudget" {
            // The cluster starts without a budget.
            continue;
        }
        assert!(said.contains("NameTaken") && said.contains(name), "{said}");
        fake.remove(&end);
        let said = settle(&fake).await;
        assert!(
            said.starts_with("Bootstrapping"),
            "once the name is free: {said}"
        );
        let services = fake.all("/services/");
        assert_eq!(services.len(), 2, "no default name is used: {services:?}");
    }
}

#[tokio::test]
async fn a_name_taken_meanwhile_is_refused() {
    let fake = FakeApi::with_cluster(&json!({}));
    let taken = object("v1", "Service", "orders-peer", &json!({}));
    let refused = try_step(&fake, &Step::ApplyServices, || fake.put(taken.clone())).await;
    let refused = refused.expect_err("the name is taken").to_string();
    assert!(
        refused.contains("Service orders-peer without an owner"),
        "{refused}"
    );
}

/// Passes find objects by label. Otherwise, each pass would try to create the unlabeled Service again.
#[tokio::test]
async fn the_labels_of_an_object_are_restored() {
    let fake = FakeApi::with_cluster(&json!({}));
    settle(&fake).await;
    for end in ["/services/orders-client", "/pods/orders-1"] {
        let before = fake.get(end).expect("an object");
        fake.change(end, &json!({"metadata": {"labels": null}}));
        let said = settle(&fake).await;
        assert!(said.starts_with("Bootstrapping"), "{said}");
        let after = fake.get(end).expect("an object");
        for label in [CLUSTER, "app.kubernetes.io/managed-by"] {
            let value = |object: &Value| object["metadata"]["labels"][label].clone();
            assert_eq!(value(&after), value(&before), "{end} {label}");
        }
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "{end}");
    }
}

/// Later passes apply the created objects. Fields that only the creation set must not survive an apply.
#[tokio::test]
async fn the_apply_takes_over_the_fields_of_the_creation() {
    let fake = FakeApi::with_cluster(&json!({}));
    settle(&fake).await;
    let mut service = fake.get("/services/orders-client").expect("a service");
    service["metadata"]["annotations"]["witan.dev/applied"] = "earlier".into();
    service["metadata"]["managedFields"] = json!([
        {"manager": "witan-operator-create", "operation": "Update", "apiVersion": "v1"},
        {"manager": "kubectl", "operation": "Update", "apiVersion": "v1"},
    ]);
    fake.put(service);
    settle(&fake).await;
    let service = fake.get("/services/orders-client").expect("a service");
    let fields = service["metadata"]["managedFields"]
        .as_array()
        .expect("fields");
    let managers: Vec<_> = fields
        .iter()
        .map(|entry| (entry["manager"].as_str(), entry["operation"].as_str()))
        .collect();
    let expected = [("witan-operator", "Apply"), ("kubectl", "Update")];
    assert_eq!(
        managers,
        expected.map(|(name, kind)| (Some(name), Some(kind)))
    );
    assert_ne!(
        service["metadata"]["annotations"]["witan.dev/applied"],
        "earlier"
    );
}

/// A typical first attempt: the image is wrong, so the user recreates everything. The claims of the first attempt are empty.
#[tokio::test]
async fn a_recreated_cluster_reuses_only_claims_that_served() {
    for (marks, state) in [
        (json!({}), "new"),
        (json!({"witan.dev/cluster-id": "c1"}), "existing"),
    ] {
        let fake = FakeApi::default();
        let meta = json!({"labels": {CLUSTER: "orders"}, "annotations": marks});
        for ordinal in 0..3 {
            let claim = format!("data-orders-{ordinal}");
            fake.put(object("v1", CLAIM, &claim, &meta));
        }
        fake.put_cluster(&json!({}));
        settle(&fake).await;
        let pod = fake.get("/pods/orders-0").expect("a pod");
        let arguments = pod["spec"]["containers"][0]["args"].to_string();
        let exists = arguments.contains("initial-cluster-state=existing");
        let initial = &pod["metadata"]["annotations"]["witan.dev/initial-cluster-state"];
        assert_eq!(
            (exists, initial == "new"),
            (state == "existing", state == "new"),
            "{pod}"
        );
    }
}

/// With `whenDeleted: Delete`, the garbage collector deletes the earlier cluster's objects after some time.
#[tokio::test]
async fn objects_of_a_deleted_cluster_are_awaited() {
    let earlier = json!({
        "labels": {CLUSTER: "orders"},
        "annotations": {"witan.dev/cluster-id": "c1"},
        "ownerReferences": [{"apiVersion": "witan.dev/v1", "kind": "EtcdCluster", "name": "orders", "uid": "earlier", "controller": true}],
    });
    let all = [
        (CLAIM, "data-orders-0"),
        (CLAIM, "data-orders-2"),
        ("Service", "orders-peer"),
        ("Pod", "orders-1"),
        ("Secret", "orders-ca"),
    ];
    for (kind, name) in all {
        let fake = FakeApi::with_cluster(&json!({"spec": {"tls": {"peer": {"managed": {}}}}}));
        fake.put(object("v1", kind, name, &earlier));
        let end = format!("s/{name}");
        let before = fake.get(&end);
        let said = settle(&fake).await;
        assert_eq!(fake.get(&end), before, "{name}: {said}");
        let waits = said.starts_with("ClaimEnding") || said.contains("with an earlier cluster");
        assert!(waits, "{said}");
        fake.remove(&end);
        let said = settle(&fake).await;
        assert!(said.starts_with("Bootstrapping"), "{said}");
    }
}

/// The storage class cannot expand volumes, or the quota is used up.
#[tokio::test]
async fn refused_growth_is_not_recorded_as_growth() {
    let class = "only dynamically provisioned pvc can be resized";
    let quota = "exceeded quota: storage";
    for (words, kept) in [(class, true), (quota, false)] {
        let fake = FakeApi::with_cluster(&json!({}));
        let labels = json!({"labels": {CLUSTER: "orders"}});
        fake.put(object("v1", CLAIM, "data-orders-0", &labels));
        fake.refuse("/data-orders-0", "", (StatusCode::FORBIDDEN, words));
        let grow = Step::GrowClaim { ordinal: 0, bytes: 10 << 30 };
        let refused = try_step(&fake, &grow, || {}).await.expect_err("refused");
        assert!(format!("{refused}").contains(words), "{refused}");
        let claim = fake.get("/data-orders-0").expect("a claim");
        let mark = &claim["metadata"]["annotations"]["witan.dev/refused-bytes"];
        assert_eq!(
            mark.as_str().is_some_and(|mark| mark.contains(class)),
            kept,
            "{mark}"
        );
    }
}

/// If the pod were recorded as recreated, the next attempt would follow only after an hour.
#[tokio::test]
async fn a_pod_that_was_not_deleted_is_not_recorded_as_recreated() {
    let fake = FakeApi::with_cluster(&json!({}));
    let labels = json!({"labels": {CLUSTER: "orders"}});
    fake.put(object("v1", CLAIM, "data-orders-1", &labels));
    outdated_pod(&fake, "orders-1");
    let is_recorded = || {
        let claim = fake.get("/data-orders-1").expect("a claim");
        claim["metadata"]["annotations"]["witan.dev/remade-at"].is_string()
    };
    let reason = Stop::Silent;
    let stop = Step::DeletePod { ordinal: 1, reason };
    let down = "failed calling webhook";
    let refusal = (StatusCode::INTERNAL_SERVER_ERROR, down);
    fake.refuse("/pods/orders-1", "", refusal);
    let refused = try_step(&fake, &stop, || {}).await.expect_err("refused");
    assert!(refused.to_string().contains(down), "{refused}");
    assert!(!is_recorded());
    fake.admit();
    try_step(&fake, &stop, || {}).await.expect("deleted");
    assert!(is_recorded() && fake.get("/pods/orders-1").is_none());
}

/// Kubernetes would refuse any other change, and the member could not start.
#[tokio::test]
async fn an_apply_changes_only_metadata_and_size_of_a_claim() {
    let fake = FakeApi::default();
    let storage = json!({"size": "8Gi", "accessModes": ["ReadWriteOncePod"]});
    fake.put_cluster(&json!({"spec": {"storage": storage}}));
    let mut claim = object(
        "v1",
        CLAIM,
        "data-orders-0",
        &json!({"labels": {CLUSTER: "orders"}}),
    );
    claim["spec"] = json!({"accessModes": ["ReadWriteOnce"], "volumeName": "v", "resources": {"requests": {"storage": "8Gi"}}});
    fake.put(claim.clone());
    let peer_tls = PeerTls::Off;
    let apply = Step::ApplyClaim { ordinal: 0, peer_tls };
    try_step(&fake, &apply, || {}).await.expect("applied");
    let applied = fake.get("/data-orders-0").expect("a claim");
    assert_eq!(applied["spec"], claim["spec"]);
    assert_eq!(
        applied["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "witan-operator"
    );
}

/// Members and clients have certificates that the lost CA signed. They must trust the next CA before it signs a certificate.
#[tokio::test]
async fn deleting_the_secret_of_an_authority_does_not_change_certificates() {
    let fake = FakeApi::with_cluster(&json!({"spec": {"tls": {"client": {"managed": {}}}}}));
    settle(&fake).await;
    let before = fake
        .get("/secrets/orders-client-tls")
        .expect("a certificate");
    fake.remove("/secrets/orders-ca");
    settle(&fake).await;
    let after = fake
        .get("/secrets/orders-client-tls")
        .expect("a certificate");
    assert_eq!(after["data"]["tls.crt"], before["data"]["tls.crt"]);
    assert_ne!(
        after["data"]["ca.crt"], before["data"]["ca.crt"],
        "both are trusted"
    );
}

/// Adds a cluster that has served with another image. Member 0 has its disk but no pod.
fn with_a_lost_pod(fake: &FakeApi, spec: &Value) {
    let admitted = json!({"image": "witan:former"}).to_string();
    let status = json!({"clusterID": "c1", "admittedSpec": admitted});
    fake.put_cluster(&json!({"spec": spec, "status": status}));
    let meta = json!({"labels": {CLUSTER: "orders"}});
    fake.put(object("v1", CLAIM, "data-orders-0", &meta));
}

fn start(ordinal: u32) -> Step {
    let (bootstrap, peer_tls, role) = (Bootstrap::Restart, PeerTls::Off, Role::Voter);
    Step::StartMember(PodPlan { ordinal, bootstrap, peer_tls, role })
}

#[tokio::test]
async fn a_lost_pod_gets_the_last_admitted_template() {
    let words = "no PriorityClass with name absent was found";
    let no_pod = json!({"tolerations": [{"key": 5}]});
    for spec in [no_pod, json!({"priorityClassName": "absent"})] {
        let fake = FakeApi::default();
        with_a_lost_pod(&fake, &spec);
        let refused = (StatusCode::FORBIDDEN, words);
        fake.refuse("/pods/orders-0", "priorityClassName", refused);
        let done = try_step(&fake, &start(0), || {}).await;
        done.expect("the former template is admitted");
        let pod = fake.get("/pods/orders-0").expect("a pod");
        assert_eq!(pod["spec"]["containers"][0]["image"], "witan:former");
        let said = pod["metadata"]["annotations"]["witan.dev/refused-template"].as_str();
        let shown = said.is_some_and(|said| said.contains(words));
        assert_eq!(shown, spec.get("priorityClassName").is_some(), "{said:?}");
    }
}

/// A release below the feature level cannot read the disk, so the member of a lost pod could not start again.
#[tokio::test]
async fn a_lost_pod_keeps_its_release_if_the_plan_refuses_the_wanted_one() {
    let join = |ordinal| {
        let (bootstrap, peer_tls) = (Bootstrap::Join { members: vec![] }, PeerTls::Off);
        Step::StartMember(PodPlan { ordinal, bootstrap, peer_tls, role: Role::Learner })
    };
    let admitted = json!({"version": "0.2.0"}).to_string();
    for (level, image) in [(1, "witan:0.1.0"), (2, "witan:0.2.0")] {
        let forced = Step::StartMember(PodPlan::voter(0, Bootstrap::Forced, PeerTls::Off));
        let [first, second] = ["/pods/orders-0", "/pods/orders-1"];
        for (step, pod) in [(start(0), first), (forced, first), (join(1), second)] {
            let fake = FakeApi::default();
            with_a_lost_pod(&fake, &json!({"version": "0.1.0"}));
            let status = json!({"featureLevel": level, "admittedSpec": admitted});
            fake.change("/etcdclusters/orders", &json!({ "status": status }));
            try_step(&fake, &step, || {}).await.expect("a pod");
            let pod = fake.get(pod).expect("a pod");
            let used = pod["spec"]["containers"][0]["image"].as_str();
            let used = used.and_then(|used| used.strip_prefix("registry.example/"));
            assert_eq!(used, Some(image), "{step:?}");
            let refusal = &pod["metadata"]["annotations"]["witan.dev/refused-template"];
            assert_eq!(*refusal, Value::Null, "the API server refused nothing");
        }
    }
}

/// The spec has no version, and an update of the operator has changed its default image.
#[tokio::test]
async fn a_lost_pod_keeps_the_release_of_the_others_if_the_plan_refuses_the_default_one() {
    let fake = FakeApi::default();
    with_a_lost_pod(&fake, &json!({}));
    let status = json!({"admittedSpec": "{}"});
    fake.change("/etcdclusters/orders", &json!({ "status": status }));
    outdated_pod(&fake, "orders-1");
    let labels = json!({"app.kubernetes.io/version": "2.1.0"});
    fake.change("/pods/orders-1", &json!({"metadata": {"labels": labels}}));
    try_step(&fake, &start(0), || {}).await.expect("a pod");
    let pod = fake.get("/pods/orders-0").expect("a pod");
    let image = &pod["spec"]["containers"][0]["image"];
    assert_eq!(*image, "registry.example/witan:2.1.0");
}

#[tokio::test]
async fn the_pod_of_an_initial_member_learns_that_its_cluster_exists() {
    let state = "witan.dev/initial-cluster-state";
    let marked = json!({"metadata": {"annotations": {state: "new"}}});
    // The pod has lost its annotations.
    let variable = json!({"name": "ETCD_INITIAL_CLUSTER_STATE"});
    let container = json!({"name": "etcd", "env": [variable]});
    let unmarked = json!({"spec": {"containers": [container]}});
    for (before, after) in [
        (marked, json!("existing")),
        (unmarked, json!("existing")),
        (json!({}), Value::Null),
    ] {
        let fake = FakeApi::with_cluster(&json!({}));
        outdated_pod(&fake, "orders-0");
        fake.change("/pods/orders-0", &before);
        let step = Step::LabelPod { ordinal: 0, role: Role::Voter };
        try_step(&fake, &step, || {}).await.expect("a label");
        let pod = fake.get("/pods/orders-0").expect("a pod");
        assert_eq!(pod["metadata"]["labels"]["witan.dev/role"], "voter");
        assert_eq!(pod["metadata"]["annotations"][state], after);
    }
}

/// Without a dry run that reports refusals, the pod would be deleted and recreated in a loop.
#[tokio::test]
async fn a_refused_template_needs_a_successful_dry_run() {
    let fake = FakeApi::default();
    with_a_lost_pod(&fake, &json!({"image": "witan:present"}));
    let quota = (StatusCode::FORBIDDEN, "exceeded quota: small");
    fake.refuse("/pods/orders-0", "witan:present", quota);
    try_step(&fake, &start(0), || {}).await.expect("a pod");
    let reason = Stop::Outdated;
    let stop = Step::DeletePod { ordinal: 0, reason };
    fake.refuse("-trial", "witan:present", quota);
    let refused = try_step(&fake, &stop, || {}).await;
    assert!(refused.is_err() && fake.get("/pods/orders-0").is_some());
    fake.admit();
    try_step(&fake, &stop, || {}).await.expect("it is admitted");
    assert_eq!(fake.get("/pods/orders-0"), None);
}

#[tokio::test]
async fn a_pod_is_refused_if_the_former_template_does_not_help() {
    let (bootstrap, peer_tls) = (Bootstrap::Join { members: vec![] }, PeerTls::Off);
    let role = Role::Learner;
    let new = Step::StartMember(PodPlan { ordinal: 1, bootstrap, peer_tls, role });
    let all = [
        (start(0), "witan:former", "/pods/orders-0", "witan"),
        (start(0), "witan:present", "/data-orders-0", ""),
        // The second attempt sees the claim that the first attempt applied.
        (new, "witan:present", "/pods/orders-1", "witan:present"),
    ];
    for (step, image, end, part) in all {
        let fake = FakeApi::default();
        with_a_lost_pod(&fake, &json!({ "image": image }));
        fake.refuse(end, part, (StatusCode::FORBIDDEN, "no"));
        for _ in 0..2 {
            let refused = try_step(&fake, &step, || {}).await;
            assert!(refused.is_err(), "{step:?}");
            assert_eq!(fake.all("/pods/"), [Value::Null; 0], "{step:?}");
        }
    }
}

/// A full quota is not a refusal, because the quota still counts the pod that is about to be deleted.
#[tokio::test]
async fn a_member_is_stopped_only_after_a_successful_dry_run() {
    let reason = Stop::Outdated;
    let stop = Step::DeletePod { ordinal: 1, reason };
    let cases = [
        (Some("pods with this label have no business here"), false),
        (Some("exceeded quota: small"), true),
        (
            Some("admission webhook \"w\" does not support dry run"),
            true,
        ),
        (None, true),
    ];
    for (words, stops) in cases {
        let fake = FakeApi::with_cluster(&json!({}));
        outdated_pod(&fake, "orders-1");
        if let Some(words) = words {
            fake.refuse("-trial", "", (StatusCode::FORBIDDEN, words));
        }
        let done = try_step(&fake, &stop, || {}).await;
        assert_eq!(done.is_ok(), stops, "{words:?}: {done:?}");
        assert_eq!(fake.get("/pods/orders-1").is_none(), stops, "{words:?}");
        assert_eq!(fake.get("-trial"), None, "a dry run creates nothing");
        if let Err(refused) = done {
            let said = refused.refusal().expect("the step was refused");
            assert!(said.contains(words.expect("words")), "{said}");
        }
    }
}

/// A refused step is skipped for a while, so that it does not delay repairs.
#[tokio::test]
async fn an_object_that_no_webhook_can_check_is_refused() {
    let webhook = "Internal error occurred: failed calling webhook \"webhook.cert-manager.io\"";
    for (words, refuses) in [(webhook, true), ("etcdserver: request timed out", false)] {
        let fake = FakeApi::with_cluster(&json!({}));
        fake.refuse(
            "/orders-peer",
            "",
            (StatusCode::INTERNAL_SERVER_ERROR, words),
        );
        let failed = pass(&fake).await.2.expect_err(words);
        assert_eq!(failed.refusal().is_some(), refuses, "{failed}");
    }
}

/// Without the refusal, the status would show only that the operator creates the token, and only the log would contain the
/// error.
#[tokio::test]
async fn a_discovery_service_without_a_pod_is_reported() {
    let discovery = json!({"local": {"clusterRef": {"name": "hub"}}});
    let spec = json!({"bootstrap": {"discovery": discovery}});
    let fake = FakeApi::with_cluster(&json!({"spec": spec}));
    let failed = try_step(&fake, &Step::CreateDiscoveryToken(3), || {}).await;
    let said = failed.expect_err("no token").refusal();
    assert!(said.is_some_and(|said| said.contains("hub has no ready pod")));
}

/// Without the refusal, the operator would stop taking steps, and no condition would report the reason.
#[tokio::test]
async fn a_secret_without_a_password_is_reported() {
    let auth = json!({"enabled": true, "rootCredentialsSecretRef": {"name": "orders-root"}});
    let fake = FakeApi::with_cluster(&json!({"spec": {"auth": auth}}));
    fake.put(object("v1", "Secret", "orders-root", &json!({})));
    let failed = try_step(&fake, &Step::EnableAuth, || {}).await;
    let said = failed.expect_err("no password").refusal();
    assert!(said.is_some_and(|said| said.contains("orders-root")));
}

/// A later pass reports the refusal if the members repeat it.
#[test]
fn a_temporary_refusal_has_a_reason() {
    let status = Box::new(tonic::Status::unavailable("etcdserver: unhealthy cluster"));
    let (member, call) = ("orders-0".to_owned(), "MemberAdd");
    let error = ActError::Member(CallError::Refused { member, call, status });
    assert!(error.is_premature() && error.refusal().is_some());
}
