//! Removal: once the network is whole, a removed member stops if most members that it knows refuse it. The entry of its removal
//! may never reach it. If it knows of its removal and only one voter remains, it stops when that voter refuses it.

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct RemovedMembersEnd;

impl Invariant for RemovedMembersEnd {
    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Ended { unaware, .. } = fact
            && !unaware.is_empty()
        {
            return Err(format!(
                "the removed members {unaware:?} are still running, although the others refuse them"
            ));
        }
        Ok(())
    }
}
