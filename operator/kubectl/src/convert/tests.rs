//! Files of other formats: their results are those of `testdata/kubectl/convert`, our definition accepts them, and nothing of a
//! file is dropped in silence.

mod judge;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use self::judge::Judge;

use super::{
    super::testing::{golden, text},
    *,
};

const FILES: [&str; 8] = [
    "coreos",
    "coreos-small",
    "etcd-io",
    "druid",
    "aenix",
    "cozystack",
    "bitnami",
    "bitnami-small",
];

fn input(name: &str) -> String {
    text(&format!("convert/{name}.yaml"))
}

fn documents(text: &str) -> Vec<Value> {
    let read = documents::read(text).expect("it is YAML");
    read.into_iter()
        .map(|document| Value::Object(document.fields))
        .collect()
}

#[test]
fn files_become_what_they_say() {
    for name in FILES {
        let made = convert(&input(name), Some(ChartValues::Bitnami), None).unwrap();
        golden(&format!("convert/{name}.out.yaml"), &made);
    }
}

#[test]
fn the_definition_accepts_what_is_made() {
    let judge = Judge::new();
    for name in FILES {
        let made = convert(&input(name), Some(ChartValues::Bitnami), None).unwrap();
        let documents = documents(&made);
        assert!(!documents.is_empty(), "{name}");
        for document in documents {
            let wrong = judge.wrong_with(&document);
            assert!(wrong.is_empty(), "{name}: {wrong:?} in {document:#}");
        }
    }
}

#[test]
fn the_judge_knows_fields_bounds_and_rules() {
    let judge = Judge::new();
    for (spec, said) in [
        (
            json!({"replicas": 99}),
            "99 is not possible: it has at most 9",
        ),
        (json!({"replicas": "3"}), "3 is no integer"),
        (
            json!({"options": {"electionTimeoutMs": 5}}),
            "5 is not possible: it has at least 50",
        ),
        (
            json!({"options": {"maxTxnOps": 3_000_000_000_i64}}),
            "it has at most 2147483647",
        ),
        (
            json!({"options": {"logLevel": "panic"}}),
            "panic is none of debug, info, warn, error",
        ),
        (
            json!({"options": {"extraArgs": {"a": "x".repeat(1025)}}}),
            "it has at most 1024 characters",
        ),
        (
            json!({"tls": {"peer": {"additionalDNSNames": ["a", 1]}}}),
            "1 is no string",
        ),
        (
            json!({"tolerations": vec![json!({}); 33]}),
            "it has at most 32 items",
        ),
        (
            json!({"nodeSelector": BTreeMap::from_iter((0..33).map(|n| (n.to_string(), "a")))}),
            "it has at most 32 fields",
        ),
        (json!({"size": 3}), "spec.size is the name in the coreos"),
        (json!({"unheardOf": 3}), "there is no field unheardOf"),
        (json!({"storage": {"size": "8 Gi"}}), "does not match"),
        (json!({"storage": {}}), "storage needs exactly one of"),
        (
            json!({"auth": {"enabled": true}}),
            "auth.enabled needs spec.tls.client",
        ),
    ] {
        let wrong = judge.wrong_with(&json!({
            "apiVersion": "witan.dev/v1",
            "kind": "EtcdCluster",
            "metadata": {"name": "orders"},
            "spec": spec,
        }));
        assert!(
            wrong.iter().any(|wrong| wrong.contains(said)),
            "{said}: {wrong:?}"
        );
    }
}

/// A field that nobody knows is in the result, or it or an object around it is named.
#[test]
fn no_field_is_dropped() {
    let mut dropped = Vec::new();
    for name in FILES {
        for document in documents(&input(name)) {
            let mut objects = Vec::new();
            paths(&document, "", &Value::is_object, &mut objects);
            objects.retain(|path| !path.starts_with("/status"));
            for path in objects {
                let mut changed = document.clone();
                changed.pointer_mut(&path).unwrap()["unheardOf"] = "x".into();
                let Ok(made) = convert_one(&changed) else {
                    continue;
                };
                let outer = |outer: String| made.contains(&format!("# not converted: {outer}: "));
                let named = made.contains("unheardOf") || made.contains("# passed over");
                if !named && !around(&path).any(outer) {
                    dropped.push(format!("{name}: {path}"));
                }
            }
        }
    }
    assert!(dropped.is_empty(), "{dropped:#?}");
}

/// Values of other types and beyond all bounds: they are named, and the rest is still accepted.
#[test]
fn odd_values_make_nothing_that_the_definition_refuses() {
    let odd = [
        json!(null),
        json!(""),
        json!("odd value \n: {"),
        json!("x".repeat(2000)),
        json!(-1),
        json!(1_000_000_000_000_i64),
        json!([{}]),
        json!({"odd": []}),
    ];
    let judge = Judge::new();
    let mut judged = BTreeSet::new();
    let mut failed = Vec::new();
    for name in FILES {
        for document in documents(&input(name)) {
            let mut all = Vec::new();
            paths(&document, "", &|_| true, &mut all);
            for (path, value) in all
                .iter()
                .flat_map(|path| odd.iter().map(move |odd| (path, odd)))
            {
                let mut changed = document.clone();
                *changed.pointer_mut(path).unwrap() = value.clone();
                let Ok(made) = convert_one(&changed) else {
                    continue;
                };
                for made in documents(&made) {
                    if judged.insert(made.to_string()) {
                        let wrong = judge.wrong_with(&made);
                        let wrong = wrong.into_iter();
                        failed.extend(
                            wrong.map(|wrong| format!("{name}: {path} is {value}: {wrong}")),
                        );
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    let count = judged.len();
    assert!(count > 300, "{count} results were looked at");
}

#[test]
fn errors_say_what_is_wrong_and_what_is_known() {
    let convert = |text: &str| convert(text, None, None).unwrap_err();
    for (text, said) in [
        ("", "there is no document in it"),
        (
            "apiVersion: etcd.improbable.io/v1alpha1\nkind: EtcdCluster\n",
            "document 1: EtcdCluster with the apiVersion \"etcd.improbable.io/v1alpha1\" is not known. Known are etcd.database.coreos.com/v1beta2",
        ),
        ("a: 1\n", "by --from bitnami"),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n",
            "nothing in it is converted:\n# passed over: Secret a (v1): it is no cluster of etcd\nKnown are",
        ),
        (
            "apiVersion: operator.etcd.io/v1alpha1\nkind: EtcdCluster\nspec: {size: 3}\n",
            "document 1: metadata.name is missing",
        ),
        (
            "replicaCount: 1\n---\na: {b: 1, b: 2}\n",
            "document 2: a: duplicate entry with key \"b\" at line 3",
        ),
    ] {
        let error = convert(text);
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn values_take_the_name_that_is_given() {
    let made = convert("replicaCount: 1\n", None, Some("shop-etcd")).unwrap();
    for part in ["name: shop-etcd\n", "name: shop-etcd-headless\n"] {
        assert!(made.contains(part), "{made}");
    }
}

#[test]
fn a_password_is_not_shown() {
    let made = convert(&input("bitnami"), None, None).unwrap();
    assert!(!made.contains("do-not-show"), "{made}");
}

fn convert_one(document: &Value) -> Result<String, String> {
    let text = serde_yaml::to_string(document).expect("YAML");
    convert(&text, Some(ChartValues::Bitnami), None)
}

/// Adds the pointers of all values below one that fit.
fn paths(value: &Value, path: &str, fits: &dyn Fn(&Value) -> bool, found: &mut Vec<String>) {
    if fits(value) {
        found.push(path.to_owned());
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                paths(value, &format!("{path}/{key}"), fits, found);
            }
        }
        Value::Array(items) => {
            for (n, value) in items.iter().enumerate() {
                paths(value, &format!("{path}/{n}"), fits, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The paths of a field and of all objects around it, as comments name them.
fn around(pointer: &str) -> impl Iterator<Item = String> {
    let mut path = String::new();
    let keys = pointer.split('/').skip(1);
    let paths: Vec<_> = keys
        .map(|key| {
            if key.parse::<usize>().is_ok() {
                path.push_str(&format!("[{key}]"));
            } else {
                let dot = if path.is_empty() { "" } else { "." };
                path.push_str(&format!("{dot}{key}"));
            }
            path.clone()
        })
        .collect();
    paths.into_iter()
}
