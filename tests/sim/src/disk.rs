//! The simulated disk of one member: a log and a checkpoint, each with what is written and what
//! would survive a power cut.
//!
//! - A batch that was not synced survives a crash as any prefix: batches in order, of the last one
//!   some of its records; its hard state is the last part of it.
//! - A checkpoint is one atomic batch: after a crash before its sync it is there whole or not at
//!   all. The last two durable ones are kept, and a crash may take the newer one away (I5:
//!   the log is cut only below the older of the two, so it has to be enough).
//!
//! In a run on real storage a data directory does the same beside it, and decides what a power cut leaves:
//! that must be what was durable here, with or without the step that the cut interrupted.

mod copy;
mod files;

use std::collections::BTreeMap;

use bytes::Bytes;
use copy::Copies;
use files::Files;
use witan_machine::{
    record::{CorruptRecord, RecordChange},
    view::View,
};
use witan_replica::host::{LogBatch, LogRecord, Recovered};

use crate::{
    data_directory::InterruptedStep,
    net::{records_of, view_of},
    rng::Rng,
};

/// Checkpoint records by key.
pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Percentage of crashes that take the newest durable checkpoint away, if an older one is there.
const FALLBACK_PERCENT: u64 = 20;

/// A checkpoint on disk.
#[derive(Clone, Debug)]
struct Saved {
    records: Records,
    index: u64,
}

/// The content of a log.
#[derive(Clone, Debug, Default, PartialEq)]
struct Log {
    records: BTreeMap<u64, LogRecord>,
    hard_state: Option<Bytes>,
}

impl Log {
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

    /// The records that a start from a checkpoint at `index` replays.
    fn above(&self, index: u64) -> Vec<&LogRecord> {
        let above = self.records.range(index + 1..);
        above.map(|(_, record)| record).collect()
    }

    /// First and last index; (0, 0) if it is empty.
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
pub struct Disk {
    live: Log,
    durable: Log,
    /// Written since the last sync, in order.
    unsynced: Vec<LogBatch>,
    /// Written, not yet synced.
    written: Option<Saved>,
    newest: Saved,
    older: Option<Saved>,
    files: Option<Files>,
    copies: Copies,
}

impl Disk {
    /// The disk of a member that has never run: the genesis is its checkpoint.
    pub(crate) fn new(genesis: &View) -> Self {
        Self {
            live: Log::default(),
            durable: Log::default(),
            unsynced: Vec::new(),
            written: None,
            newest: Saved { records: records_of(genesis), index: genesis.position.index },
            older: None,
            files: None,
            copies: Copies::default(),
        }
    }

    /// Writes a batch without making it durable.
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

    /// Replaces everything by a received snapshot, atomically and durably; terms and votes stay.
    pub(crate) fn install(&mut self, snapshot: &View) {
        self.sync();
        self.unsynced.clear();
        self.live.records.clear();
        self.durable = self.live.clone();
        self.written = None;
        self.older = None;
        self.newest = Saved {
            records: records_of(snapshot),
            index: snapshot.position.index,
        };
        if let Some(files) = &mut self.files {
            files.directory.install(snapshot);
            files.step = None;
        }
    }

    /// The power goes while a received snapshot replaces everything: it has happened or not.
    pub(crate) fn tear_install(&mut self, snapshot: &View, rng: &mut Rng) {
        match &mut self.files {
            Some(files) => files.step = Some(InterruptedStep::Install(Box::new(snapshot.clone()))),
            None if rng.chance(50) => {}
            None => self.install(snapshot),
        }
    }

    /// Writes a checkpoint of `view` as what changed since `base`, the one before it.
    pub(crate) fn write_checkpoint(&mut self, base: &View, view: &View) {
        let mut records = self.newest.records.clone();
        view.changes(Some(base), &mut |change| match change {
            RecordChange::Put { key, value } => {
                records.insert(key, value);
            }
            RecordChange::Delete { key } => {
                records.remove(&key);
            }
        });
        self.written = Some(Saved { records, index: view.position.index });
        if let Some(files) = &mut self.files {
            files.step = Some(InterruptedStep::WriteCheckpoint {
                base: Box::new(base.clone()),
                view: Box::new(view.clone()),
            });
        }
    }

    /// Makes the written checkpoint durable.
    pub(crate) fn sync_checkpoint(&mut self) {
        if let Some(written) = self.written.take() {
            self.older = Some(std::mem::replace(&mut self.newest, written));
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

    /// The power goes: what was not durable survives in part, as chance has it. Fails if real storage keeps
    /// less than what was durable, or anything else.
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

    /// Reads the state with which a member starts.
    pub(crate) fn recover(&mut self) -> Result<Recovered, CorruptRecord> {
        if let Some(recovered) = self.files.as_mut().and_then(|files| files.recovered.take()) {
            return Ok(recovered);
        }
        Ok(Recovered {
            checkpoint: Some(view_of(&self.newest.records)?),
            hard_state: self.durable.hard_state.clone(),
            records: self.durable.records.values().cloned().collect(),
        })
    }

    /// The entry at `index` as written.
    pub fn entry(&self, index: u64) -> Option<&LogRecord> {
        self.live.records.get(&index)
    }

    /// The entry at `index` that a power cut now would leave.
    pub fn durable_entry(&self, index: u64) -> Option<&LogRecord> {
        self.durable.records.get(&index)
    }

    /// The last entry that is durable here as an entry or in a checkpoint.
    pub fn checkpoint_index(&self) -> u64 {
        self.newest.index
    }

    /// The last entry of the checkpoint that a start may have to go back to.
    pub(crate) fn oldest_checkpoint_index(&self) -> u64 {
        self.older.as_ref().unwrap_or(&self.newest).index
    }

    /// The log as written, and the hard state beside it.
    pub(crate) fn log(&self) -> (impl Iterator<Item = &LogRecord>, Option<&Bytes>) {
        (self.live.records.values(), self.live.hard_state.as_ref())
    }

    /// First and last index of the log as written; (0, 0) if it is empty.
    pub fn span(&self) -> (u64, u64) {
        self.live.span()
    }
}
