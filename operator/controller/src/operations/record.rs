//! The status of operations and their order on a cluster.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::ResourceExt as _;
use witan_crd::{EtcdCluster, EtcdOperation, EtcdOperationStatus, OperationPhase, Verb};
use witan_plan::model::MemberId;

use crate::report::{self, ConditionState};

/// Returns the operation that comes before `of` on the same cluster: the running operation, or else the oldest of the most
/// urgent pending operations. Returns `None` if `of` itself is first. Ignores operations that have ended, are being deleted or
/// have no known verb.
pub(super) fn first<'a>(of: &EtcdOperation, all: &'a [EtcdOperation]) -> Option<&'a EtcdOperation> {
    let rank = |each: &EtcdOperation| {
        // A later release may have begun an operation in an unknown phase.
        let runs = matches!(
            phase(each),
            OperationPhase::Running | OperationPhase::Unknown(_)
        );
        let created = each.creation_timestamp().map(|time| time.0);
        let urgency = each.spec.verb().map(urgency);
        (!runs, urgency, created, each.name_any())
    };
    let others = all.iter().filter(|each| {
        let status = each.status.as_ref();
        let done = status.is_some_and(|status| status.completed_at.is_some());
        let same = each.spec.cluster_name == of.spec.cluster_name && each.uid() != of.uid();
        let is_known = each.spec.verb().is_some();
        same && is_known && !done && each.metadata.deletion_timestamp.is_none()
    });
    let best = others.min_by_key(|each| rank(each))?;
    (rank(best) < rank(of)).then_some(best)
}

/// Returns the phase of an operation; `Pending` if none is recorded.
pub(super) fn phase(operation: &EtcdOperation) -> OperationPhase {
    let status = operation.status.as_ref();
    let phase = status.and_then(|status| status.phase.clone());
    phase.unwrap_or(OperationPhase::Pending)
}

/// Returns the rank of a verb; the operation with the lowest rank runs first. Repairs precede operations that need a serving
/// cluster.
fn urgency(verb: Verb<'_>) -> u8 {
    match verb {
        Verb::RecoverQuorum(_) => 0,
        Verb::UndoRestore(_) => 1,
        Verb::Restore(_) => 2,
        Verb::MoveLeader(_)
        | Verb::ReplaceMember(_)
        | Verb::Restart
        | Verb::MigrateStorage
        | Verb::RotateCertificates
        | Verb::ConsistencyCheck => 3,
    }
}

/// Returns the status of an operation, completed with its verb and its creator.
pub(super) fn described(operation: &EtcdOperation) -> EtcdOperationStatus {
    let mut status = operation.status.clone().unwrap_or_default();
    let verb = operation.spec.verb();
    status.verb = verb.map(|verb| verb.name().to_owned());
    status.requested_by = requested_by(operation);
    status
}

/// Returns the id of the member to replace, according to the status of the cluster. Returns `None` if the operation replaces no
/// member or the status has no id for it.
pub(super) fn member_to_replace(
    operation: &EtcdOperation,
    cluster: &EtcdCluster,
) -> Option<String> {
    let named = &operation.spec.replace_member.as_ref()?.name;
    let mut members = cluster.status.as_ref()?.members.iter();
    members.find(|member| member.name == *named)?.id.clone()
}

/// Returns a message if `member` is not the member that had the name when the operation was first seen.
pub(super) fn was_replaced(
    status: &EtcdOperationStatus,
    member: Option<&(String, MemberId)>,
) -> Option<String> {
    let (name, id) = member?;
    let before = status.member_id.as_ref()?;
    let now = format!("{id:x}");
    (*before != now).then(|| {
        format!(
            "{name} is another member now: its id was {before} when the operation was created, and is {now}. To replace {name}, create \
             the operation again under another name"
        )
    })
}

/// Returns the field manager that created an operation: the oldest field manager that did not write a subresource; `None` if no
/// such manager is recorded.
fn requested_by(operation: &EtcdOperation) -> Option<String> {
    let writes = operation.managed_fields().iter();
    let own = writes.filter(|write| write.subresource.is_none());
    let oldest = own.min_by_key(|write| write.time.as_ref().map(|time| time.0))?;
    oldest.manager.clone()
}

/// Returns the `Succeeded` condition, which is unknown until the operation ends.
pub(super) fn conditions(
    operation: &EtcdOperation,
    status: &EtcdOperationStatus,
    reason: &str,
) -> Vec<Condition> {
    let value = match status.phase {
        Some(OperationPhase::Succeeded) => "True",
        Some(OperationPhase::Failed) => "False",
        Some(OperationPhase::Running | OperationPhase::Pending | OperationPhase::Unknown(_))
        | None => "Unknown",
    };
    let message = status.message.clone().or_else(|| status.progress.clone());
    let message = message.unwrap_or_default();
    let state = ConditionState { status: value, reason, message };
    let generation = operation.metadata.generation;
    let made = report::condition(&status.conditions, "Succeeded", state, generation, now());
    vec![made]
}

/// Returns the current time in whole seconds, as the API server stores it.
pub(super) fn now() -> Time {
    report::time(Timestamp::now().as_second())
}
