//! Pods of the chart, and how they are updated.

use serde_json::Map;

use super::{
    super::{fields::Fields, made::Made, pods},
    values::{LISTS_OF_POD, WORDS_OF_POD},
};

/// Converts the values about pods: labels, resources, scheduling, sidecars and updates.
pub(super) fn convert(fields: &mut Fields, made: &mut Made) {
    pods::additional(fields, made, "commonLabels", "commonAnnotations");
    pods::labels(fields, made, "podLabels", "podAnnotations");
    pods::resources(fields, made, "resources");
    let preset = fields.text("podAntiAffinityPreset");
    let preset = preset.map(|preset| {
        if preset.is_empty() {
            "none".to_owned()
        } else {
            preset
        }
    });
    if !pods::affinity(fields, made, "affinity", &[]) {
        made.set_some(
            "podAntiAffinityPreset",
            preset.filter(|preset| ["none", "hard"].contains(&preset.as_str())),
        );
    }
    pods::spread(fields, made, "topologySpreadConstraints", &[]);
    pods::node_selector(fields, made, "nodeSelector");
    pods::tolerations(fields, made, "tolerations");
    pods::word(fields, made, "priorityClassName", "priorityClassName");
    if fields.switch("serviceAccount.create") == Some(false) {
        pods::word(fields, made, "serviceAccount.name", "serviceAccountName");
    }
    pods::pull_secrets(fields, made, "global.imagePullSecrets");
    pods::pull_secrets(fields, made, "image.pullSecrets");
    let policy = fields
        .word("image.pullPolicy")
        .filter(|policy| policy != "IfNotPresent");
    made.put(fields, "image.pullPolicy", "imagePullPolicy", policy);
    if let Some(mounts) = fields.list("extraVolumeMounts") {
        pods::add_to_container(
            made,
            Map::from_iter([("volumeMounts".to_owned(), mounts.into())]),
        );
    }
    for container in fields.list("sidecars").unwrap_or_default() {
        pods::add_sidecar(fields, made, "sidecars", container);
    }
    for (path, target) in LISTS_OF_POD {
        let list = fields.list(path);
        made.set_some(&format!("podTemplate.spec.{target}"), list);
    }
    for path in WORDS_OF_POD {
        let word = fields.word(path);
        made.set_some(&format!("podTemplate.spec.{path}"), word);
    }
    let target = "podTemplate.spec.shareProcessNamespace";
    let shared = fields.switch("shareProcessNamespace");
    made.set_some(target, shared.filter(|shared| *shared));
    let grace = "terminationGracePeriodSeconds";
    if let Some(seconds) = fields.word(grace) {
        match seconds.parse::<u32>() {
            Ok(seconds) => made.set(&format!("podTemplate.spec.{grace}"), seconds),
            Err(_) => fields.refuse(grace, format!("{seconds} is no number of seconds")),
        }
    }
    strategies(fields, made);
}

/// How members are updated and evicted, and which disks are kept.
fn strategies(fields: &mut Fields, made: &mut Made) {
    let path = "updateStrategy.type";
    let kind = fields.word(path).filter(|kind| kind != "RollingUpdate");
    made.put(fields, path, path, kind);
    if fields.switch("pdb.create") == Some(false) {
        made.set("podDisruptionBudget.enabled", false);
    }
    pods::budget(fields, made, "pdb.minAvailable", "pdb.maxUnavailable");
    let retention = "persistentVolumeClaimRetentionPolicy";
    let on = fields.switch(&format!("{retention}.enabled")) == Some(true);
    for key in ["whenDeleted", "whenScaled"] {
        let path = format!("{retention}.{key}");
        pods::word(fields, made, &path, &path);
    }
    if !on {
        made.remove(retention);
    }
}
