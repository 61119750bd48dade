//! Reads failures that are visible only in events: refused pods of a job, and volumes that cannot be mounted.

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerStatus, Event, Pod},
};
use kube::{Client, Resource, ResourceExt as _, api::ListParams};
use witan_crd::{PodFailure, containers, pod_phase};
use witan_plan::model::{Observed, Obstacle, UnixSeconds};

use crate::{api_server::list_readable, observe::Objects};

/// The event reason for a job whose pods are refused, for example by a quota or an admission policy.
const FAILED_CREATE: &str = "FailedCreate";

/// The event reason for a volume, such as a secret, that does not exist or cannot be mounted.
const FAILED_MOUNT: &str = "FailedMount";

/// Seconds that mounting the volumes of a pod may take before events are read.
const MOUNT_SECONDS: i64 = 15;

/// Returns why a job has no pods: the message of its latest event `FailedCreate`. Returns `None` if the job has pods, no such
/// event is found, or events cannot be read.
pub(crate) async fn why_no_pods(
    client: &Client,
    job: &Job,
    pod_count: usize,
) -> Option<PodFailure> {
    if pod_count > 0 {
        return None;
    }
    let message = latest(client, job, FAILED_CREATE).await?;
    Some(PodFailure { reason: FAILED_CREATE.to_owned(), message })
}

/// Sets the obstacle `CannotStart` and its message for each pod that waits for a volume, if an event reports a failed mount.
/// Keeps any other obstacle.
pub(crate) async fn explain_mounts(client: &Client, seen: &mut Observed, objects: &Objects) {
    for (ordinal, pod) in &objects.pods {
        let Some(found) = seen.ordinals.get_mut(ordinal) else {
            continue;
        };
        let Some(found) = found.pod.as_mut().filter(|pod| pod.obstacle.is_none()) else {
            continue;
        };
        if waits_for_volumes(pod, seen.now)
            && let Some(said) = latest(client, &**pod, FAILED_MOUNT).await
        {
            found.obstacle = Some(Obstacle::CannotStart);
            found.said = Some(said);
        }
    }
}

/// Returns whether a pending pod was created at least [`MOUNT_SECONDS`] ago, has a node, and has never started a container.
fn waits_for_volumes(pod: &Pod, now: UnixSeconds) -> bool {
    let created = pod.creation_timestamp();
    let old = created.is_some_and(|at| now.saturating_sub(at.0.as_second()) >= MOUNT_SECONDS);
    let spec = pod.spec.as_ref();
    let has_node = spec.is_some_and(|spec| spec.node_name.is_some());
    let is_new = |container: &ContainerStatus| {
        let state = container.state.as_ref();
        state.is_none_or(|state| state.running.is_none() && state.terminated.is_none())
            && container.restart_count == 0
    };
    pod_phase(pod) == Some("Pending") && old && has_node && containers(pod).all(is_new)
}

/// Returns the message of the latest event with this reason about an object. Returns `None` if no such event is found, or if
/// events cannot be read.
async fn latest<K: Resource>(client: &Client, of: &K, reason: &str) -> Option<String> {
    let (namespace, uid) = (of.meta().namespace.as_deref()?, of.meta().uid.as_deref()?);
    let about = format!("involvedObject.uid={uid},reason={reason}");
    let params = ListParams::default().fields(&about);
    let found = list_readable::<Event>(client, namespace, params, "list events").await;
    let meant = found.ok()?.into_iter().filter(|event| {
        let same = event.involved_object.uid.as_deref() == Some(uid);
        same && event.reason.as_deref() == Some(reason)
    });
    let latest = meant.max_by_key(|event| {
        let last = event.last_timestamp.as_ref().map(|at| at.0);
        last.or_else(|| event.event_time.as_ref().map(|at| at.0))
    });
    latest?.message
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use serde_json::{Value, json};
    use witan_plan::model::OrdinalSeen;

    use super::*;
    use crate::{
        observe::pods,
        testing::{api::FakeApi, named},
    };

    fn put_event(
        fake: &FakeApi,
        (name, uid): (&str, &str),
        reason: &str,
        (at, said): (&str, &str),
    ) {
        fake.put(json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "shop"},
            "involvedObject": {"uid": uid}, "reason": reason, "message": said, "lastTimestamp": at,
        }));
    }

    #[tokio::test]
    async fn the_latest_refusal_of_a_jobs_pod_is_reported_while_the_job_has_no_pod() {
        let fake = FakeApi::default();
        let early = ("2026-01-02T03:04:05Z", "exceeded quota: a");
        let late = ("2026-01-02T03:04:06Z", "exceeded quota: b");
        put_event(&fake, ("a", "j"), FAILED_CREATE, early);
        put_event(&fake, ("b", "j"), FAILED_CREATE, late);
        put_event(
            &fake,
            ("c", "other"),
            FAILED_CREATE,
            ("2026-01-02T03:04:07Z", "c"),
        );
        put_event(
            &fake,
            ("d", "j"),
            "SuccessfulCreate",
            ("2026-01-02T03:04:08Z", "d"),
        );
        let job = json!({"metadata": {"name": "j", "namespace": "shop", "uid": "j"}});
        let job: Job = serde_json::from_value(job).expect("a job");
        let found = why_no_pods(&fake.client(), &job, 0)
            .await
            .expect("a refusal");
        assert_eq!(
            (found.reason.as_str(), found.message.as_str()),
            (FAILED_CREATE, late.1)
        );
        assert_eq!(why_no_pods(&fake.client(), &job, 1).await, None);
    }

    /// Returns the obstacle message of a pod with this status that was created at time 0.
    async fn said(now: UnixSeconds, status: &Value) -> Option<String> {
        let fake = FakeApi::default();
        let missing = ("2026-01-02T03:04:05Z", "secret \"peer\" not found");
        put_event(&fake, ("a", "p"), FAILED_MOUNT, missing);
        let created = "1970-01-01T00:00:00Z";
        let meta = json!({"name": "orders-0", "namespace": "shop", "uid": "p", "creationTimestamp": created});
        let pod = json!({"metadata": meta, "spec": {"containers": [], "nodeName": "n"}, "status": status});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let seen_pod = pods::seen(&named(&json!({})), &pod, now);
        let objects = Objects {
            pods: BTreeMap::from([(0, Arc::new(pod))]),
            ..Objects::default()
        };
        let at = OrdinalSeen { pod: Some(seen_pod), claim: None };
        let mut seen = Observed {
            now,
            ordinals: BTreeMap::from([(0, at)]),
            ..Observed::default()
        };
        explain_mounts(&fake.client(), &mut seen, &objects).await;
        let pod = seen.ordinals[&0].pod.as_ref()?;
        assert_eq!(pod.obstacle.is_some(), pod.said.is_some());
        pod.said.clone()
    }

    #[tokio::test]
    async fn a_pod_that_waits_for_a_volume_names_the_volume() {
        let container = |state: Value| {
            json!({"phase": "Pending", "containerStatuses": [{
                "name": "etcd", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
            }]})
        };
        let creating = container(json!({"waiting": {"reason": "ContainerCreating"}}));
        let found = said(MOUNT_SECONDS, &creating).await;
        assert_eq!(found.as_deref(), Some("secret \"peer\" not found"));
        assert_eq!(said(MOUNT_SECONDS - 1, &creating).await, None);
        let restored = container(json!({"terminated": {"exitCode": 0}}));
        assert_eq!(said(MOUNT_SECONDS, &restored).await, None);
        assert_eq!(
            said(MOUNT_SECONDS, &json!({"phase": "Running"})).await,
            None
        );
    }
}
