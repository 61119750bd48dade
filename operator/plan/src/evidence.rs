//! Decides whether a member that does not answer (a silent member) is lost.
//!
//! A member that answers is alive, regardless of the state of its pod. A silent member is lost if its process reports an
//! unusable disk. Elapsed time alone is evidence only if the spec sets `selfHealing.nodeLostAfter`, or if the member has no
//! durable disk.

use super::{
    objects::wait_for_secrets,
    pass::{Joined, Pass},
};
use crate::model::{MemberSeen, Obstacle, Ordinal, Part, PodPhase, PodSeen, Step, Why};

/// Exit codes that report an unusable disk (`docs/operating/monitoring.md`). For any other code, a new disk would not help.
const BAD_DISK: [i32; 5] = [23, 27, 28, 30, 35];

/// Minimum time in seconds between two recreations of a silent member's pod.
const REMADE_SECONDS: i64 = 3600;

/// The evidence about a member that does not answer.
pub(super) enum Evidence {
    /// The member's process reports an unusable disk.
    BadDisk,
    /// The member has been silent for `selfHealing.nodeLostAfter`, and its node does not report or does not terminate its pod.
    NodeLost,
    /// The member has been silent and its pod unready for `selfHealing.unhealthyAfter`. The reason is unknown.
    Silent,
    /// The member may still recover, or a new disk would not help.
    Wait(Why),
}

/// Judges a member whose pod exists but that does not answer. While a secret of the cluster is missing, no member is considered
/// lost.
pub(super) fn of(joined: &Joined<'_>, ordinal: Ordinal, pod: &PodSeen) -> Evidence {
    let missing = wait_for_secrets(&joined.pass);
    if missing.is_none() && is_node_lost(joined, ordinal, pod) {
        return Evidence::NodeLost;
    }
    if pod.deleting {
        return Evidence::Wait(Why::PodEnding(ordinal));
    }
    if let Some(Step::Wait { why, .. }) = missing {
        return Evidence::Wait(why);
    }
    match (pod.obstacle, pod.exit) {
        (Some(obstacle), _) => Evidence::Wait(Why::Obstacle(ordinal, obstacle)),
        (None, Some(code)) if BAD_DISK.contains(&code) => Evidence::BadDisk,
        (None, Some(code)) => Evidence::Wait(Why::Exited(ordinal, code)),
        (None, None) if joined.silent_too_long(ordinal, pod) => Evidence::Silent,
        (None, None) => Evidence::Wait(Why::Unhealthy(ordinal)),
    }
}

/// Returns whether the conditions of [`Evidence::NodeLost`] hold; `false` if `selfHealing.nodeLostAfter` is not set.
fn is_node_lost(joined: &Joined<'_>, ordinal: Ordinal, pod: &PodSeen) -> bool {
    let patience = joined.pass.spec.self_healing().node_lost_after;
    let away = pod.obstacle == Some(Obstacle::NodeNotReady) || (pod.deleting && pod.overdue);
    away && patience.is_some_and(|span| joined.silent_for(ordinal, span.seconds()))
}

/// Returns whether a voter's process reports an unusable disk even though a serving member has the same template. The serving
/// member rules out image and flags as the cause.
pub(super) fn proves_bad_disk(joined: &Joined<'_>, pod: &PodSeen) -> bool {
    let bad = pod.exit.is_some_and(|code| BAD_DISK.contains(&code));
    let mut serving = joined.own().filter(|(_, member)| joined.serves(member));
    bad && serving.any(|(ordinal, _)| {
        let other = joined.pass.pod(ordinal);
        other.is_some_and(|other| other.template == pod.template)
    })
}

/// Returns whether a member's pod was recreated within the last hour because the member was silent; `false` without a claim.
pub(super) fn recreated_within_hour(joined: &Joined<'_>, ordinal: Ordinal) -> bool {
    let remade = joined.pass.claim(ordinal).and_then(|claim| claim.remade);
    remade.is_some_and(|at| joined.now().saturating_sub(at) < REMADE_SECONDS)
}

/// Returns whether the data of a member is lost, or will be lost because its claim is being deleted. Before the member has
/// started, only a lost volume is evidence. A missing claim is not evidence if another object has its name. While a member
/// with durable storage answers, only the deletion of its claim is evidence. Without durable storage, a member loses its data
/// with its pod.
pub(super) fn lost_disk(joined: &Joined<'_>, ordinal: Ordinal, member: &MemberSeen) -> bool {
    let pod = joined.pass.pod(ordinal);
    if joined.pass.spec.is_durable() {
        let claim = joined.pass.claim(ordinal);
        let lost = claim.is_some_and(|claim| claim.lost && !member.answers);
        let is_taken = joined.pass.seen.taken.contains_key(&Part::Claim(ordinal));
        let gone = match claim {
            Some(claim) => claim.deleting,
            None => !member.answers && !is_taken,
        };
        lost || (member.started && gone)
    } else {
        let going = |pod: &PodSeen| pod.deleting && !member.answers;
        let gone = pod.is_none_or(|pod| pod.phase == PodPhase::Ended || going(pod));
        member.started && gone
    }
}

/// Returns whether a pod can never start, because its claim was deleted before its container started. Kubernetes does not wait
/// for a pod without a node when it deletes a claim.
pub(super) fn lacks_claim(pass: &Pass<'_>, ordinal: Ordinal, pod: &PodSeen) -> bool {
    let gone = pass.claim(ordinal).is_none_or(|claim| claim.deleting);
    let is_taken = pass.seen.taken.contains_key(&Part::Claim(ordinal));
    let waits = pod.phase == PodPhase::Pending && pass.is_stuck(pod);
    pass.spec.is_durable() && waits && gone && !is_taken
}
