//! The time limit of a running operation.

use kube::ResourceExt as _;
use witan_crd::{EtcdCluster, EtcdOperation, Verb};

use super::{
    once::{Refusal, refusal},
    record::now,
};

/// Default time limit in seconds within which an operation that stops all members must begin to stop them.
const ACTIVE_DEADLINE_S: i64 = 3600;

/// Returns why a running operation has exceeded its time; `None` once members were stopped for a restore or a recovery,
/// because it must not be left half done.
pub(super) fn exceeded(operation: &EtcdOperation, cluster: &EtcdCluster) -> Option<Refusal> {
    let stops_all = operation.spec.verb().is_some_and(Verb::stops_all_members);
    let by_default = stops_all.then_some(ACTIVE_DEADLINE_S);
    let limit = operation.spec.active_deadline_seconds.or(by_default)?;
    let begun = operation.status.as_ref()?.started_at.as_ref()?;
    let age = now().0.as_second().saturating_sub(begun.0.as_second());
    if age < limit || has_stopped_members(operation, cluster) {
        return None;
    }
    let rest = match operation.spec.verb()? {
        Verb::ReplaceMember(_) => "its request is removed",
        Verb::MigrateStorage => "the remaining members keep their claims",
        Verb::Restart | Verb::RotateCertificates => {
            "the operator continues with the remaining members"
        }
        Verb::RecoverQuorum(_) | Verb::Restore(_) | Verb::UndoRestore(_) => "no member was stopped",
        Verb::MoveLeader(_) | Verb::ConsistencyCheck => "nothing was changed",
    };
    let progress = operation.status.as_ref()?.progress.clone();
    let progress = progress.map(|last| format!("; last progress: {last}"));
    let text = format!(
        "the operation did not {} within {limit} s (spec.activeDeadlineSeconds); {rest}{}",
        if stops_all { "stop members" } else { "end" },
        progress.unwrap_or_default()
    );
    refusal("DeadlineExceeded", text)
}

/// Returns whether the status of the cluster records the restore or recovery of this operation.
fn has_stopped_members(operation: &EtcdOperation, cluster: &EtcdCluster) -> bool {
    let Some(status) = &cluster.status else {
        return false;
    };
    let (restore, recovery) = (status.restore.as_ref(), status.recovery.as_ref());
    let restores = restore.is_some_and(|one| Some(&one.operation_uid) == operation.uid().as_ref());
    let asked = operation.spec.recover_quorum.as_ref();
    let survivor = asked.map(|asked| &asked.survivor);
    restores || recovery.is_some_and(|recovery| Some(&recovery.member) == survivor)
}
