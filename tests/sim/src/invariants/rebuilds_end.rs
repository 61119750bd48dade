//! A member that must replace its state with the leader's state gets that state, even if the leader or the message is lost.

use std::collections::BTreeSet;

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct RebuildsEnd {
    /// Members that wait for the leader's state.
    waiting: BTreeSet<u64>,
}

impl Invariant for RebuildsEnd {
    fn observe(&mut self, fact: &Fact<'_>, _: &Scene<'_>) -> Result<(), String> {
        if let Fact::Rebuilds { member } = fact {
            self.waiting.insert(*member);
        }
        // A restarted process has forgotten the request.
        if let Fact::Restored { member, .. } = fact {
            self.waiting.remove(member);
        }
        if let Fact::Ended { views, leader, .. } = fact {
            // A leader must first transfer leadership.
            let waits = |id: &u64| *id != *leader && self.waiting.contains(id);
            let mut members = views.iter().map(|(id, _)| *id);
            if let Some(member) = members.find(waits) {
                return Err(format!("m{member} did not get the leader's state"));
            }
        }
        Ok(())
    }
}
