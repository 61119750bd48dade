//! A chain's link while it is written: the reused runs and the new runs. `reuse` decides which runs can be reused.

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
    /// Size of the items in the file, in bytes.
    pub(super) bytes: u64,
    /// Keys of the items, for ranges in which the run is known to contain every record.
    pub(super) stretches: Vec<KeyStretch>,
}

/// The location of a record in a base.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a reused run. The number is the run's index in `RunReuse`.
    Kept(usize),
    Blocks,
    Others,
}

/// A chain's link while it is written. The key space's blocks, which are most of the data, have their own runs. Each of these
/// runs has its own range of keys, so startup has few runs open at once, regardless of how many runs bases reuse.
#[derive(Default)]
pub(super) struct PendingLink {
    /// The previous chain's runs that a base reuses, by their index in `RunReuse`, with the keys that are current in them.
    pub(super) kept: BTreeMap<usize, Vec<KeyStretch>>,
    /// The new runs.
    pub(super) written: Vec<WrittenRun>,
    pub(super) blocks: PendingRun,
    pub(super) others: PendingRun,
    /// Location of a base's last record.
    last: Option<Place>,
}

impl PendingLink {
    /// Reuses a run of the previous chain that contains the next record.
    pub(super) fn keep(&mut self, run: usize, key: &[u8]) {
        let gap = self.last.replace(Place::Kept(run)) != Some(Place::Kept(run));
        KeyStretch::extend(self.kept.entry(run).or_default(), key, gap);
    }

    /// Adds a record to one of the next runs, and returns that run. `is_base` means that all records of the state are
    /// emitted.
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
        // Unchanged records may exist between other records of a difference.
        if value.is_some() && (is_base || place == Place::Blocks) {
            KeyStretch::extend(&mut run.stretches, &key, gap);
        }
        let item = (key, value);
        run.bytes += item_bytes(&item) as u64;
        run.items.push(item);
        run
    }

    /// Returns the link's runs in the order in which they were written. If several runs contain a key, the last run's record
    /// is used.
    pub(super) fn runs(&self, before: &RunReuse) -> Vec<Run> {
        let kept = self.kept.keys().map(|run| before.run(*run).clone());
        let written = self.written.iter().map(|written| written.run.clone());
        let mut runs: Vec<Run> = kept.chain(written).collect();
        runs.sort_unstable_by_key(|run| run.number);
        runs
    }
}
