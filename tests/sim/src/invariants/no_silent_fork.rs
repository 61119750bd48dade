//! Two members never run with different histories at the same time. A member that returned with an older, unrecognized disk may
//! have helped to elect a leader that lacks acknowledged entries. Members that executed these entries must stop once this
//! leader commits in its term. Before that, the leader answers no client and cannot confirm its leadership.
//!
//! Logs distinguish entries only by their terms. If a member forgot its vote or its leadership in a term, that term may have
//! two leaders. Their entries at the same index then look the same, and so do the logs before these entries.

use std::collections::BTreeMap;

use super::{Fact, Ident, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct NoSilentFork {
    /// The entries that each process has executed since it started or received a state.
    executed: BTreeMap<u64, BTreeMap<u64, Ident>>,
    /// The term of each member.
    terms: BTreeMap<u64, u64>,
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
        if let Fact::Turned { member, status, .. } = fact {
            self.terms.insert(*member, status.term);
        }
        let Fact::Ended { views, leader, .. } = fact else {
            return Ok(());
        };
        let Some(of_leader) = self.executed.get(leader) else {
            return Ok(());
        };
        let leads = self.terms.get(leader).copied().unwrap_or_default();
        if !of_leader.values().any(|ident| ident.term == leads) {
            return Ok(());
        }
        for (member, _) in *views {
            let executed = self.executed.get(member).into_iter().flatten();
            for (index, ident) in executed {
                if of_leader.get(index).is_some_and(|other| other != ident) {
                    return Err(format!(
                        "m{member} runs with a different entry {index} than the leader m{leader}"
                    ));
                }
            }
        }
        Ok(())
    }
}
