//! The runs that a member's process has open, from which it reads values of blocks. A block has a place only after its run is
//! durable, and a run is not removed while a block has a place in it.

use std::{
    collections::BTreeSet,
    io,
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use witan_machine::{
    record::is_block,
    values::{BlockCache, Place, RecordFile},
    view::View,
};

use super::{
    Disk,
    saved::{Run, Saved, Stored},
};
use crate::{rng::Rng, world::Violation};

/// Size in bytes of the checksum at the end of a record.
const CRC_BYTES: usize = 4;

/// The panic payload of a process that has read the record that [`Disk::damage_block`] damaged.
#[derive(Debug)]
pub(crate) struct FoundDamage;

/// The stages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The run is not durable yet, and a failed write would remove it.
    Written,
    Durable,
    /// No checkpoint contains the run, and the collector has removed it.
    Removed,
}

#[derive(Debug)]
struct OpenRunState {
    stage: Stage,
    /// The offset of a damaged record and its bytes.
    damaged: Option<(u64, Vec<u8>)>,
}

/// A run that a process has open.
#[derive(Debug)]
pub(super) struct SimRun {
    run: Arc<Run>,
    cache: Arc<BlockCache>,
    state: Mutex<OpenRunState>,
}

impl SimRun {
    fn new(run: Arc<Run>, cache: Arc<BlockCache>) -> Arc<Self> {
        let state = Mutex::new(OpenRunState { stage: Stage::Written, damaged: None });
        Arc::new(Self { run, cache, state })
    }

    fn state(&self) -> MutexGuard<'_, OpenRunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, stage: Stage) {
        self.state().stage = stage;
    }
}

impl RecordFile for SimRun {
    fn read(&self, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        let state = self.state();
        match state.stage {
            Stage::Written => return Err(io::Error::other("the run is not durable yet")),
            Stage::Durable => {}
            Stage::Removed => return Err(io::Error::other("the run was removed")),
        }
        if let Some((at, bytes)) = &state.damaged
            && *at == offset
        {
            return Ok(bytes.clone());
        }
        let begin = offset as usize;
        let part = self.run.content.get(begin..begin + len as usize);
        Ok(part.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    /// Ends the process because of planned damage. Without planned damage, ends the entire run of the simulator with a
    /// violation, because this disk has no other damage.
    fn fail(&self, what: &str) -> ! {
        let (stage, is_damaged) = {
            let state = self.state();
            (state.stage, state.damaged.is_some())
        };
        if is_damaged {
            resume_unwind(Box::new(FoundDamage));
        }
        let invariant = match stage {
            Stage::Written => "places_durable",
            Stage::Durable => "places_true",
            Stage::Removed => "runs_kept",
        };
        let what = format!("run {}: {what}", self.run.number);
        resume_unwind(Box::new(Violation { invariant, what, at: 0 }))
    }

    fn cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }
}

impl Disk {
    /// Returns the number of a new run.
    pub(super) fn next_run(&mut self) -> u64 {
        self.last_run += 1;
        self.last_run
    }

    /// Opens the runs of the newest checkpoint, from which a new process has loaded `view`.
    pub(super) fn start_process(&mut self, view: &View) {
        self.earlier_reads += self.cache.reads();
        self.cache = Arc::default();
        self.open_runs.clear();
        self.open(&self.newest.clone());
        self.publish(view);
    }

    /// Opens the runs of a checkpoint that are not open yet.
    pub(super) fn open(&mut self, saved: &Saved) {
        for (number, run) in saved.runs() {
            let open = self.open_runs.entry(number);
            open.or_insert_with(|| SimRun::new(run, self.cache.clone()));
        }
    }

    /// Settles the blocks of `view`, whose checkpoint has become durable. Removes the runs that are no longer needed.
    pub(super) fn publish(&mut self, view: &View) {
        for run in self.open_runs.values() {
            run.enter(Stage::Durable);
        }
        self.settle(&self.newest, view);
        self.collect();
    }

    /// Gives the blocks of `view` their places in the checkpoint `saved`. Real storage does this itself.
    pub(super) fn settle(&self, saved: &Saved, view: &View) {
        if self.files.is_some() {
            return;
        }
        for (key, stored) in &saved.records {
            let Stored { run, offset, len } = stored;
            if let Some(file) = self.open_runs.get(&run.number) {
                let (offset, len) = (*offset as u64, *len as u32);
                view.settle(key, Place { file: file.clone(), offset, len });
            }
        }
    }

    /// Removes the runs that are in no checkpoint and contain no place of a block.
    fn collect(&mut self) {
        let saved = [
            Some(&self.newest),
            self.older.as_ref(),
            self.written.as_ref(),
        ];
        let named = saved.into_iter().flatten().flat_map(Saved::runs);
        let named: BTreeSet<u64> = named.map(|(number, _)| number).collect();
        self.open_runs.retain(|number, run| {
            let is_kept = named.contains(number) || Arc::strong_count(run) > 1;
            if !is_kept {
                run.enter(Stage::Removed);
            }
            is_kept
        });
    }

    /// Drops all values that the member's process can read from its disk.
    pub(crate) fn drop_values(&self) {
        if let Some(files) = &self.files {
            return files.directory.drop_values();
        }
        self.cache.set_target(0);
        self.cache.trim();
        self.cache.set_target(u64::MAX);
    }

    /// Returns the number of blocks that the member's processes have read from this disk.
    pub(crate) fn cold_reads(&self) -> u64 {
        self.earlier_reads + self.cache.reads()
    }

    /// Damages the record of a block in an open run of the process, until [`Self::repair`]. Flips a bit, or replaces the record
    /// by the valid record of another block. Returns the number of the run, or `None` if the disk has no block or is on real
    /// storage.
    pub(crate) fn damage_block(&self, chance: &mut Rng) -> Option<u64> {
        let blocks = self.newest.records.iter().filter(|(key, _)| is_block(key));
        let blocks: Vec<&Stored> = blocks.map(|(_, stored)| stored).collect();
        if self.files.is_some() || blocks.is_empty() {
            return None;
        }
        let stored = *chance.pick(&blocks);
        let other = chance.pick(&blocks).value();
        let mut bytes = stored.value().to_vec();
        if chance.chance(50) {
            let bit = chance.below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        } else {
            let length = bytes.len() - CRC_BYTES;
            bytes = other.iter().copied().cycle().take(length).collect();
            let crc = crc32fast::hash(&bytes);
            bytes.extend_from_slice(&crc.to_le_bytes());
        }
        let open = self.open_runs.get(&stored.run.number)?;
        open.state().damaged = Some((stored.offset as u64, bytes));
        Some(stored.run.number)
    }

    /// Repairs the record in a run that [`Self::damage_block`] has damaged.
    pub(crate) fn repair(&self, run: u64) {
        if let Some(open) = self.open_runs.get(&run) {
            open.state().damaged = None;
        }
    }

    /// Removes the newest checkpoint while no process uses the disk, if only this checkpoint contains `run`, which a startup
    /// finds damaged. If the older checkpoint also contains the run, or there is no older checkpoint, the startup finds the run
    /// sound.
    pub(crate) fn lose_checkpoint_with(&mut self, run: u64) {
        let has = |saved: &Saved| saved.runs().contains_key(&run);
        if has(&self.newest)
            && let Some(older) = self.older.take_if(|older| !has(older))
        {
            self.newest = older;
        }
    }
}
