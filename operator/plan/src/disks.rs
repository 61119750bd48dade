//! Claims of members: owner and labels as the spec has them, and as large as it asks for.

use witan_crd::Storage;

use super::{idle, pass::Joined};
use crate::model::{ObjectState, Step, Why};

/// Applies the first claim that differs from the spec, or grows the first one that is too small; `None` if all are as
/// wanted.
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
        let refused = claim.refused_bytes == Some(bytes);
        (!refused).then_some(Step::GrowClaim { ordinal, bytes })
    }))
}

/// Waits for a person if a claim is to grow and the API server refuses that.
pub(super) fn refused(joined: &Joined<'_>) -> Option<Step> {
    let wanted = Storage::requested(joined.pass.spec.storage.as_ref()).bytes()?;
    joined.own().find_map(|(ordinal, _)| {
        let claim = joined.pass.claim(ordinal)?;
        let small = claim.requested_bytes < wanted && claim.refused_bytes == Some(wanted);
        small.then(|| idle(Why::GrowthRefused(ordinal)))
    })
}
