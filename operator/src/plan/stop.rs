//! When nothing may be done, and pods that a person wants stopped.

use std::collections::BTreeSet;

use super::{
    idle,
    pass::{Joined, Pass},
};
use crate::model::{Step, Stop, Why};

/// Waits if the cluster is being deleted: Kubernetes deletes what the cluster owns.
pub(super) fn deleting(pass: &Pass<'_>) -> Option<Step> {
    pass.seen.deleting.then(|| idle(Why::Deleting)).flatten()
}

pub(super) fn paused(pass: &Pass<'_>) -> Option<Step> {
    pass.spec.paused.then(|| idle(Why::Paused)).flatten()
}

/// Waits for a person if members report different cluster ids, or another one than the status records.
pub(super) fn other_cluster(pass: &Pass<'_>) -> Option<Step> {
    let list = pass.seen.membership.as_ref()?;
    let mut ids: BTreeSet<String> = list.cluster_ids.iter().map(|id| hex(*id)).collect();
    ids.extend(pass.status.cluster_id.clone());
    (ids.len() > 1)
        .then(|| idle(Why::ClusterIdMismatch))
        .flatten()
}

fn hex(id: u64) -> String {
    format!("{id:x}")
}

/// Stops the pod of the highest ordinal if the spec asks for no members, and waits when all are stopped; the
/// disks stay.
pub(super) fn hibernate(pass: &Pass<'_>) -> Option<Step> {
    if pass.spec.replicas != 0 {
        return None;
    }
    if !pass.spec.is_durable() && pass.was_born() {
        return idle(Why::CannotHibernate);
    }
    let running = pass.pods().filter(|(_, pod)| !pod.deleting);
    match running.map(|(ordinal, _)| ordinal).max() {
        Some(ordinal) => Some(Step::DeletePod { ordinal, reason: Stop::Hibernated }),
        None => idle(Why::Hibernated),
    }
}

/// Stops the first member that the annotation fences, if the others have a quorum without it.
pub(super) fn fence(joined: &Joined<'_>) -> Option<Step> {
    let mut wait = None;
    for ordinal in &joined.pass.seen.fenced {
        let running = joined.pass.pod(*ordinal).is_some_and(|pod| !pod.deleting);
        let Some(member) = joined.list.of(*ordinal).filter(|_| running) else {
            continue;
        };
        // Even a corrupt member has a vote that a quorum may need.
        let ready = joined.pass.pod(*ordinal).is_some_and(|pod| pod.ready);
        let votes = !member.learner && (ready || member.answers);
        if votes && !joined.may_stop(member.id) {
            wait = wait.or(idle(Why::CannotFence(*ordinal)));
            continue;
        }
        return joined.hand_over(member.id).or(Some(Step::DeletePod {
            ordinal: *ordinal,
            reason: Stop::Fenced,
        }));
    }
    wait
}
