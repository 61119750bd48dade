//! State Machine Safety (§5.4.3): all members execute the same entry at an index, with the same answer, and have the same state
//! after it. This includes a member that executes the entry again after a crash.
//!
//! Log compaction (§7): a checkpoint or a snapshot contains exactly this state, on every member and after every crash.

use std::collections::BTreeMap;

use witan_machine::{
    Outcome, Reply,
    kv::{self, OpReply},
    view::View,
};

use super::{ByIndex, Fact, Ident, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct StateMachineEquality {
    entries: ByIndex<Ident>,
    outcomes: ByIndex<Outcome>,
    /// Fingerprints by lineage. States of different lineages differ in size until the leader's state replaces them. Restored
    /// states are compared with executed ones once their index is known.
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
        if let Fact::Restored { member, view, fingerprint, .. } = fact {
            return self.compare(*member, view, *fingerprint);
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
        if let Some(index) = last.filter(|index| *index != view.position.index) {
            return Err(format!(
                "m{member} shows position {} after entry {index}",
                view.position.index
            ));
        }
        self.compare(*member, view, *fingerprint)
    }
}

impl StateMachineEquality {
    /// Compares a member's state with the first state that was seen after the same entry.
    fn compare(&mut self, member: u64, view: &View, fingerprint: u64) -> Result<(), String> {
        let index = view.position.index;
        self.states
            .entry(view.position.lineage)
            .or_default()
            .agree(index, &fingerprint, member)
            .map_err(|(_, other)| {
                format!("the state of m{member} at {index} is not the state that m{other} had")
            })
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
