//! Rolls out a changed template, version, peer TLS or storage, one member at a time and the leader last.
//!
//! A member that keeps its disk is restarted. A member without a disk, or whose claim must migrate, is replaced.
//!
//! A check that needs no step returns `None`.

use super::{
    objects::wait_for_secrets,
    pass::{Joined, idle, soon, uses_peer_tls},
    scale,
};
use crate::model::{MemberSeen, Ordinal, PeerTls, PodSeen, Removal, Step, Stop, Why};

/// Returns the next step of a rolling update, or a wait until its conditions are met. The caller has checked that all members
/// serve. Returns `None` if no member differs, if the user restarts members, or if a restart would lose the only copy of the
/// data.
pub(super) fn next(joined: &Joined<'_>) -> Option<Step> {
    let spec = joined.pass.spec;
    if !spec.updates_members() || !joined.has_copies() {
        return None;
    }
    let mut differing: Vec<_> = joined.own().filter_map(|at| differs(joined, at)).collect();
    // Followers come first, in descending order of their ordinals, as in a StatefulSet.
    differing.sort_by_key(|due| (due.leads, std::cmp::Reverse(due.ordinal)));
    let due = differing.into_iter().next()?;
    if let Some(wait) = wait_for_secrets(&joined.pass) {
        return Some(wait);
    }
    if let Some(why) = joined.pass.refused_version() {
        return Some(idle(why));
    }
    if joined.pass.seen.rollout_queued {
        return Some(soon(Why::RolloutQueued));
    }
    if let Some(wait) = settling(joined) {
        return Some(wait);
    }
    let approved = joined.pass.seen.allow_leader_restart == Some(joined.pass.seen.generation);
    if due.leads && spec.update_strategy().supervised && !approved {
        return Some(idle(Why::Approval(due.ordinal)));
    }
    advance(joined, &due)
}

/// A member whose pod or claim differs from the spec.
struct Due<'a> {
    ordinal: Ordinal,
    member: &'a MemberSeen,
    leads: bool,
    /// The next peer TLS mode of the pod; `None` if the mode does not change.
    peer_tls: Option<PeerTls>,
    /// The reason why the member is replaced; `None` if the member restarts on its disk.
    replaced: Option<Removal>,
}

/// Returns whether the rolling update replaces a member instead of restarting it.
pub(super) fn replaces(joined: &Joined<'_>) -> bool {
    let mut due = joined.own().filter_map(|at| differs(joined, at));
    joined.pass.spec.updates_members()
        && joined.has_copies()
        && due.any(|due| due.replaced.is_some())
}

/// Returns the pending changes of a member; `None` if its pod and its claim are up to date, or if it has no pod.
fn differs<'a>(
    joined: &Joined<'a>,
    (ordinal, member): (Ordinal, &'a MemberSeen),
) -> Option<Due<'a>> {
    let pod = joined.pass.pod(ordinal)?;
    let peer_tls = next_peer_tls(joined, pod);
    let migrates = joined.can_migrate(ordinal);
    (pod.outdated || peer_tls.is_some() || migrates).then_some(Due {
        ordinal,
        member,
        leads: joined.leader.id == member.id,
        peer_tls,
        replaced: match joined.pass.spec.is_durable() {
            true => migrates.then_some(Removal::Migrated),
            false => Some(Removal::Ephemeral),
        },
    })
}

/// Returns the next peer TLS mode of a pod toward the mode in the spec; `None` if the pod keeps its mode for now. A pod turns
/// TLS on only after all pods can connect with it. A pod drops its certificate only after all pods listen without TLS.
fn next_peer_tls(joined: &Joined<'_>, pod: &PodSeen) -> Option<PeerTls> {
    let mut others = joined.pass.pods().map(|(_, pod)| pod.peer_tls);
    match (joined.pass.spec.peer_tls().is_some(), pod.peer_tls) {
        (true, PeerTls::Off) | (false, PeerTls::On) => Some(PeerTls::Ready),
        (true, PeerTls::Ready) => others.all(|tls| tls != PeerTls::Off).then_some(PeerTls::On),
        (false, PeerTls::Ready) => others.all(|tls| tls != PeerTls::On).then_some(PeerTls::Off),
        (true, PeerTls::On) | (false, PeerTls::Off) => None,
    }
}

/// Returns a wait for the first member whose readiness changed less than `minReadySeconds` ago.
fn settling(joined: &Joined<'_>) -> Option<Step> {
    let seconds = i64::from(joined.pass.spec.update_strategy().min_ready_seconds);
    joined.own().find_map(|(ordinal, _)| {
        let pod = joined.pass.pod(ordinal)?;
        let since = joined.now().saturating_sub(pod.ready_changed);
        (since < seconds).then(|| soon(Why::Settling(ordinal)))
    })
}

/// Returns the next step that brings a member up to date. The pod is deleted last.
fn advance(joined: &Joined<'_>, due: &Due<'_>) -> Option<Step> {
    let id = due.member.id;
    if due.replaced.is_some() && !joined.has_spare_voter() {
        return scale::grow(joined, true);
    }
    if let Some(step) = joined.hand_over(id) {
        return Some(step);
    }
    if let Some(reason) = due.replaced {
        return Some(Step::RemoveMember { id, reason });
    }
    let ordinal = due.ordinal;
    Some(match due.peer_tls {
        Some(peer_tls) if uses_peer_tls(due.member) != (peer_tls == PeerTls::On) => {
            Step::UpdatePeerUrl { id, ordinal, peer_tls }
        }
        Some(peer_tls) => match joined.pass.claim(ordinal) {
            // If no member answers, the record on the claim decides how the pod starts.
            Some(claim) if claim.peer_tls != peer_tls => Step::ApplyClaim { ordinal, peer_tls },
            Some(_) | None => Step::DeletePod { ordinal, reason: Stop::PeerTls },
        },
        None => Step::DeletePod { ordinal, reason: Stop::Outdated },
    })
}

/// Returns a wait if the only member has no disk and its template has changed, because a restart would lose the data.
pub(super) fn only_copy(joined: &Joined<'_>) -> Option<Step> {
    if joined.has_copies() {
        return None;
    }
    let mut due = joined.own().filter_map(|at| differs(joined, at));
    due.next().map(|due| idle(Why::OnlyCopy(due.ordinal)))
}
