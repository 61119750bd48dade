//! Receives snapshots from other members. A receiver writes the records as runs of the checkpoint and builds the state from the
//! records as they arrive. The runs are not part of the checkpoint until the replica's thread publishes them
//! ([`super::install()`]).
//!
//! At most one snapshot is received at a time. If its stream breaks, [`IncomingSnapshot::park`] keeps its runs, and the next
//! stream of the same snapshot continues after them. The state is then read from the disk. Dropping a snapshot that is neither
//! parked nor finished removes its runs. Memory holds at most two runs and the new state, in addition to the current state.
//! Values of the new state that are durable in a run can be evicted from memory.

use std::{
    io, mem,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use witan_base::panics::catch_in_library;
use witan_machine::{
    member::MemberId,
    record::{self, CorruptRecord},
    values::BlockCache,
    view::{View, ViewBuilder},
};

use super::{
    error::CheckpointReadError,
    files::sync_dir,
    folder::{CheckpointFolder, DurableRecords, OnDurable, ReceiverState, SnapshotId},
    identity_file::{DataIdentity, StoredIdentity},
    manifest::{Chain, Run},
    open_identity::OpenIdentity,
    read_ahead::read_chain,
    record_stream::{RecordCounter, RecordTotals},
    run::{RUN_BYTES, RunItem, item_bytes},
    run_file::RunBlocks,
};

/// The reason why a snapshot was not received.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Another snapshot is being received or is waiting to be installed.
    #[error("this member is receiving another snapshot")]
    Busy,
    /// A file operation failed, for example because the disk is full.
    #[error("the snapshot cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The records do not form a valid state, or their totals differ from the announced totals.
    #[error("the snapshot is damaged: {0}")]
    Corrupt(String),
    /// A later release wrote a part of the snapshot that this release does not know.
    #[error("the snapshot is from a later release: {0}. Start that release on this member")]
    LaterRelease(String),
}

/// Receives snapshots from other members. Clones share the state.
#[derive(Clone, Debug)]
pub struct SnapshotReceiver {
    folder: Arc<CheckpointFolder>,
}

impl SnapshotReceiver {
    pub(super) fn new(folder: Arc<CheckpointFolder>) -> Self {
        Self { folder }
    }

    /// Creates a receiver for tests. It cannot receive snapshots.
    pub fn without_folder() -> Self {
        let stored = StoredIdentity::new(DataIdentity::new(0, MemberId::NONE));
        let identity = OpenIdentity::new(Path::new(""), stored);
        let (identity, cache) = (Arc::new(identity), Arc::new(BlockCache::new()));
        let folder = CheckpointFolder::new(PathBuf::new(), Arc::default(), identity, cache, (1, 0));
        Self::new(folder)
    }

    /// Starts to receive a snapshot of about `bytes` bytes, or continues a parked snapshot with the same id. Discards a parked
    /// snapshot with another id. Fails with `Busy` while another snapshot is being received or waits to be installed. Fails
    /// with `StorageFull`, and discards the parked records, if the remaining records do not fit on the disk.
    pub fn begin(&self, id: SnapshotId, bytes: u64) -> Result<IncomingSnapshot, SnapshotError> {
        let before = mem::replace(&mut self.folder.state().receiver, ReceiverState::Busy);
        let durable = match before {
            ReceiverState::Busy => return Err(SnapshotError::Busy),
            ReceiverState::Parked(known, records) if known == id => *records,
            ReceiverState::Parked(_, other) => {
                self.folder.discard(&other.runs);
                DurableRecords::default()
            }
            ReceiverState::Idle => DurableRecords::default(),
        };
        let turn = Some(ReceiverTurn { folder: self.folder.clone(), parked: None });
        let begins = durable.runs.is_empty();
        let incoming = IncomingSnapshot {
            id,
            count: durable.count.clone(),
            durable,
            items: Vec::new(),
            item_bytes: 0,
            writing: None,
            builder: begins.then(ViewBuilder::default),
            folder: self.folder.clone(),
            turn,
        };
        let left = bytes.saturating_sub(incoming.count.bytes());
        if !self.folder.make_room(left) {
            return Err(io::Error::from(io::ErrorKind::StorageFull).into());
        }
        Ok(incoming)
    }
}

/// The right to receive a snapshot. One receiver holds it at a time. The state is `Busy` until this value is dropped.
#[derive(Debug)]
struct ReceiverTurn {
    folder: Arc<CheckpointFolder>,
    /// The records to keep for the next stream of the same snapshot.
    parked: Option<(SnapshotId, Box<DurableRecords>)>,
}

impl Drop for ReceiverTurn {
    fn drop(&mut self) {
        let next = match self.parked.take() {
            Some((id, records)) => ReceiverState::Parked(id, records),
            None => ReceiverState::Idle,
        };
        self.folder.state().receiver = next;
    }
}

/// A snapshot that is being received. Dropping it removes its files, unless it was parked or finished.
#[derive(Debug)]
pub struct IncomingSnapshot {
    id: SnapshotId,
    durable: DurableRecords,
    count: RecordCounter,
    items: Vec<RunItem>,
    item_bytes: usize,
    /// The previous run, if another thread is still writing it.
    writing: Option<RunInWriting>,
    /// Builds the state from the received records. `None` if the snapshot continues records from an earlier stream.
    builder: Option<ViewBuilder>,
    folder: Arc<CheckpointFolder>,
    turn: Option<ReceiverTurn>,
}

/// A run that another thread writes, and how much of the snapshot is durable after the write.
#[derive(Debug)]
struct RunInWriting {
    /// The writing thread. Its result is `None` if the thread panicked.
    thread: JoinHandle<Option<io::Result<(Run, RunBlocks)>>>,
    count: RecordCounter,
    last_key: Vec<u8>,
}

impl IncomingSnapshot {
    /// Returns the totals of the durable records and the last key among them (empty if there are none). The sender continues
    /// after this key.
    pub fn durable(&self) -> (RecordTotals, &[u8]) {
        (self.durable.count.totals(), &self.durable.last_key)
    }

    /// Returns the totals of all records received so far.
    pub fn totals(&self) -> RecordTotals {
        self.count.totals()
    }

    /// Adds a record. Starts to write a run once enough records are collected, or if only one of this record and the previous
    /// one is a block. A new run waits for the previous run. Fails if the record is invalid or a run cannot be written. If the
    /// snapshot continues an earlier stream, only [`Self::finish`] checks the records.
    pub fn add(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), SnapshotError> {
        let is_block = record::is_block(&key);
        if matches!(self.items.last(), Some((last, _)) if record::is_block(last) != is_block) {
            // A run has heads only if all its records are blocks.
            self.write_run()?;
        }
        self.count.add(&key, &value);
        if let Some(builder) = &mut self.builder {
            builder.load(&key, &value)?;
        }
        let item = (key, Some(value));
        self.item_bytes += item_bytes(&item);
        self.items.push(item);
        if self.item_bytes as u64 >= RUN_BYTES {
            self.write_run()?;
        }
        Ok(())
    }

    /// Starts to write the collected records, if any, on another thread. Before that, waits for the previous run and settles
    /// its blocks.
    fn write_run(&mut self) -> io::Result<()> {
        if let (Some(blocks), Some(builder)) = (self.finish_run()?, &self.builder) {
            blocks.settle(&self.folder, |key, place| builder.settle(key, place));
            self.folder.cache.trim();
        }
        let Some((last_key, _)) = self.items.last() else {
            return Ok(());
        };
        let (count, last_key) = (self.count.clone(), last_key.clone());
        let (folder, mut items) = (self.folder.clone(), mem::take(&mut self.items));
        self.item_bytes = 0;
        let write = move || catch_in_library(|| folder.write_run(&mut items, true));
        let thread = thread::Builder::new().name("snapshot-run".to_owned());
        self.writing = Some(RunInWriting { thread: thread.spawn(write)?, count, last_key });
        Ok(())
    }

    /// Waits for the run that another thread is writing, if there is one. Returns its blocks. Fails if the run could not be
    /// written.
    fn finish_run(&mut self) -> io::Result<Option<RunBlocks>> {
        let Some(writing) = self.writing.take() else {
            return Ok(None);
        };
        let written = writing.thread.join().ok().flatten();
        let written = written
            .unwrap_or_else(|| Err(io::Error::other("a panic occurred while a run was written")));
        let (run, blocks) = written?;
        self.durable.runs.push(run);
        self.durable.count = writing.count;
        self.durable.last_key = writing.last_key;
        Ok(Some(blocks))
    }

    /// Keeps the durable records, if any, for the next stream of the same snapshot. Waits for the run that is being written.
    /// Call this when the stream breaks.
    pub fn park(mut self) {
        // If the run fails, the next stream sends its records again.
        let _ = self.finish_run();
        // The drop of the turn parks the records. The next stream can therefore begin only after the state is dropped.
        if !self.durable.runs.is_empty()
            && let Some(turn) = &mut self.turn
        {
            turn.parked = Some((self.id, Box::new(mem::take(&mut self.durable))));
        }
    }

    /// Makes all records durable and builds the state. Fails unless the totals of the records equal `announced` and the state
    /// has the index and term of the snapshot's id. If the state must be read from the disk, fails with `OutOfMemory` as soon
    /// as `fits` returns false.
    pub fn finish(
        mut self,
        announced: RecordTotals,
        fits: &dyn Fn() -> bool,
    ) -> Result<ReceivedSnapshot, SnapshotError> {
        let sent = self.totals();
        if sent != announced {
            let what = format!("the sender announced {announced:?}, but sent {sent:?}");
            return Err(SnapshotError::Corrupt(what));
        }
        self.write_run()?;
        let built = self.builder.take().map(ViewBuilder::finish).transpose()?;
        let last = self.finish_run()?;
        let folder = self.folder.clone();
        sync_dir(&folder.dir)?;
        let view = match built {
            Some(view) => view,
            None => {
                let chain = Chain { links: vec![self.durable.runs.clone()] };
                read_chain(&folder, &chain, fits)?.0
            }
        };
        if let Some(blocks) = last {
            blocks.settle(&folder, |key, place| view.settle(key, place));
        }
        let position = &view.position;
        if (position.index, position.term) != (self.id.index, self.id.term) {
            let what = format!(
                "its state is at entry {} of term {}, but the announced state is at entry {} of term {}",
                position.index, position.term, self.id.index, self.id.term
            );
            return Err(SnapshotError::Corrupt(what));
        }
        Ok(ReceivedSnapshot {
            view,
            files: ReceivedFiles {
                runs: mem::take(&mut self.durable.runs),
                folder,
                turn: self.turn.take(),
            },
            installed: None,
        })
    }
}

impl Drop for IncomingSnapshot {
    fn drop(&mut self) {
        // A failed run does not leave a file to discard.
        let _ = self.finish_run();
        // Drop the state first, because the places of its blocks refer to the runs.
        self.builder = None;
        self.folder.discard(&self.durable.runs);
    }
}

/// A snapshot on disk and in memory that is not installed yet. Dropping it discards its files.
#[derive(Debug)]
pub struct ReceivedSnapshot {
    /// The snapshot's state.
    pub view: View,
    pub(super) files: ReceivedFiles,
    /// Callback for the installation, dropped without a call if the snapshot is never installed.
    pub(super) installed: Option<NotifyInstalled>,
}

impl ReceivedSnapshot {
    /// Sets the function to call when the snapshot has been installed.
    pub fn on_installed(&mut self, installed: OnDurable) {
        self.installed = Some(NotifyInstalled(installed));
    }
}

pub(super) struct NotifyInstalled(pub(super) OnDurable);

impl std::fmt::Debug for NotifyInstalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotifyInstalled").finish_non_exhaustive()
    }
}

/// The runs of a received snapshot. They are not removed while this value exists.
#[derive(Debug)]
pub(super) struct ReceivedFiles {
    runs: Vec<Run>,
    folder: Arc<CheckpointFolder>,
    /// The receiver's turn; `None` once the runs are published.
    turn: Option<ReceiverTurn>,
}

impl ReceivedFiles {
    /// Returns the chain of these runs. It has one link.
    pub(super) fn chain(&self) -> Chain {
        Chain { links: vec![self.runs.clone()] }
    }

    /// Lets another snapshot be received, because these runs are published.
    pub(super) fn on_published(&mut self) {
        self.turn = None;
    }
}

impl Drop for ReceivedFiles {
    fn drop(&mut self) {
        // The checkpoint thread removes unpublished files, because this may be the replica's thread.
        self.folder.forget(&self.runs);
        self.folder.report_garbage();
    }
}

impl From<CorruptRecord> for SnapshotError {
    fn from(error: CorruptRecord) -> Self {
        match error {
            CorruptRecord::Later(what) => Self::LaterRelease(what),
            CorruptRecord::Invalid(_) => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<CheckpointReadError> for SnapshotError {
    fn from(error: CheckpointReadError) -> Self {
        match error {
            CheckpointReadError::Io(error) => Self::Io(error),
            CheckpointReadError::At(_, error) => Self::from(*error),
            CheckpointReadError::Record(error) => error.into(),
        }
    }
}
