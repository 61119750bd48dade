//! When nothing may be done, and pods that a person wants stopped.

use super::{
    idle,
    pass::{Joined, Pass},
    soon,
};
use crate::model::{Ordinal, Said, Step, Stop, Why};

/// Waits if the cluster is being deleted: Kubernetes deletes what the cluster owns.
pub(super) fn deleting(pass: &Pass<'_>) -> Option<Step> {
    pass.seen.deleting.then(|| idle(Why::Deleting)).flatten()
}

pub(super) fn paused(pass: &Pass<'_>) -> Option<Step> {
    pass.spec.paused.then(|| idle(Why::Paused)).flatten()
}

/// Waits for a person if members report different cluster ids, or another one than the status records. A disk that is left of
/// a first try, on which nothing was ever decided, gives way without one.
pub(super) fn other_cluster(pass: &Pass<'_>) -> Option<Step> {
    let list = pass.seen.membership.as_ref()?;
    let recorded = pass.status.cluster_id.as_ref();
    let differs = recorded.is_some_and(|id| *id != format!("{:x}", list.cluster_id));
    if differs {
        return idle(Why::ClusterIdMismatch);
    }
    let mut said = list.said.iter();
    let left = said.find_map(|(ordinal, said)| left_over(pass, *ordinal, *said));
    // before a first quorum nobody's data counts, if nobody has any
    let counts = pass.was_born() || list.said.values().any(|said| !said.blank);
    let differ = counts && list.strangers().next().is_some();
    left.or_else(|| idle(Why::ClusterIdMismatch).filter(|_| differ))
}

/// Deletes the claim and then the pod of a member that began in an earlier EtcdCluster of this name, and never had a quorum
/// there: a quorum serves without it, or, before one does, its list is of another length than that of this cluster.
fn left_over(pass: &Pass<'_>, ordinal: Ordinal, said: Said) -> Option<Step> {
    let list = pass.seen.membership.as_ref()?;
    let begun = pass.status.bootstrap_members;
    let begun = begun.and_then(|members| usize::try_from(members).ok());
    let other = match pass.was_born() {
        true => list.linearizable && said.cluster_id != list.cluster_id,
        false => begun.is_some_and(|members| members != said.members),
    };
    let claim = pass.claim(ordinal).filter(|claim| !claim.served);
    let (claim, pod) = (claim?, pass.pod(ordinal)?);
    if !other || !said.blank {
        return None;
    }
    let reason = Stop::NotAMember;
    match (claim.deleting, pod.deleting) {
        (false, _) => Some(Step::DeleteClaim { ordinal }),
        (true, false) => Some(Step::DeletePod { ordinal, reason }),
        (true, true) => soon(Why::PodEnding(ordinal)),
    }
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
