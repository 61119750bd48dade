//! Test helpers for the code around `plan`.

pub(crate) mod api;

use clap::{Args as _, Command, FromArgMatches as _};
use witan_api::backup::KeysHash;
use witan_members::{Address, Answer, CallError, Change, Members};

use std::sync::Arc;

use serde_json::{Value, json};

use witan_crd::{CLUSTER, EtcdCluster};

use self::api::{FakeApi, merge};
use crate::{
    metrics::Metrics,
    operator::Operator,
    options::{Environment, Options},
    resources::Cluster,
};

pub(crate) const CLAIM: &str = "PersistentVolumeClaim";

pub(crate) struct NoMembers;

impl Members for NoMembers {
    async fn survey(&self, of: &[Address]) -> Vec<Answer> {
        let answer =
            |to: &Address| Answer { member: to.member.clone(), report: Err(CallError::NoMember) };
        of.iter().map(answer).collect()
    }
    async fn change(&self, _: &[Address], _: &Change) -> Result<(), CallError> {
        Err(CallError::NoMember)
    }
    async fn keys_hash(&self, _: &Address, _: i64) -> Result<KeysHash, CallError> {
        Err(CallError::NoMember)
    }
}

/// Returns an operator's defaults. The memory is leaked, to get a static reference.
pub(crate) fn environment(member_image: &str) -> &'static Environment {
    Box::leak(Box::new(Environment {
        member_image: member_image.to_owned(),
        backup_image: "witan-operator:1.0.0".to_owned(),
        discovery_service_url: None,
        member_image_pull_secrets: Vec::new(),
    }))
}

/// Parses the flags of `run`.
pub(crate) fn options(arguments: &[&str]) -> Options {
    let line = [&["run"], arguments].concat();
    let matches = Options::augment_args(Command::new("run")).get_matches_from(line);
    Options::from_arg_matches(&matches).expect("the flags are valid")
}

/// Returns an operator that has just started and whose members do not answer.
pub(crate) fn operator(fake: &FakeApi, member_image: &str) -> Operator<NoMembers> {
    let metrics = Arc::new(Metrics::new());
    let options = Options {
        environment: environment(member_image).clone(),
        max_concurrent_reconciles: 1,
        max_concurrent_rollouts: 1,
        ..options(&[])
    };
    Operator::new(fake.client(), NoMembers, metrics, &options, "test")
}

/// Merges `more` into an object recursively. A null removes a field.
pub(crate) fn with(mut object: Value, more: &Value) -> Value {
    merge(&mut object, more);
    object
}

/// Returns an object in the namespace `shop`, with additional metadata.
pub(crate) fn object(version: &str, kind: &str, name: &str, meta: &Value) -> Value {
    let object = json!({
        "apiVersion": version, "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"note": "of somebody else"},
    });
    with(object, &json!({"metadata": meta}))
}

/// Adds a pod of the cluster `orders` with an outdated template.
pub(crate) fn outdated_pod(fake: &FakeApi, name: &str) {
    let mut pod = object("v1", "Pod", name, &json!({"labels": {CLUSTER: "orders"}}));
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "witan.dev/v1", "kind": "EtcdCluster", "name": "orders", "uid": "u", "controller": true}]);
    pod["spec"] = json!({"containers": [{"name": "etcd"}]});
    fake.put(pod);
}

/// Returns the result of a command that saved or fetched a backup, merged with `more`.
pub(crate) fn saved(more: &Value) -> Value {
    let result = json!({
        "name": "x", "location": "y", "revision": 7, "bytes": 3, "sha256": "aa", "clusterId": "c1",
        "version": "3.7.0", "startedAt": "2026-01-02T03:05:00Z", "completedAt": "2026-01-02T03:06:00Z",
    });
    with(result, more)
}

/// Returns the EtcdCluster `shop/orders` with the uid `u`, merged with `more`.
pub(crate) fn cluster(more: &Value) -> Value {
    let made = json!({
        "apiVersion": "witan.dev/v1", "kind": "EtcdCluster",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u"}, "spec": {},
    });
    with(made, more)
}

/// Returns the [`cluster`] with its names. The memory is leaked, to get a static reference.
pub(crate) fn named(more: &Value) -> Cluster<'static> {
    let resource: EtcdCluster = serde_json::from_value(cluster(more)).expect("an EtcdCluster");
    Cluster::new(Box::leak(Box::new(resource)), environment("witan:1.0.0")).expect("names")
}
