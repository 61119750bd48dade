//! The raft log on disk, in `raft-engine`. Only this file uses that crate. `Replica::checkpoint_durable` determines where the
//! log can be cut.
//!
//! Every write is synced before it returns. A batch that need not be durable (only a new commit index) stays in memory and is
//! written with the next batch. At most one record on disk is therefore unsynced, which [`super::tail`] relies on.
//!
//! A write that finds no space is retried once with the ballast's space (`log_writer`). Any other failed write or sync ends the
//! process: the disk's content is then unknown, so no entry may be acknowledged.

use std::{
    ops::AddAssign,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use protobuf::well_known_types::BytesValue;
#[cfg(not(test))]
use raft_engine::env::DefaultFileSystem as Files;
use raft_engine::{
    Command, Config, Engine, LogBatch as EngineBatch, MessageExt, ReadableSize, RecoveryMode,
};
use witan_base::{metrics::gauge, panics::catch_in_library};
use witan_replica::{
    host::{LogBatch, LogRecord},
    limits::CATCH_UP_BYTES,
};

#[cfg(test)]
use super::tests::disk::Watched as Files;
use super::{
    OpenError, StorageMetrics,
    files::{self, sync_dir},
    formats,
    identity_file::Origin,
    ledger::Ledger,
    lock::wait_until_unlocked,
    log_writer::LogFiles,
    open_identity::OpenIdentity,
    retention::{self, Outdated},
    space::checkpoint_log_bytes,
    tail,
};

const FILES_PER_INTERVAL: u64 = 2;
/// Log size at which files are purged, in checkpoint intervals. If this size were smaller than the log that I5 keeps, the
/// engine would rewrite large entries to delete their files.
const PURGE_INTERVALS: u64 = 3;
/// Number of bytes of memory that an entry takes in addition to its size, in the engine's index or during startup.
const ENTRY_COST: u64 = 256;
/// The engine's lock file. The engine cannot be opened while this file is locked.
const ENGINE_LOCK: &str = "LOCK";
/// Id of the member's log. The engine supports several logs.
const REGION: u64 = 1;
/// Key of raft's term, vote and commit index.
const HARD_STATE: &[u8] = b"hard";
const LOG_START: &[u8] = b"line";
/// Size in bytes of an entry's version, index, term and checksum.
const FRAME_HEADER_BYTES: usize = 1 + 8 + 8 + 4;
/// The log message for a panic of the engine. The engine panics when a sync fails.
const SYNC_FAILED: &str = "the sync failed";

/// The log of one member.
pub struct RaftLog {
    engine: Engine<LogFiles<Files>>,
    dir: PathBuf,
    pub(super) log_start: LogStart,
    /// Index of the last entry, or the index before the first one if the log is empty.
    last: u64,
    pub(super) hard_state: Option<Bytes>,
    /// Whether `hard_state` differs from the state on disk.
    unsaved: bool,
    /// Whether `log_start` differs from the record on disk.
    start_unsaved: bool,
    /// Entries that startup no longer needs and that are kept for copies of the directory.
    pub(super) outdated: Outdated<OutdatedEntries>,
    /// Maximum total cost of outdated entries, in bytes.
    outdated_max: u64,
    /// Cost in bytes of all entries that this process has appended.
    appended: u64,
    /// False with `--unsafe-no-fsync`.
    fsync: bool,
    /// Size of the entries that startup replays.
    replayed: LogSize,
    /// Provides the format of new entries.
    identity: Arc<OpenIdentity>,
    metrics: StorageMetrics,
}

/// The size and the number of log entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Total size of the entries in bytes.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
}

impl LogSize {
    /// Returns the approximate size in bytes of the memory that startup needs to replay the entries.
    pub fn memory_bytes(self) -> u64 {
        self.bytes + ENTRY_COST * self.entries
    }
}

impl AddAssign for LogSize {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.entries += other.entries;
    }
}

/// The log-start record: the log's first indexes. Every cut writes this record, so that missing entries at the front are
/// detected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogStart {
    /// Index of the first entry that this log ever contained; 0 before that entry, after a received snapshot, and in a copy
    /// that lacks entries.
    pub(super) origin: u64,
    /// Index of the first entry that must still exist; 0 before the first entry.
    pub(super) begin: u64,
    /// Index of the first entry that is not outdated.
    pub(super) needed: u64,
}

/// The outdated entries below an index.
#[derive(Debug)]
pub(super) struct OutdatedEntries {
    below: u64,
    /// Value of [`RaftLog::appended`] when the entries became outdated.
    appended: u64,
}

impl LogStart {
    /// Encodes the record. [`Self::decode`] reads it.
    pub(super) fn encode(self) -> Vec<u8> {
        [self.origin, self.begin, self.needed]
            .map(u64::to_le_bytes)
            .concat()
    }

    /// Decodes the record, or returns `None` if it is too short.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (origin, begin) = (u64_at(bytes, 0)?, u64_at(bytes, 8)?);
        Some(Self { origin, begin, needed: u64_at(bytes, 16)? })
    }

    /// Returns whether the log lacks earlier entries. A checkpoint must then contain their effect.
    pub(super) fn is_truncated(self) -> bool {
        self.begin != self.origin
    }
}

/// Lets the engine read the index of a stored entry.
struct Frame;

impl MessageExt for Frame {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        u64_at(&entry.value, 1).expect("every entry handed to the engine has a header")
    }
}

impl std::fmt::Debug for RaftLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftLog")
            .field("log_start", &self.log_start)
            .field("last", &self.last)
            .finish()
    }
}

impl RaftLog {
    /// Opens the log and repairs a torn last write. Creates the log if the directory is new; otherwise, fails if files are
    /// missing. Also fails if the engine's lock stays taken for a second. A copied directory may lack the oldest files, which
    /// were purged during the copy.
    pub(super) fn open(
        dir: &Path,
        origin: Origin,
        ledger: Arc<Ledger>,
        identity: Arc<OpenIdentity>,
        metrics: StorageMetrics,
    ) -> Result<Self, OpenError> {
        std::fs::create_dir_all(dir).map_err(|e| OpenError::io(dir, e))?;
        let lock = dir.join(ENGINE_LOCK);
        if lock.exists() {
            wait_until_unlocked(&lock).map_err(|e| OpenError::io(&lock, e))?;
        }
        tail::repair(dir, origin)?;
        let interval_bytes = checkpoint_log_bytes(dir);
        // The engine purges no files below its threshold, so outdated entries raise the threshold by this size.
        let outdated_max = match retention::is_large(dir) {
            true => interval_bytes * retention::OUTDATED_INTERVALS,
            false => 0,
        };
        let config = config(dir, interval_bytes, outdated_max)?;
        let files = Arc::new(LogFiles { files: Files, ledger, zeros: files::overwrites(dir) });
        let engine = Engine::open_with_file_system(config, files).map_err(|e| refusal(dir, e))?;
        let mut log = Self {
            engine,
            dir: dir.to_owned(),
            log_start: LogStart::default(),
            last: 0,
            hard_state: None,
            unsaved: false,
            start_unsaved: false,
            outdated: Outdated::default(),
            outdated_max,
            appended: 0,
            fsync: true,
            replayed: LogSize::default(),
            identity,
            metrics,
        };
        match log.engine.get(REGION, LOG_START) {
            Some(bytes) => {
                log.log_start = LogStart::decode(&bytes).ok_or_else(|| {
                    OpenError::log(dir, 0, "the record of the start of the log is malformed")
                })?;
            }
            None if origin == Origin::New => {
                let mut batch = EngineBatch::default();
                log.add_keys(&mut batch)
                    .and_then(|()| log.engine.write(&mut batch, true))
                    .map_err(|e| refusal(dir, e))?;
                sync_dir(dir).map_err(|e| OpenError::io(dir, e))?;
            }
            None => match log.engine.first_index(REGION) {
                Some(first) if origin == Origin::Copied => log.begin_at(first),
                Some(_) | None => {
                    return Err(OpenError::log(dir, 0, "the log's files are missing"));
                }
            },
        }
        let begin = log.log_start.begin;
        log.last = log
            .engine
            .last_index(REGION)
            .unwrap_or(begin.saturating_sub(1));
        let first = log.engine.first_index(REGION).unwrap_or(begin);
        if origin == Origin::Copied && first > begin && log.last >= first {
            log.begin_at(first);
        } else if log.last < begin.saturating_sub(1) || first > begin && log.last >= begin {
            let what = format!("entries {begin} to {first} are missing");
            return Err(OpenError::log(dir, 0, what));
        }
        if log.log_start.needed > log.log_start.begin {
            let below = log.log_start.needed;
            log.outdated.push(OutdatedEntries { below, appended: 0 });
        }
        log.hard_state = log.engine.get(REGION, HARD_STATE).map(Bytes::from);
        Ok(log)
    }

    /// Makes the log-start record durable if it has changed.
    pub(super) fn save_start(&mut self) {
        if self.start_unsaved {
            self.append(&LogBatch { must_sync: true, ..LogBatch::default() });
        }
    }

    /// Starts the log of a copied directory at the first copied entry. The next write to the log saves this start. The
    /// checkpoint later shows whether entries are missing.
    fn begin_at(&mut self, first: u64) {
        let needed = self.log_start.needed.max(first);
        self.log_start = LogStart { origin: 0, begin: first, needed };
        self.start_unsaved = true;
    }

    /// Reads the entries from index `from` or from the first entry that is neither cut nor outdated, whichever is later.
    /// `applied` is the checkpoint's index. Of the entries up to this index, reads at most the last [`CATCH_UP_BYTES`] bytes.
    /// Records the size of the entries above it as replayed. Returns no entries if the log ends before them. Fails if an entry
    /// is missing or damaged.
    pub(super) fn read(&mut self, from: u64, applied: u64) -> Result<Vec<LogRecord>, OpenError> {
        let needed = self.log_start.needed.min(applied + 1);
        let from = from.max(needed).max(self.log_start.begin);
        let from = self.skip_to_catch_up_bytes(from, applied)?;
        let mut entries = Vec::new();
        if self.log_start.begin != 0 && from <= self.last {
            self.engine
                .fetch_entries_to::<Frame>(REGION, from, self.last + 1, None, &mut entries)
                .map_err(|e| refusal(&self.dir, e))?;
        }
        let mut records = Vec::with_capacity(entries.len());
        for (expected, entry) in (from..).zip(entries) {
            let record = unframe(entry.value).filter(|record| record.index == expected);
            let what = || format!("entry {expected} is missing or fails its checksum");
            records.push(record.ok_or_else(|| OpenError::log(&self.dir, 0, what()))?);
        }
        self.replayed = LogSize::default();
        for record in records.iter().filter(|record| record.index > applied) {
            let bytes = record.payload.len() as u64;
            self.replayed += LogSize { bytes, entries: 1 };
        }
        Ok(records)
    }

    /// Returns the first index, at or after `from`, from which the entries up to `applied` take at most [`CATCH_UP_BYTES`]
    /// bytes. Reads one entry at a time, because all entries together might not fit in memory.
    fn skip_to_catch_up_bytes(&self, from: u64, applied: u64) -> Result<u64, OpenError> {
        let mut bytes = 0;
        for index in (from..=applied).rev() {
            let entry = self.engine.get_entry::<Frame>(REGION, index);
            let entry = entry.map_err(|e| refusal(&self.dir, e))?;
            bytes += entry.map_or(0, |entry| entry.value.len());
            if bytes > CATCH_UP_BYTES {
                return Ok(index + 1);
            }
        }
        Ok(from)
    }

    /// Returns the size of the entries after the checkpoint, which startup replays. Opening the directory determines the size.
    /// Later appends and checkpoints do not change it. Counts only the bytes of payloads.
    pub fn replayed(&self) -> LogSize {
        self.replayed
    }

    /// Returns whether no entry was ever appended and no snapshot was received.
    pub(super) fn is_empty(&self) -> bool {
        self.log_start == LogStart::default()
    }

    /// Returns the index of the last entry, or the index before the first one if the log is empty.
    pub fn last_index(&self) -> u64 {
        self.last
    }

    /// Appends a batch, which replaces the entries at its first index and above. Returns the size of its framed entries in
    /// bytes. The batch is durable on return, unless fsync is disabled. A hard state alone, without `must_sync`, stays in
    /// memory until the next write. A disk error ends the process. Panics unless the batch starts within the log or directly
    /// after it.
    pub fn append(&mut self, batch: &LogBatch) -> usize {
        if let Some(hard_state) = &batch.hard_state {
            self.hard_state = Some(hard_state.clone());
            self.unsaved = true;
        }
        if batch.records.is_empty() && !batch.must_sync {
            return 0;
        }
        let begun = Instant::now();
        let mut out = EngineBatch::with_capacity(batch.records.len() + 1);
        let mut bytes = 0;
        if let (Some(first), Some(last)) = (batch.records.first(), batch.records.last()) {
            assert!(
                self.log_start.begin == 0
                    || (self.log_start.begin..=self.last + 1).contains(&first.index),
                "an append must continue the log"
            );
            if self.log_start.begin == 0 {
                let index = first.index;
                self.log_start = LogStart { origin: index, begin: index, needed: index };
                self.start_unsaved = true;
            }
            self.last = last.index;
            let version = self.identity.format().frame_version;
            let framed = batch.records.iter().map(|record| frame(record, version));
            let entries: Vec<BytesValue> = framed.collect();
            bytes = entries.iter().map(|e| e.value.len()).sum();
            self.appended += bytes as u64 + ENTRY_COST * entries.len() as u64;
            self.write(&mut out, |_, out| {
                out.add_entries::<Frame>(REGION, &entries)
            });
        }
        self.write(&mut out, |log, out| match &log.hard_state {
            _ if log.start_unsaved => log.add_keys(out),
            Some(state) if log.unsaved => out.put(REGION, HARD_STATE.to_vec(), state.to_vec()),
            _ => Ok(()),
        });
        self.sync(out);
        if batch.must_sync && self.fsync {
            let took = begun.elapsed();
            self.metrics.wal_fsync.observe(took.as_secs_f64());
        }
        self.metrics.wal_write_bytes.add(gauge(bytes as u64));
        bytes
    }

    /// Disables fsync. A power failure can then lose writes and leave an unusable log.
    pub fn disable_fsync(&mut self) {
        self.fsync = false;
    }

    /// Marks the entries below `below` as outdated. Then calls [`Self::drop_outdated`], which drops them once their retention
    /// has ended. Does nothing if these entries are already outdated or the log has never had an entry. The mark becomes
    /// durable with the next write.
    pub fn cut(&mut self, below: u64) {
        let below = below.min(self.last + 1);
        if below <= self.log_start.needed || self.log_start.begin == 0 {
            return;
        }
        self.log_start.needed = below;
        self.start_unsaved = true;
        let appended = self.appended;
        self.outdated.push(OutdatedEntries { below, appended });
        self.drop_outdated();
    }

    /// Drops outdated entries whose retention has ended, and the files that contain only dropped entries. The retention ends
    /// early once the log has grown enough, or if the file system is small or lacks free space. If entries were dropped, the
    /// new start of the log is durable on return.
    pub fn drop_outdated(&mut self) {
        let is_early = |old: &OutdatedEntries| {
            self.appended - old.appended >= self.outdated_max || !retention::has_room(&self.dir)
        };
        let mut below = None;
        while let Some(entries) = self.outdated.pop(is_early) {
            below = Some(entries.below);
        }
        let Some(below) = below else { return };
        self.log_start.begin = below;
        let mut out = EngineBatch::default();
        out.add_command(REGION, Command::Compact { index: below });
        // Also rewrite the keys. Otherwise, the keys would prevent the deletion of an old file.
        self.write(&mut out, |log, out| log.add_keys(out));
        self.sync(out);
        self.purge();
    }

    /// Drops all entries, because a received snapshot up to `index` is now the checkpoint. The next entry follows the snapshot.
    /// Durable on return.
    pub(super) fn restart(&mut self, index: u64) {
        let mut out = EngineBatch::default();
        if self.log_start.begin != 0 {
            let index = self.last + 1;
            out.add_command(REGION, Command::Compact { index });
        }
        self.log_start = LogStart { origin: 0, begin: index + 1, needed: index + 1 };
        self.outdated.clear();
        self.last = index;
        self.write(&mut out, |log, out| log.add_keys(out));
        self.sync(out);
        self.purge();
    }

    /// Saves the hard state and the log-start record and closes the log at a graceful shutdown.
    pub fn close(mut self) {
        if self.unsaved || self.start_unsaved {
            self.append(&LogBatch { must_sync: true, ..LogBatch::default() });
        }
    }

    /// Adds the log-start record and the hard state, if there is one, to a batch.
    fn add_keys(&self, out: &mut EngineBatch) -> raft_engine::Result<()> {
        out.put(REGION, LOG_START.to_vec(), self.log_start.encode())?;
        match &self.hard_state {
            Some(state) => out.put(REGION, HARD_STATE.to_vec(), state.to_vec()),
            None => Ok(()),
        }
    }

    /// Deletes files that contain only dropped entries. Logs an error; a panic of the engine ends the process.
    fn purge(&self) {
        match catch_in_library(|| self.engine.purge_expired_files()) {
            Some(Ok(_)) => {}
            // A failure only wastes space, and the next cut tries again.
            Some(Err(error)) => {
                tracing::error!(dir = %self.dir.display(), %error, "failed to delete old log files");
            }
            None => self.exit(SYNC_FAILED),
        }
    }

    /// Writes a batch and syncs it unless fsync is disabled.
    fn sync(&mut self, mut out: EngineBatch) {
        self.write(&mut out, |log, out| {
            log.engine.write(out, log.fsync).map(|_| ())
        });
        (self.unsaved, self.start_unsaved) = (false, false);
    }

    /// Runs a step that writes to the log. Ends the process if the step fails or panics.
    fn write(
        &self,
        out: &mut EngineBatch,
        step: impl FnOnce(&Self, &mut EngineBatch) -> raft_engine::Result<()>,
    ) {
        match catch_in_library(|| step(self, out)) {
            Some(Ok(())) => {}
            Some(Err(error)) => self.exit(&error.to_string()),
            None => self.exit(SYNC_FAILED),
        }
    }

    /// Logs a failed write and ends the process.
    fn exit(&self, error: &str) -> ! {
        let dir = self.dir.display();
        tracing::error!(%dir, error, "failed to write the Raft log; exiting");
        std::process::exit(super::EXIT_DISK_FAILED)
    }
}

/// Returns the engine's configuration for a log with `interval_bytes` bytes between two checkpoints and up to `outdated_max`
/// bytes of outdated entries. Fails if the path `dir` is not UTF-8.
fn config(dir: &Path, interval_bytes: u64, outdated_max: u64) -> Result<Config, OpenError> {
    Ok(Config {
        dir: dir
            .to_str()
            .ok_or_else(|| OpenError::not_utf8(dir))?
            .to_owned(),
        recovery_mode: RecoveryMode::AbsoluteConsistency,
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize(interval_bytes / FILES_PER_INTERVAL),
        purge_threshold: ReadableSize(interval_bytes * PURGE_INTERVALS + outdated_max),
        enable_log_recycle: false,
        ..Config::default()
    })
}

/// Encodes an entry as the frame's `version`, index, term, CRC-32 and payload.
pub(super) fn frame(record: &LogRecord, version: u8) -> BytesValue {
    let mut value = Vec::with_capacity(FRAME_HEADER_BYTES + record.payload.len());
    value.push(version);
    value.extend_from_slice(&record.index.to_le_bytes());
    value.extend_from_slice(&record.term.to_le_bytes());
    value.extend_from_slice(&frame_crc32(&value, &record.payload).to_le_bytes());
    value.extend_from_slice(&record.payload);
    BytesValue { value, ..BytesValue::default() }
}

/// Decodes an entry, or returns `None` for too few bytes, an unknown version or a wrong checksum.
pub(super) fn unframe(value: Vec<u8>) -> Option<LogRecord> {
    let value = Bytes::from(value);
    let (index, term) = (u64_at(&value, 1)?, u64_at(&value, 9)?);
    let sum = u32::from_le_bytes(*value.get(17..)?.first_chunk()?);
    let payload = value.slice(FRAME_HEADER_BYTES..);
    let whole = formats::has_frame_version(value[0]) && frame_crc32(&value[..17], &payload) == sum;
    whole.then_some(LogRecord { index, term, payload })
}

/// Computes the CRC-32 of a head and the payload after it.
fn frame_crc32(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads a little-endian number of 8 bytes at the offset `at`; `None` beyond the end.
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Converts an engine error from opening or reading the log in `dir`.
fn refusal(dir: &Path, error: raft_engine::Error) -> OpenError {
    if let raft_engine::Error::Io(e) = error {
        OpenError::io(dir, e)
    } else {
        OpenError::log(dir, 0, error.to_string())
    }
}
