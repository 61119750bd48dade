//! Goes on with one member after the disks of most others are lost, because a person has asked for it by an annotation.
//!
//! The others could still form a quorum without the survivor, and acknowledge other writes than it does. Therefore none of
//! their pods may be left before it starts alone, and none of their disks is started again. A disk is kept until a person
//! deletes it. The status records the recovery before anything is changed, and its end: an annotation that was forgotten does
//! nothing when a quorum is lost for the second time.

use super::{idle, pass::Pass, soon};
use crate::{
    crd::RecoveryPhase,
    model::{Bootstrap, Ordinal, PodPhase, PodPlan, Role, StartKind, Step, Stop, Why, quorum},
};

/// Returns the next step of the recovery of a cluster whose quorum does not serve; `None` if nobody asks for one, or if it is
/// done.
pub(super) fn step(pass: &Pass<'_>) -> Option<Step> {
    let survivor = pass.seen.recover?;
    let fenced = pass.is_fenced(survivor);
    match phase(pass, survivor) {
        Some(RecoveryPhase::Done) => None,
        Some(RecoveryPhase::Running) if fenced => Some(idle(Why::Fenced(survivor))),
        Some(RecoveryPhase::Running) => Some(advance(pass, survivor)),
        None if fenced || !is_lost(pass) => None,
        None if pass.has_disk(survivor) => Some(Step::BeginRecovery(survivor)),
        None => Some(idle(Why::CannotRecover(survivor))),
    }
}

/// Returns the stage of the recorded recovery with this survivor.
fn phase(pass: &Pass<'_>, survivor: Ordinal) -> Option<RecoveryPhase> {
    let recorded = pass.status.recovery.as_ref()?;
    let (_, ordinal) = recorded.member.rsplit_once('-')?;
    (ordinal.parse() == Ok(survivor)).then_some(recorded.phase)
}

/// Whether too few pods are ready for a quorum, as their kubelets say: where only the operator does not reach the members,
/// their pods are ready.
fn is_lost(pass: &Pass<'_>) -> bool {
    let ready = pass.pods().filter(|(_, pod)| pod.ready).count();
    let known = pass.seen.membership.as_ref();
    let voters = known.map_or_else(
        || {
            let members = pass.status.members.iter();
            members.filter(|member| !member.is_learner).count()
        },
        |list| list.voters().count(),
    );
    ready < quorum(voters.max(1))
}

/// Stops all others, keeps their disks from being started, and starts the survivor alone.
fn advance(pass: &Pass<'_>, survivor: Ordinal) -> Step {
    let others = || pass.pods().filter(|(ordinal, _)| *ordinal != survivor);
    let running = others().find(|(_, pod)| !pod.deleting);
    if let Some((ordinal, _)) = running {
        return Step::DeletePod { ordinal, reason: Stop::Recovery };
    }
    if let Some((ordinal, _)) = others().next() {
        return soon(Why::PodEnding(ordinal));
    }
    let mut ordinals = pass.seen.ordinals.keys().copied();
    let startable = |ordinal: &Ordinal| *ordinal != survivor && pass.has_disk(*ordinal);
    if let Some(ordinal) = ordinals.find(startable) {
        return Step::RetireClaim { ordinal, held: false };
    }
    if !pass.has_disk(survivor) {
        return idle(Why::CannotRecover(survivor));
    }
    let Some(pod) = pass.pod(survivor) else {
        return pass.taken_of(survivor).unwrap_or_else(|| {
            Step::StartMember(PodPlan {
                ordinal: survivor,
                bootstrap: Bootstrap::Forced,
                peer_tls: pass.peer_tls_of(survivor),
                role: Role::Voter,
            })
        });
    };
    if pod.deleting {
        return soon(Why::PodEnding(survivor));
    }
    let reason = match (pod.start, pod.phase) {
        (StartKind::Forced, PodPhase::Ended) => Stop::Ended,
        (StartKind::Forced, PodPhase::Pending | PodPhase::Running | PodPhase::Unknown) => {
            return soon(Why::Recovering(survivor));
        }
        (StartKind::New | StartKind::Discovery | StartKind::Join | StartKind::Restart, _) => {
            Stop::WrongStart
        }
    };
    Step::DeletePod { ordinal: survivor, reason }
}
