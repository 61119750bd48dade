//! Builds the pod of a member.

use k8s_openapi::api::core::v1::{
    Affinity, Container, EmptyDirVolumeSource, LocalObjectReference, Pod, PodSpec,
    ResourceRequirements, Volume, VolumeMount,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use witan_crd::{
    AntiAffinity, CLIENT_TLS, CONTAINER, CertificateRole, OpenObject, READINESS_PATH, Storage,
    ports,
};
use witan_plan::model::{Bootstrap, PeerTls, PodPlan};

use super::{
    BuildResult, fingerprint, flags,
    merge::{built, merged, typed},
    names::{
        Cluster, INITIAL_STATE, INITIAL_STATE_VARIABLE, PEER_TLS, RESTART, ROLE, START, TEMPLATE,
        TRUST,
    },
    pod_template, restore, store, word,
};

/// The user and group of a member. The image defines no user.
const USER: i64 = 65532;

/// Seconds that a member gets to transfer leadership and finish its calls.
const GRACE_SECONDS: i64 = 30;

/// Seconds that a member gets to read its disk at startup.
const START_SECONDS: i32 = 3600;

/// Returns the fingerprint of the template that all pods with the same peer TLS mode share.
pub(crate) fn template(cluster: &Cluster<'_>, peer_tls: PeerTls) -> BuildResult<String> {
    let common = PodPlan::voter(0, Bootstrap::Restart, peer_tls);
    Ok(fingerprint(&unmarked(cluster, &common)?))
}

/// Returns the pod of a member. The pod's annotations record how the member was started; `observe` reads them.
pub(crate) fn pod(cluster: &Cluster<'_>, plan: &PodPlan) -> BuildResult<Pod> {
    let mut pod = unmarked(cluster, plan)?;
    let tls = cluster.spec().client_tls().is_some();
    let marks = [
        (TEMPLATE, template(cluster, plan.peer_tls)?),
        (PEER_TLS, word(plan.peer_tls)),
        (CLIENT_TLS, tls.to_string()),
        (START, word(plan.bootstrap.kind())),
    ];
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.extend(marks.map(|(key, value)| (key.to_owned(), value)));
    if plan.bootstrap.forms_cluster() {
        annotations.insert(INITIAL_STATE.to_owned(), "new".to_owned());
    }
    Ok(pod)
}

/// Returns the pod with the user's `podTemplate` merged in, but with the operator's names. [`pod`] adds the annotations.
fn unmarked(cluster: &Cluster<'_>, plan: &PodPlan) -> BuildResult<Pod> {
    let own = own(cluster, plan)?;
    let Some(template) = &cluster.spec().pod_template else {
        return Ok(own);
    };
    if !cluster.is_admitted {
        pod_template::check(template)?;
    }
    let mut pod = merged(&own, template)?;
    let labels = own.metadata.labels.clone().unwrap_or_default();
    pod.metadata.labels.get_or_insert_default().extend(labels);
    pod.metadata.name = own.metadata.name;
    pod.metadata.namespace = own.metadata.namespace;
    pod.metadata.owner_references = own.metadata.owner_references;
    let spec = pod.spec.get_or_insert_default();
    let wanted = own.spec.unwrap_or_default();
    (spec.hostname, spec.subdomain) = (wanted.hostname, wanted.subdomain);
    // A template with `initContainers: null` must not remove the containers that restore the backup.
    spec.init_containers = spec.init_containers.take().or(wanted.init_containers);
    // A template with `env: null` must not remove the operator's variable.
    let is_member = |container: &&mut Container| container.name == CONTAINER;
    for container in spec.containers.iter_mut().filter(is_member) {
        container.env = container.env.take().or_else(|| variables(plan).map(built));
    }
    Ok(pod)
}

/// Builds the pod without the user's `podTemplate`. For an initial member of a cluster that starts from a backup, includes the
/// init containers that restore the backup.
fn own(cluster: &Cluster<'_>, plan: &PodPlan) -> BuildResult<Pod> {
    let spec = cluster.spec();
    let name = cluster.resource.member(plan.ordinal);
    let mut metadata = cluster.member_meta(name.clone(), plan.ordinal);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(ROLE.to_owned(), word(plan.role));
    let annotations = metadata.annotations.get_or_insert_default();
    let evict = "cluster-autoscaler.kubernetes.io/safe-to-evict";
    annotations.insert(evict.to_owned(), "true".to_owned());
    if let Some(operation) = cluster.resource.requests().restart {
        annotations.insert(RESTART.to_owned(), operation);
    }
    if let Some(trust) = &cluster.trust {
        annotations.insert(TRUST.to_owned(), trust.clone());
    }
    let tolerations = list("tolerations", &spec.tolerations)?;
    let mut spread = list(
        "topologySpreadConstraints",
        &spec.topology_spread_constraints,
    )?;
    if spread.is_empty() {
        // Prefer to spread members across zones.
        spread.push(built(json!({
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector(cluster),
        })));
    }
    let first = matches!(plan.bootstrap, Bootstrap::New { .. });
    let restored = cluster.restore.as_ref().filter(|_| first);
    let restored = restored.map(|from| restore::containers(cluster, plan, from));
    let (init, more_volumes) = restored.transpose()?.unzip();
    let (mut volumes, mounts): (Vec<_>, Vec<_>) = volumes(cluster, plan)?.into_iter().unzip();
    volumes.extend(more_volumes.into_iter().flatten());
    let spec = PodSpec {
        hostname: Some(name),
        subdomain: Some(cluster.resource.peer_service()),
        restart_policy: Some("Always".to_owned()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        priority_class_name: spec.priority_class_name.clone(),
        node_selector: Some(spec.node_selector.clone()),
        tolerations: Some(tolerations),
        affinity: Some(affinity(cluster)?),
        topology_spread_constraints: Some(spread),
        init_containers: init,
        containers: vec![container(cluster, plan, mounts)?],
        volumes: Some(volumes),
        ..without_containers(spec.service_account_name.as_ref(), cluster)
    };
    Ok(Pod { metadata, spec: Some(spec), status: None })
}

/// Returns the spec of a pod without containers: service account, pull secrets and security context.
pub(super) fn without_containers(
    service_account: Option<&String>,
    cluster: &Cluster<'_>,
) -> PodSpec {
    built(json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "serviceAccountName": service_account,
        "imagePullSecrets": pull_secrets(cluster),
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }))
}

/// Converts a list of untyped objects in the spec to their type. An error names the field.
pub(super) fn list<T: DeserializeOwned>(
    field: &'static str,
    items: &[OpenObject],
) -> BuildResult<Vec<T>> {
    items.iter().map(|item| typed(field, item)).collect()
}

/// Returns the pull secrets in the spec, or else the pull secrets of the operator.
fn pull_secrets(cluster: &Cluster<'_>) -> Vec<LocalObjectReference> {
    let own = cluster.spec().image_pull_secrets.iter();
    let mut names: Vec<_> = own.map(|secret| secret.name.clone()).collect();
    if names.is_empty() {
        names = cluster.environment.pull_secrets();
    }
    let names = names.into_iter();
    names.map(|name| LocalObjectReference { name }).collect()
}

/// Returns the member's container. Fails if `spec.resources` is not valid.
fn container(
    cluster: &Cluster<'_>,
    plan: &PodPlan,
    mounts: Vec<VolumeMount>,
) -> BuildResult<Container> {
    let port =
        |name: &str, number: i32| json!({"name": name, "containerPort": number, "protocol": "TCP"});
    Ok(built(json!({
        "name": CONTAINER,
        "image": cluster.image,
        "imagePullPolicy": cluster.spec().image_pull_policy,
        "args": flags::flags(cluster, plan),
        "env": variables(plan),
        "ports": [
            port("client", ports::CLIENT),
            port("peer", ports::PEER),
            port("metrics", ports::METRICS),
        ],
        "volumeMounts": mounts,
        "resources": resources(cluster)?,
        "startupProbe": probe("/livez", 1, START_SECONDS),
        "livenessProbe": probe("/livez", 5, 6),
        "readinessProbe": probe(READINESS_PATH, 2, 3),
        "securityContext": container_security(),
    })))
}

/// Returns the variables of a member's container, or `None` for a member that forms no cluster. Unlike a flag, the variable can
/// change while the pod exists.
fn variables(plan: &PodPlan) -> Option<Value> {
    let field = format!("metadata.annotations['{INITIAL_STATE}']");
    plan.bootstrap.forms_cluster().then(|| {
        json!([{
            "name": INITIAL_STATE_VARIABLE,
            "valueFrom": {"fieldRef": {"fieldPath": field}},
        }])
    })
}

/// Returns the security context of each container: no privileges, no capabilities and a read-only root file system.
pub(super) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

/// Returns a probe of a path on the metrics port. The probe fails once `failures` consecutive attempts have failed. Each
/// attempt may take 5 s.
fn probe(path: &str, period_seconds: i32, failures: i32) -> Value {
    json!({
        "httpGet": {"path": path, "port": "metrics"},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    })
}

/// Returns the resources in the spec, or default requests. Pods without requests are among the first to be evicted.
pub(super) fn resources(cluster: &Cluster<'_>) -> BuildResult<ResourceRequirements> {
    if let Some(given) = &cluster.spec().resources {
        return typed("resources", given);
    }
    let requests = json!({"cpu": "100m", "memory": "128Mi"});
    Ok(built(json!({"requests": requests})))
}

/// Returns the volumes of a member and their mounts: its data, and the secrets with the certificates that it needs.
fn volumes(cluster: &Cluster<'_>, plan: &PodPlan) -> BuildResult<Vec<(Volume, VolumeMount)>> {
    let spec = cluster.spec();
    let data = if spec.is_durable() {
        let claim = json!({"claimName": cluster.claim(plan.ordinal)});
        json!({"name": "data", "persistentVolumeClaim": claim})
    } else {
        json!({"name": "data", "emptyDir": empty_dir(spec.storage.as_ref())?})
    };
    let mut volumes = vec![(built(data), store::mount("data", flags::VOLUME))];
    if plan.peer_tls >= PeerTls::Ready {
        let secret = cluster.resource.secret_of(CertificateRole::Peer);
        volumes.push(store::secret("peer-tls", &secret, flags::PEER_SECRET));
    }
    if spec.client_tls().is_some() {
        let secret = cluster.resource.secret_of(CertificateRole::Server);
        volumes.push(store::secret("client-tls", &secret, flags::CLIENT_SECRET));
    }
    Ok(volumes)
}

/// Returns the `emptyDir` of a member without a disk: the volume in the spec, or a volume in memory with the requested size.
fn empty_dir(storage: Option<&Storage>) -> BuildResult<EmptyDirVolumeSource> {
    match storage.and_then(|storage| storage.empty_dir.as_ref()) {
        Some(given) => typed("storage.emptyDir", given),
        None => Ok(built(json!({
            "medium": "Memory",
            "sizeLimit": Storage::requested(storage),
        }))),
    }
}

fn selector(cluster: &Cluster<'_>) -> Value {
    json!({"matchLabels": cluster.selector()})
}

/// Returns the spec's affinity. If this affinity has no pod anti-affinity, adds the anti-affinity of `podAntiAffinityPreset`.
fn affinity(cluster: &Cluster<'_>) -> BuildResult<Affinity> {
    let spec = cluster.spec();
    let mut affinity: Affinity = match &spec.affinity {
        Some(given) => typed("affinity", given)?,
        None => Affinity::default(),
    };
    if affinity.pod_anti_affinity.is_some() {
        return Ok(affinity);
    }
    let apart =
        json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": selector(cluster)});
    let preferred = json!({"weight": 100, "podAffinityTerm": apart});
    affinity.pod_anti_affinity = match spec.pod_anti_affinity_preset {
        AntiAffinity::None => None,
        AntiAffinity::Soft => built(json!({
            "preferredDuringSchedulingIgnoredDuringExecution": [preferred],
        })),
        AntiAffinity::Hard => built(json!({
            "requiredDuringSchedulingIgnoredDuringExecution": [apart],
        })),
    };
    Ok(affinity)
}
