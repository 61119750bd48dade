//! The number of members follows the spec, one member at a time: up by a learner at the lowest free ordinal, down
//! from the highest one. A member that had its time to come back goes before it (`repair`).

use super::{pass::Joined, soon};
use crate::model::{Ordinal, Removal, Step, Stop, Why};

/// Returns the next step towards the number of members that the spec asks for. The caller has checked that
/// all members serve and vote.
pub(super) fn step(joined: &Joined<'_>) -> Option<Step> {
    let members = joined.list.members.len();
    let wanted = joined.pass.spec.members() as usize;
    match members.cmp(&wanted) {
        std::cmp::Ordering::Less => grow(joined),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => shrink(joined),
    }
}

/// Adds a learner at the lowest free ordinal, once the pod and the claim of an earlier member of that ordinal
/// are gone.
fn grow(joined: &Joined<'_>) -> Option<Step> {
    // There are fewer members than wanted, so that one of these is free.
    let bound = Ordinal::try_from(joined.list.members.len()).unwrap_or(Ordinal::MAX);
    let ordinal = (0..=bound).find(|ordinal| joined.list.of(*ordinal).is_none())?;
    let pass = &joined.pass;
    if let Some(wait) = pass.taken_of(ordinal) {
        return Some(wait);
    }
    if pass.pod(ordinal).is_some() {
        return soon(Why::PodEnding(ordinal));
    }
    Some(match pass.claim(ordinal) {
        Some(claim) if claim.deleting => return soon(Why::ClaimEnding(ordinal)),
        Some(_) => Step::DeleteClaim { ordinal },
        None => Step::AddLearner { ordinal, peer_tls: pass.peer_tls_of_new() },
    })
}

/// Stops or removes the member of the highest ordinal. It stops before its removal, so that its clients go to
/// others, unless its vote is needed until then.
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
