//! Restores in place: stops all members, retires their disks, and starts new members from a backup.
//!
//! The status records the restore and the disks before a member stops. No new member starts until all pods are gone and all
//! earlier claims are retired. Otherwise, old members could form a quorum next to the new members. New members get new
//! ordinals, so they never get old claims. Returning to the earlier disks works the same way.
//!
//! A check that needs no step returns `None`.

use witan_crd::{RestorePhase, RestoreStatus, ordinal};

use super::pass::{Pass, idle, soon};
use crate::model::{Ordinal, Part, Step, Stop, Why};

/// Returns the next step of a restore in phase `Stopping`: stops pods, retires claims, then starts the new members or returns
/// to earlier disks. Returns `None` in other phases.
pub(super) fn stop(pass: &Pass<'_>) -> Option<Step> {
    let restore = pass.status.restore.as_ref();
    let restore = restore.filter(|one| one.phase == RestorePhase::Stopping)?;
    let running = pass.pods().find(|(_, pod)| !pod.deleting);
    if let Some((ordinal, _)) = running {
        return Some(Step::DeletePod { ordinal, reason: Stop::Restore });
    }
    if let Some((ordinal, _)) = pass.pods().next() {
        return Some(soon(Why::PodEnding(ordinal)));
    }
    if let Some(step) = set_aside(pass, restore) {
        return Some(step);
    }
    // A claim that has lost its labels is also a disk to keep.
    if let Some(wait) = pass.wait_for_names(|part| matches!(part, Part::Claim(_))) {
        return Some(wait);
    }
    let members = pass.spec.members();
    Some(match restore.source {
        // `BeginRestored` records the number of members.
        Some(_) if members == 0 => idle(Why::Hibernated),
        Some(_) => Step::BeginRestored { first: next_ordinal(pass, restore), members },
        None => Step::ReturnToDisks,
    })
}

/// Returns the step that prepares the next claim for the restore. Revives the claims to which the cluster returns, and retires
/// all other claims, even a claim that is retired only until another member votes (`held`).
fn set_aside(pass: &Pass<'_>, restore: &RestoreStatus) -> Option<Step> {
    pass.seen.ordinals.iter().find_map(|(at, seen)| {
        let claim = seen.claim.as_ref().filter(|claim| !claim.deleting)?;
        let mut disks = restore.disks.iter();
        if disks.any(|name| ordinal(name) == Some(*at)) {
            return claim.retired.then_some(Step::ReviveClaim(*at));
        }
        let is_set_aside = claim.retired && !claim.held;
        (!is_set_aside).then_some(Step::RetireClaim { ordinal: *at, held: false })
    })
}

/// Returns the first ordinal above all pods, claims and kept disks; 0 if none of these exists. A kept disk can be deleted
/// before the new members start. If its name were reused, an undo would mistake the new disk for the old disk.
fn next_ordinal(pass: &Pass<'_>, restore: &RestoreStatus) -> Ordinal {
    let ordinals = pass.seen.ordinals.keys().copied();
    let last = ordinals.chain(kept(restore)).max();
    last.map_or(0, |last| last + 1)
}

/// Iterates over the ordinals of the disks that a restore kept, even if their claims were deleted.
fn kept(restore: &RestoreStatus) -> impl Iterator<Item = Ordinal> {
    let disks = restore.kept_disks.iter();
    disks.filter_map(|name| ordinal(name))
}

/// Returns whether the last restore kept a disk with this ordinal. No new member gets this ordinal, because an undo would
/// mistake the new disk for the kept disk.
pub(super) fn is_reserved(pass: &Pass<'_>, ordinal: Ordinal) -> bool {
    let mut kept = pass.status.restore.iter().flat_map(kept);
    kept.any(|at| at == ordinal)
}

/// Returns the lowest ordinal of the initial members: 0 unless a restore recorded a different ordinal.
pub(super) fn first_ordinal(pass: &Pass<'_>) -> Ordinal {
    let restore = pass.status.restore.as_ref();
    let first = restore.and_then(|restore| Ordinal::try_from(restore.first_ordinal?).ok());
    first.unwrap_or_default()
}
