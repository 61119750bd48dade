//! Templates of pods: `podTemplate` is merged into the pods that the operator makes.

use serde_json::{Map, Value};

use super::{
    super::{
        fields::Fields,
        made::Made,
        notes::shown,
        selectors::Renamed,
        server::{Flag, of_variables},
        values::reference,
    },
    SECURITY, affinity, node_selector, pull_secrets, resources, spread, tolerations, word,
};

/// The container that runs the member, here as in the other operators.
const CONTAINER: &str = "etcd";

/// Fields of a container that fit the program of etcd alone.
const OF_ETCD: [(&str, &str); 9] = [
    ("image", "it is an image of etcd"),
    ("command", "the operator sets the flags of a member"),
    ("args", "the operator sets the flags of a member"),
    ("ports", "members listen on 2379, 2380 and 2381"),
    ("livenessProbe", "the operator sets probes of its own"),
    ("readinessProbe", "the operator sets probes of its own"),
    ("startupProbe", "the operator sets probes of its own"),
    ("securityContext", SECURITY),
    ("workingDir", "members need none"),
];

/// Takes the spec of a pod: what the spec of a cluster has goes there, the rest into `podTemplate`, which is merged into
/// the pods.
pub(in super::super) fn pod_spec(
    fields: &mut Fields,
    made: &mut Made,
    path: &str,
    renamed: &[Renamed<'_>],
) -> Vec<Flag> {
    let Some(mut pod) = fields.part(path) else {
        return Vec::new();
    };
    affinity(&mut pod, made, "affinity", renamed);
    spread(&mut pod, made, "topologySpreadConstraints", renamed);
    node_selector(&mut pod, made, "nodeSelector");
    tolerations(&mut pod, made, "tolerations");
    pull_secrets(&mut pod, made, "imagePullSecrets");
    word(&mut pod, made, "priorityClassName", "priorityClassName");
    word(&mut pod, made, "serviceAccountName", "serviceAccountName");
    pod.gone("securityContext", SECURITY);
    pod.gone("hostname", "the operator names the pods");
    pod.gone("subdomain", "the operator names the pods");
    pod.gone("restartPolicy", "the operator sets it");
    let mut flags = Vec::new();
    for (place, item) in pod.items("containers") {
        if item["name"] == CONTAINER {
            let mut own = Fields::at(item, pod.path(&place));
            flags.extend(container(&mut own, made));
            pod.close(own);
        } else {
            add_sidecar(&mut pod, made, &place, item);
        }
    }
    for (key, value) in pod.rest() {
        made.set(&format!("podTemplate.spec.{key}"), value);
    }
    fields.close(pod);
    flags
}

/// Converts the container of etcd; returns the flags that its environment variables set.
fn container(fields: &mut Fields, made: &mut Made) -> Vec<Flag> {
    fields.take("name");
    resources(fields, made, "resources");
    word(fields, made, "imagePullPolicy", "imagePullPolicy");
    fields.all_gone(&OF_ETCD);
    let flags = of_variables(fields, "env");
    let rest = fields.rest();
    if !rest.is_empty() {
        add_to_container(made, rest);
    }
    flags
}

/// Adds a container to the pod template; refuses one without a name of its own.
pub(in super::super) fn add_sidecar(
    fields: &mut Fields,
    made: &mut Made,
    path: &str,
    container: Value,
) {
    let name = container["name"].as_str();
    if name.is_none_or(|name| name == CONTAINER) {
        let reason = format!(
            "a container with a name of its own is expected, not {}",
            shown(&container)
        );
        fields.refuse(path, reason);
        return;
    }
    let mut all = containers(made);
    all.push(container);
    made.set("podTemplate.spec.containers", all);
}

fn containers(made: &Made) -> Vec<Value> {
    let found = made
        .get("podTemplate.spec.containers")
        .and_then(Value::as_array);
    found.cloned().unwrap_or_default()
}

/// Sets fields of the member's container in the pod template, which gets one if it has none. A field that is set
/// already is replaced as a whole, not merged.
pub(in super::super) fn add_to_container(made: &mut Made, fields: Map<String, Value>) {
    let mut all = containers(made);
    if !all.iter().any(|container| container["name"] == CONTAINER) {
        all.push(reference(CONTAINER));
    }
    for container in all
        .iter_mut()
        .filter(|container| container["name"] == CONTAINER)
    {
        for (key, value) in &fields {
            container[key] = value.clone();
        }
    }
    made.set("podTemplate.spec.containers", all);
}
