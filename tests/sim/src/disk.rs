//! The simulated disk of one member: a log and a checkpoint, each with its written and its durable part.
//!
//! - After a crash, any prefix of the unsynced batches survives: whole batches in order, then some records of the next batch.
//!   The hard state is the last part of a batch.
//! - A checkpoint is one atomic batch: after a crash before its sync, all or nothing of it exists. The last two durable
//!   checkpoints are kept, and a crash may remove the newer one. The log is cut only below the older one (I5).
//! - A process reads values of blocks from the durable checkpoint, as soon as it is durable (`open_run`).
//!
//! In a run on real storage, a data directory performs the same steps and determines the state after a power cut. That state
//! must equal the durable state of this disk, with or without the interrupted step.

mod copy;
mod files;
mod open_run;
mod saved;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use copy::Copies;
use files::Files;
pub(crate) use open_run::FoundDamage;
use open_run::SimRun;
pub(crate) use saved::Saved;
use witan_machine::{record::CorruptRecord, values::BlockCache, view::View};
use witan_replica::host::{LogBatch, LogRecord, Recovered};

use crate::{data_directory::InterruptedStep, rng::Rng};

/// Percentage of crashes that remove the newest durable checkpoint, if there is an older one.
const FALLBACK_PERCENT: u64 = 20;

#[derive(Clone, Debug, Default, PartialEq)]
struct Log {
    records: BTreeMap<u64, LogRecord>,
    hard_state: Option<Bytes>,
}

impl Log {
    /// Appends a record and replaces all records at its index and above.
    fn append(&mut self, record: &LogRecord) {
        self.records.split_off(&record.index);
        self.records.insert(record.index, record.clone());
    }

    fn write(&mut self, batch: &LogBatch) {
        for record in &batch.records {
            self.append(record);
        }
        if let Some(hard_state) = &batch.hard_state {
            self.hard_state = Some(hard_state.clone());
        }
    }

    fn of(recovered: &Recovered) -> Self {
        let records = recovered.records.iter();
        Self {
            records: records.map(|r| (r.index, r.clone())).collect(),
            hard_state: recovered.hard_state.clone(),
        }
    }

    /// Returns the records that a startup from a checkpoint at `index` replays.
    fn above(&self, index: u64) -> Vec<&LogRecord> {
        let above = self.records.range(index + 1..);
        above.map(|(_, record)| record).collect()
    }

    /// Returns the first and the last index, or (0, 0) if the log is empty.
    fn span(&self) -> (u64, u64) {
        let end = |entry: Option<(&u64, &LogRecord)>| entry.map_or(0, |(index, _)| *index);
        (
            end(self.records.first_key_value()),
            end(self.records.last_key_value()),
        )
    }
}

/// The disk of one member.
#[derive(Debug)]
pub(crate) struct Disk {
    live: Log,
    durable: Log,
    /// The batches written since the last sync, in order.
    unsynced: Vec<LogBatch>,
    /// The checkpoint that is written but not yet synced.
    written: Option<Saved>,
    newest: Saved,
    older: Option<Saved>,
    /// The last run number.
    last_run: u64,
    /// The runs that the member's process has open, by number.
    open_runs: BTreeMap<u64, Arc<SimRun>>,
    /// Decides which values of the process stay in memory.
    cache: Arc<BlockCache>,
    /// Number of blocks that earlier processes have read.
    earlier_reads: u64,
    files: Option<Files>,
    copies: Copies,
}

impl Disk {
    /// Creates the disk of a member that has never run, with the genesis as its checkpoint.
    pub(crate) fn new(genesis: &View) -> Self {
        Self {
            live: Log::default(),
            durable: Log::default(),
            unsynced: Vec::new(),
            written: None,
            newest: Saved::whole(genesis, 0),
            older: None,
            last_run: 0,
            open_runs: BTreeMap::new(),
            cache: Arc::default(),
            earlier_reads: 0,
            files: None,
            copies: Copies::default(),
        }
    }

    /// Writes a batch to the log without a sync.
    pub(crate) fn write(&mut self, batch: &LogBatch) {
        self.live.write(batch);
        self.unsynced.push(batch.clone());
    }

    /// Makes everything written to the log durable.
    pub(crate) fn sync(&mut self) {
        for batch in self.unsynced.drain(..) {
            self.durable.write(&batch);
            if let Some(files) = &mut self.files {
                files.directory.append(&batch);
            }
        }
    }

    /// Replaces everything except term and vote with a received snapshot, atomically and durably.
    pub(crate) fn install(&mut self, snapshot: &View) {
        self.sync();
        self.unsynced.clear();
        self.live.records.clear();
        self.durable = self.live.clone();
        self.written = None;
        self.older = None;
        self.newest = Saved::whole(snapshot, self.next_run());
        self.open(&self.newest.clone());
        self.publish(snapshot);
        if let Some(files) = &mut self.files {
            files.directory.install(snapshot);
            files.step = None;
        }
    }

    /// Cuts the power during the installation of a received snapshot. The generator decides whether the installation survives.
    pub(crate) fn tear_install(&mut self, snapshot: &View, rng: &mut Rng) {
        match &mut self.files {
            Some(files) => files.step = Some(InterruptedStep::Install(Box::new(snapshot.clone()))),
            None if rng.chance(50) => {}
            None => self.install(snapshot),
        }
    }

    /// Writes a checkpoint of `view` as the changes since `base`, the previous checkpoint's state.
    pub(crate) fn write_checkpoint(&mut self, base: &View, view: &View) {
        let number = self.next_run();
        let written = self.newest.next(base, view, number);
        self.open(&written);
        self.written = Some(written);
        if let Some(files) = &mut self.files {
            files.step = Some(InterruptedStep::WriteCheckpoint {
                base: Box::new(base.clone()),
                view: Box::new(view.clone()),
            });
        }
    }

    /// Makes the written checkpoint of `view` durable.
    pub(crate) fn sync_checkpoint(&mut self, view: &View) {
        if let Some(written) = self.written.take() {
            self.older = Some(std::mem::replace(&mut self.newest, written));
            self.publish(view);
            if let Some(files) = &mut self.files
                && let Some(InterruptedStep::WriteCheckpoint { base, view }) = files.step.take()
            {
                files.directory.write_checkpoint(&base, &view);
            }
        }
    }

    /// Drops the log records below `index`.
    pub(crate) fn cut(&mut self, index: u64) {
        for batch in &mut self.unsynced {
            batch.records.retain(|record| record.index >= index);
        }
        self.live.records = self.live.records.split_off(&index);
        self.durable.records = self.durable.records.split_off(&index);
        if let Some(files) = &mut self.files {
            files.directory.cut(index);
        }
    }

    /// Cuts the power. A random part of the unsynced data survives. Fails if real storage does not keep the durable data.
    pub(crate) fn crash(&mut self, rng: &mut Rng) -> Result<(), String> {
        let batches = std::mem::take(&mut self.unsynced);
        let whole = rng.below(batches.len() + 1);
        if self.files.is_some() {
            return self.crash_files(&batches, whole, rng);
        }
        for batch in &batches[..whole] {
            self.durable.write(batch);
        }
        if let Some(torn) = batches.get(whole) {
            for record in &torn.records[..rng.below(torn.records.len() + 1)] {
                self.durable.append(record);
            }
        }
        self.live = self.durable.clone();
        self.crash_checkpoint(rng);
        Ok(())
    }

    /// Decides at random whether an unsynced checkpoint survives and whether the newest one is lost.
    fn crash_checkpoint(&mut self, rng: &mut Rng) {
        if let Some(written) = self.written.take()
            && rng.chance(50)
        {
            self.older = Some(std::mem::replace(&mut self.newest, written));
        }
        if self.older.is_some()
            && rng.chance(FALLBACK_PERCENT)
            && let Some(older) = self.older.take()
        {
            self.newest = older;
        }
    }

    /// Reads the state from which a member starts, and opens the runs of its checkpoint.
    pub(crate) fn recover(&mut self) -> Result<Recovered, CorruptRecord> {
        if let Some(recovered) = self.files.as_mut().and_then(|files| files.recovered.take()) {
            return Ok(recovered);
        }
        let view = self.newest.view()?;
        self.start_process(&view);
        Ok(Recovered {
            checkpoint: Some(view),
            hard_state: self.durable.hard_state.clone(),
            records: self.durable.records.values().cloned().collect(),
        })
    }

    /// Reads the state of the newest durable checkpoint, with all values in memory.
    pub(crate) fn stored_state(&self) -> Result<View, CorruptRecord> {
        self.newest.view()
    }

    /// Returns the written entry at `index`.
    pub(crate) fn entry(&self, index: u64) -> Option<&LogRecord> {
        self.live.records.get(&index)
    }

    /// Returns the entry at `index` that is certain to survive a power cut now.
    pub(crate) fn durable_entry(&self, index: u64) -> Option<&LogRecord> {
        self.durable.records.get(&index)
    }

    /// Returns the index of the newest durable checkpoint's last entry.
    pub(crate) fn checkpoint_index(&self) -> u64 {
        self.newest.index
    }

    /// Returns the last index of the oldest checkpoint from which a startup may have to recover.
    pub(crate) fn oldest_checkpoint_index(&self) -> u64 {
        self.older.as_ref().unwrap_or(&self.newest).index
    }

    /// Returns the written log and hard state.
    pub(crate) fn log(&self) -> (impl Iterator<Item = &LogRecord>, Option<&Bytes>) {
        (self.live.records.values(), self.live.hard_state.as_ref())
    }

    /// Returns the first and the last index of the written log, or (0, 0) if it is empty.
    pub(crate) fn span(&self) -> (u64, u64) {
        self.live.span()
    }
}
