//! Scales to `spec.replicas`, one member at a time: adds a learner at the lowest free ordinal, or removes the highest one.
//! `repair` removes a member that did not recover before that.

use super::{pass::Joined, soon, surge};
use crate::model::{Ordinal, Removal, Step, Stop, Why};

/// Returns the next step towards the wanted number of members. The caller has checked that all members serve and vote.
pub(super) fn step(joined: &Joined<'_>) -> Option<Step> {
    let members = joined.list.members.len();
    match members.cmp(&surge::wanted(joined)) {
        std::cmp::Ordering::Less => grow(joined),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => shrink(joined),
    }
}

/// Adds a learner at the lowest ordinal without a pod or a claim. Waits for objects that are being deleted, but skips ordinals
/// whose deletion hangs or whose disk is kept.
pub(super) fn grow(joined: &Joined<'_>) -> Option<Step> {
    let pass = &joined.pass;
    let free = (0..=Ordinal::MAX).filter(|ordinal| joined.list.of(*ordinal).is_none());
    for ordinal in free {
        match (pass.pod(ordinal), pass.claim(ordinal)) {
            (None, None) => {
                if let Some(wait) = pass.wait_for_names_of(ordinal) {
                    return Some(wait);
                }
                let peer_tls = pass.peer_tls_of_new();
                return Some(Step::AddLearner { ordinal, peer_tls, rolling: false });
            }
            (_, Some(claim)) if claim.overdue || !claim.deleting => {}
            (Some(pod), _) if pod.overdue => {}
            (Some(_), _) => return Some(soon(Why::PodEnding(ordinal))),
            (None, Some(_)) => return Some(soon(Why::ClaimEnding(ordinal))),
        }
    }
    None
}

/// Stops or removes the member with the highest ordinal. It stops before it is removed, so that its clients reconnect, unless
/// its vote is needed until then.
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
