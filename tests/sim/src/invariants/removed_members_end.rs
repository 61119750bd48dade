//! Removal: a member that was removed ends by itself once the network is whole, although the entry of its
//! removal may never reach it, if most of those whom it knows refuse it; one that knows of its removal and
//! leaves a single voter ends if that one refuses it.

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct RemovedMembersEnd;

impl Invariant for RemovedMembersEnd {
    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Ended { unaware, .. } = fact
            && !unaware.is_empty()
        {
            return Err(format!(
                "the removed members {unaware:?} run on, although the others refuse them"
            ));
        }
        Ok(())
    }
}
