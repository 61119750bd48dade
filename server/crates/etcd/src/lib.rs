//! Reads the data directory of a member of etcd 3.4 to 3.7 without changing it. Reads the write-ahead log, the newest Raft
//! snapshot, and the cluster's metadata in the backend. Also creates a directory for etcd 3.6 and later.
//!
//! Reading order: `raft_messages` (the stored messages), `raft_internal` (the requests in entries) → `wal` → `snap` → `entry` →
//! `backend`, `error`; `create`. `server/crates/snapshot` reads the backend's keys, leases and users, and applies entries to a
//! state.

mod backend;
mod create;
mod entry;
mod error;
pub mod raft_internal;
pub mod raft_messages;
mod snap;
mod wal;

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use bytes::Bytes;

pub use backend::{BackendMeta, Downgrade, MemberContext};
pub use create::{NewDirectory, create, parent};
pub use entry::{EntryPayload, LogEntry};
pub use error::EtcdError;
pub use raft_internal::{InternalRaftRequest, RequestV2};
pub use raft_messages::{ConfChange, ConfChangeKind, ConfState, HardState};
pub use wal::encode::SegmentEncoder;

/// The contents of a stopped member's data directory.
#[derive(Debug)]
pub struct EtcdDirectory {
    /// The member's id.
    pub member_id: u64,
    /// The cluster id.
    pub cluster_id: u64,
    /// Raft's durable state. A new leader can still replace entries after its commit index.
    pub hard_state: HardState,
    /// The newest intact snapshot that the log refers to.
    pub snapshot: Option<RaftSnapshot>,
    /// All entries after the snapshot, contiguous and without overwritten entries. A request for v3 keys that the backend has
    /// applied is [`EntryPayload::Empty`].
    pub entries: Vec<LogEntry>,
    /// Size in bytes of an ignored torn write at the end of the log.
    pub torn_bytes: u64,
    /// The metadata in the backend.
    pub backend: BackendMeta,
    /// The log's directory.
    pub wal_dir: PathBuf,
    /// etcd's lock. Until the lock is dropped, etcd cannot start on the directory.
    _lock: File,
}

/// A Raft snapshot: the v2 store at a log index.
#[derive(Clone, Debug, PartialEq)]
pub struct RaftSnapshot {
    /// Index of the last entry in the snapshot.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// The voters and learners at that entry.
    pub conf_state: ConfState,
    /// The v2 store as JSON; can be empty or contain only members.
    pub data: Bytes,
}

/// Reads the data directory `dir`; `wal_dir` is the value of etcd's `--wal-dir`. Until the result is dropped, etcd cannot start
/// on the directory, so [`BackendMeta::path`] can be read. Fails if etcd is running, there is no backend, a file is damaged, or
/// the log is incomplete.
pub fn open(dir: &Path, wal_dir: Option<&Path>) -> Result<EtcdDirectory, EtcdError> {
    let member = dir.join("member");
    let snap_dir = member.join("snap");
    let db = snap_dir.join("db");
    if !db.is_file() {
        return Err(EtcdError::NoData { path: db });
    }
    let lock = lock(&db)?;
    let wal_dir = wal_dir.map_or_else(|| member.join("wal"), Path::to_path_buf);
    let segments = wal::segments(&wal_dir)?;
    let summary = wal::summarize(&wal_dir, &segments)?;
    let snapshot = snap::newest(&snap_dir, &summary.snapshots)?;
    let after = snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
    let backend = backend(&snap_dir, db, after)?;
    let entries = wal::entries(&wal_dir, &segments, after, backend.consistent_index)?;
    let last = entries.last().map_or(after, |entry| entry.index);
    let committed = summary.hard_state.commit;
    if committed > last {
        let what = format!("it ends at entry {last}, but entries up to {committed} were committed");
        return Err(EtcdError::incomplete_log(&wal_dir, what));
    }
    Ok(EtcdDirectory {
        member_id: summary.metadata.member_id,
        cluster_id: summary.metadata.cluster_id,
        hard_state: summary.hard_state,
        snapshot,
        entries,
        torn_bytes: summary.torn_bytes,
        backend,
        wal_dir,
        _lock: lock,
    })
}

/// Locks the backend, so that an etcd process that starts later waits for the lock. Fails with `Running` if another process
/// holds an exclusive lock.
fn lock(db: &Path) -> Result<File, EtcdError> {
    let file = File::open(db).map_err(|error| EtcdError::io(db, error))?;
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EtcdError::Running { path: db.into() }),
        Err(TryLockError::Error(error)) => Err(EtcdError::io(db, error)),
    }
}

/// Reads the backend that belongs to the Raft snapshot at index `snapshot`. If the member stopped while it installed the
/// leader's snapshot, this backend is a separate file. Fails with `BackendTooOld` if that file is missing.
fn backend(snap_dir: &Path, db: PathBuf, snapshot: u64) -> Result<BackendMeta, EtcdError> {
    let backend = BackendMeta::read(db)?;
    let index = backend.consistent_index;
    if snapshot <= index {
        return Ok(backend);
    }
    let received = snap_dir.join(format!("{snapshot:016x}.snap.db"));
    if received.is_file() {
        return BackendMeta::read(received);
    }
    Err(EtcdError::BackendTooOld { path: backend.path, index, snapshot, received })
}
