//! Converts pods and claims to values for `plan` and to addresses of members.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use witan_crd::{
    ByteQuantity, CONTAINER, container_failure, containers, is_ready, pod_condition, pod_phase,
    ports, speaks_tls,
};
use witan_members::Address;
use witan_plan::{
    ReleaseVersion,
    model::{
        ClaimSeen, ObjectState, Obstacle, Ordinal, PeerTls, PodPhase, PodSeen, Role, StartKind,
        UnixSeconds,
    },
};

use super::{objects::Objects, secrets::SecretsSeen};
use crate::resources::{
    self, CLUSTER_ID, Cluster, FETCH, INITIAL_STATE, INITIAL_STATE_VARIABLE, Ownership, PEER_TLS,
    REFUSED, REQUESTED, RESTORE, RETIRED, ROLE, START, TEMPLATE, VERSION, state,
};

/// Annotation on a claim whose expansion was refused: bytes, `@`, Unix time in seconds, a colon, and the API server's message.
pub(crate) const REFUSED_BYTES: &str = "witan.dev/refused-bytes";

/// Annotation on a claim: when the pod of its silent member was last recreated, as Unix time in seconds.
pub(crate) const REMADE_AT: &str = "witan.dev/remade-at";

/// Value of the annotation `witan.dev/retired` for a claim that is deleted once another member votes in place of the claim's
/// member.
pub(crate) const HELD: &str = "replaced";

/// Number of seconds past the grace period after which a deletion is considered stuck.
const LATE_SECONDS: i64 = 60;

/// Seconds to wait before a refused volume expansion is retried. The storage class may allow expansion by then.
const REFUSAL_SECONDS: i64 = 3600;

/// The maximum length in bytes of a message about an obstacle.
const SHOWN_BYTES: usize = 512;

/// Waiting reasons of a container that cannot start, because its image or configuration cannot be used.
const CANNOT_START: [&str; 10] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// Returns whether a pod still has the container that restores a backup, although its cluster has served. Such a pod needs the
/// store to restart. Always `false` without durable storage.
fn restores_without_effect(cluster: &Cluster<'_>, pod: &Pod) -> bool {
    let spec = pod.spec.iter();
    let mut init = spec.flat_map(|spec| spec.init_containers.iter().flatten());
    let restores = init.any(|container| container.name == RESTORE);
    restores && cluster.id().is_some() && cluster.spec().is_durable()
}

/// Reads the values for `plan` from a pod. While no template can be built from the spec, no pod is considered outdated. A pod
/// without the operator's annotations and labels is treated as a restarted voter that listens in plaintext. Ignores a recorded
/// refusal of any template but the current one.
pub(crate) fn seen(cluster: &Cluster<'_>, pod: &Pod, now: UnixSeconds) -> PodSeen {
    let ready_changed = pod_condition(pod, "Ready")
        .and_then(|ready| ready.last_transition_time.clone())
        .or_else(|| pod.creation_timestamp());
    let (labels, annotations) = (pod.labels(), pod.annotations());
    let peer_tls = marked(annotations, PEER_TLS).unwrap_or(PeerTls::Off);
    let (obstacle, said) = obstacle(pod).unzip();
    let template = annotations.get(TEMPLATE);
    let wanted = resources::template(cluster, peer_tls).ok();
    let refused = annotations.get(REFUSED);
    let refused = refused.and_then(|text| text.split_once(": "));
    let refused = refused.filter(|(template, _)| Some(*template) == wanted.as_deref());
    let version = labels.get(VERSION);
    let version = version.filter(|tag| ReleaseVersion::parse(tag).is_some());
    PodSeen {
        deleting: pod.metadata.deletion_timestamp.is_some(),
        overdue: is_overdue(pod, now),
        phase: phase(pod),
        ready: is_ready(pod),
        ready_changed: ready_changed.map_or(0, |time| time.0.as_second()),
        obstacle,
        said: said.flatten(),
        exit: exit(pod),
        template: template.cloned().unwrap_or_default(),
        outdated: wanted.is_some()
            && (template != wanted.as_ref() || restores_without_effect(cluster, pod)),
        refused: refused.map(|(_, said)| said.to_owned()),
        peer_tls,
        start: marked(annotations, START).unwrap_or(StartKind::Restart),
        is_initial: match annotations.get(INITIAL_STATE) {
            Some(state) => state == "new",
            None => reads_initial_state(pod),
        },
        role: marked(labels, ROLE).unwrap_or(Role::Voter),
        running: runs(pod),
        version: version.cloned(),
    }
}

/// Returns whether the member's container reads the annotation for the state of its cluster. Without the annotation, the
/// variable is empty.
fn reads_initial_state(pod: &Pod) -> bool {
    let spec = pod.spec.iter();
    let containers = spec.flat_map(|spec| &spec.containers);
    let mut member = containers.filter(|container| container.name == CONTAINER);
    member.any(|container| {
        let mut variables = container.env.iter().flatten();
        variables.any(|variable| variable.name == INITIAL_STATE_VARIABLE)
    })
}

/// Reads the values for `plan` from a claim. While no claim can be built from the spec, the claim is considered current. A
/// claim without a recorded request is outdated. A claim of an earlier cluster of this name is treated as being deleted.
pub(super) fn claim_seen(
    cluster: &Cluster<'_>,
    ordinal: Ordinal,
    claim: &PersistentVolumeClaim,
    now: UnixSeconds,
) -> ClaimSeen {
    let (status, spec) = (claim.status.as_ref(), claim.spec.as_ref());
    let requested =
        spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
    let requested = requested.and_then(|quantity| ByteQuantity(quantity.0.clone()).bytes());
    let annotations = claim.annotations();
    let peer_tls = marked(annotations, PEER_TLS).unwrap_or(PeerTls::Off);
    let refused = annotations.get(REFUSED_BYTES);
    let refused = refused.and_then(|text| refused_growth(text, now));
    let remade = annotations.get(REMADE_AT);
    let ending = resources::ownership(cluster, claim) == Ownership::Ending;
    let owners = resources::owners_of_claim(cluster, claim);
    ClaimSeen {
        peer_tls,
        other_owner: !ending && owners.len() != claim.owner_references().len(),
        deleting: claim.metadata.deletion_timestamp.is_some() || ending,
        overdue: is_overdue(claim, now),
        served: annotations.contains_key(CLUSTER_ID),
        lost: status.and_then(|status| status.phase.as_deref()) == Some("Lost"),
        retired: annotations.contains_key(RETIRED),
        held: annotations.get(RETIRED).map(String::as_str) == Some(HELD),
        remade: remade.and_then(|text| text.parse().ok()),
        requested_bytes: requested.unwrap_or(0),
        refused_bytes: refused.map(|(bytes, _)| bytes),
        refusal: refused.map_or_else(String::new, |(_, words)| words.to_owned()),
        must_migrate: resources::must_migrate(cluster, claim),
        state: match resources::claim(cluster, ordinal, peer_tls) {
            Ok(_) if !annotations.contains_key(REQUESTED) => ObjectState::Outdated,
            Ok(wanted) => state(Some(claim), &wanted),
            Err(_) => ObjectState::Current,
        },
    }
}

/// Parses [`REFUSED_BYTES`] into the bytes and the message; `None` if it is invalid or older than [`REFUSAL_SECONDS`].
fn refused_growth(text: &str, now: UnixSeconds) -> Option<(u64, &str)> {
    let (mark, words) = text.split_once(':')?;
    let (bytes, at) = mark.split_once('@')?;
    let age = now.saturating_sub(at.parse().ok()?);
    (age < REFUSAL_SECONDS).then_some((bytes.parse().ok()?, words.trim()))
}

/// Returns the addresses of the members whose pods have an IP address and have not ended.
pub(super) fn addresses(
    cluster: &Cluster<'_>,
    pods: &BTreeMap<Ordinal, Arc<Pod>>,
    secrets: &SecretsSeen,
) -> BTreeMap<Ordinal, Address> {
    let live = pods.iter().filter(|(_, pod)| phase(pod) != PodPhase::Ended);
    let addresses = live.filter_map(|(ordinal, pod)| {
        let tls = secrets.client_tls.clone();
        let address = Address {
            authority: client_address(pod)?.to_string(),
            server_name: cluster.resource.host(*ordinal),
            tls: tls.filter(|_| speaks_tls(pod)),
            login: secrets.login.clone(),
            member: pod.name_any(),
        };
        Some((*ordinal, address))
    });
    addresses.collect()
}

/// Returns the address of a pod for clients; `None` until the pod has an IP address.
pub(crate) fn client_address(pod: &Pod) -> Option<SocketAddr> {
    let ip = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(ports::CLIENT).ok()?))
}

/// Converts the phase of a pod. A missing phase or any other phase becomes `Pending`.
fn phase(pod: &Pod) -> PodPhase {
    match pod_phase(pod) {
        Some("Running") => PodPhase::Running,
        Some("Succeeded" | "Failed") => PodPhase::Ended,
        Some("Unknown") => PodPhase::Unknown,
        Some(_) | None => PodPhase::Pending,
    }
}

/// Returns the status of the member's container; `None` if the kubelet has not reported one.
fn member_container(pod: &Pod) -> Option<&ContainerStatus> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.iter().find(|each| each.name == CONTAINER)
}

/// Returns whether a member's container is running. Ignores sidecars, because they do not read the disk.
fn runs(pod: &Pod) -> bool {
    let state = member_container(pod).and_then(|member| member.state.as_ref());
    state.is_some_and(|state| state.running.is_some())
}

/// Returns whether the deletion timestamp, which is the end of the grace period, is at least [`LATE_SECONDS`] ago.
fn is_overdue<K: Resource>(object: &K, now: UnixSeconds) -> bool {
    let ends = object.meta().deletion_timestamp.as_ref();
    ends.is_some_and(|ends| now.saturating_sub(ends.0.as_second()) >= LATE_SECONDS)
}

/// Returns why a pod is not ready, with the message of the kubelet, the scheduler or a failed restore. Returns `None` if the
/// cause is unknown; in that case, a new disk might help.
fn obstacle(pod: &Pod) -> Option<(Obstacle, Option<String>)> {
    let is = |kind, value: &str| pod_condition(pod, kind).filter(|found| found.status == value);
    if let (Some(ready), Some(_)) = (is("Ready", "False"), is("ContainersReady", "True")) {
        // If a node does not report, the control plane only sets `Ready` to false.
        let is_gate = ready.reason.as_deref() == Some("ReadinessGatesNotReady");
        return Some(match is_gate {
            true => (Obstacle::ReadinessGate, shortened(ready.message.as_ref())),
            false => (Obstacle::NodeNotReady, None),
        });
    }
    if let Some(scheduled) = is("PodScheduled", "False")
        && scheduled.reason.as_deref() == Some("Unschedulable")
    {
        let said = shortened(scheduled.message.as_ref());
        return Some((Obstacle::Unschedulable, said));
    }
    let mut unready = containers(pod).filter(|container| !container.ready);
    unready.find_map(container_obstacle)
}

/// Returns at most [`SHOWN_BYTES`] of a message; `None` if the message is empty.
fn shortened(text: Option<&String>) -> Option<String> {
    let text = text.filter(|text| !text.is_empty())?;
    Some(text[..text.floor_char_boundary(SHOWN_BYTES)].to_owned())
}

/// Returns why a container is not ready, and the message of the kubelet or of the failed restore, if any. Returns `None` if the
/// cause is unknown. Considers the memory limit only of the operator's own containers, and a failure only of the containers that
/// restore a backup. The failure is reported until an attempt succeeds.
fn container_obstacle(container: &ContainerStatus) -> Option<(Obstacle, Option<String>)> {
    let state = container.state.as_ref();
    if let Some(waiting) = state.and_then(|state| state.waiting.as_ref())
        && let Some(reason) = waiting.reason.as_deref()
        && CANNOT_START.contains(&reason)
    {
        let text = waiting.message.as_ref();
        let text = text.map_or_else(|| reason.to_owned(), |text| format!("{reason}: {text}"));
        return Some((Obstacle::CannotStart, shortened(Some(&text))));
    }
    // The limit in `spec.resources` does not apply to sidecars.
    if ![CONTAINER, FETCH, RESTORE].contains(&container.name.as_str()) {
        return None;
    }
    let states = || [state, container.last_state.as_ref()].into_iter().flatten();
    let mut reasons = states().filter_map(|state| state.terminated.as_ref()?.reason.as_deref());
    if reasons.any(|reason| reason == "OOMKilled") {
        return Some((Obstacle::OutOfMemory, None));
    }
    if container.name == CONTAINER {
        return None;
    }
    let failure = states().find_map(|state| container_failure(&container.name, state))?;
    Some((Obstacle::RestoreFailed, shortened(Some(&failure.message))))
}

/// Returns the exit code of a member's container that has terminated; `None` if the container runs or has never run. The
/// container may be about to restart.
fn exit(pod: &Pod) -> Option<i32> {
    let member = member_container(pod)?;
    let state = member.state.as_ref()?;
    let ended = state.terminated.as_ref().or_else(|| {
        let last = member.last_state.as_ref()?;
        last.terminated.as_ref().filter(|_| state.running.is_none())
    });
    ended.map(|ended| ended.exit_code)
}

/// Parses a label or an annotation; `None` if it is missing or has an unknown value.
fn marked<V: DeserializeOwned>(marks: &BTreeMap<String, String>, key: &str) -> Option<V> {
    serde_json::from_value(marks.get(key)?.as_str().into()).ok()
}

/// Returns the annotation [`PEER_TLS`] or [`START`] of any pod or claim if its value is unknown, as `key=value`. Returns `None`
/// if all values are known. A later release of the operator wrote an unknown value.
pub(super) fn unknown_mark(objects: &Objects) -> Option<String> {
    let pods = objects.pods.values().map(|pod| pod.annotations());
    let claims = objects.claims.values().map(|claim| claim.annotations());
    pods.chain(claims).find_map(|marks| {
        let unknown_tls = marked::<PeerTls>(marks, PEER_TLS).is_none();
        let unknown_start = marked::<StartKind>(marks, START).is_none();
        let tls = marks.get_key_value(PEER_TLS).filter(|_| unknown_tls);
        let start = marks.get_key_value(START).filter(|_| unknown_start);
        tls.or(start).map(|(key, value)| format!("{key}={value}"))
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
    use serde_json::json;

    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "a-0"}, "status": status})).unwrap()
    }

    fn container(name: &str, rest: serde_json::Value) -> serde_json::Value {
        let status =
            json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 1});
        crate::testing::with(status, &rest)
    }

    #[test]
    fn a_refused_expansion_is_requested_again_after_an_hour() {
        let text = "9000@100: only dynamically provisioned pvc: no";
        let words = "only dynamically provisioned pvc: no";
        assert_eq!(refused_growth(text, 3699), Some((9000, words)));
        assert_eq!(refused_growth(text, 3700), None);
        assert_eq!(refused_growth("9000: of an earlier release", 100), None);
    }

    #[test]
    fn obstacles_are_problems_that_a_new_disk_would_not_fix() {
        let waiting = |reason: &str| {
            let state = json!({"state": {"waiting": {"reason": reason, "message": "no such tag"}}});
            pod(json!({"phase": "Pending", "containerStatuses": [container("m", state)]}))
        };
        for reason in ["ImagePullBackOff", "ImageInspectError"] {
            let said = format!("{reason}: no such tag");
            assert_eq!(
                obstacle(&waiting(reason)),
                Some((Obstacle::CannotStart, Some(said)))
            );
        }
        assert_eq!(obstacle(&waiting("CrashLoopBackOff")), None);
        assert_eq!(obstacle(&waiting("ContainerCreating")), None);
        let unschedulable = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]});
        assert_eq!(
            obstacle(&pod(unschedulable)),
            Some((Obstacle::Unschedulable, Some("0/3 nodes".to_owned())))
        );
        let killed = json!({"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}});
        for (name, expected) in [
            ("etcd", Some((Obstacle::OutOfMemory, None))),
            ("proxy", None),
        ] {
            let statuses = json!([container(name, killed.clone())]);
            let status = json!({"phase": "Running", "containerStatuses": statuses});
            assert_eq!(obstacle(&pod(status)), expected, "{name}");
        }
    }

    #[test]
    fn a_failed_restore_is_an_obstacle() {
        let message = r#"{"reason": "BackupBroken", "message": "a.db is damaged"}"#;
        let ended = json!({"terminated": {"exitCode": 1, "message": message}});
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let failed = Some((Obstacle::RestoreFailed, Some("a.db is damaged".to_owned())));
        for (name, state, expected) in [
            ("fetch", &ended, failed.clone()),
            ("fetch", &waiting, failed.clone()),
            ("fetch", &json!({"running": {}}), failed),
            ("etcd", &waiting, None),
            ("sidecar", &waiting, None),
        ] {
            let states = json!({"state": state, "lastState": ended});
            let statuses = json!([container(name, states)]);
            let status = json!({"phase": "Pending", "initContainerStatuses": statuses});
            assert_eq!(obstacle(&pod(status)), expected, "{name} {state}");
        }
    }

    /// No supported release of Kubernetes reports the phase `Unknown` or the reason `NodeLost`.
    #[test]
    fn an_unready_pod_with_ready_containers_waits_for_its_node_or_gates() {
        let conditions = |containers: &str, reason: Option<&str>| {
            let ready = json!({"type": "Ready", "status": "False", "reason": reason});
            let containers = json!({"type": "ContainersReady", "status": containers});
            pod(json!({"phase": "Running", "conditions": [ready, containers]}))
        };
        let found = |pod| obstacle(&pod).map(|(obstacle, _)| obstacle);
        assert_eq!(
            found(conditions("True", None)),
            Some(Obstacle::NodeNotReady)
        );
        let gate = conditions("True", Some("ReadinessGatesNotReady"));
        assert_eq!(found(gate), Some(Obstacle::ReadinessGate));
        let member = conditions("False", Some("ContainersNotReady"));
        assert_eq!(found(member), None);
    }

    #[test]
    fn an_exit_code_is_reported_while_the_member_does_not_run() {
        let terminated = json!({"terminated": {"exitCode": 27}});
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let running = json!({"running": {}});
        let cases = [
            ("etcd", json!({"state": terminated}), Some(27)),
            (
                "etcd",
                json!({"state": waiting, "lastState": terminated}),
                Some(27),
            ),
            (
                "etcd",
                json!({"state": running, "lastState": terminated}),
                None,
            ),
            ("etcd", json!({"state": waiting}), None),
            ("sidecar", json!({"state": terminated}), None),
        ];
        for (name, states, expected) in cases {
            let status =
                json!({"phase": "Running", "containerStatuses": [container(name, states.clone())]});
            assert_eq!(exit(&pod(status)), expected, "{name} {states}");
        }
    }

    /// A pod with an outdated template is recreated without a quorum only if its member does not run.
    #[test]
    fn a_pod_runs_only_if_its_member_runs() {
        let running = json!({"state": {"running": {}}});
        let waiting = json!({"state": {"waiting": {"reason": "ImagePullBackOff"}}});
        for (member, sidecar, expected) in [
            (&running, &waiting, true),
            (&waiting, &running, false),
            (&waiting, &waiting, false),
        ] {
            let statuses = json!([
                container("proxy", sidecar.clone()),
                container("etcd", member.clone()),
            ]);
            let status = json!({"phase": "Running", "containerStatuses": statuses});
            assert_eq!(runs(&pod(status)), expected, "{member} {sidecar}");
        }
    }

    #[test]
    fn an_unknown_annotation_is_not_treated_as_the_default() {
        let cases = [
            (json!({}), None),
            (json!({PEER_TLS: "on", START: "join"}), None),
            (
                json!({PEER_TLS: "mutual"}),
                Some("witan.dev/peer-tls=mutual"),
            ),
            (
                json!({PEER_TLS: "off", START: "resume"}),
                Some("witan.dev/start=resume"),
            ),
        ];
        for (annotations, expected) in cases {
            let object = json!({"metadata": {"annotations": annotations}});
            let (mut with_pod, mut with_claim) = (Objects::default(), Objects::default());
            let pod = serde_json::from_value(object.clone()).expect("a pod");
            with_pod.pods.insert(0, Arc::new(pod));
            let claim = serde_json::from_value(object).expect("a claim");
            with_claim.claims.insert(0, Arc::new(claim));
            for objects in [with_pod, with_claim] {
                assert_eq!(unknown_mark(&objects).as_deref(), expected, "{annotations}");
            }
        }
    }

    #[test]
    fn a_pod_is_stuck_a_minute_after_its_grace_period() {
        let mut ending = pod(json!({}));
        let at = |seconds| Time(Timestamp::from_second(seconds).expect("a time"));
        ending.metadata.deletion_timestamp = Some(at(1000));
        assert!(!is_overdue(&ending, 1059) && is_overdue(&ending, 1060));
        ending.metadata.deletion_timestamp = None;
        assert!(!is_overdue(&ending, 5000));
    }
}
