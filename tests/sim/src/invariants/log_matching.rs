//! Log Matching (§5.3): two entries with the same index and term are equal, and so are all entries before them. It suffices to
//! compare the terms of their predecessors.

use std::collections::BTreeMap;

use super::{Fact, Ident, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct LogMatching {
    /// Payload of the entry at an index and term, and the term of its predecessor if known.
    entries: BTreeMap<(u64, u64), (u64, Option<u64>)>,
}

impl Invariant for LogMatching {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Forced { kept, .. } = fact {
            self.entries.retain(|(index, _), _| index <= kept);
        }
        let Fact::Written { member, records, .. } = fact else {
            return Ok(());
        };
        for record in *records {
            let Ident { term, payload } = Ident::of(record);
            let before = scene
                .ident(*member, record.index - 1)
                .map(|ident| ident.term);
            let first = self
                .entries
                .entry((record.index, term))
                .or_insert((payload, before));
            if first.0 != payload {
                return Err(format!(
                    "m{member} has a different entry {} of term {term}",
                    record.index
                ));
            }
            match (first.1, before) {
                (Some(one), Some(other)) if one != other => {
                    return Err(format!(
                        "before entry {} of term {term} m{member} has term {other}, others {one}",
                        record.index
                    ));
                }
                (None, Some(_)) => first.1 = before,
                (Some(_), Some(_)) | (_, None) => {}
            }
        }
        Ok(())
    }
}
