//! Decides which runs of the published chain a new base keeps as they are. The base consists of these runs and of new runs,
//! which contain all other records.
//!
//! The place of a block names the run that contains the block's record, even after a restart. A base can keep a run that
//! contains only blocks, but does not read the blocks in kept runs. It keeps a run with few outdated bytes. In a large state,
//! it rewrites only the most outdated of the other runs, because no other checkpoint can be written until the base is complete.
//! Startup loads each key from the newest run that contains the key, so these rules must hold:
//!
//! - **No run that is newer than a block's place contains the block.** When a checkpoint writes a block, the new run is the
//!   newest one, and the block is settled there. Startup settles the block in the newest run that contains it. If a kept run
//!   contains an outdated record of a block, the block has its place in a newer run of the base.
//! - **The base deletes each block that a kept run contains and the state lacks.** The number of a deleted block is never used
//!   again.
//! - **The base writes all records that are not blocks.** These records can contain secrets, so the base does not keep a run
//!   that contains such a record.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use witan_machine::{
    kv::BlockRecord,
    record::{self, RecordChange},
    view::View,
};

use super::{
    folder::CheckpointFolder,
    formats::DataFormat,
    link::LinkWriter,
    manifest::{Chain, Run},
    run::HEADER_BYTES,
    run_file::RunFile,
};

/// Divisor of a run's size. A run whose outdated records exceed the quotient has many outdated bytes.
const OUTDATED_DIVISOR: u64 = 4;

/// Number of bytes that a block takes in a run, in addition to its record.
const BLOCK_ITEM_BYTES: u64 = (HEADER_BYTES + record::BLOCK_KEY_BYTES) as u64;

/// A new base that has not been written yet.
#[derive(Debug)]
pub(super) struct BasePlan {
    /// The format of the base and of the kept runs.
    pub(super) format: &'static DataFormat,
    /// The kept runs, oldest first.
    pub(super) kept: Vec<Run>,
    /// The addresses of the kept runs' [`RunFile`]s, which exist while the view has places in them.
    files: BTreeSet<*const ()>,
    /// The blocks in kept runs that the state no longer has, by number.
    removed: Vec<u64>,
    /// Size in bytes of all blocks of the state.
    blocks_bytes: u64,
    /// Size in bytes of the blocks that stay in kept runs.
    kept_bytes: u64,
}

/// The runs that a base writes anew, in addition to runs that contain records other than blocks.
#[derive(Clone, Copy, Debug)]
pub(super) enum RunsToRewrite {
    /// All runs with outdated bytes.
    Outdated,
    /// Runs with many outdated bytes, the most outdated runs first. The runs with the fewest outdated bytes are kept as long as
    /// the outdated bytes of all kept runs are at least `slack_bytes` less than the size of the state's blocks.
    MostOutdated { slack_bytes: u64 },
}

/// A run of the chain that contains only blocks, and the use of its blocks.
struct RunOfBlocks<'a> {
    run: &'a Run,
    file: Arc<RunFile>,
    /// Size in bytes of the blocks that have their place in the run.
    live: u64,
}

impl RunOfBlocks<'_> {
    fn outdated(&self) -> u64 {
        self.run.content.bytes.saturating_sub(self.live)
    }

    /// Returns the outdated share of the run, in thousandths.
    fn outdated_share(&self) -> u64 {
        self.outdated() * 1000 / self.run.content.bytes.max(1)
    }
}

/// The size of a base in bytes.
pub(super) struct BaseSize {
    /// Size of all records of the state.
    pub(super) all: u64,
    /// Size of the records in new runs.
    pub(super) new: u64,
}

impl BasePlan {
    /// Plans a base of `view`, which must outlive the plan. Keeps the runs of `chain` that contain only blocks, except
    /// `rewritten` runs, runs of less than `run_bytes_min` bytes, and runs in which no block has its place. The state of `chain`
    /// must be an ancestor of `view`, and the runs of `chain` must have the format `format`.
    pub(super) fn new(
        format: &'static DataFormat,
        folder: &CheckpointFolder,
        chain: &Chain,
        view: &View,
        (run_bytes_min, rewritten): (u64, RunsToRewrite),
    ) -> Self {
        let (mut kept, mut files, mut removed) = (Vec::new(), BTreeSet::new(), Vec::new());
        let (mut blocks_bytes, mut kept_bytes, mut numbers) = (0, 0, Vec::new());
        let mut live_bytes: BTreeMap<*const (), u64> = BTreeMap::new();
        for block in view.machine.kv.blocks() {
            let bytes = BLOCK_ITEM_BYTES + block.size_bytes() as u64;
            blocks_bytes += bytes;
            numbers.push(block.number());
            if let Some(file) = file_of(&block) {
                *live_bytes.entry(file).or_default() += bytes;
            }
        }
        let large = chain.runs();
        let large = large.filter(|run| run.content.bytes >= run_bytes_min);
        let runs = large.filter_map(|run| {
            let file = folder.state().run_file(run.number)?;
            let live = *live_bytes.get(&address(&file))?;
            file.blocks.get()?;
            Some(RunOfBlocks { run, file, live })
        });
        for RunOfBlocks { run, file, live } in kept_runs(runs.collect(), blocks_bytes, rewritten) {
            let is_removed = |number: &u64| numbers.binary_search(number).is_err();
            let blocks = file.blocks.get().into_iter().flatten();
            removed.extend(blocks.copied().filter(is_removed));
            kept_bytes += live;
            files.insert(address(&file));
            kept.push(run.clone());
        }
        removed.sort_unstable();
        removed.dedup();
        Self { format, kept, files, removed, blocks_bytes, kept_bytes }
    }

    /// Writes the records of the base that are not in kept runs. Stops if `link` has failed. The deletions of blocks get their
    /// own run. No block has its place in this run, so the next base does not keep the run.
    pub(super) fn write(&self, view: &View, link: &mut LinkWriter<'_>) {
        for block in view.machine.kv.blocks() {
            if link.has_failed() {
                return;
            }
            if file_of(&block).is_none_or(|file| !self.files.contains(&file)) {
                let key = record::block_key(block.number());
                link.add(RecordChange::Put { key, value: block.encode() });
            }
        }
        link.end_runs();
        for number in &self.removed {
            link.add(RecordChange::Delete { key: record::block_key(*number) });
        }
        view.records_except_blocks(&mut |change| link.add(change));
    }

    /// Computes the size of the base. Encodes all records except the blocks. Does not read values.
    pub(super) fn size(&self, view: &View) -> BaseSize {
        let mut others = 0;
        view.records_except_blocks(&mut |change| {
            if let RecordChange::Put { key, value } = change {
                others += (HEADER_BYTES + key.len() + value.len()) as u64;
            }
        });
        let removed = self.removed.len() as u64 * BLOCK_ITEM_BYTES;
        BaseSize {
            all: self.blocks_bytes + others,
            new: self.blocks_bytes - self.kept_bytes + removed + others,
        }
    }
}

/// Returns the runs to keep, in their order. `blocks_bytes` is the size of the state's blocks.
fn kept_runs(
    mut runs: Vec<RunOfBlocks<'_>>,
    blocks_bytes: u64,
    rewritten: RunsToRewrite,
) -> Vec<RunOfBlocks<'_>> {
    let slack_bytes = match rewritten {
        RunsToRewrite::Outdated => {
            runs.retain(|run| run.outdated() == 0);
            return runs;
        }
        RunsToRewrite::MostOutdated { slack_bytes } => slack_bytes,
    };
    let mut left = blocks_bytes.saturating_sub(slack_bytes);
    let mut by_share: Vec<&RunOfBlocks<'_>> = runs.iter().collect();
    by_share.sort_by_key(|run| run.outdated_share());
    let mut kept = BTreeSet::new();
    for run in by_share {
        let has_few = run.outdated() <= run.run.content.bytes / OUTDATED_DIVISOR;
        if has_few || run.outdated() <= left {
            left = left.saturating_sub(run.outdated());
            kept.insert(run.run.number);
        }
    }
    runs.retain(|run| kept.contains(&run.run.number));
    runs
}

/// Returns the address of a file. Files of different directories have different addresses, even if their runs have the same
/// number.
fn address(file: &Arc<RunFile>) -> *const () {
    Arc::as_ptr(file).cast::<()>()
}

/// Returns the [`address`] of the file in which a block has its place, or `None` if the block has no place.
fn file_of(block: &BlockRecord<'_>) -> Option<*const ()> {
    let place = block.place()?;
    Some(Arc::as_ptr(&place.file).cast::<()>())
}
