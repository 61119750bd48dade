//! Pods: their resources, where they run, their labels, and templates of whole pods.

mod template;

use serde_json::Value;

pub(super) use self::template::{add_sidecar, add_to_container, pod_spec};

use super::{
    fields::{Fields, text_of},
    made::Made,
    selectors::{Renamed, rename, that_miss},
    values::{bounded, choice, is_name, reference},
};

/// Bounds of the definition: pull secrets, tolerations, spread constraints, node labels, labels of all objects.
const PULL_SECRETS_MAX: usize = 16;
const TOLERATIONS_MAX: usize = 32;
const SPREAD_MAX: usize = 8;
const NODE_LABELS_MAX: usize = 32;
const ADDITIONAL_MAX: usize = 64;

/// Most pods of a budget, as a number or a percentage.
const SHARE_MAX: u16 = 100;

/// Most characters of a name of a priority class, a service account or a storage class.
pub(super) const CLASS_MAX: usize = 253;

/// Why security contexts are left out.
pub(super) const SECURITY: &str =
    "members run as a user of their own under the restricted pod security standard";

/// Takes the requests and limits of the member's container.
pub(super) fn resources(fields: &mut Fields, made: &mut Made, path: &str) {
    made.set_some("resources", fields.object(path));
}

/// Takes labels and annotations of the pods.
pub(super) fn labels(fields: &mut Fields, made: &mut Made, labels: &str, annotations: &str) {
    for (key, path) in [("labels", labels), ("annotations", annotations)] {
        let target = format!("podTemplate.metadata.{key}");
        made.set_some(&target, fields.texts(path));
    }
}

/// Takes labels and annotations of the pods from `spec.podTemplate`.
pub(super) fn labels_of_template(fields: &mut Fields, made: &mut Made) {
    let metadata = |key| format!("spec.podTemplate.metadata.{key}");
    labels(fields, made, &metadata("labels"), &metadata("annotations"));
}

/// Takes labels and annotations of all objects of the cluster.
pub(super) fn additional(fields: &mut Fields, made: &mut Made, labels: &str, annotations: &str) {
    for (key, path) in [("labels", labels), ("annotations", annotations)] {
        let Some(texts) = fields.texts(path) else {
            continue;
        };
        if texts.len() > ADDITIONAL_MAX {
            fields.refuse(path, format!("there are more than {ADDITIONAL_MAX}"));
        } else {
            made.set(&format!("additionalMetadata.{key}"), texts);
        }
    }
}

/// Takes the affinity. Labels of the other operator's pods become those of members; take the labels of pods first.
pub(super) fn affinity(
    fields: &mut Fields,
    made: &mut Made,
    path: &str,
    renamed: &[Renamed<'_>],
) -> bool {
    let Some(affinity) = fields.object(path) else {
        return false;
    };
    let mut affinity = Value::Object(affinity);
    rename(&mut affinity, renamed);
    warn(fields, made, "spec.affinity", &affinity);
    made.set("affinity", affinity);
    true
}

/// Takes spread constraints, as the affinity.
pub(super) fn spread(fields: &mut Fields, made: &mut Made, path: &str, renamed: &[Renamed<'_>]) {
    let Some(list) = objects(fields, path, SPREAD_MAX) else {
        return;
    };
    let mut list = Value::Array(list);
    rename(&mut list, renamed);
    warn(fields, made, "spec.topologySpreadConstraints", &list);
    made.set("topologySpreadConstraints", list);
}

fn warn(fields: &mut Fields, made: &Made, field: &str, value: &Value) {
    for selector in that_miss(value, made) {
        let text = format!(
            "{field}: the selector {selector} selects no member: their label is witan.dev/cluster: {}",
            made.name()
        );
        fields.notes.by_hand(text);
    }
}

/// Takes the labels of nodes.
pub(super) fn node_selector(fields: &mut Fields, made: &mut Made, path: &str) {
    let Some(labels) = fields.texts(path) else {
        return;
    };
    if labels.len() > NODE_LABELS_MAX {
        fields.refuse(path, format!("there are more than {NODE_LABELS_MAX}"));
    } else {
        made.set("nodeSelector", labels);
    }
}

/// Takes tolerations.
pub(super) fn tolerations(fields: &mut Fields, made: &mut Made, path: &str) {
    made.set_some("tolerations", objects(fields, path, TOLERATIONS_MAX));
}

/// Takes names of classes: of the pods' priority, or their service account.
pub(super) fn class(fields: &mut Fields, made: &mut Made, path: &str, target: &str) {
    made.set_some(target, bounded(fields, path, CLASS_MAX));
}

/// Takes secrets to pull the image with, as names or as objects with a name.
pub(super) fn pull_secrets(fields: &mut Fields, made: &mut Made, path: &str) {
    let mut secrets = made
        .get("imagePullSecrets")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for (n, secret) in fields
        .list(path)
        .unwrap_or_default()
        .into_iter()
        .enumerate()
    {
        let place = format!("{path}[{n}]");
        let name = match secret {
            Value::Object(_) => {
                let mut secret = Fields::at(secret, fields.path(&place));
                let name = secret.word("name");
                fields.close(secret);
                name
            }
            Value::String(name) => Some(name),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        };
        let name = name.filter(|name| is_name(name) && secrets.len() < PULL_SECRETS_MAX);
        let Some(name) = name else {
            let reason = format!("the name of a secret is expected, {PULL_SECRETS_MAX} at most");
            fields.refuse(&place, reason);
            continue;
        };
        let secret = reference(&name);
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }
    if !secrets.is_empty() {
        made.set("imagePullSecrets", secrets);
    }
}

/// Takes how many members an eviction may take: a number or a share.
pub(super) fn budget(fields: &mut Fields, made: &mut Made, least: &str, most: &str) {
    for (path, key) in [(least, "minAvailable"), (most, "maxUnavailable")] {
        let Some(value) = fields.take(path).filter(|value| *value != "") else {
            continue;
        };
        let text = text_of(&value).unwrap_or_default();
        let number = text.trim_end_matches('%').parse::<u16>().ok();
        let sound = number.is_some_and(|number| number <= SHARE_MAX);
        if !sound || made.get("podDisruptionBudget").is_some() {
            fields.refuse(
                path,
                "one of minAvailable and maxUnavailable is possible, as a number or a percentage",
            );
        } else if text.ends_with('%') {
            made.set(&format!("podDisruptionBudget.{key}"), text);
        } else {
            made.set(&format!("podDisruptionBudget.{key}"), number);
        }
    }
}

/// Takes a list of objects, of which the definition allows `most`.
fn objects(fields: &mut Fields, path: &str, most: usize) -> Option<Vec<Value>> {
    let list = fields.list(path)?;
    if list.len() <= most && list.iter().all(Value::is_object) {
        return Some(list);
    }
    let reason = format!("a list of {most} objects at most is expected");
    fields.refuse(path, reason);
    None
}

/// Takes when an image is pulled.
pub(super) fn pull_policy(fields: &mut Fields, path: &str) -> Option<String> {
    choice(fields, path, &["Always", "IfNotPresent", "Never"])
}
