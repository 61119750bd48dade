//! A member that is to replace its state by the leader's gets it, also if the leader or the message is lost.

use std::collections::BTreeSet;

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct RebuildsEnd {
    /// Members that wait for the leader's state.
    waiting: BTreeSet<u64>,
}

impl Invariant for RebuildsEnd {
    fn name(&self) -> &'static str {
        "rebuilds_end"
    }

    fn observe(&mut self, fact: &Fact<'_>, _: &Scene<'_>) -> Result<(), String> {
        match fact {
            Fact::Rebuilds { member } => {
                self.waiting.insert(*member);
            }
            // a process that was started again knows nothing of it
            Fact::Restored { member, .. } => {
                self.waiting.remove(member);
            }
            Fact::Ended { views, leader, .. } => {
                // a leader must hand over first
                let waits = |id: &u64| *id != *leader && self.waiting.contains(id);
                let mut members = views.iter().map(|(id, _)| *id);
                if let Some(member) = members.find(waits) {
                    return Err(format!("m{member} did not get the leader's state"));
                }
            }
            Fact::Turned { .. }
            | Fact::Heard { .. }
            | Fact::Written { .. }
            | Fact::Executed { .. }
            | Fact::Acknowledged { .. }
            | Fact::Answered { .. }
            | Fact::LeaseAnswered { .. }
            | Fact::NotStarted { .. }
            | Fact::Forced { .. }
            | Fact::StorageDiffers { .. }
            | Fact::Settled { .. } => {}
        }
        Ok(())
    }
}
