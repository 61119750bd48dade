//! State Machine Safety (§5.4.3): all members execute the same entry at an index, with the same answer, and have the same state
//! after it. This includes a member that executes the entry again after a crash.

use std::collections::BTreeMap;

use witan_machine::{
    Outcome, Reply,
    kv::{self, OpReply},
};

use super::{ByIndex, Fact, Ident, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct StateMachineEquality {
    entries: ByIndex<Ident>,
    outcomes: ByIndex<Outcome>,
    /// Fingerprints by lineage. States of different lineages differ in size until the leader's state replaces them.
    states: BTreeMap<u64, ByIndex<u64>>,
}

impl Invariant for StateMachineEquality {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Forced { kept, .. } = fact {
            self.entries.cut(*kept);
            self.outcomes.cut(*kept);
            self.states
                .values_mut()
                .for_each(|of_one| of_one.cut(*kept));
        }
        let Fact::Executed { member, batch, view, fingerprint, .. } = fact else {
            return Ok(());
        };
        let mut last = None;
        for applied in *batch {
            let index = applied.index;
            if last.is_some_and(|last| last + 1 != index) {
                return Err(format!(
                    "m{member} executed entry {index} after entry {last:?}"
                ));
            }
            last = Some(index);
            if let Some(ident) = scene.ident(*member, index) {
                self.entries
                    .agree(index, &ident, *member)
                    .map_err(|(_, other)| {
                        format!("m{member} and m{other} executed different entries at {index}")
                    })?;
            }
            self.outcomes
                .agree(index, &without_pairs(&applied.outcome), *member)
                .map_err(|(first, other)| {
                    format!(
                        "entry {index} answered {first:?} on m{other} and {:?} on m{member}",
                        applied.outcome
                    )
                })?;
        }
        let Some(index) = last else { return Ok(()) };
        if view.position.index != index {
            return Err(format!(
                "m{member} shows position {} after entry {index}",
                view.position.index
            ));
        }
        self.states
            .entry(view.position.lineage)
            .or_default()
            .agree(index, fingerprint, *member)
            .map_err(|(_, other)| format!("m{member} and m{other} differ after entry {index}"))
    }
}

/// Returns the part of an outcome that is equal on all members. Only the member with the waiting request reads the pairs.
fn without_pairs(outcome: &Outcome) -> Outcome {
    let mut outcome = outcome.clone();
    if let Reply::Kv(Ok(kv::KvReply::Op(reply))) = &mut outcome.reply {
        drop_pairs(reply);
    }
    outcome
}

/// Removes previous pairs and the entire results of ranges, including in transactions.
fn drop_pairs(reply: &mut OpReply) {
    match reply {
        OpReply::Put(put) => put.prev_kv = None,
        OpReply::Delete(delete) => delete.prev_kvs.clear(),
        OpReply::Range(range) => *range = kv::RangeReply::default(),
        OpReply::Txn(txn) => {
            txn.replies
                .iter_mut()
                .for_each(|(reply, _)| drop_pairs(reply));
        }
    }
}
