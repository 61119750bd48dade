//! The status of a pod: whether it is ready, and why it is not running.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition};
use serde::Deserialize;

/// Why a pod is not running.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PodFailure {
    /// A word in CamelCase, such as `ImagePullBackOff`.
    pub reason: String,
    /// The message of the scheduler, the kubelet or the program.
    pub message: String,
}

/// Returns the condition of the type `kind`, or `None` if the pod has no such condition.
pub fn pod_condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Returns the phase of a pod; `None` if it is not set yet.
pub fn pod_phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// Returns whether the condition `Ready` of a pod is true.
pub fn is_ready(pod: &Pod) -> bool {
    pod_condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Returns the statuses of all containers of a pod, the init containers first.
pub fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    init.into_iter().chain(main).flatten()
}

/// Returns why a pod has failed or cannot start; `None` if its status gives no reason. Reasons of containers come first.
pub fn pod_failure(pod: &Pod) -> Option<PodFailure> {
    let of_container = |container: &ContainerStatus| {
        let state = container.state.as_ref()?;
        container_failure(&container.name, state).or_else(|| waits(state))
    };
    let found = containers(pod).find_map(of_container);
    found.or_else(|| of_pod(pod))
}

/// Returns why a container terminated with an error; `None` if there was no error. Takes the reason and the message from a
/// termination message in the format of `witan-operator backup`. For any other message, the reason is `ContainerFailed`, and
/// the exit code precedes the message.
pub fn container_failure(container: &str, state: &ContainerState) -> Option<PodFailure> {
    let ended = state.terminated.as_ref();
    let ended = ended.filter(|ended| ended.exit_code != 0)?;
    let said = ended.message.as_deref().unwrap_or_default().trim();
    let by_code = |_| {
        let code = ended.exit_code;
        let text = format!("container {container} terminated with exit code {code}: {said}");
        PodFailure {
            reason: "ContainerFailed".to_owned(),
            message: text.trim_end_matches(": ").to_owned(),
        }
    };
    Some(serde_json::from_str(said).unwrap_or_else(by_code))
}

/// Returns why a waiting container cannot start; `None` if it does not wait or is being created.
fn waits(state: &ContainerState) -> Option<PodFailure> {
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.clone()?;
    let message = waiting.message.clone().unwrap_or_else(|| reason.clone());
    let normal = ["ContainerCreating", "PodInitializing"];
    (!normal.contains(&reason.as_str())).then_some(PodFailure { reason, message })
}

/// Returns why a pod as a whole has failed, for example by eviction, or cannot be scheduled. Returns `None` otherwise, or if
/// the status gives no reason.
fn of_pod(pod: &Pod) -> Option<PodFailure> {
    let status = pod.status.as_ref()?;
    if pod_phase(pod) == Some("Failed") {
        let reason = status.reason.clone()?;
        let message = status.message.clone().unwrap_or_else(|| reason.clone());
        return Some(PodFailure { reason, message });
    }
    let scheduled = pod_condition(pod, "PodScheduled")?;
    let reason = scheduled.reason.clone();
    let reason = reason.filter(|reason| reason == "Unschedulable")?;
    let message = scheduled.message.clone().unwrap_or_default();
    Some(PodFailure { reason, message })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({"status": status})).expect("a pod")
    }

    fn container(state: &Value) -> Value {
        json!([{"name": "etcd", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
    }

    #[test]
    fn the_status_of_a_pod_gives_the_reason_why_it_does_not_run() {
        let ended = |code: i32, message: &str| json!({"containerStatuses": container(&json!({"terminated": {"exitCode": code, "message": message}}))});
        let waiting = |reason: &str| json!({"containerStatuses": container(&json!({"waiting": {"reason": reason, "message": "no such tag"}}))});
        let scheduled = |reason: &str| json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": reason, "message": "0/3 nodes"}]});
        let own = r#"{"reason": "BackupBroken", "message": "bit 7"}"#;
        let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "no memory"});
        for (status, expected) in [
            (ended(0, ""), None),
            (
                ended(2, ""),
                Some((
                    "ContainerFailed",
                    "container etcd terminated with exit code 2",
                )),
            ),
            (
                ended(1, "x\n"),
                Some((
                    "ContainerFailed",
                    "container etcd terminated with exit code 1: x",
                )),
            ),
            (ended(1, own), Some(("BackupBroken", "bit 7"))),
            (
                waiting("ErrImagePull"),
                Some(("ErrImagePull", "no such tag")),
            ),
            (waiting("ContainerCreating"), None),
            (
                scheduled("Unschedulable"),
                Some(("Unschedulable", "0/3 nodes")),
            ),
            (scheduled("SchedulingGated"), None),
            (evicted, Some(("Evicted", "no memory"))),
        ] {
            let found = pod_failure(&pod(&status));
            let found = found
                .as_ref()
                .map(|found| (found.reason.as_str(), found.message.as_str()));
            assert_eq!(found, expected, "{status}");
        }
    }
}
