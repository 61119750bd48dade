//! States in which the operator changes nothing (paused, forked, another cluster id), fenced members, hibernation, and
//! leftovers of a failed bootstrap.
//!
//! A check that needs no step returns `None`.

use witan_crd::RestorePhase;

use super::pass::{Joined, Pass, idle, soon};
use crate::model::{
    ClusterReport, FORKED, MemberId, Membership, Ordinal, PodSeen, Role, Step, Stop, Why,
};

/// Returns a wait if the user has paused the cluster, or if a later release of the operator wrote a value that is unknown here.
pub(super) fn suspended(pass: &Pass<'_>) -> Option<Step> {
    let paused = pass.spec.paused.then_some(Why::Paused);
    let later = pass.seen.later.as_ref().map(|_| Why::LaterOperator);
    paused.or(later).map(idle)
}

/// Returns a wait if members report different cluster ids, or an id that differs from the status. Once the cluster has served,
/// leftovers of a failed bootstrap are ignored. Before that, different ids are accepted while no member has data.
pub(super) fn other_cluster(pass: &Pass<'_>) -> Option<Step> {
    let list = pass.seen.membership.as_ref()?;
    let recorded = pass.status.cluster_id.as_ref();
    let other = recorded.is_some_and(|id| *id != format!("{:x}", list.cluster_id));
    let mut others = list.of_other_clusters();
    let differ = match pass.has_served() {
        true => others.any(|(ordinal, report)| !is_left_over(pass, ordinal, report)),
        // If no member has data, starting the other members does not change a disk.
        false => others.next().is_some() && list.reports.values().any(|report| !report.blank),
    };
    (other || differ).then(|| idle(Why::ClusterIdMismatch))
}

/// Returns a wait if the cluster may have forked. Either pods serve with two quorums under one cluster id, or the confirmed
/// list lacks most of the voters in the status. The operator cannot determine which quorum to keep. The operator reports a fork
/// until every pod and claim belongs to a listed member.
pub(super) fn forked(pass: &Pass<'_>) -> Option<Step> {
    let list = pass.seen.membership.as_ref()?;
    let forked = list.forked().next().is_some();
    let conditions = pass.status.conditions.iter();
    let mut degraded = conditions.filter(|one| one.type_ == "Degraded" && one.status == "True");
    let was_forked = degraded.any(|one| one.reason == FORKED);
    let remains = was_forked
        && pass.seen.ordinals.iter().any(|(ordinal, seen)| {
            let pod = seen.pod.as_ref().is_some_and(|pod| !pod.deleting);
            let claim = seen.claim.as_ref();
            let claim = claim.is_some_and(|claim| !claim.deleting && !claim.retired);
            list.of(*ordinal).is_none() && (pod || claim)
        });
    (forked || remains || lacks_most_recorded_voters(pass, list)).then(|| idle(Why::Forked))
}

/// Returns whether a confirmed list lacks most of the voters in the status. The operator removes only one member per pass, so
/// such a list belongs to a different history. Returns `false` during a recovery and an in-place restore, because both replace
/// members.
fn lacks_most_recorded_voters(pass: &Pass<'_>, list: &Membership) -> bool {
    let recorded = pass.status.members.iter();
    let voters = recorded.filter(|member| !member.is_learner);
    let ids = voters.filter_map(|member| MemberId::from_str_radix(member.id.as_deref()?, 16).ok());
    let left = ids.clone().filter(|id| list.by_id(*id).is_some());
    let restore = pass.status.restore.as_ref();
    let restores = restore.is_some_and(|restore| restore.phase != RestorePhase::Done);
    let recovers = pass.status.recovery.is_some();
    list.linearizable && !recovers && !restores && 2 * left.count() < ids.count()
}

/// Returns whether a member without data is a leftover of an earlier EtcdCluster of this name. Such a member is blank, is in a
/// different cluster than the serving quorum, and its claim is not marked as served.
fn is_left_over(pass: &Pass<'_>, ordinal: Ordinal, report: &ClusterReport) -> bool {
    let joined = pass.joined();
    let elsewhere = joined.is_some_and(|joined| joined.list.cluster_id != report.cluster_id);
    let unserved = pass.claim(ordinal).is_some_and(|claim| !claim.served);
    elsewhere && report.blank && unserved
}

/// Returns the step that deletes the claim, then the pod, of the first unfenced leftover, or a wait while both are being
/// deleted.
pub(super) fn left_over(joined: &Joined<'_>) -> Option<Step> {
    let pass = &joined.pass;
    let others = joined.list.of_other_clusters();
    let left = others.filter(|(ordinal, report)| is_left_over(pass, *ordinal, report));
    let left = left.filter(|(ordinal, _)| !pass.is_fenced(*ordinal));
    joined.first(left.filter_map(|(ordinal, _)| {
        let reason = Stop::NotAMember;
        match (pass.claim(ordinal)?.deleting, pass.pod(ordinal)?.deleting) {
            (false, _) => Some(Step::DeleteClaim(ordinal)),
            (true, false) => Some(Step::DeletePod { ordinal, reason }),
            (true, true) => Some(soon(Why::PodEnding(ordinal))),
        }
    }))
}

/// Returns the step that stops the pod with the highest ordinal if `spec.replicas` is 0. Disks are kept. Returns a wait once
/// all pods are stopped, or if a voter would lose its data.
pub(super) fn hibernate(pass: &Pass<'_>) -> Option<Step> {
    if pass.spec.replicas != 0 {
        return None;
    }
    if !pass.spec.is_durable() && pass.has_served() {
        return Some(idle(Why::CannotHibernate));
    }
    let loses_disk = |at: &Ordinal| pass.claim(*at).is_some_and(|claim| claim.deleting);
    let votes = |at: Ordinal, pod: &PodSeen| match &pass.seen.membership {
        Some(list) => list.of(at).is_some_and(|member| !member.learner),
        None => pod.role == Role::Voter,
    };
    let voters = pass.pods().filter(|(at, pod)| votes(*at, pod));
    let mut ordinals = voters.map(|(ordinal, _)| ordinal);
    if let Some(ordinal) = ordinals.find(loses_disk) {
        return Some(idle(Why::CannotStop(ordinal)));
    }
    let running = pass.pods().filter(|(_, pod)| !pod.deleting);
    match running.map(|(ordinal, _)| ordinal).max() {
        Some(ordinal) => Some(Step::DeletePod { ordinal, reason: Stop::Hibernated }),
        None => Some(idle(Why::Hibernated)),
    }
}

/// Returns the step that stops the first fenced member that the other members do not need for a quorum. A leader first
/// transfers leadership. Returns a wait if no fenced member may be stopped.
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
            wait = wait.or(Some(idle(Why::CannotFence(*ordinal))));
            continue;
        }
        return joined.hand_over(member.id).or(Some(Step::DeletePod {
            ordinal: *ordinal,
            reason: Stop::Fenced,
        }));
    }
    wait
}
