//! A link of a chain that is being written: the runs that it reuses and those that it writes. Not here: which runs can be
//! reused (`reuse`), and files.

use std::collections::BTreeMap;

use witan_machine::record::{self, RecordChange};

use super::{
    manifest::Run,
    reuse::{KeyStretch, RunReuse, WrittenRun},
    run::{RunItem, item_bytes},
};

/// The next run to write.
#[derive(Default)]
pub(super) struct PendingRun {
    pub(super) items: Vec<RunItem>,
    /// Size of the items in the file.
    pub(super) bytes: u64,
    /// Keys of the items, where the run is known to contain every record between them.
    pub(super) stretches: Vec<KeyStretch>,
}

/// Location of a record of a base.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a reused run, by its index in `RunReuse`.
    Kept(usize),
    Blocks,
    Others,
}

/// The link of a chain that is being written. Blocks of the key space, which are most of the data, have their own runs. Each of
/// these has its own stretch of keys, so startup has few runs open at once, however many of them bases reuse.
#[derive(Default)]
pub(super) struct PendingLink {
    /// The runs of the previous chain that a base reuses, by their indexes in `RunReuse`, with the keys that are current there.
    pub(super) kept: BTreeMap<usize, Vec<KeyStretch>>,
    /// The written runs.
    pub(super) written: Vec<WrittenRun>,
    pub(super) blocks: PendingRun,
    pub(super) others: PendingRun,
    /// Location of the last record of a base.
    last: Option<Place>,
}

impl PendingLink {
    /// Reuses a run of the previous chain, which contains the next record.
    pub(super) fn keep(&mut self, run: usize, key: &[u8]) {
        let gap = self.last.replace(Place::Kept(run)) != Some(Place::Kept(run));
        KeyStretch::extend(self.kept.entry(run).or_default(), key, gap);
    }

    /// Adds a record to one of the next runs, and returns that run. `is_base` says that all records of the state are emitted.
    pub(super) fn add(&mut self, change: RecordChange, is_base: bool) -> &mut PendingRun {
        let (key, value) = match change {
            RecordChange::Put { key, value } => (key, Some(value)),
            RecordChange::Delete { key } => (key, None),
        };
        let (place, run) = match record::is_block(&key) {
            true => (Place::Blocks, &mut self.blocks),
            false => (Place::Others, &mut self.others),
        };
        let follows = self.last.replace(place) == Some(place);
        let gap = match (is_base, run.items.last()) {
            (true, _) => !follows,
            (false, Some((last, Some(_)))) => !record::are_neighbors(last, &key),
            (false, Some((_, None)) | None) => true,
        };
        // Between other records of a difference, unchanged records may exist.
        if value.is_some() && (is_base || place == Place::Blocks) {
            KeyStretch::extend(&mut run.stretches, &key, gap);
        }
        let item = (key, value);
        run.bytes += item_bytes(&item) as u64;
        run.items.push(item);
        run
    }

    /// Returns the link's runs in the order in which they were written. If several contain a key, the last one wins.
    pub(super) fn runs(&self, before: &RunReuse) -> Vec<Run> {
        let kept = self.kept.keys().map(|run| before.run(*run).clone());
        let written = self.written.iter().map(|written| written.run.clone());
        let mut runs: Vec<Run> = kept.chain(written).collect();
        runs.sort_unstable_by_key(|run| run.number);
        runs
    }
}
