//! Every request is executed at most once, although a member that has lost its leader proposes it again. No two log entries
//! have the same stamp.

use std::collections::BTreeMap;

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct AppliedOnce {
    /// Highest index that was checked.
    seen: u64,
    /// The index of the entry for each member, incarnation and ticket.
    entries: BTreeMap<(u64, u32, u64), u64>,
}

impl Invariant for AppliedOnce {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Forced { kept, .. } = fact {
            self.seen = self.seen.min(*kept);
            self.entries.retain(|_, index| *index <= self.seen);
        }
        let Fact::Executed { member, batch, .. } = fact else {
            return Ok(());
        };
        let seen = self.seen;
        for applied in batch.iter().filter(|applied| applied.index > seen) {
            // Skip membership changes, whose tickets are unique, and the leader's own commands, which have no ticket.
            let stamp = scene
                .command(*member, applied.index)
                .and_then(|entry| entry.stamp)
                .filter(|stamp| stamp.ticket != 0);
            self.seen = applied.index;
            let Some(stamp) = stamp else { continue };
            let request = (stamp.member, stamp.incarnation, stamp.ticket);
            if let Some(first) = self.entries.insert(request, applied.index) {
                return Err(format!(
                    "ticket {} of m{} is in the entries {first} and {}",
                    stamp.ticket, stamp.member, applied.index
                ));
            }
        }
        Ok(())
    }
}
