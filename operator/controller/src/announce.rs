//! Logs notices about resources and publishes them as events, which `kubectl describe` shows.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource, ResourceExt as _,
    runtime::events::{Event, EventType, Recorder},
};
use witan_plan::model::Notice;

/// The maximum length in bytes that Kubernetes allows for an event's note.
const EVENT_NOTE_BYTES: usize = 1024;

/// Logs a notice and publishes it as an event, whose note is cut to [`EVENT_NOTE_BYTES`]. If the publication fails, only logs
/// the error.
pub(crate) async fn publish<K: Resource<DynamicType = ()>>(
    recorder: &Recorder,
    resource: &K,
    notice: &Notice,
) {
    let (kind, namespace, name) = (K::kind(&()), resource.namespace(), resource.name_any());
    let Notice { reason, member, message, warning } = notice;
    let type_ = if *warning {
        tracing::warn!(namespace, %kind, name, reason, member, "{message}");
        EventType::Warning
    } else {
        tracing::info!(namespace, %kind, name, reason, member, "{message}");
        EventType::Normal
    };
    // Kubernetes aggregates events with the same reason under the first note. The resource version makes a note about a changed
    // resource a separate event, as in the recorder of Kubernetes.
    let about = ObjectReference {
        resource_version: resource.resource_version(),
        ..resource.object_ref(&())
    };
    let end = notice.message.floor_char_boundary(EVENT_NOTE_BYTES);
    let event = Event {
        type_,
        reason: notice.reason.to_owned(),
        note: Some(notice.message[..end].to_owned()),
        action: notice.reason.to_owned(),
        // Events of different members are not aggregated.
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
