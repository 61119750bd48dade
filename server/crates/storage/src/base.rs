//! Decides which runs of the published chain a new base keeps as they are. The base consists of these runs and of new runs,
//! which contain all other records.
//!
//! The place of a block names the run that contains the block's record, even after a restart. A base keeps a run if the run
//! contains only blocks and few outdated bytes. The base does not read the blocks in kept runs. Startup loads each key from the
//! newest run that contains the key, so these rules must hold:
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
};

/// Number of bytes that a block takes in a run, in addition to its record.
const BLOCK_ITEM_BYTES: u64 = (HEADER_BYTES + record::BLOCK_KEY_BYTES) as u64;

/// A new base that has not been written yet.
#[derive(Debug)]
pub(super) struct BasePlan {
    /// The format of the base and of the kept runs.
    pub(super) format: &'static DataFormat,
    /// The kept runs, oldest first.
    pub(super) kept: Vec<Run>,
    /// The addresses of the kept runs' [`RunFile`](super::run_file::RunFile)s, which exist while the view has places in them.
    files: BTreeSet<*const ()>,
    /// The blocks in kept runs that the state no longer has, by number.
    removed: Vec<u64>,
    /// Size in bytes of all blocks of the state.
    blocks_bytes: u64,
    /// Size in bytes of the blocks that stay in kept runs.
    kept_bytes: u64,
}

/// The size of a base in bytes.
pub(super) struct BaseSize {
    /// Size of all records of the state.
    pub(super) all: u64,
    /// Size of the records in new runs.
    pub(super) new: u64,
}

impl BasePlan {
    /// Plans a base of `view`, which must outlive the plan. Keeps a run of `chain` that contains only blocks if `is_kept`
    /// returns true for the run and the size in bytes of its live blocks. Does not keep a run if none of the blocks has its
    /// place there. The state of `chain` must be an ancestor of `view`, and the runs of `chain` must have the format `format`.
    pub(super) fn new(
        format: &'static DataFormat,
        folder: &CheckpointFolder,
        chain: &Chain,
        view: &View,
        is_kept: impl Fn(&Run, u64) -> bool,
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
        for run in chain.runs() {
            let Some(file) = folder.state().run_file(run.number) else {
                continue;
            };
            let address = Arc::as_ptr(&file).cast::<()>();
            let live = live_bytes.get(&address).copied().unwrap_or(0);
            if let Some(blocks) = file.blocks.get()
                && is_kept(run, live)
            {
                let is_removed = |number: &u64| numbers.binary_search(number).is_err();
                removed.extend(blocks.iter().copied().filter(is_removed));
                kept_bytes += live;
                files.insert(address);
                kept.push(run.clone());
            }
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

/// Returns the address of the file in which a block has its place, or `None` if the block has no place. Files of different
/// directories have different addresses, even if their runs have the same number.
fn file_of(block: &BlockRecord<'_>) -> Option<*const ()> {
    let place = block.place()?;
    Some(Arc::as_ptr(&place.file).cast::<()>())
}
