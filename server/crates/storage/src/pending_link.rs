//! A link of a chain that is being written: the runs that it takes over, and those that it writes. Not here: which runs may be
//! taken over (`reuse`), and files.

use std::collections::BTreeMap;

use witan_machine::record::{self, RecordChange};

use super::{
    manifest::Run,
    reuse::{KeyStretch, RunReuse},
    run::{self, RunItem},
};

/// The link of a chain that is being written.
#[derive(Default)]
pub(super) struct PendingLink {
    /// The runs of the chain before that a base takes over, by their indexes in `RunReuse`, with the keys that count there.
    pub(super) kept: BTreeMap<usize, Vec<KeyStretch>>,
    /// The written runs and their keys.
    pub(super) written: Vec<(Run, Vec<KeyStretch>)>,
    /// Records of the next run.
    pub(super) items: Vec<RunItem>,
    pub(super) bytes: u64,
    pub(super) stretches: Vec<KeyStretch>,
    /// The run that is taken over and contains the last record of a base; `None` if that is in `items`.
    last_kept: Option<usize>,
}

impl PendingLink {
    /// Takes over a run of the chain before, which contains the next record.
    pub(super) fn keep(&mut self, run: usize, key: &[u8]) {
        let gap = self.last_kept.replace(run) != Some(run);
        KeyStretch::extend(self.kept.entry(run).or_default(), key, gap);
    }

    /// Adds a record to the next run. `is_base` says whether all records of the state are emitted.
    pub(super) fn add(&mut self, change: RecordChange, is_base: bool) {
        self.bytes += size(&change);
        let (key, value) = match change {
            RecordChange::Put { key, value } => (key, Some(value)),
            RecordChange::Delete { key } => (key, None),
        };
        if value.is_some() {
            let gap = match (is_base, self.items.last()) {
                (true, _) => self.last_kept.is_some(),
                (false, Some((last, _))) => !record::are_neighbors(last, &key),
                (false, None) => true,
            };
            KeyStretch::extend(&mut self.stretches, &key, gap);
        }
        self.last_kept = None;
        self.items.push((key, value));
    }

    /// Its runs, in the order in which they were written: of a key that several contain, the last one counts.
    pub(super) fn runs(&self, before: &RunReuse) -> Vec<Run> {
        let kept = self.kept.keys().map(|run| before.run(*run).clone());
        let written = self.written.iter().map(|(run, _)| run.clone());
        let mut runs: Vec<Run> = kept.chain(written).collect();
        runs.sort_unstable_by_key(|run| run.number);
        runs
    }
}

pub(super) fn key(change: &RecordChange) -> &[u8] {
    let (RecordChange::Put { key, .. } | RecordChange::Delete { key }) = change;
    key
}

/// Returns the bytes of a changed record in a run.
pub(super) fn size(change: &RecordChange) -> u64 {
    let (RecordChange::Put { key, .. } | RecordChange::Delete { key }) = change;
    let value = match change {
        RecordChange::Put { value, .. } => value.len(),
        RecordChange::Delete { .. } => 0,
    };
    (run::HEADER_BYTES + key.len() + value) as u64
}
