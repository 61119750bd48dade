//! Scales to `spec.replicas`, one member at a time: adds a learner, or removes the member with the highest ordinal. `repair`
//! runs first and removes members that do not recover.

use super::{grow, pass::Joined, surge};
use crate::model::{Removal, Step, Stop};

/// Returns the next step towards the wanted number of members. The caller has checked that all members serve and vote.
pub(super) fn step(joined: &Joined<'_>) -> Option<Step> {
    let members = joined.list.members.len();
    match members.cmp(&surge::wanted(joined)) {
        std::cmp::Ordering::Less => grow::step(joined, false),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => shrink(joined),
    }
}

/// Returns the step that stops or removes the member with the highest ordinal. The pod stops before the member is removed, so
/// that clients reconnect, unless the member's vote is needed until then.
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
