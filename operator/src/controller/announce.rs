//! Events about resources, as `kubectl describe` shows them.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource, ResourceExt as _,
    runtime::events::{Event, EventType, Recorder},
};
use witan_plan::model::Notice;

/// The longest note of an event that Kubernetes takes.
const EVENT_NOTE_BYTES: usize = 1024;

/// Publishes a notice as an event about a resource, with the member's pod as the second object. A failure is logged.
pub(crate) async fn publish<K: Resource<DynamicType = ()>>(
    recorder: &Recorder,
    resource: &K,
    notice: &Notice,
) {
    // Kubernetes counts events of one reason together, under the first note. A note about a changed resource is
    // another event, as in Kubernetes' own recorder.
    let about = ObjectReference {
        resource_version: resource.resource_version(),
        ..resource.object_ref(&())
    };
    let end = notice.message.floor_char_boundary(EVENT_NOTE_BYTES);
    let event = Event {
        type_: if notice.warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: notice.reason.to_owned(),
        note: Some(notice.message[..end].to_owned()),
        action: notice.reason.to_owned(),
        // events of different members are not counted together
        secondary: notice.member.as_ref().map(|member| ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(member.clone()),
            namespace: about.namespace.clone(),
            ..ObjectReference::default()
        }),
    };
    if let Err(error) = recorder.publish(&event, &about).await {
        tracing::warn!(%error, reason = notice.reason, "cannot publish an event");
    }
}
