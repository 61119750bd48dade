//! Keeps the owner, the labels and the size of members' claims in line with the spec.
//!
//! A check that needs no step returns `None`.

use witan_crd::Storage;

use super::pass::{Joined, Pass, idle};
use crate::model::{ObjectState, Step, Why};

/// Returns the step that adds or removes the cluster as the owner of a claim, as the retention policy requires. Returns `None`
/// if no claim needs a change, or if the API server has refused each change recently. Nothing may delay this step, because the
/// owner decides whether the disk outlives the cluster.
pub(super) fn own(pass: &Pass<'_>) -> Option<Step> {
    let ordinals = pass.seen.ordinals.iter();
    let mut steps = ordinals.filter_map(|(ordinal, seen)| {
        let claim = seen.claim.as_ref()?;
        claim.other_owner.then_some(Step::OwnClaim(*ordinal))
    });
    steps.find(|step| !pass.is_refused(step))
}

/// Returns the step that applies a claim that differs from the spec, or that expands a claim that is too small. Returns `None`
/// if no claim needs a change or the spec requests no durable storage. Does not expand a claim that must be replaced, or a
/// claim to a size that the API server has refused.
pub(super) fn keep(joined: &Joined<'_>) -> Option<Step> {
    if !joined.pass.spec.is_durable() {
        return None;
    }
    let wanted = Storage::requested(joined.pass.spec.storage.as_ref()).bytes();
    joined.first(joined.own().filter_map(|(ordinal, _)| {
        let claim = joined.pass.claim(ordinal).filter(|claim| !claim.deleting)?;
        if claim.state != ObjectState::Current {
            let peer_tls = claim.peer_tls;
            return Some(Step::ApplyClaim { ordinal, peer_tls });
        }
        let bytes = wanted.filter(|bytes| *bytes > claim.requested_bytes)?;
        let stays = claim.refused_bytes == Some(bytes) || claim.must_migrate;
        (!stays).then_some(Step::GrowClaim { ordinal, bytes })
    }))
}

/// Returns a wait if members cannot migrate because a new claim would be too small for the data.
pub(super) fn too_small(joined: &Joined<'_>) -> Option<Step> {
    let mut own = joined.own().map(|(ordinal, _)| ordinal);
    own.any(|ordinal| joined.pass.must_migrate(ordinal) && !joined.new_claim_fits(ordinal))
        .then(|| idle(Why::StorageTooSmall))
}

/// Returns a wait if the API server has refused to expand a claim to the requested size. Ignores refusals of other sizes.
pub(super) fn refused(joined: &Joined<'_>) -> Option<Step> {
    let wanted = Storage::requested(joined.pass.spec.storage.as_ref()).bytes()?;
    joined.own().find_map(|(ordinal, _)| {
        let claim = joined.pass.claim(ordinal)?;
        let small = claim.requested_bytes < wanted && claim.refused_bytes == Some(wanted);
        small.then(|| idle(Why::GrowthRefused(ordinal)))
    })
}
