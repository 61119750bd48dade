//! Promotes a learner that has caught up, and removes a learner that cannot catch up.
//!
//! A check that needs no step returns `None`.

use super::{
    evidence::{self, Evidence, lost_disk},
    pass::{Joined, soon},
    surge,
};
use crate::model::{MemberSeen, Ordinal, PodPhase, Removal, StartKind, Step, Why};

/// Number of tenths of the leader's log that a learner must have applied before the server promotes it.
const READY_TENTHS: u64 = 9;

/// Returns the step that promotes or removes the first learner, or a wait until it catches up; `None` if there is no learner.
/// Also returns a wait while a pod runs with `--force-new-cluster`.
pub(super) fn advance(joined: &Joined<'_>) -> Option<Step> {
    if let Some(wait) = forced(joined) {
        return Some(wait);
    }
    let mut learners = joined.own().filter(|(_, member)| member.learner);
    let (ordinal, member) = learners.next()?;
    let id = member.id;
    let wanted = joined.list.voters().count() < surge::wanted(joined);
    let remove = |reason| Some(Step::RemoveMember { id, reason });
    if !wanted {
        return remove(Removal::ScaleIn);
    }
    if joined.pass.seen.replace == Some(id) {
        return remove(Removal::Requested);
    }
    if member.corrupt {
        return remove(Removal::Corrupt);
    }
    // A learner that was added before a restore can have a retired claim of the restored cluster.
    let claim = joined.pass.claim(ordinal);
    let on_retired_claim = claim.is_some_and(|claim| claim.retired) && !member.answers;
    if on_retired_claim || lost_disk(joined, ordinal, member) {
        return remove(Removal::DiskLost);
    }
    // The old claim may name a storage class that does not exist.
    let is_up = surge::is_up(joined, ordinal, member);
    if joined.can_migrate(ordinal) && joined.pass.may_update() && !is_up {
        return remove(Removal::LearnerOnOldClaim);
    }
    // A learner's pod need not be ready: etcd defines readiness only for voters.
    if member.healthy && has_caught_up(joined, member) {
        return Some(Step::Promote(id));
    }
    Some(wait_or_remove(joined, ordinal, member))
}

/// Returns whether a silent learner cannot start. A learner without a pod is assumed to be unable to start while any step is
/// refused.
pub(super) fn cannot_start(joined: &Joined<'_>, member: &MemberSeen) -> bool {
    let at = member.ordinal;
    let at = at.and_then(|ordinal| Some((ordinal, joined.pass.pod(ordinal)?)));
    let is_stuck = match at {
        Some((ordinal, pod)) => pod.obstacle.is_some() || joined.silent_too_long(ordinal, pod),
        None => !joined.pass.seen.refused.is_empty(),
    };
    !member.answers && is_stuck
}

/// Returns a wait while a pod runs with `--force-new-cluster`: if that pod restarted, it would remove a newly added member.
fn forced(joined: &Joined<'_>) -> Option<Step> {
    let mut pods = joined.pass.pods();
    let (ordinal, _) = pods.find(|(_, pod)| pod.start == StartKind::Forced)?;
    Some(soon(Why::Recovering(ordinal)))
}

/// Returns whether a learner has started and has enough of the leader's log to be promoted.
fn has_caught_up(joined: &Joined<'_>, member: &MemberSeen) -> bool {
    let needed = joined.leader.raft_index / 10 * READY_TENTHS;
    member.started && member.raft_index >= needed
}

/// Returns the step that removes a learner that is lost, or that has been silent for too long in a running pod; otherwise a
/// wait. A learner's disk holds no unique data.
fn wait_or_remove(joined: &Joined<'_>, ordinal: Ordinal, member: &MemberSeen) -> Step {
    let behind = Why::LearnerBehind(member.id);
    let Some(pod) = joined.pass.pod(ordinal) else {
        return soon(behind);
    };
    if pod.ready || member.answers {
        return soon(behind);
    }
    let remove = |reason| Step::RemoveMember { id: member.id, reason };
    match evidence::of(joined, ordinal, pod) {
        Evidence::BadDisk => remove(Removal::BadDisk),
        Evidence::NodeLost => remove(Removal::NodeLost),
        Evidence::Silent if pod.phase == PodPhase::Running => remove(Removal::Silent),
        Evidence::Silent | Evidence::Wait(Why::Unhealthy(_)) => soon(behind),
        Evidence::Wait(why) => soon(why),
    }
}
