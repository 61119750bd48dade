//! Membership: in each state that a member executes, restores or receives, raft's configuration and the registry have the same
//! members in the same roles. Removed members never return.

use std::collections::BTreeSet;

use witan_machine::view::View;

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct ConfigurationAgrees {
    /// The last checked index, and the members removed by then.
    removed: (u64, BTreeSet<u64>),
}

impl Invariant for ConfigurationAgrees {
    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Executed { member, batch, view, .. } = fact
            && batch.iter().any(|applied| applied.members.is_some())
        {
            self.look(*member, view)?;
        }
        if let Fact::Restored { member, view, .. } = fact {
            self.look(*member, view)?;
        }
        if let Fact::Forced { kept, .. } = fact
            && self.removed.0 > *kept
        {
            self.removed = (0, BTreeSet::new());
        }
        Ok(())
    }
}

impl ConfigurationAgrees {
    /// Checks raft's configuration and the registry in a state.
    fn look(&mut self, member: u64, view: &View) -> Result<(), String> {
        let (position, registry) = (&view.position, &view.machine.members);
        let of = |learner: bool| -> BTreeSet<u64> {
            let members = registry.by_id.values().filter(|m| m.learner == learner);
            members.map(|m| m.id).collect()
        };
        let set = |ids: &[u64]| -> BTreeSet<u64> { ids.iter().copied().collect() };
        let (voters, learners) = (set(&position.voters), set(&position.learners));
        if (&voters, &learners) != (&of(false), &of(true)) {
            return Err(format!(
                "m{member} at {}: {voters:?} vote and {learners:?} learn, the registry has {:?} and {:?}",
                position.index,
                of(false),
                of(true)
            ));
        }
        let removed: BTreeSet<u64> = registry.removed_ids.iter().map(|id| id.0).collect();
        let mut counted = voters.union(&learners);
        if let Some(back) = counted.find(|id| removed.contains(id)) {
            return Err(format!(
                "m{back} was removed and is a member at {}",
                position.index
            ));
        }
        if position.index >= self.removed.0 {
            if let Some(back) = self.removed.1.difference(&removed).next() {
                return Err(format!(
                    "the state at {} lacks the removal of m{back}",
                    position.index
                ));
            }
            self.removed = (position.index, removed);
        }
        Ok(())
    }
}
