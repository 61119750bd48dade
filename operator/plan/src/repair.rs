//! Repairs a cluster: recreates missing pods, replaces members that do not recover, and cleans up after removed members.
//!
//! A check that needs no step returns `None`.

use witan_crd::{OnCorruption, Retention};

use super::{
    evidence::{self, Evidence, lost_disk},
    learner,
    objects::wait_for_secrets,
    pass::{Joined, idle, soon},
    recover, surge,
};
use crate::model::{
    Bootstrap, ClaimSeen, JoinMember, MemberId, MemberSeen, Obstacle, Ordinal, PodPhase, PodPlan,
    PodSeen, Removal, Role, StartKind, Step, Stop, Why,
};

/// Time in seconds for a corrupt member to rebuild its state. The cluster refuses v3 writes while a member is corrupt.
const REBUILD_SECONDS: i64 = 60;

/// Returns the step that cleans up the first ordinal without a member. The pod is deleted first (for a learner, after its
/// claim); then the claim is deleted or retired. Returns a wait if another member still lists the ordinal. The confirmed list
/// may belong to a forced member while the other members elect a leader.
pub(super) fn leftovers(joined: &Joined<'_>) -> Option<Step> {
    let ordinals = joined.pass.seen.ordinals.iter();
    let gone = ordinals.filter(|(ordinal, _)| joined.list.of(**ordinal).is_none());
    let steps = gone.filter_map(|(ordinal, seen)| {
        let ordinal = *ordinal;
        if joined.list.listed_by_others.contains(&ordinal) {
            return Some(soon(Why::StillListed(ordinal)));
        }
        let claim = seen.claim.as_ref().filter(|claim| !claim.deleting);
        let Some(pod) = &seen.pod else {
            return delete_or_retire_claim(joined, ordinal, claim?);
        };
        let reason = Stop::NotAMember;
        match claim {
            // A learner has no vote, and the voters have all of its data.
            Some(_) if pod.role == Role::Learner => Some(Step::DeleteClaim(ordinal)),
            Some(_) | None => (!pod.deleting).then_some(Step::DeletePod { ordinal, reason }),
        }
    });
    joined.first(steps)
}

/// Returns the step that deletes or retires the claim of a removed member, as the retention policy requires. Until the desired
/// number of members vote, retires an intact claim, because it may hold the last copy of some data. Returns `None` for a
/// retired claim that is kept permanently or is still needed.
fn delete_or_retire_claim(
    joined: &Joined<'_>,
    ordinal: Ordinal,
    claim: &ClaimSeen,
) -> Option<Step> {
    let full = joined.list.voters().count() >= joined.pass.spec.members() as usize;
    let may_be_last_copy = !full && !claim.lost;
    let scaled = joined.pass.spec.claim_retention().when_scaled;
    // The disks of members that a survivor removed are kept until the user deletes them.
    let deletes = scaled == Retention::Delete && !recover::is_running(&joined.pass);
    match claim.retired && !claim.held {
        true => None,
        false if deletes && !may_be_last_copy => Some(Step::DeleteClaim(ordinal)),
        false => (!claim.retired).then_some(Step::RetireClaim { ordinal, held: deletes }),
    }
}

/// Returns the step that corrects the first pod with outdated metadata: its role label, or the state of a new cluster although
/// its member has started. Services and the disruption budget select pods by the label.
pub(super) fn labels(joined: &Joined<'_>) -> Option<Step> {
    joined.first(joined.own().filter_map(|(ordinal, member)| {
        let pod = joined.pass.pod(ordinal).filter(|pod| !pod.deleting)?;
        let role = role(member);
        let has_joined = pod.is_initial && member.started;
        (pod.role != role || has_joined).then_some(Step::LabelPod { ordinal, role })
    }))
}

/// Returns the role that the member list gives a member.
fn role(member: &MemberSeen) -> Role {
    if member.learner {
        Role::Learner
    } else {
        Role::Voter
    }
}

/// Returns the step that starts the first member without a pod, voters before learners. Returns a wait while a name is taken or
/// the claim is being deleted. Skips fenced and leaving members, and members that have lost their disk.
pub(super) fn start(joined: &Joined<'_>) -> Option<Step> {
    let voters = joined.own().filter(|(_, member)| !member.learner);
    let learners = joined.own().filter(|(_, member)| member.learner);
    joined.first(voters.chain(learners).filter_map(|(ordinal, member)| {
        let pass = &joined.pass;
        let stays = !pass.is_fenced(ordinal) && !surge::leaves(joined, ordinal, member.id);
        if pass.pod(ordinal).is_some() || !stays {
            return None;
        }
        if let Some(wait) = pass.wait_for_names_of(ordinal) {
            return Some(wait);
        }
        if let Some(claim) = pass.claim(ordinal)
            && !claim.is_usable()
        {
            return claim.deleting.then(|| soon(Why::ClaimEnding(ordinal)));
        }
        let bootstrap = match (member.started, pass.has_disk(ordinal)) {
            (true, true) => Bootstrap::Restart,
            (true, false) => return None,
            (false, _) => join(joined),
        };
        Some(Step::StartMember(PodPlan {
            ordinal,
            bootstrap,
            peer_tls: pass.peer_tls_of(ordinal),
            role: role(member),
        }))
    }))
}

/// Returns the bootstrap of a member that joins: the list of all current members, including the new member.
fn join(joined: &Joined<'_>) -> Bootstrap {
    let members = joined.list.members.iter().map(|member| JoinMember {
        id: member.id,
        ordinal: member.ordinal,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
    });
    Bootstrap::Join { members: members.collect() }
}

/// Returns the step that deletes the first pod that must be recreated. A leader with an outdated pod first transfers
/// leadership. Keeps a pod whose deletion would lose data.
pub(super) fn restart(joined: &Joined<'_>) -> Option<Step> {
    joined.first(joined.own().filter_map(|(ordinal, member)| {
        let pod = joined.pass.pod(ordinal).filter(|pod| !pod.deleting)?;
        let reason = restart_reason(joined, ordinal, member, pod)?;
        let keeps = joined.pass.has_disk(ordinal) || !member.started;
        if reason == Stop::Outdated
            && member.answers
            && let Some(step) = joined.hand_over(member.id)
        {
            return Some(step);
        }
        keeps.then(|| joined.pass.delete_pod(ordinal, reason))
    }))
}

/// Returns why a member's pod must be recreated; `None` if the pod is kept.
fn restart_reason(
    joined: &Joined<'_>,
    ordinal: Ordinal,
    member: &MemberSeen,
    pod: &PodSeen,
) -> Option<Stop> {
    if pod.phase == PodPhase::Ended {
        return joined.pass.may_recreate(pod).then_some(Stop::Ended);
    }
    let never_joins = pod.start == StartKind::Restart && !pod.ready;
    // The other members have the data of the backup.
    let cannot_restore = pod.obstacle == Some(Obstacle::RestoreFailed);
    let cannot_start = !member.started && (never_joins || cannot_restore);
    // A forced member would remove all other members again at its next start.
    if cannot_start || pod.start == StartKind::Forced {
        return Some(Stop::WrongStart);
    }
    if !member.started && evidence::lacks_claim(&joined.pass, ordinal, pod) {
        return Some(Stop::NoClaim);
    }
    if joined.pass.is_cut_off(ordinal, pod) {
        return Some(Stop::PeerTls);
    }
    let mends = pod.outdated && !joined.serves(member) && joined.pass.is_stuck(pod);
    // A running member votes even if its pod is not ready. An unreachable node does not terminate a pod.
    let sole = joined.list.voters().count() == 1;
    let free = !surge::is_up(joined, ordinal, member) || sole || joined.may_stop(member.id);
    let ends = pod.obstacle != Some(Obstacle::NodeNotReady);
    let may = free && ends && !evidence::proves_bad_disk(joined, pod) && joined.pass.may_update();
    (mends && may).then_some(Stop::Outdated)
}

/// Returns the next step that replaces a voter or recreates the pod of a silent voter, or a wait if that is not possible yet. A
/// replacement can begin with an additional member or a transfer of leadership. Handles voters that answer last, because
/// members refuse to add a replacement while another voter is down. Without self-healing, recreates no pod, and removes voters
/// only for an operation or a scale-in.
pub(super) fn replace(joined: &Joined<'_>) -> Option<Step> {
    let (mut wait, mut last) = (None, None);
    let heals = joined.pass.spec.self_healing().enabled;
    for (ordinal, member) in joined.own().filter(|(_, member)| !member.learner) {
        let decision = decide_voter(joined, ordinal, member);
        let is_last = matches!(decision, VoterDecision::Surge(_));
        let step = match decision {
            VoterDecision::Well => continue,
            VoterDecision::Wait(step) => step,
            VoterDecision::Recreate if !joined.can_spare(member.id) => {
                soon(Why::CannotReplace(ordinal))
            }
            VoterDecision::Recreate
                if heals && !evidence::recreated_within_hour(joined, ordinal) =>
            {
                Step::DeletePod { ordinal, reason: Stop::Silent }
            }
            VoterDecision::Recreate => soon(Why::Silent(ordinal)),
            VoterDecision::Surge(reason) => surge::step(joined, ordinal, member.id, reason),
            VoterDecision::Remove(reason) => remove(joined, ordinal, member.id, reason),
        };
        match step.acts() {
            true if !is_last => return Some(step),
            true => last = last.or(Some(step)),
            false => wait = wait.or(Some(step)),
        }
    }
    last.or(wait)
}

/// Returns the step that removes a voter, or first a learner that cannot start. A leader first transfers leadership. Returns a
/// wait while the voter must stay.
fn remove(joined: &Joined<'_>, ordinal: Ordinal, id: MemberId, reason: Removal) -> Step {
    let waits = idle(Why::CannotReplace(ordinal));
    let remove = Step::RemoveMember { id, reason };
    let requested = matches!(reason, Removal::ScaleIn | Removal::Requested);
    let allowed = requested || joined.pass.spec.self_healing().enabled;
    if !allowed || !joined.may_remove(id) {
        return waits;
    }
    let learner = joined.list.members.iter().find(|member| member.learner);
    match learner.filter(|_| reason != Removal::ScaleIn) {
        Some(learner) if learner::cannot_start(joined, learner) => {
            Step::RemoveMember { id: learner.id, reason: Removal::StuckLearner }
        }
        Some(_) => waits,
        None => joined.hand_over(id).unwrap_or(remove),
    }
}

enum VoterDecision {
    Well,
    Wait(Step),
    /// Recreates the pod on its disk.
    Recreate,
    /// Removes the member, which still answers, once its replacement votes.
    Surge(Removal),
    Remove(Removal),
}

/// Decides whether a voter is kept, recreated or removed. Returns [`VoterDecision::Well`] for a fenced voter, and for a voter
/// that only lacks its pod.
fn decide_voter(joined: &Joined<'_>, ordinal: Ordinal, member: &MemberSeen) -> VoterDecision {
    if joined.pass.is_fenced(ordinal) {
        return VoterDecision::Well;
    }
    let must_go = surge::must_go(joined, ordinal, member);
    if must_go.is_some() && !member.answers && surge::is_up(joined, ordinal, member) {
        return VoterDecision::Wait(soon(Why::Unhealthy(ordinal)));
    }
    if must_go == Some(Removal::Requested) && !member.answers {
        return VoterDecision::Remove(Removal::Requested);
    }
    if member.corrupt {
        let on_corruption = joined.pass.spec.self_healing().on_corruption;
        // A corrupt member first rebuilds itself from the leader, without a membership change.
        return match joined.corrupt_for(ordinal, REBUILD_SECONDS) {
            true if on_corruption == OnCorruption::AlarmOnly && must_go.is_none() => {
                VoterDecision::Wait(idle(Why::Corrupt(ordinal)))
            }
            true => VoterDecision::Remove(Removal::Corrupt),
            false => VoterDecision::Wait(soon(Why::Corrupt(ordinal))),
        };
    }
    let serves = joined.serves(member);
    if surge::is_removed_next(joined, ordinal) && !serves {
        let ending = joined.pass.pod(ordinal).filter(|pod| pod.deleting);
        // The member can still answer clients while its node is reachable.
        return match ending.is_some_and(|pod| !joined.pass.is_stuck(pod)) {
            true => VoterDecision::Wait(soon(Why::PodEnding(ordinal))),
            false => VoterDecision::Remove(Removal::ScaleIn),
        };
    }
    if let Some(reason) = must_go.filter(|_| member.answers) {
        return VoterDecision::Surge(reason);
    }
    if lost_disk(joined, ordinal, member) {
        return without_disk(joined, serves);
    }
    match joined.pass.pod(ordinal) {
        Some(pod) if !serves => without_service(joined, ordinal, member, pod),
        Some(_) | None => VoterDecision::Well,
    }
}

/// Decides about a voter whose disk is lost. `serves` says whether its process still serves.
fn without_disk(joined: &Joined<'_>, serves: bool) -> VoterDecision {
    let heals = joined.pass.spec.self_healing().enabled;
    match surge::surplus(joined) {
        // A claim that is being deleted exists until its pod is gone, so the highest ordinal is removed first, as usual.
        true if serves && !heals => VoterDecision::Well,
        true => VoterDecision::Remove(Removal::ScaleIn),
        false => match wait_for_secrets(&joined.pass) {
            Some(step) => VoterDecision::Wait(step),
            None => VoterDecision::Remove(Removal::DiskLost),
        },
    }
}

/// Decides about a voter that has a pod but is unhealthy, or whose pod is not ready. A voter that answers is kept.
fn without_service(
    joined: &Joined<'_>,
    ordinal: Ordinal,
    member: &MemberSeen,
    pod: &PodSeen,
) -> VoterDecision {
    if member.answers {
        let why = pod.obstacle.map(|found| Why::Obstacle(ordinal, found));
        return VoterDecision::Wait(soon(why.unwrap_or(Why::Unhealthy(ordinal))));
    }
    if surge::surplus(joined) && joined.silent_too_long(ordinal, pod) {
        // The member is not replaced, so an obstacle does not matter.
        return VoterDecision::Remove(Removal::ScaleIn);
    }
    let durable = joined.pass.spec.is_durable();
    match evidence::of(joined, ordinal, pod) {
        Evidence::BadDisk if evidence::proves_bad_disk(joined, pod) => {
            VoterDecision::Remove(Removal::BadDisk)
        }
        Evidence::BadDisk => VoterDecision::Wait(soon(Why::UnprovenTemplate(ordinal))),
        Evidence::NodeLost => VoterDecision::Remove(Removal::NodeLost),
        Evidence::Silent if durable => VoterDecision::Recreate,
        Evidence::Silent => VoterDecision::Remove(Removal::Silent),
        Evidence::Wait(why) => VoterDecision::Wait(soon(why)),
    }
}

/// Returns the step that disarms the CORRUPT alarm of a removed member. The operator also disarms the alarm when it removes the
/// member, but this can fail, and users can remove members.
pub(super) fn disarm(joined: &Joined<'_>) -> Option<Step> {
    let id = *joined.list.stale_corrupt.first()?;
    Some(Step::DisarmCorrupt(id))
}

/// Returns a wait if a member is fenced, must be replaced, has no vote or does not serve, or if the members' data differs. In
/// these cases, planned changes must not begin.
pub(super) fn unsettled(joined: &Joined<'_>) -> Option<Step> {
    if joined.list.undecided {
        return Some(idle(Why::Undecided));
    }
    joined.list.members.iter().find_map(|member| {
        let Some(ordinal) = member.ordinal else {
            let foreign = !member.healthy || member.learner;
            return foreign.then(|| soon(Why::ForeignUnhealthy(member.id)));
        };
        if joined.pass.is_fenced(ordinal) {
            return Some(idle(Why::Fenced(ordinal)));
        }
        if joined.pass.pod(ordinal).is_some_and(|pod| pod.deleting) {
            return Some(soon(Why::PodEnding(ordinal)));
        }
        if surge::must_go(joined, ordinal, member).is_some() {
            return Some(soon(Why::CannotReplace(ordinal)));
        }
        if member.learner {
            return Some(soon(Why::LearnerBehind(member.id)));
        }
        (!joined.serves(member)).then(|| soon(Why::Unhealthy(ordinal)))
    })
}
