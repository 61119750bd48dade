//! Order of writes (§8, linearizable semantics): revisions increase along the log, and a write invoked after the answer to
//! another write gets a higher revision.

use std::collections::BTreeMap;

use super::{Fact, Invariant, Scene};
use crate::{
    oracle::{Ask, End},
    workload::{Effect, effect},
};
use witan_machine::revision::Revision;

#[derive(Debug, Default)]
pub(super) struct RevisionMonotone {
    /// Revision after the entry at each index.
    revisions: BTreeMap<u64, Revision>,
}

impl Invariant for RevisionMonotone {
    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Forced { kept, .. } = fact {
            self.revisions.split_off(&(kept + 1));
        }
        if let Fact::Executed { member, batch, view, .. } = fact {
            for applied in *batch {
                self.insert(applied.index, applied.outcome.revision, *member)?;
            }
            if let Some(last) = batch.last()
                && view.machine.kv.revision() != last.outcome.revision
            {
                return Err(format!(
                    "m{member} answered revision {} but is at {}",
                    last.outcome.revision,
                    view.machine.kv.revision()
                ));
            }
        }
        if let Fact::Acknowledged { op } = fact
            && let (Ask::Write(command), End::Applied { outcome, index, .. }) = (&op.ask, &op.end)
        {
            let writes = matches!(
                effect(command, outcome),
                Effect::Put { .. } | Effect::Gone { .. }
            );
            let least = if writes {
                op.floor.revision.next()
            } else {
                op.floor.revision
            };
            if outcome.revision < least || *index <= op.floor.index {
                return Err(format!(
                    "operation {} got revision {} at entry {index}; revision {} and entry {} were \
                     answered before it began",
                    op.id, outcome.revision, op.floor.revision, op.floor.index
                ));
            }
        }
        Ok(())
    }
}

impl RevisionMonotone {
    /// Records the revision after an entry. Fails if it is out of order.
    fn insert(&mut self, index: u64, revision: Revision, member: u64) -> Result<(), String> {
        let below = self
            .revisions
            .range(..index)
            .next_back()
            .map(|(_, revision)| *revision);
        let above = self
            .revisions
            .range(index + 1..)
            .next()
            .map(|(_, revision)| *revision);
        self.revisions.insert(index, revision);
        if below.is_some_and(|below| below > revision)
            || above.is_some_and(|above| above < revision)
        {
            return Err(format!(
                "m{member} answered revision {revision} at entry {index}, between {below:?} and \
                 {above:?}"
            ));
        }
        Ok(())
    }
}
