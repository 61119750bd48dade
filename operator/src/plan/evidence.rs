//! What shows that a member will not come back with its disk, and what only looks like it.
//!
//! A member that answers lives, whatever its pod looks like. One that does not is lost when its process says that its
//! disk cannot be used; time alone gives no disk up.

use super::{objects::secrets_missing, pass::Joined};
use crate::model::{MemberSeen, Ordinal, PodPhase, PodSeen, Step, Why};

/// The exit codes with which the server says that its disk holds nothing that it could start from. All others are
/// reasons that another disk would not mend: `docs/operating/monitoring.md` lists them.
const BAD_DISK: [i32; 5] = [23, 27, 28, 30, 35];

/// How long after the pod of a silent member was made again it is not made again: an hour.
const REMADE_SECONDS: i64 = 3600;

/// What is known of a member that does not answer.
pub(super) enum Evidence {
    /// Its process says that its disk cannot be used.
    BadDisk,
    /// Nothing says why it is silent, for longer than its time.
    Silent,
    /// It has time to come back, or its trouble is one that another disk would not mend.
    Wait(Why),
}

/// Returns what is known of the member of a pod that does not answer.
pub(super) fn of(joined: &Joined<'_>, ordinal: Ordinal, pod: &PodSeen) -> Evidence {
    if pod.deleting {
        return Evidence::Wait(Why::PodEnding(ordinal));
    }
    if let Some(Step::Wait { why, .. }) = secrets_missing(&joined.pass) {
        return Evidence::Wait(why);
    }
    match (pod.obstacle, pod.exit) {
        (Some(obstacle), _) => Evidence::Wait(Why::Obstacle(ordinal, obstacle)),
        (None, Some(code)) if BAD_DISK.contains(&code) => Evidence::BadDisk,
        (None, Some(code)) => Evidence::Wait(Why::Exited(ordinal, code)),
        (None, None) if joined.had_its_time(pod) => Evidence::Silent,
        (None, None) => Evidence::Wait(Why::Unhealthy(ordinal)),
    }
}

/// Whether a voter's process says that its disk cannot be used, and a member that serves has the same template, so that
/// neither image nor flags are to blame.
pub(super) fn condemns(joined: &Joined<'_>, pod: &PodSeen) -> bool {
    let bad = pod.exit.is_some_and(|code| BAD_DISK.contains(&code));
    let mut serving = joined.own().filter(|(_, member)| joined.serves(member));
    bad && serving.any(|(ordinal, _)| {
        let other = joined.pass.pod(ordinal);
        other.is_some_and(|other| other.template == pod.template)
    })
}

/// Whether the pod of a silent member was made again a short time ago.
pub(super) fn was_remade(joined: &Joined<'_>, ordinal: Ordinal) -> bool {
    let remade = joined.pass.claim(ordinal).and_then(|claim| claim.remade);
    remade.is_some_and(|at| joined.now().saturating_sub(at) < REMADE_SECONDS)
}

/// Whether the data of a member is lost: its claim is lost and no process has it any more, or that of a started member is
/// missing or being deleted; or, without claims, its pod is gone or going.
pub(super) fn lost_disk(joined: &Joined<'_>, ordinal: Ordinal, member: &MemberSeen) -> bool {
    let pod = joined.pass.pod(ordinal);
    if joined.pass.spec.is_durable() {
        let claim = joined.pass.claim(ordinal);
        let lost = claim.is_some_and(|claim| claim.lost && !member.answers);
        lost || (member.started && claim.is_none_or(|claim| claim.deleting))
    } else {
        let going = |pod: &PodSeen| pod.deleting && !member.answers;
        let gone = pod.is_none_or(|pod| pod.phase == PodPhase::Ended || going(pod));
        member.started && gone
    }
}
