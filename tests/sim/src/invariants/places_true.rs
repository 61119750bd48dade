//! Values on disk: the record at the place of each block contains the block's values. A state has the same hash after its values
//! were dropped from memory.
//!
//! A process that cannot read a record ends. On a disk without planned damage, `disk` reports this as a violation of this
//! invariant. If the run is not durable yet, or was removed although a block has a place in it, the violated invariant is
//! `places_durable` or `runs_kept`.

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct PlacesTrue;

impl Invariant for PlacesTrue {
    fn observe(&mut self, fact: &Fact<'_>, _: &Scene<'_>) -> Result<(), String> {
        if let Fact::ReadBack { member, expected, found } = fact
            && expected != found
        {
            return Err(format!(
                "m{member} has other values on disk than in memory: {found:016x}, not {expected:016x}"
            ));
        }
        Ok(())
    }
}
