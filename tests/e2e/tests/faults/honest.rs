//! Generates a fixed history of the clients of a correct store, without processes.

use std::collections::BTreeMap;

use witan_e2e::linear::{
    Call, Change, Input, Output, Pair, Told as Answer,
    client::{Choice, Shared, remember},
};

use crate::{
    load::PAIRS,
    tree_watch::{TreeChange, TreeWatch},
    verdict::Told,
};

pub(crate) const CALLS: usize = 240;

/// One of this many calls has no response, and every second unanswered call has no effect.
pub(crate) const UNANSWERED: usize = 12;

#[derive(Default)]
struct Store {
    shared: Shared,
    pairs: BTreeMap<usize, Pair>,
    revision: i64,
    changes: Vec<Vec<Change>>,
    tree_changes: Vec<TreeChange>,
    /// Value and index of each v2 key.
    tree: BTreeMap<usize, (u64, u64)>,
}

impl Store {
    /// Executes a call on a pair and records its changes. Returns the response and the revision after the call.
    fn execute(&mut self, pair: usize, input: Input) -> (Output, i64) {
        let before = self.pairs.get(&pair).copied().unwrap_or_default();
        let (after, output) = input.step(before);
        if matches!(output, Output::Written | Output::Deleted(true)) {
            self.revision += 1;
            let revision = self.revision;
            // No value is written twice, so every write changes the state.
            let slots = [0, 1]
                .into_iter()
                .filter(|slot| before[*slot] != after[*slot]);
            let batch = slots.map(|slot| Change { revision, pair, slot, value: after[slot] });
            self.changes.push(batch.collect());
            self.pairs.insert(pair, after);
        }
        (output, self.revision)
    }

    /// Executes a call on a v2 key. Returns the response and the key's modified index, or 0 for a missing key.
    fn execute_tree(&mut self, pair: usize, input: Input) -> (Output, i64) {
        let before = self.tree.get(&pair).copied();
        let (after, output) = input.step([before.map_or(0, |(value, _)| value), 0]);
        if output == Output::Written {
            let index = 4 + self.tree_changes.len() as u64;
            self.tree_changes
                .push(TreeChange { index, pair, value: after[0], before });
            self.tree.insert(pair, (after[0], index));
        }
        let index = self.tree.get(&pair).map_or(0, |(_, index)| *index);
        (output, index.cast_signed())
    }

    /// Generates the calls of two clients. The calls overlap, and some have no response.
    fn calls(
        &mut self,
        mut draw: impl FnMut(&Shared, Pair) -> Input,
        mut execute: impl FnMut(&mut Self, usize, Input) -> (Output, i64),
    ) -> Vec<Call> {
        let mut known: BTreeMap<usize, Pair> = BTreeMap::new();
        let mut choice = Choice(7);
        let mut calls: Vec<Call> = Vec::new();
        for at in 0..CALLS {
            let pair = choice.below(PAIRS);
            let known = known.entry(pair).or_default();
            let input = draw(&self.shared, *known);
            let begun = self.shared.moment();
            // The previous call ends during this call.
            if let Some(Answer { ended, .. }) = calls.last_mut().and_then(|call| call.told.as_mut())
            {
                *ended = self.shared.moment();
            }
            let unanswered = at % UNANSWERED == UNANSWERED - 1;
            let lost = unanswered && at / UNANSWERED % 2 == 1;
            let answer = (!lost).then(|| execute(self, pair, input));
            let told = answer.filter(|_| !unanswered).map(|(output, revision)| {
                remember(known, input, output);
                Answer { ended: self.shared.moment(), output, revision }
            });
            calls.push(Call { pair, input, begun, told });
        }
        calls
    }
}

pub(crate) fn told() -> Told {
    let mut store = Store { revision: 1, ..Store::default() };
    let mut choice = Choice(1);
    let calls = store.calls(|shared, known| choice.input(shared, known), Store::execute);
    let tree_calls = store.calls(
        |shared, known| match choice.below(6) {
            0 | 1 => Input::Get(0),
            2 | 3 => Input::Put(0, shared.value()),
            _ => Input::Cas { slot: 0, old: known[0], new: shared.value() },
        },
        Store::execute_tree,
    );
    let tree_watch = TreeWatch { changes: store.tree_changes, ..TreeWatch::default() };
    Told {
        leases: 1,
        calls,
        tree_calls,
        tree_watches: vec![tree_watch.clone(), tree_watch],
        watches: vec![store.changes.clone(), store.changes.clone()],
        fresh: store.changes,
    }
}
