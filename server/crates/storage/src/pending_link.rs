//! A link of a chain while it is written: its reused and its new runs. `reuse` decides which runs can be reused.

use std::collections::BTreeMap;

use witan_machine::record::{self, RecordChange};

use super::{
    manifest::Run,
    reuse::{KeyStretch, RunReuse, WrittenRun},
    run::{RunItem, item_bytes},
    run_file::RunBlocks,
};

/// A run whose records are being collected.
#[derive(Default)]
pub(super) struct PendingRun {
    pub(super) items: Vec<RunItem>,
    /// Size in bytes that the items take in the file.
    pub(super) bytes: u64,
    /// Key ranges in which the run contains every record of the state.
    pub(super) stretches: Vec<KeyStretch>,
}

/// The location of a record of a base.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a reused run. The number is the run's index in `RunReuse`.
    Kept(usize),
    Blocks,
    Others,
}

/// A link of a chain while it is written. Blocks of the key space, which are most of the data, have their own runs, each with
/// its own key range. Startup therefore has few runs open at once, even if bases reuse many.
#[derive(Default)]
pub(super) struct PendingLink {
    /// Reused runs of the previous chain, by index in `RunReuse`, with the key ranges of their current records.
    pub(super) kept: BTreeMap<usize, Vec<KeyStretch>>,
    pub(super) written: Vec<WrittenRun>,
    /// The blocks in the written runs.
    pub(super) places: Vec<RunBlocks>,
    pub(super) blocks: PendingRun,
    pub(super) others: PendingRun,
    /// The location of the last record of a base.
    last: Option<Place>,
}

impl PendingLink {
    /// Reuses the run of the previous chain that contains the next record, `key`.
    pub(super) fn keep(&mut self, run: usize, key: &[u8]) {
        let gap = self.last.replace(Place::Kept(run)) != Some(Place::Kept(run));
        KeyStretch::extend(self.kept.entry(run).or_default(), key, gap);
    }

    /// Adds a record to the run being collected for its type, and returns that run. `is_base` means that all records of the
    /// state are added.
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
        // A difference may omit unchanged records between the records that it adds.
        if value.is_some() && (is_base || place == Place::Blocks) {
            KeyStretch::extend(&mut run.stretches, &key, gap);
        }
        let item = (key, value);
        run.bytes += item_bytes(&item) as u64;
        run.items.push(item);
        run
    }

    /// Returns the link's runs, oldest first: the record of the last run that contains a key is valid.
    pub(super) fn runs(&self, before: &RunReuse) -> Vec<Run> {
        let kept = self.kept.keys().map(|run| before.run(*run).clone());
        let written = self.written.iter().map(|written| written.run.clone());
        let mut runs: Vec<Run> = kept.chain(written).collect();
        runs.sort_unstable_by_key(|run| run.number);
        runs
    }
}
