//! Leader Completeness (§5.4): an entry committed in some term is in the logs of the leaders of all
//! later terms. Checked when a leader is first seen, against all that was executed by then.

use std::collections::{BTreeMap, BTreeSet};

use witan_replica::replica::Role;

use super::{Fact, Ident, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    committed: BTreeMap<u64, Ident>,
    seen: BTreeSet<u64>,
}

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader_completeness"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Executed { member, batch, .. } = fact {
            for applied in *batch {
                if let Some(ident) = scene.ident(*member, applied.index) {
                    self.committed.entry(applied.index).or_insert(ident);
                }
            }
        }
        let Fact::Turned { member, status } = fact else {
            return Ok(());
        };
        if status.role != Role::Leader || !self.seen.insert(status.term) {
            return Ok(());
        }
        let base = scene
            .disk(*member)
            .map_or(0, |disk| disk.checkpoint_index());
        for (index, ident) in self.committed.range(base + 1..) {
            if scene.ident(*member, *index) != Some(*ident) {
                return Err(format!(
                    "m{member} leads term {} without the committed entry {index}",
                    status.term
                ));
            }
        }
        Ok(())
    }
}
