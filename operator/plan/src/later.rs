//! Members and records that a later release of the operator wrote before a rollback. This release does not know what they need,
//! so it leaves them as they are.

use super::pass::{Pass, idle};
use crate::model::{Bootstrap, MemberId, Ordinal, Step, Stop, Why};

/// Returns a wait if the status records a restore or a recovery in a phase that only a later release knows.
pub(super) fn recorded(pass: &Pass<'_>) -> Option<Step> {
    let phase = pass.status.unknown_phase()?;
    Some(idle(Why::LaterRecord(phase)))
}

/// Returns a wait if a pod or a claim has a mark that only a later release knows.
pub(super) fn marked(pass: &Pass<'_>) -> Option<Step> {
    Some(idle(Why::LaterMark(ordinals(pass).next()?)))
}

/// Returns a wait in place of a step that changes a marked member, the set of members or their peer TLS, or that stops all
/// members. Such steps depend on how all members start and listen.
pub(super) fn hold(pass: &Pass<'_>, step: &Step) -> Option<Step> {
    let any = ordinals(pass).next()?;
    let of = |ordinal: Ordinal| ordinals(pass).find(|marked| *marked == ordinal);
    let of_member = |id: MemberId| of(pass.seen.membership.as_ref()?.by_id(id)?.ordinal?);
    let held = match step {
        Step::StartMember(plan) => match plan.bootstrap {
            Bootstrap::New { .. } | Bootstrap::Discovery { .. } | Bootstrap::Forced => Some(any),
            Bootstrap::Join { .. } | Bootstrap::Restart => of(plan.ordinal),
        },
        Step::DeletePod { ordinal, reason } => match reason {
            Stop::PeerTls | Stop::ScaleIn | Stop::Recovery | Stop::Restore => Some(any),
            Stop::NotAMember
            | Stop::Outdated
            | Stop::Ended
            | Stop::WrongStart
            | Stop::Silent
            | Stop::Fenced
            | Stop::Hibernated => of(*ordinal),
        },
        Step::LabelPod { ordinal, .. }
        | Step::DeleteClaim(ordinal)
        | Step::RetireClaim { ordinal, .. }
        | Step::ApplyClaim { ordinal, .. }
        | Step::GrowClaim { ordinal, .. }
        | Step::ReviveClaim(ordinal) => of(*ordinal),
        Step::Promote(id) | Step::MoveLeader { from: id, .. } => of_member(*id),
        Step::BeginBootstrap { .. }
        | Step::BeginRecovery(_)
        | Step::CreateDiscoveryToken(_)
        | Step::AddLearner { .. }
        | Step::RemoveMember { .. }
        | Step::UpdatePeerUrl { .. }
        | Step::BeginRestored { .. }
        | Step::ReturnToDisks => Some(any),
        Step::Done
        | Step::Wait { .. }
        | Step::ApplyServices
        | Step::ApplyBudget(_)
        | Step::IssueCertificate(_)
        | Step::RequestCertificate(_)
        | Step::OwnCertificate(_)
        | Step::RotateAuthority(_)
        | Step::OwnClaim(_)
        | Step::DisarmCorrupt(_)
        | Step::Compact(_)
        | Step::DisarmNoSpace
        | Step::EnableAuth
        | Step::DisableAuth => None,
    };
    held.map(|ordinal| idle(Why::LaterMark(ordinal)))
}

/// Iterates over the ordinals whose pod or claim has such a mark.
fn ordinals(pass: &Pass<'_>) -> impl Iterator<Item = Ordinal> {
    let marked = pass.seen.ordinals.iter();
    let marked = marked.filter(|(_, seen)| seen.unknown_mark().is_some());
    marked.map(|(ordinal, _)| *ordinal)
}
