//! Builds the pod of a member.

use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, Container, ContainerPort, EmptyDirVolumeSource, HTTPGetAction,
        LocalObjectReference, PersistentVolumeClaimVolumeSource, Pod, PodAffinityTerm,
        PodAntiAffinity, PodSecurityContext, PodSpec, Probe, ResourceRequirements, SeccompProfile,
        SecurityContext, TopologySpreadConstraint, Volume, VolumeMount, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::{
        api::resource::Quantity, apis::meta::v1::LabelSelector, util::intstr::IntOrString,
    },
};
use serde::de::DeserializeOwned;
use witan_crd::{AntiAffinity, CLIENT_TLS, CONTAINER, CertificateRole, OpenObject, Storage, ports};
use witan_plan::model::{Bootstrap, PeerTls, PodPlan};

use super::{
    ResourceError, fingerprint, flags,
    merge::{merged, typed},
    names::{Cluster, PEER_TLS, RESTART, ROLE, START, TEMPLATE, TRUST},
    pod_template, restore, store, word,
};

/// The user and group of a member. The image has no user of its own.
const USER: i64 = 65532;

/// How many seconds a member may take to transfer leadership and finish its calls.
const GRACE_SECONDS: i64 = 30;

/// How many seconds a member may take to read its disk.
const START_SECONDS: i32 = 3600;

/// Returns the fingerprint of the template that all pods with the same peer TLS share.
pub(crate) fn template(cluster: &Cluster<'_>, peer_tls: PeerTls) -> Result<String, ResourceError> {
    let common = PodPlan::voter(0, Bootstrap::Restart, peer_tls);
    Ok(fingerprint(&unmarked(cluster, &common)?))
}

/// Returns the pod of a member. Its annotations record how the member was started; `observe` reads them.
pub(crate) fn pod(cluster: &Cluster<'_>, plan: &PodPlan) -> Result<Pod, ResourceError> {
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
    Ok(pod)
}

/// Returns the pod with the user's `podTemplate` merged in, but with the operator's names. [`pod`] adds the annotations.
fn unmarked(cluster: &Cluster<'_>, plan: &PodPlan) -> Result<Pod, ResourceError> {
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
    Ok(pod)
}

/// Returns the pod before the user's `podTemplate` is merged in.
fn own(cluster: &Cluster<'_>, plan: &PodPlan) -> Result<Pod, ResourceError> {
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
    let spread = list(
        "topologySpreadConstraints",
        &spec.topology_spread_constraints,
    )?;
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
        topology_spread_constraints: Some(spread_or_default(cluster, spread)),
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
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        service_account_name: service_account.cloned(),
        image_pull_secrets: Some(pull_secrets(cluster)),
        security_context: Some(security()),
        ..PodSpec::default()
    }
}

pub(super) fn list<T: DeserializeOwned>(
    field: &'static str,
    items: &[OpenObject],
) -> Result<Vec<T>, ResourceError> {
    items.iter().map(|item| typed(field, item)).collect()
}

/// Returns the pull secrets of the spec, else the operator's.
fn pull_secrets(cluster: &Cluster<'_>) -> Vec<LocalObjectReference> {
    let own = cluster.spec().image_pull_secrets.iter();
    let mut names: Vec<_> = own.map(|secret| secret.name.clone()).collect();
    if names.is_empty() {
        names = cluster.environment.pull_secrets();
    }
    let names = names.into_iter();
    names.map(|name| LocalObjectReference { name }).collect()
}

fn security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

fn container(
    cluster: &Cluster<'_>,
    plan: &PodPlan,
    mounts: Vec<VolumeMount>,
) -> Result<Container, ResourceError> {
    let spec = cluster.spec();
    let port = |name: &str, number| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    Ok(Container {
        name: CONTAINER.to_owned(),
        image: Some(cluster.image.clone()),
        image_pull_policy: Some(word(spec.image_pull_policy)),
        args: Some(flags::flags(cluster, plan)),
        ports: Some(vec![
            port("client", ports::CLIENT),
            port("peer", ports::PEER),
            port("metrics", ports::METRICS),
        ]),
        volume_mounts: Some(mounts),
        resources: Some(resources(cluster)?),
        startup_probe: Some(probe("/livez", 1, START_SECONDS)),
        liveness_probe: Some(probe("/livez", 5, 6)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        security_context: Some(container_security()),
        ..Container::default()
    })
}

/// Returns the security context of a container that writes only to its volumes.
pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// Returns a probe of a path on the metrics port. It fails after `failures` consecutive failures; each attempt may take 5 s.
fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("metrics".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// Returns the resources of the spec, or default requests, without which members would be among the first pods evicted.
pub(super) fn resources(cluster: &Cluster<'_>) -> Result<ResourceRequirements, ResourceError> {
    if let Some(given) = &cluster.spec().resources {
        return typed("resources", given);
    }
    let requests = [("cpu", "100m"), ("memory", "128Mi")];
    let requests = requests.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
    Ok(ResourceRequirements {
        requests: Some(requests.into()),
        ..ResourceRequirements::default()
    })
}

/// Returns the volumes for data (a claim or an `emptyDir`) and TLS secrets, with their mounts.
fn volumes(
    cluster: &Cluster<'_>,
    plan: &PodPlan,
) -> Result<Vec<(Volume, VolumeMount)>, ResourceError> {
    let spec = cluster.spec();
    let mut data = Volume { name: "data".to_owned(), ..Volume::default() };
    if spec.is_durable() {
        data.persistent_volume_claim = Some(PersistentVolumeClaimVolumeSource {
            claim_name: cluster.claim(plan.ordinal),
            read_only: None,
        });
    } else {
        data.empty_dir = Some(empty_dir(spec.storage.as_ref())?);
    }
    let mut volumes = vec![(data, store::mount("data", flags::VOLUME))];
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

/// Returns the `emptyDir` of a member without a disk: the spec's, or one in memory with the requested size.
fn empty_dir(storage: Option<&Storage>) -> Result<EmptyDirVolumeSource, ResourceError> {
    match storage.and_then(|storage| storage.empty_dir.as_ref()) {
        Some(given) => typed("storage.emptyDir", given),
        None => Ok(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity(Storage::requested(storage).0)),
        }),
    }
}

fn selector(cluster: &Cluster<'_>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(cluster.selector()),
        ..LabelSelector::default()
    }
}

/// Returns the user's affinity. Without a pod anti-affinity, adds the one of `podAntiAffinityPreset`.
fn affinity(cluster: &Cluster<'_>) -> Result<Affinity, ResourceError> {
    let spec = cluster.spec();
    let mut affinity: Affinity = match &spec.affinity {
        Some(given) => typed("affinity", given)?,
        None => Affinity::default(),
    };
    if affinity.pod_anti_affinity.is_some() {
        return Ok(affinity);
    }
    let apart = PodAffinityTerm {
        topology_key: "kubernetes.io/hostname".to_owned(),
        label_selector: Some(selector(cluster)),
        ..PodAffinityTerm::default()
    };
    let mut preset = PodAntiAffinity::default();
    match spec.pod_anti_affinity_preset {
        AntiAffinity::None => return Ok(affinity),
        AntiAffinity::Soft => {
            preset.preferred_during_scheduling_ignored_during_execution =
                Some(vec![WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: apart,
                }]);
        }
        AntiAffinity::Hard => {
            preset.required_during_scheduling_ignored_during_execution = Some(vec![apart]);
        }
    }
    affinity.pod_anti_affinity = Some(preset);
    Ok(affinity)
}

/// Returns the given constraints, or, if there are none, a constraint that prefers to spread members across zones.
fn spread_or_default(
    cluster: &Cluster<'_>,
    given: Vec<TopologySpreadConstraint>,
) -> Vec<TopologySpreadConstraint> {
    if !given.is_empty() {
        return given;
    }
    vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(cluster)),
        ..TopologySpreadConstraint::default()
    }]
}
