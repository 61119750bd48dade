//! Scales to `spec.replicas`, one member at a time: adds a learner, or removes the member with the highest ordinal. `repair`
//! runs first and removes members that do not recover.
//!
//! A check that needs no step returns `None`.

use super::{
    pass::{Joined, soon},
    restore, surge,
};
use crate::model::{Ordinal, Removal, Step, Stop, Why};

/// Returns the next step toward the desired number of members. The caller has checked that all members serve and vote.
pub(super) fn step(joined: &Joined<'_>) -> Option<Step> {
    let members = joined.list.members.len();
    match members.cmp(&surge::wanted(joined)) {
        std::cmp::Ordering::Less => grow(joined, false),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => shrink(joined),
    }
}

/// Returns the step that adds a learner at the lowest free ordinal, or a wait while a pod or claim is being deleted. Skips an
/// ordinal whose pod or claim is stuck in deletion, or whose claim is kept. Also skips reserved ordinals. `rolling` marks a step
/// of a rolling update.
pub(super) fn grow(joined: &Joined<'_>, rolling: bool) -> Option<Step> {
    let pass = &joined.pass;
    let is_free = |at: &Ordinal| joined.list.of(*at).is_none() && !restore::is_reserved(pass, *at);
    let mut free = (0..=Ordinal::MAX).filter(is_free);
    free.find_map(|ordinal| match (pass.pod(ordinal), pass.claim(ordinal)) {
        (None, None) => {
            let peer_tls = pass.peer_tls_of_new();
            let add = Step::AddLearner { ordinal, peer_tls, rolling };
            Some(pass.wait_for_names_of(ordinal).unwrap_or(add))
        }
        (_, Some(claim)) if claim.overdue || !claim.deleting => None,
        (Some(pod), _) if pod.overdue => None,
        (Some(_), _) => Some(soon(Why::PodEnding(ordinal))),
        (None, Some(_)) => Some(soon(Why::ClaimEnding(ordinal))),
    })
}

/// Returns the step that stops or removes the member with the highest ordinal. The pod stops before the member is removed, so
/// that clients reconnect, unless the member's vote is needed until then. A leader first transfers leadership. Returns `None`
/// if the other members would have no quorum.
fn shrink(joined: &Joined<'_>) -> Option<Step> {
    let (ordinal, member) = joined.last()?;
    let id = member.id;
    if !joined.may_remove(id) {
        return None;
    }
    let step = if joined.may_stop(id) {
        let reason = Stop::ScaleIn;
        Step::DeletePod { ordinal, reason }
    } else {
        let reason = Removal::ScaleIn;
        Step::RemoveMember { id, reason }
    };
    joined.hand_over(id).or(Some(step))
}
