//! Forces a new cluster from one surviving member after quorum loss if an EtcdOperation requests it.
//!
//! The other members could still form a quorum without the survivor and acknowledge different writes. Therefore, all their pods
//! must be gone before the survivor starts alone. None of these members starts again until `repair` has retired their claims.
//!
//! The status records the recovery before anything changes. From then on, the recovery cannot be canceled, because the survivor
//! may have removed the other members. Another EtcdOperation can still name another survivor. The status also records the end
//! of the recovery, so that the same operation does not start a second recovery.

use witan_crd::{RecoveryPhase, ordinal, quorum};

use super::pass::{Pass, idle, soon};
use crate::model::{Bootstrap, Ordinal, PodPhase, PodPlan, StartKind, Step, Stop, Why};

/// Returns the next step of a recovery; `None` if none was requested, if it is done, or if the quorum is not lost. A running
/// recovery continues without a request; a request for another survivor begins it again.
pub(super) fn step(pass: &Pass<'_>) -> Option<Step> {
    let recorded = recorded(pass);
    let requested = pass.seen.recover;
    match recorded {
        Some((survivor, RecoveryPhase::Running)) => Some(match requested {
            Some(other) if other != survivor => begin(pass, other),
            Some(_) | None => advance(pass, survivor),
        }),
        Some((survivor, RecoveryPhase::Done)) if requested == Some(survivor) => None,
        // `stop::suspended` waits before a recovery in an unknown phase is read.
        Some((_, RecoveryPhase::Unknown(_))) => None,
        Some((_, RecoveryPhase::Done)) | None => {
            let survivor = requested?;
            is_lost(pass).then(|| begin(pass, survivor))
        }
    }
}

/// Returns whether the status records a recovery in progress.
pub(super) fn is_running(pass: &Pass<'_>) -> bool {
    recorded(pass).is_some_and(|(_, phase)| *phase == RecoveryPhase::Running)
}

/// Returns the survivor and the phase of the recorded recovery, or `None` if no recovery is recorded.
fn recorded<'a>(pass: &Pass<'a>) -> Option<(Ordinal, &'a RecoveryPhase)> {
    let recorded = pass.status.recovery.as_ref()?;
    Some((ordinal(&recorded.member)?, &recorded.phase))
}

/// Returns whether too few pods are ready for a quorum. A partitioned operator still sees the readiness that kubelets report.
fn is_lost(pass: &Pass<'_>) -> bool {
    let ready = pass.pods().filter(|(_, pod)| pod.ready).count();
    ready < quorum(voters(pass).len().max(1))
}

/// Returns the ordinals of the voters that the members last reported; `None` for each voter outside this cluster's pods.
fn voters(pass: &Pass<'_>) -> Vec<Option<Ordinal>> {
    if let Some(list) = &pass.seen.membership {
        return list.voters().map(|voter| voter.ordinal).collect();
    }
    let members = pass.status.members.iter();
    let voters = members.filter(|member| !member.is_learner);
    voters
        .map(|member| Ordinal::try_from(member.ordinal?).ok())
        .collect()
}

/// Returns the step that records the survivor, or a wait if the survivor cannot be used. Does not check that the survivor votes
/// if no voter is known or a recovery is running.
fn begin(pass: &Pass<'_>, survivor: Ordinal) -> Step {
    let voters = voters(pass);
    if voters.contains(&None) {
        return idle(Why::ForeignVoters(survivor));
    }
    let votes = voters.is_empty() || voters.contains(&Some(survivor)) || is_running(pass);
    match votes && pass.has_disk(survivor) && !pass.is_fenced(survivor) {
        true => Step::BeginRecovery(survivor),
        false => idle(Why::CannotRecover(survivor)),
    }
}

/// Returns the next step of a recorded recovery: stops all other members, then starts the survivor alone. Deletes a pod of the
/// survivor that was started differently, has ended, or is stuck with an outdated template.
fn advance(pass: &Pass<'_>, survivor: Ordinal) -> Step {
    let pod = pass.pod(survivor);
    // The other members keep their pods until the survivor's pod can be created.
    if pod.is_none()
        && let Some(wait) = pass.wait_for_names_of(survivor)
    {
        return wait;
    }
    let others = || pass.pods().filter(|(ordinal, _)| *ordinal != survivor);
    let running = others().find(|(_, pod)| !pod.deleting);
    if let Some((ordinal, _)) = running {
        return Step::DeletePod { ordinal, reason: Stop::Recovery };
    }
    if let Some((ordinal, _)) = others().next() {
        return soon(Why::PodEnding(ordinal));
    }
    if pass.is_fenced(survivor) {
        return idle(Why::Fenced(survivor));
    }
    if !pass.has_disk(survivor) {
        return idle(Why::CannotRecover(survivor));
    }
    let Some(pod) = pod else {
        let peer_tls = pass.peer_tls_of(survivor);
        let start = PodPlan::voter(survivor, Bootstrap::Forced, peer_tls);
        return Step::StartMember(start);
    };
    if pod.deleting {
        return soon(Why::PodEnding(survivor));
    }
    // A running container may be reading its disk.
    let mends = pod.outdated && !pod.running && pass.is_stuck(pod) && pass.may_update();
    let reason = match (pod.start, pod.phase) {
        (StartKind::Forced, PodPhase::Ended) if pass.may_recreate(pod) => Stop::Ended,
        (StartKind::Forced, _) if mends => Stop::Outdated,
        (
            StartKind::Forced,
            PodPhase::Ended | PodPhase::Pending | PodPhase::Running | PodPhase::Unknown,
        ) => return soon(Why::Recovering(survivor)),
        (StartKind::New | StartKind::Discovery | StartKind::Join | StartKind::Restart, _) => {
            Stop::WrongStart
        }
    };
    Step::DeletePod { ordinal: survivor, reason }
}
