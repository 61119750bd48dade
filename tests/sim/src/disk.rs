//! The simulated disk of one member: a log and a checkpoint, each with what is written and what
//! would survive a power cut.
//!
//! - A batch that was not synced survives a crash as any prefix: batches in order, of the last one
//!   some of its records; its hard state is the last part of it.
//! - A checkpoint is one atomic batch: after a crash before its sync it is there whole or not at
//!   all. The last two durable ones are kept, and a crash may take the newer one away (I5:
//!   the log is cut only below the older of the two, so it has to be enough).

use std::collections::BTreeMap;

use bytes::Bytes;
use witan_replica::{
    host::{LogBatch, LogRecord, Recovered},
    machine::{
        record::{CorruptRecord, RecordChange, VIEW},
        view::View,
    },
};

use crate::{
    net::{records_of, view_of},
    rng::Rng,
    scenario::Bug,
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

/// What a log holds.
#[derive(Clone, Debug, Default)]
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
}

/// The disk of one member.
#[derive(Clone, Debug)]
pub struct Disk {
    bug: Bug,
    live: Log,
    durable: Log,
    /// Written since the last sync, in order.
    unsynced: Vec<LogBatch>,
    /// Written, not yet synced.
    written: Option<Saved>,
    newest: Saved,
    older: Option<Saved>,
}

impl Disk {
    /// The disk of a member that has never run: the genesis is its checkpoint.
    pub(crate) fn new(genesis: &View, bug: Bug) -> Self {
        Self {
            bug,
            live: Log::default(),
            durable: Log::default(),
            unsynced: Vec::new(),
            written: None,
            newest: Saved {
                records: records_of(genesis),
                index: genesis.position.index,
            },
            older: None,
        }
    }

    /// Writes a batch without making it durable.
    pub(crate) fn write(&mut self, batch: &LogBatch) {
        self.live.write(batch);
        self.unsynced.push(batch.clone());
    }

    /// Makes everything written to the log durable.
    pub(crate) fn sync(&mut self) {
        if self.bug == Bug::SyncLies {
            return;
        }
        for batch in self.unsynced.drain(..) {
            self.durable.write(&batch);
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
        self.written = Some(Saved {
            records,
            index: view.position.index,
        });
    }

    /// Makes the written checkpoint durable.
    pub(crate) fn sync_checkpoint(&mut self) {
        if let Some(written) = self.written.take() {
            self.older = Some(std::mem::replace(&mut self.newest, written));
        }
    }

    /// Drops the log records below `index`.
    pub(crate) fn cut(&mut self, index: u64) {
        for batch in &mut self.unsynced {
            batch.records.retain(|record| record.index >= index);
        }
        self.live.records = self.live.records.split_off(&index);
        self.durable.records = self.durable.records.split_off(&index);
    }

    /// The power goes: what was not durable survives in part, as chance has it.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        let batches = std::mem::take(&mut self.unsynced);
        let whole = rng.below(batches.len() + 1);
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
    }

    fn crash_checkpoint(&mut self, rng: &mut Rng) {
        if let Some(written) = self.written.take() {
            if self.bug == Bug::CheckpointNotAtomic {
                let position = written
                    .records
                    .get(&vec![VIEW])
                    .cloned()
                    .unwrap_or_default();
                self.newest.records.insert(vec![VIEW], position);
                self.newest.index = written.index;
            } else if rng.chance(50) {
                self.older = Some(std::mem::replace(&mut self.newest, written));
            }
        }
        if self.older.is_some()
            && rng.chance(FALLBACK_PERCENT)
            && let Some(older) = self.older.take()
        {
            self.newest = older;
        }
    }

    /// What a starting member reads.
    pub(crate) fn recover(&self) -> Result<Recovered, CorruptRecord> {
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

    /// First and last index of the log as written; (0, 0) if it is empty.
    pub fn span(&self) -> (u64, u64) {
        let end = |entry: Option<(&u64, &LogRecord)>| entry.map_or(0, |(index, _)| *index);
        (
            end(self.live.records.first_key_value()),
            end(self.live.records.last_key_value()),
        )
    }
}
