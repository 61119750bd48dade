//! Pods: their resources, where they run, their labels, and templates of whole pods.

mod template;

use serde_json::Value;

pub(super) use self::template::{add_sidecar, add_to_container, pod_spec};

use super::{
    fields::{Fields, text_of},
    made::Made,
    selectors::{Renamed, rename, without_members},
    values::{is_name, reference},
};

/// Why security contexts are left out.
pub(super) const SECURITY: &str =
    "members run as a user of their own under the restricted pod security standard";

pub(super) fn resources(fields: &mut Fields, made: &mut Made, path: &str) {
    made.set_some("resources", fields.object(path));
}

pub(super) fn labels(fields: &mut Fields, made: &mut Made, labels: &str, annotations: &str) {
    for (key, path) in [("labels", labels), ("annotations", annotations)] {
        let target = format!("podTemplate.metadata.{key}");
        made.set_some(&target, fields.texts(path));
    }
}

pub(super) fn labels_of_template(fields: &mut Fields, made: &mut Made) {
    let metadata = |key| format!("spec.podTemplate.metadata.{key}");
    labels(fields, made, &metadata("labels"), &metadata("annotations"));
}

pub(super) fn additional(fields: &mut Fields, made: &mut Made, labels: &str, annotations: &str) {
    for (key, path) in [("labels", labels), ("annotations", annotations)] {
        let texts = fields.texts(path);
        made.put(fields, path, &format!("additionalMetadata.{key}"), texts);
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
    note_selectors_without_match(fields, made, "spec.affinity", &affinity);
    made.set("affinity", affinity);
    true
}

pub(super) fn spread(fields: &mut Fields, made: &mut Made, path: &str, renamed: &[Renamed<'_>]) {
    let Some(list) = fields.list(path) else {
        return;
    };
    let mut list = Value::Array(list);
    rename(&mut list, renamed);
    match made.try_set("topologySpreadConstraints", list.clone()) {
        Ok(()) => {
            note_selectors_without_match(fields, made, "spec.topologySpreadConstraints", &list);
        }
        Err(reason) => fields.refuse(path, reason),
    }
}

/// Notes each selector of labels that matches no member.
fn note_selectors_without_match(fields: &mut Fields, made: &Made, field: &str, value: &Value) {
    for selector in without_members(value, made) {
        let text = format!(
            "{field}: the selector {selector} selects no member: their label is witan.dev/cluster: {}",
            made.name()
        );
        fields.notes.by_hand(text);
    }
}

pub(super) fn node_selector(fields: &mut Fields, made: &mut Made, path: &str) {
    let labels = fields.texts(path);
    made.put(fields, path, "nodeSelector", labels);
}

pub(super) fn tolerations(fields: &mut Fields, made: &mut Made, path: &str) {
    let list = fields.list(path);
    made.put(fields, path, "tolerations", list);
}

/// Takes a word, such as the name of a class, into the field `target` if the definition accepts it there.
pub(super) fn word(fields: &mut Fields, made: &mut Made, path: &str, target: &str) {
    let name = fields.word(path);
    made.put(fields, path, target, name);
}

/// Takes secrets to pull the image with, as names or as objects with a name.
pub(super) fn pull_secrets(fields: &mut Fields, made: &mut Made, path: &str) {
    let mut secrets = made
        .get("imagePullSecrets")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for (place, secret) in fields.items(path) {
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
        let Some(name) = name.filter(|name| is_name(name)) else {
            fields.refuse(&place, "the name of a secret is expected");
            continue;
        };
        let secret = reference(&name);
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }
    let secrets = (!secrets.is_empty()).then_some(secrets);
    made.put(fields, path, "imagePullSecrets", secrets);
}

/// Takes how many members an eviction may take: a number or a share.
pub(super) fn budget(fields: &mut Fields, made: &mut Made, least: &str, most: &str) {
    for (path, key) in [(least, "minAvailable"), (most, "maxUnavailable")] {
        let Some(value) = fields.take(path).filter(|value| *value != "") else {
            continue;
        };
        let text = text_of(&value).unwrap_or_default();
        let target = format!("podDisruptionBudget.{key}");
        let number = text.trim_end_matches('%').parse::<u16>();
        let is_second = made.get("podDisruptionBudget").is_some();
        match number {
            // a percentage has the bounds of a number
            Ok(number) if !is_second && made.try_set(&target, number).is_ok() => {
                if text.ends_with('%') {
                    made.set(&target, text);
                }
            }
            Ok(_) | Err(_) => fields.refuse(
                path,
                "one of minAvailable and maxUnavailable is possible, as a number or a percentage",
            ),
        }
    }
}
