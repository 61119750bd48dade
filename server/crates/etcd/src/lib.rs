//! Reads the data directory of a member of etcd 3.4 to 3.7, which it never changes: the write-ahead log, the newest
//! snapshot of raft, and what the backend says about the cluster. Creates one for etcd 3.6 and later.
//!
//! Reading order: `raft_messages` (what is stored) → `wal` → `snap` → `entry` → `backend`; `create`. Not here: the keys,
//! leases and users in the backend (`server/crates/snapshot`), and what entries do to a state.

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

/// The contents of the data directory of a stopped member.
#[derive(Debug)]
pub struct EtcdDirectory {
    /// The member.
    pub member_id: u64,
    /// Its cluster.
    pub cluster_id: u64,
    /// Raft's durable state. Entries after its commit index may still be replaced.
    pub hard_state: HardState,
    /// The newest snapshot that the log refers to and whose file is intact.
    pub snapshot: Option<RaftSnapshot>,
    /// All entries after the snapshot, without gaps, and without those that were replaced.
    pub entries: Vec<LogEntry>,
    /// Bytes at the end of the log that were not written completely, and are left out.
    pub torn_bytes: u64,
    /// The metadata in the backend.
    pub backend: BackendMeta,
    /// The folder of the log.
    pub wal_dir: PathBuf,
    /// Until it is dropped, an etcd that is started on the directory waits.
    _lock: File,
}

/// Raft's snapshot: the v2 store at an entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct RaftSnapshot {
    /// The last entry that is in it.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// The voters and learners at that entry.
    pub conf_state: ConfState,
    /// The v2 store as JSON; may be empty or hold members alone.
    pub data: Bytes,
}

/// Reads the data directory `dir`; `wal_dir` is what etcd was given as `--wal-dir`, if anything. No etcd may run on it,
/// now or while [`BackendMeta::path`] is read: the result holds etcd's lock.
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
    let summary = wal::summarize(&segments)?;
    let snapshot = snap::newest(&snap_dir, &summary.snapshots)?;
    let after = snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
    let entries = wal::entries(&segments, after)?;
    let last = entries.last().map_or(after, |entry| entry.index);
    if summary.hard_state.commit > last {
        return Err(EtcdError::Log {
            path: wal_dir,
            what: format!(
                "it ends at entry {last}, but entries up to {} were committed",
                summary.hard_state.commit
            ),
        });
    }
    let backend = BackendMeta::read(backend_path(&snap_dir, db, after)?)?;
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

/// Locks the backend, as a running etcd does from its start to its end; one that is started now waits.
fn lock(db: &Path) -> Result<File, EtcdError> {
    let file = File::open(db).map_err(|error| EtcdError::io(db, error))?;
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EtcdError::Running { path: db.into() }),
        Err(TryLockError::Error(error)) => Err(EtcdError::io(db, error)),
    }
}

/// The backend that belongs to a snapshot of raft. A member that was stopped while it took over its leader's state has
/// the new backend still in a file of its own.
fn backend_path(snap_dir: &Path, db: PathBuf, snapshot: u64) -> Result<PathBuf, EtcdError> {
    let index = BackendMeta::read(db.clone())?.consistent_index;
    if snapshot <= index {
        return Ok(db);
    }
    let received = snap_dir.join(format!("{snapshot:016x}.snap.db"));
    if received.is_file() {
        return Ok(received);
    }
    Err(EtcdError::BackendTooOld { path: db, index, snapshot, received })
}
