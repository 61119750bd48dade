//! Two members never run with different histories side by side: where a member came back with an older disk that nobody
//! could recognize, it may have helped to elect a leader without acknowledged entries. Who has executed these must end.
//!
//! Logs tell entries apart by their terms alone. A member that forgot that it led a term may lead the same one again: what it
//! appends then looks like what it appended before, and nobody can see that.

use std::collections::BTreeMap;

use super::{Fact, Ident, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct NoSilentFork {
    /// The entries that each process has executed since it began, or got a state of another.
    executed: BTreeMap<u64, BTreeMap<u64, Ident>>,
}

impl Invariant for NoSilentFork {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Restored { member, .. } = fact {
            self.executed.remove(member);
        }
        if let Fact::Forced { .. } = fact {
            self.executed.clear();
        }
        if let Fact::Executed { member, batch, .. } = fact {
            let entries = batch
                .iter()
                .filter_map(|applied| Some((applied.index, scene.ident(*member, applied.index)?)));
            self.executed.entry(*member).or_default().extend(entries);
        }
        let Fact::Ended { views, leader, .. } = fact else {
            return Ok(());
        };
        let Some(of_leader) = self.executed.get(leader) else {
            return Ok(());
        };
        for (member, _) in *views {
            let executed = self.executed.get(member).into_iter().flatten();
            for (index, ident) in executed {
                if of_leader
                    .get(index)
                    .is_some_and(|other| other.term != ident.term)
                {
                    return Err(format!(
                        "m{member} runs, and has executed another entry {index} than the leader m{leader}"
                    ));
                }
            }
        }
        Ok(())
    }
}
