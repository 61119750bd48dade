//! Log compaction (§7): a checkpoint or a snapshot contains exactly the state after the entry that it names, on every member
//! and after every crash.

use std::collections::BTreeMap;

use super::{ByIndex, Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct CheckpointFaithful {
    /// The fingerprints of executed states, by lineage. Restored states are compared with them once their index is known.
    states: BTreeMap<u64, ByIndex<u64>>,
}

impl Invariant for CheckpointFaithful {
    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Forced { kept, .. } = fact {
            self.states
                .values_mut()
                .for_each(|of_one| of_one.cut(*kept));
        }
        if let Fact::Executed { member, view, fingerprint, .. }
        | Fact::Restored { member, view, fingerprint, .. } = fact
        {
            let index = view.position.index;
            return self
                .states
                .entry(view.position.lineage)
                .or_default()
                .agree(index, fingerprint, *member)
                .map_err(|(_, other)| {
                    format!("the state of m{member} at {index} is not the state that m{other} had")
                });
        }
        Ok(())
    }
}
