//! Removal: a member that was removed ends by itself once the network is whole, although the entry of its
//! removal may never reach it, if most of those whom it knows refuse it; one that knows of its removal and
//! leaves a single voter ends if that one refuses it.

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct RemovedMembersEnd;

impl Invariant for RemovedMembersEnd {
    fn name(&self) -> &'static str {
        "removed_members_end"
    }

    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        match fact {
            Fact::Ended { unaware, .. } if !unaware.is_empty() => Err(format!(
                "the removed members {unaware:?} run on, although the others refuse them"
            )),
            Fact::Turned { .. }
            | Fact::Written { .. }
            | Fact::Executed { .. }
            | Fact::Acknowledged { .. }
            | Fact::Answered { .. }
            | Fact::LeaseAnswered { .. }
            | Fact::Heard { .. }
            | Fact::Rebuilds { .. }
            | Fact::Restored { .. }
            | Fact::NotStarted { .. }
            | Fact::Forced { .. }
            | Fact::StorageDiffers { .. }
            | Fact::Settled { .. }
            | Fact::Ended { .. } => Ok(()),
        }
    }
}
