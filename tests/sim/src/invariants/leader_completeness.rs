//! Leader Completeness (§5.4): an entry committed in a term is in the logs of the leaders of all later terms. Each leader is
//! checked when it is first observed, against all entries executed by then.

use std::collections::{BTreeMap, BTreeSet};

use witan_replica::replica::Role;

use super::{Fact, Ident, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    /// Committed entries, each with a term in which it was committed.
    committed: BTreeMap<u64, (Ident, u64)>,
    /// The entries executed in the current turn: member, index and entry.
    executed: Vec<(u64, u64, Ident)>,
    seen: BTreeSet<u64>,
}

impl Invariant for LeaderCompleteness {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Executed { member, batch, .. } = fact {
            let idents = batch.iter().filter_map(|applied| {
                let ident = scene.ident(*member, applied.index)?;
                Some((*member, applied.index, ident))
            });
            self.executed.extend(idents);
        }
        if let Fact::Forced { kept, .. } = fact {
            self.committed.split_off(&(kept + 1));
            self.executed.clear();
            self.seen.clear();
        }
        let Fact::Turned { member, status, .. } = fact else {
            return Ok(());
        };
        // A crash leaves entries of an unfinished turn behind.
        for (executor, index, ident) in self.executed.drain(..) {
            if executor != *member {
                continue;
            }
            let known = self.committed.entry(index).or_insert((ident, status.term));
            known.1 = known.1.min(status.term);
        }
        if status.role != Role::Leader || !self.seen.insert(status.term) {
            return Ok(());
        }
        let base = scene
            .disk(*member)
            .map_or(0, |disk| disk.checkpoint_index());
        for (index, (ident, term)) in self.committed.range(base + 1..) {
            // A paused process may become leader of an earlier term while others lead a later one.
            if *term < status.term && scene.ident(*member, *index) != Some(*ident) {
                return Err(format!(
                    "m{member} leads term {} without the committed entry {index}",
                    status.term
                ));
            }
        }
        Ok(())
    }
}
