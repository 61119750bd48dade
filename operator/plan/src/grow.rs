//! Adds a member, to reach `spec.replicas` or to replace another member.

use super::pass::{Joined, soon};
use crate::model::{Ordinal, Step, Why};

/// Returns the step that adds a learner at the lowest free ordinal, or a wait while a pod or claim is being deleted. Skips an
/// ordinal whose pod or claim is stuck in deletion, or whose claim is kept. `rolling` marks a step of a rolling update.
pub(super) fn step(joined: &Joined<'_>, rolling: bool) -> Option<Step> {
    let pass = &joined.pass;
    let free = (0..=Ordinal::MAX).filter(|ordinal| joined.list.of(*ordinal).is_none());
    for ordinal in free {
        match (pass.pod(ordinal), pass.claim(ordinal)) {
            (None, None) => {
                if let Some(wait) = pass.wait_for_names_of(ordinal) {
                    return Some(wait);
                }
                let peer_tls = pass.peer_tls_of_new();
                return Some(Step::AddLearner { ordinal, peer_tls, rolling });
            }
            (_, Some(claim)) if claim.overdue || !claim.deleting => {}
            (Some(pod), _) if pod.overdue => {}
            (Some(_), _) => return Some(soon(Why::PodEnding(ordinal))),
            (None, Some(_)) => return Some(soon(Why::ClaimEnding(ordinal))),
        }
    }
    None
}
