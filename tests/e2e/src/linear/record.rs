//! The record of changes that watchers received, and its comparison with the clients' responses. All watchers must receive the
//! same changes in order, and each revision completely and once. Every response must be correct at its revision, and revisions
//! must follow real time.
//!
//! `checker` searches for an order without using revisions.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Call, Input, Output, Pair, Slot};

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The revision of the change.
    pub revision: i64,
    /// The number of the pair.
    pub pair: usize,
    /// The changed key of the pair.
    pub slot: Slot,
    /// The new value; 0 for a deletion.
    pub value: u64,
}

/// The changes in one response of a watch stream.
pub type Batch = Vec<Change>;

/// Checks that a watcher received changes in order, without repetition, and each revision in one batch. Returns the changes.
pub fn orderly(batches: &[Batch]) -> Result<Vec<Change>, String> {
    let mut seen: Vec<Change> = Vec::new();
    for batch in batches {
        let newest = seen.last().map_or(0, |change| change.revision);
        if let Some(late) = batch.iter().find(|change| change.revision <= newest) {
            return Err(format!("{late:?} arrived after revision {newest}"));
        }
        for change in batch {
            if seen
                .last()
                .is_some_and(|last| last.revision > change.revision)
            {
                return Err(format!("{change:?} arrived after {:?}", seen.last()));
            }
            let same = |other: &&Change| {
                (other.revision, other.pair, other.slot)
                    == (change.revision, change.pair, change.slot)
            };
            if let Some(other) = seen.iter().rev().take(batch.len()).find(same) {
                return Err(format!("{change:?} after {other:?} of the same revision"));
            }
            seen.push(*change);
        }
    }
    Ok(seen)
}

/// Checks that a watcher saw exactly the recorded changes of its keys, up to its last revision.
pub fn complete(
    record: &[Change],
    seen: &[Change],
    watched: impl Fn(&Change) -> bool,
) -> Result<(), String> {
    let until = seen.last().map_or(0, |change| change.revision);
    let expected: Vec<Change> = record
        .iter()
        .filter(|change| change.revision <= until && watched(change))
        .copied()
        .collect();
    if let Some((got, want)) = seen.iter().zip(&expected).find(|(a, b)| a != b) {
        return Err(format!("received {got:?}, but the record has {want:?}"));
    }
    if seen.len() != expected.len() {
        let (got, want) = (seen.len(), expected.len());
        return Err(format!("received {got} of {want} changes up to {until}"));
    }
    Ok(())
}

/// Checks that every response is correct at its revision, every change was requested, and revisions follow real time.
pub fn agree(record: &[Change], history: &[Call]) -> Result<(), String> {
    let states = States::of(record);
    for call in history {
        if let Some(told) = call.told {
            let before = match told.output {
                Output::Written | Output::Deleted(true) => states.at(call.pair, told.revision - 1),
                Output::Value(_) | Output::Both(_) | Output::Deleted(false) => {
                    states.at(call.pair, told.revision)
                }
            };
            let (after, output) = call.input.step(before);
            if output != told.output || after != states.at(call.pair, told.revision) {
                return Err(format!("{call:?}: the record has {before:?}, {after:?}"));
            }
        }
    }
    owned(record, history)?;
    in_time(history)
}

/// Checks that every change was requested, and that no two acknowledged writes have the same revision.
fn owned(record: &[Change], history: &[Call]) -> Result<(), String> {
    let mut asked = BTreeSet::new();
    let mut deletions: BTreeMap<(usize, Slot), usize> = BTreeMap::new();
    for call in history {
        match call.input {
            Input::Put(slot, new) | Input::Cas { slot, new, .. } => {
                asked.insert((call.pair, slot, new));
            }
            Input::CasBoth { new, .. } => {
                asked.extend([(call.pair, 0, new[0]), (call.pair, 1, new[1])]);
            }
            Input::Delete(slot) => {
                let done = call
                    .told
                    .is_none_or(|told| told.output == Output::Deleted(true));
                *deletions.entry((call.pair, slot)).or_default() += usize::from(done);
            }
            Input::Get(_) | Input::GetBoth => {}
        }
    }
    for change in record {
        let allowed = if change.value == 0 {
            let left = deletions.entry((change.pair, change.slot)).or_default();
            let any = *left > 0;
            *left = left.saturating_sub(1);
            any
        } else {
            asked.remove(&(change.pair, change.slot, change.value))
        };
        if !allowed {
            return Err(format!("{change:?} happened once more than requested"));
        }
    }
    let mut revisions = BTreeSet::new();
    for call in history {
        if let Some(told) = call.told
            && matches!(told.output, Output::Written | Output::Deleted(true))
            && !revisions.insert(told.revision)
        {
            return Err(format!("{call:?} shares its revision with another write"));
        }
    }
    Ok(())
}

/// Checks that no call has an older revision than a call that ended before its start.
fn in_time(history: &[Call]) -> Result<(), String> {
    let mut begins: Vec<&Call> = history.iter().filter(|call| call.told.is_some()).collect();
    let mut ends: Vec<(u64, i64)> = begins
        .iter()
        .filter_map(|call| call.told.map(|told| (told.ended, told.revision)))
        .collect();
    begins.sort_by_key(|call| call.begun);
    ends.sort_unstable();
    let mut ends = ends.into_iter().peekable();
    let mut newest = 0;
    for call in begins {
        while let Some((_, revision)) = ends.next_if(|(ended, _)| *ended < call.begun) {
            newest = newest.max(revision);
        }
        if call.told.is_some_and(|told| told.revision < newest) {
            return Err(format!(
                "{call:?} began after revision {newest} was answered"
            ));
        }
    }
    Ok(())
}

/// The state of each pair at any revision.
struct States(BTreeMap<(usize, i64), Pair>);

impl States {
    fn of(record: &[Change]) -> Self {
        let mut now: BTreeMap<usize, Pair> = BTreeMap::new();
        let mut states = BTreeMap::new();
        for change in record {
            let state = now.entry(change.pair).or_default();
            state[change.slot] = change.value;
            states.insert((change.pair, change.revision), *state);
        }
        Self(states)
    }

    fn at(&self, pair: usize, revision: i64) -> Pair {
        self.0
            .range((pair, 0)..=(pair, revision))
            .next_back()
            .map_or([0, 0], |(_, state)| *state)
    }
}
