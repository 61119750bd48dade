//! Election Safety (§5.2): at most one leader is ever elected in a term.

use std::collections::BTreeMap;

use witan_replica::replica::Role;

use super::{Fact, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    /// The leader of each term.
    leaders: BTreeMap<u64, u64>,
}

impl Invariant for ElectionSafety {
    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        if matches!(fact, Fact::Forced { .. }) {
            self.leaders.clear();
        }
        let Fact::Turned { member, status, .. } = fact else {
            return Ok(());
        };
        if status.role != Role::Leader {
            return Ok(());
        }
        let first = *self.leaders.entry(status.term).or_insert(*member);
        if first != *member {
            return Err(format!(
                "m{first} and m{member} both lead term {}",
                status.term
            ));
        }
        Ok(())
    }
}
