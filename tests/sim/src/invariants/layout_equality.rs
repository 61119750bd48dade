//! Members with the same lineage have the same records after the same entry, byte for byte, including the locations of keys in
//! blocks. The feature level is part of the state, so these members also have the same level.
//!
//! Startups and snapshots read blocks from records, so they keep the layout of the state. Only raft's order of members and the
//! pages of the key index differ, and the index has no records.

use std::collections::BTreeMap;

use witan_machine::view::View;

use super::{ByIndex, Fact, Invariant, Scene};

/// Number of entries from one compared state to the next one during a run, because encoding a state takes a long time.
const ENTRIES_PER_SAMPLE: u64 = 64;

#[derive(Debug, Default)]
pub(super) struct LayoutEquality {
    /// The fingerprints of the compared states, by lineage.
    states: BTreeMap<u64, ByIndex<u64>>,
}

impl Invariant for LayoutEquality {
    fn observe(&mut self, fact: &Fact<'_>, _: &Scene<'_>) -> Result<(), String> {
        if let Fact::Forced { kept, .. } = fact {
            self.states
                .values_mut()
                .for_each(|of_one| of_one.cut(*kept));
        }
        if let Fact::Executed { member, view, .. } | Fact::Restored { member, view, .. } = fact
            && view.position.index.is_multiple_of(ENTRIES_PER_SAMPLE)
        {
            return self.compare(*member, view);
        }
        if let Fact::Ended { views, .. } = fact {
            return views
                .iter()
                .try_for_each(|(member, view)| self.compare(*member, view));
        }
        Ok(())
    }
}

impl LayoutEquality {
    /// Compares a member's state with the first state that was seen after the same entry.
    fn compare(&mut self, member: u64, view: &View) -> Result<(), String> {
        let index = view.position.index;
        self.states
            .entry(view.position.lineage)
            .or_default()
            .agree(index, &view.full_fingerprint(), member)
            .map_err(|(_, other)| {
                format!("m{member} and m{other} have different records after entry {index}")
            })
    }
}
