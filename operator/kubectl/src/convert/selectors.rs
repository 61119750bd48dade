//! Selectors of labels in affinities and spreads: members have other labels than the pods of another operator, and an
//! anti-affinity that selects no pod keeps no two members apart.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{made::Made, notes::shown};
use witan_crd::CLUSTER;

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// A label of the other operator's pods: key and value, and those of members in their place.
pub(super) type Renamed<'a> = (&'a str, &'a str, &'a str, &'a str);

/// The label `key` with the name of the cluster, which members have as `witan.dev/cluster`.
pub(super) fn by_cluster<'a>(key: &'a str, name: &'a str) -> Renamed<'a> {
    (key, name, CLUSTER, name)
}

/// The label `app.kubernetes.io/managed-by` with the name of the other operator.
pub(super) fn by_operator(name: &str) -> Renamed<'_> {
    (MANAGED_BY, name, MANAGED_BY, "witan-operator")
}

/// Replaces the labels of the other operator in all label selectors of a value.
pub(super) fn rename(value: &mut Value, renamed: &[Renamed<'_>]) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key == "labelSelector" {
                    rename_in(value, renamed);
                } else {
                    rename(value, renamed);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renamed)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Replaces the labels of the other operator, by key and value, in one selector; all other labels and expressions
/// stay as they are.
fn rename_in(selector: &mut Value, renamed: &[Renamed<'_>]) {
    if let Some(labels) = selector
        .get_mut("matchLabels")
        .and_then(Value::as_object_mut)
    {
        let old = std::mem::take(labels);
        for (key, value) in old {
            let found = renamed
                .iter()
                .find(|(old, was, ..)| *old == key && value == *was);
            match found {
                Some((_, _, new, now)) => labels.insert((*new).to_owned(), (*now).into()),
                None => labels.insert(key, value),
            };
        }
    }
    let expressions = selector.get_mut("matchExpressions");
    for expression in expressions
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let found = renamed.iter().find(|(old, was, ..)| {
            expression["key"] == *old && expression["values"] == json!([was])
        });
        if let Some((_, _, new, now)) = found {
            expression["key"] = (*new).into();
            expression["values"] = json!([now]);
        }
    }
}

/// Returns the selectors of an anti-affinity or of spread constraints that select no member of the cluster.
pub(super) fn without_members(value: &Value, made: &Made) -> Vec<String> {
    let labels = labels_of_members(made);
    let mut found = Vec::new();
    collect(value, &mut found);
    let missed = found
        .into_iter()
        .filter(|selector| !selects(selector, &labels));
    missed.map(shown).collect()
}

/// Collects the label selectors of a value, without those of `podAffinity`.
fn collect<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match key.as_str() {
                    "labelSelector" => found.push(value),
                    // these are about pods of other applications
                    "podAffinity" => {}
                    _ => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the labels of every member: those of the operator, and those that the spec adds.
fn labels_of_members(made: &Made) -> BTreeMap<String, String> {
    let own = [
        ("app.kubernetes.io/name", "etcd"),
        ("app.kubernetes.io/component", "etcd"),
        ("app.kubernetes.io/instance", made.name()),
        (MANAGED_BY, "witan-operator"),
        ("app.kubernetes.io/part-of", "witan"),
        (CLUSTER, made.name()),
        ("witan.dev/role", "voter"),
    ];
    let given = ["additionalMetadata.labels", "podTemplate.metadata.labels"];
    let given = given.iter().filter_map(|path| made.get(path)?.as_object());
    let given = given
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
    let all = given.chain(own);
    all.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Whether a label selector selects a pod with these labels; one that Kubernetes refuses selects none.
fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let selector = Option::<LabelSelector>::deserialize(selector).ok();
    let selector = selector.and_then(|given| Selector::try_from(given.unwrap_or_default()).ok());
    selector.is_some_and(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests {
    use super::{super::made::Kind, *};

    #[test]
    fn labels_of_the_other_operator_become_those_of_members() {
        let mut affinity = json!({"podAntiAffinity": {"required": [
            {"labelSelector": {"matchLabels": {"etcd_cluster": "orders", "tier": "db"}}},
            {"labelSelector": {"matchExpressions": [{"key": "etcd_cluster", "operator": "In", "values": ["orders"]}]}},
            {"labelSelector": {"matchLabels": {"etcd_cluster": "carts"}}},
        ]}});
        let renamed = [("etcd_cluster", "orders", "witan.dev/cluster", "orders")];
        rename(&mut affinity, &renamed);
        let terms = &affinity["podAntiAffinity"]["required"];
        let labels = json!({"witan.dev/cluster": "orders", "tier": "db"});
        assert_eq!(terms[0]["labelSelector"]["matchLabels"], labels);
        let key = &terms[1]["labelSelector"]["matchExpressions"][0]["key"];
        assert_eq!(key, "witan.dev/cluster");
        let mut made = Made::named(Kind::Cluster, "orders").unwrap();
        made.set("podTemplate.metadata.labels", json!({"tier": "db"}));
        let missed = [r#"{"matchLabels":{"etcd_cluster":"carts"}}"#];
        assert_eq!(without_members(&affinity, &made), missed);
    }

    #[test]
    fn an_affinity_to_other_applications_is_no_mistake() {
        let made = Made::named(Kind::Cluster, "orders").unwrap();
        let selector = json!({"labelSelector": {"matchLabels": {"app": "web"}}});
        let affinity = json!({"podAffinity": {"required": [selector]}});
        assert!(without_members(&affinity, &made).is_empty());
        let spread = json!([selector]);
        assert_eq!(without_members(&spread, &made).len(), 1);
    }
}
