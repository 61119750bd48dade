//! From a pod and a claim of Kubernetes to what `plan` knows of them, and to the address of the member.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod, PodCondition};
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;

use super::{SecretsSeen, state};
use crate::{
    crd::ByteQuantity,
    members::Address,
    model::{ClaimSeen, Obstacle, Ordinal, PeerTls, PodPhase, PodSeen, Role, StartKind},
    resources::{
        self, CLIENT_TLS, CLUSTER_ID, Cluster, Ownership, PEER_TLS, RETIRED, ROLE, ResourceError,
        START, TEMPLATE, VERSION, ports,
    },
};

/// Annotation of a claim: the bytes that the API server refused to let it grow to, a colon, and its words.
pub const REFUSED_BYTES: &str = "witan.dev/refused-bytes";

/// Reasons of a waiting container that a person has to remove: an image or a configuration that is not there.
const CANNOT_START: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "ErrImageInspect",
];

/// Reads what the plan needs of a pod from its status, labels and annotations; an error if the spec makes no
/// template.
pub(super) fn seen(cluster: &Cluster<'_>, pod: &Pod) -> Result<PodSeen, ResourceError> {
    let ready = condition(pod, "Ready");
    let peer_tls = marked(pod.annotations(), PEER_TLS).unwrap_or(PeerTls::Off);
    let created = pod
        .creation_timestamp()
        .map_or(0, |time| time.0.as_second());
    Ok(PodSeen {
        deleting: pod.metadata.deletion_timestamp.is_some(),
        phase: phase(pod),
        ready: ready.is_some_and(|ready| ready.status == "True"),
        ready_changed: ready
            .and_then(|ready| ready.last_transition_time.as_ref())
            .map_or(created, |time| time.0.as_second()),
        obstacle: obstacle(pod),
        outdated: pod.annotations().get(TEMPLATE) != Some(&resources::template(cluster, peer_tls)?),
        peer_tls,
        start: marked(pod.annotations(), START).unwrap_or(StartKind::Restart),
        role: marked(pod.labels(), ROLE).unwrap_or(Role::Voter),
        running: runs(pod),
        version: pod
            .labels()
            .get(VERSION)
            .filter(|tag| is_version(tag))
            .cloned(),
    })
}

/// Reads what the plan needs of the claim of an ordinal; an error if the spec makes no claim.
pub(super) fn claim_seen(
    cluster: &Cluster<'_>,
    ordinal: Ordinal,
    claim: &PersistentVolumeClaim,
) -> Result<ClaimSeen, ResourceError> {
    let status = claim.status.as_ref();
    let requested = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
    let bytes = |text: &str| ByteQuantity(text.to_owned()).bytes();
    let peer_tls = marked(claim.annotations(), PEER_TLS).unwrap_or(PeerTls::Off);
    let refused = claim.annotations().get(REFUSED_BYTES);
    let refused = refused.map(|text| text.split_once(':').unwrap_or((text.as_str(), "")));
    Ok(ClaimSeen {
        peer_tls,
        deleting: claim.metadata.deletion_timestamp.is_some()
            || resources::ownership(cluster, claim) == Ownership::Ending,
        served: claim.annotations().contains_key(CLUSTER_ID),
        lost: status.and_then(|status| status.phase.as_deref()) == Some("Lost"),
        retired: claim.annotations().contains_key(RETIRED),
        requested_bytes: requested
            .and_then(|quantity| bytes(&quantity.0))
            .unwrap_or(0),
        refused_bytes: refused.and_then(|(bytes, _)| bytes.parse().ok()),
        refusal: refused.map_or_else(String::new, |(_, words)| words.trim().to_owned()),
        state: state(Some(claim), &resources::claim(cluster, ordinal, peer_tls)?),
    })
}

/// Returns the address of each member whose pod has an IP address and has not ended.
pub(super) fn addresses(
    cluster: &Cluster<'_>,
    pods: &BTreeMap<Ordinal, Arc<Pod>>,
    secrets: &SecretsSeen,
) -> BTreeMap<Ordinal, Address> {
    let address = |ordinal: Ordinal, pod: &Pod| {
        let ip = pod
            .status
            .as_ref()?
            .pod_ip
            .as_ref()
            .filter(|ip| !ip.is_empty())?;
        let authority = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.clone()
        };
        Some(Address {
            authority: format!("{authority}:{}", ports::CLIENT),
            server_name: cluster.host(ordinal),
            tls: speaks_tls(pod)
                .then(|| secrets.client_tls.clone())
                .flatten(),
            login: secrets.login.clone(),
            member: pod.name_any(),
        })
    };
    let live = |pod: &Pod| !matches!(phase(pod), PodPhase::Ended);
    let pods = pods.iter().filter(|(_, pod)| live(pod));
    pods.filter_map(|(ordinal, pod)| Some((*ordinal, address(*ordinal, pod)?)))
        .collect()
}

/// Whether a member speaks TLS to clients, by the annotation of its pod: the spec may have changed since the
/// pod was made.
pub(super) fn speaks_tls(pod: &Pod) -> bool {
    pod.annotations()
        .get(CLIENT_TLS)
        .is_some_and(|value| value == "true")
}

/// Returns the phase of a pod; a pod without a phase is `Pending`, `Succeeded` and `Failed` are `Ended`.
fn phase(pod: &Pod) -> PodPhase {
    match pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
    {
        Some("Running") => PodPhase::Running,
        Some("Succeeded" | "Failed") => PodPhase::Ended,
        Some("Unknown") => PodPhase::Unknown,
        Some(_) | None => PodPhase::Pending,
    }
}

/// Whether a container of a pod runs, ready or not.
fn runs(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    containers.into_iter().flatten().any(|container| {
        let state = container.state.as_ref();
        state.is_some_and(|state| state.running.is_some())
    })
}

/// Returns why a pod is not ready, for a reason that a new disk would not mend: its node, the scheduler or a
/// container; `None` if there is no such reason.
fn obstacle(pod: &Pod) -> Option<Obstacle> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Unknown") || status.reason.as_deref() == Some("NodeLost") {
        return Some(Obstacle::NodeNotReady);
    }
    let unscheduled =
        condition(pod, "PodScheduled").filter(|scheduled| scheduled.status == "False");
    if unscheduled.is_some_and(|scheduled| scheduled.reason.as_deref() == Some("Unschedulable")) {
        return Some(Obstacle::Unschedulable);
    }
    let containers = status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses)
        .flatten();
    containers
        .filter(|container| !container.ready)
        .find_map(container_obstacle)
}

/// Returns `CannotStart` if a container waits for one of the reasons in [`CANNOT_START`], `OutOfMemory` if
/// its present or last end was that, else `None`.
fn container_obstacle(container: &ContainerStatus) -> Option<Obstacle> {
    let waiting = container
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref()?.reason.as_deref());
    if waiting.is_some_and(|reason| CANNOT_START.contains(&reason)) {
        return Some(Obstacle::CannotStart);
    }
    let states = [container.state.as_ref(), container.last_state.as_ref()];
    let mut ends = states
        .into_iter()
        .flatten()
        .filter_map(|state| state.terminated.as_ref()?.reason.as_deref());
    ends.any(|reason| reason == "OOMKilled")
        .then_some(Obstacle::OutOfMemory)
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// Whether an image tag is a version, such as `1.2.3` or `v1.2.3-rc.1`, but not `latest` or a digest.
pub(super) fn is_version(tag: &str) -> bool {
    let mut numbers = tag.trim_start_matches('v').split('.');
    let mut next = || {
        numbers
            .next()
            .is_some_and(|part| part.parse::<u32>().is_ok())
    };
    next() && next()
}

/// Parses a value of the model from a label or an annotation; `None` if it is missing or unknown.
fn marked<V: DeserializeOwned>(marks: &BTreeMap<String, String>, key: &str) -> Option<V> {
    serde_json::from_value(marks.get(key)?.as_str().into()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "a-0"}, "status": status})).unwrap()
    }

    #[test]
    fn obstacles_are_what_a_new_disk_would_not_mend() {
        let waiting = |reason: &str| {
            pod(json!({"phase": "Pending", "containerStatuses": [
                {"name": "m", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason}}}]}))
        };
        assert_eq!(
            obstacle(&waiting("ImagePullBackOff")),
            Some(Obstacle::CannotStart)
        );
        assert_eq!(obstacle(&waiting("CrashLoopBackOff")), None);
        assert_eq!(obstacle(&waiting("ContainerCreating")), None);
        let unschedulable = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
        assert_eq!(obstacle(&pod(unschedulable)), Some(Obstacle::Unschedulable));
        let killed = json!({"phase": "Running", "containerStatuses": [
            {"name": "m", "image": "i", "imageID": "", "ready": false, "restartCount": 1, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]});
        assert_eq!(obstacle(&pod(killed)), Some(Obstacle::OutOfMemory));
    }
}
