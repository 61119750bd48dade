//! Replaces a voter that answers: its replacement votes before the voter is removed, so the number of voters never falls below
//! `spec.replicas`. `repair` removes a silent voter before it adds a replacement, because the voter may never recover.

use super::{
    objects::wait_for_secrets,
    pass::{Joined, STUCK_SECONDS, idle},
    roll, scale,
};
use crate::model::{MemberId, MemberSeen, Ordinal, Removal, Step, Why};

/// Returns the desired number of members: `spec.replicas`, plus one while a voter that answers is replaced. If the voter
/// becomes silent after its replacement has been added, the replacement stays, so that its data need not be transferred again.
pub(super) fn wanted(joined: &Joined<'_>) -> usize {
    let is_added = joined.list.members.iter().any(|member| member.learner);
    let voters = joined.own().filter(|(_, member)| !member.learner);
    let mut due = voters.filter(|(ordinal, member)| is_added || is_up(joined, *ordinal, member));
    let replaces = due.any(|(ordinal, member)| must_go(joined, ordinal, member).is_some());
    joined.pass.spec.members() as usize + usize::from(replaces || roll::replaces(joined))
}

/// Returns whether a member answers or has answered recently. One missed call does not prove that the member is down.
pub(super) fn is_up(joined: &Joined<'_>, ordinal: Ordinal, member: &MemberSeen) -> bool {
    member.answers || !joined.silent_for(ordinal, STUCK_SECONDS)
}

/// Returns whether the list has more members than [`wanted`].
pub(super) fn surplus(joined: &Joined<'_>) -> bool {
    joined.list.members.len() > wanted(joined)
}

/// Returns whether this member is removed next because the spec requests fewer members.
pub(super) fn is_removed_next(joined: &Joined<'_>, ordinal: Ordinal) -> bool {
    surplus(joined) && joined.last().is_some_and(|(last, _)| last == ordinal)
}

/// Returns whether this member is removed next and the other members have a quorum without it. Such a member need not start
/// again.
pub(super) fn leaves(joined: &Joined<'_>, ordinal: Ordinal, id: MemberId) -> bool {
    is_removed_next(joined, ordinal) && joined.may_remove(id)
}

/// Returns why a voter that may still answer must be replaced; `None` if the voter stays or is fenced. Without self-healing,
/// the deletion of its claim is no reason.
pub(super) fn must_go(
    joined: &Joined<'_>,
    ordinal: Ordinal,
    member: &MemberSeen,
) -> Option<Removal> {
    let pass = &joined.pass;
    if pass.is_fenced(ordinal) {
        return None;
    }
    if pass.seen.replace == Some(member.id) {
        return Some(Removal::Requested);
    }
    let deleting = pass.claim(ordinal).is_some_and(|claim| claim.deleting);
    let lost = pass.spec.is_durable() && deleting && pass.spec.self_healing().enabled;
    lost.then_some(Removal::DiskLost)
}

/// Returns the next step that replaces a voter: adds a learner, transfers leadership or removes the voter. Returns a wait while
/// there is a learner, a secret is missing, or the other voters have no quorum. If a change of peer TLS has cut the voter off,
/// the step restores the peer URL that matches its pod. A restart would lose the disk.
pub(super) fn step(joined: &Joined<'_>, ordinal: Ordinal, id: MemberId, reason: Removal) -> Step {
    let waits = idle(Why::CannotReplace(ordinal));
    if let Some(pod) = joined.pass.pod(ordinal)
        && joined.pass.is_cut_off(ordinal, pod)
    {
        return Step::UpdatePeerUrl { id, ordinal, peer_tls: pod.peer_tls };
    }
    if joined.list.members.iter().any(|member| member.learner) {
        return waits;
    }
    if !joined.has_spare_voter() {
        let missing = wait_for_secrets(&joined.pass);
        return missing
            .or_else(|| scale::grow(joined, false))
            .unwrap_or(waits);
    }
    if !joined.may_remove(id) {
        return waits;
    }
    let remove = Step::RemoveMember { id, reason };
    joined.hand_over(id).unwrap_or(remove)
}
