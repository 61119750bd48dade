//! A member's data directory: its raft log and its checkpoint. No other crate uses files in the directory. `witan_machine`
//! defines the meaning of entries and records.
//!
//! ```text
//! DIR/member/LOCK         held while a process uses the directory
//! DIR/member/identity     format version, cluster id, member id; written last during setup
//! DIR/member/ballast      deleted when the disk is full
//! DIR/member/log/         raft-engine: every entry since the last cut, and the hard state. With --wal-dir, a link to a
//!                         directory that also contains the ballast
//! DIR/member/checkpoint/  runs: the state as of some index. `current`, a sled database, lists the published runs. Heads are
//!                         optional and contain the blocks of a run without the values
//! ```
//!
//! Reading order: `identity_file`, `formats` and `lock`, then `log`, which `log_writer` writes and `tail` repairs after a crash
//! (with `range_crc`). A `checkpoint` consists of `run`s in the encoding of `record_stream`. `manifest` lists the runs,
//! `manifest_file` encodes this list, and `merge` reads the runs, or their `heads` without the values, as one sequence of
//! records. `read_ahead` reads records on another thread. `link` writes runs, and `base_plan` decides which runs a new base
//! keeps. `run_file` reads single records: values that are not in memory. `checkpointer` is the thread that writes checkpoints,
//! and `scrub` finds damage in them. Rewrites and scrubs run at `low_priority`. `received` takes snapshots from other members,
//! and `install` makes one of them the checkpoint. `folder` is the state that `checkpointer`, `scrub`, `received` and `install`
//! share. `open_identity` gives the directory a later format. `space` monitors the free space, and `ledger` allocates it to the
//! threads and keeps the ballast. `wal_dir` moves the log to `--wal-dir`, and `owner` records which member a log belongs to.
//! `retention` decides how long outdated files stay. `create` creates a directory with a state, `offline` reads the directory
//! of a stopped member, and `etcd` detects etcd's directories. `files` makes files durable, `error` explains why a directory
//! cannot be opened, and `metrics` declares the metrics.
//!
//! - **I4** a checkpoint and its index become visible in one atomic step.
//! - **I5** the log is cut only below the older of the last two durable checkpoints.

mod base_plan;
mod checkpoint;
mod checkpointer;
mod create;
mod error;
mod etcd;
mod files;
mod folder;
mod formats;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod heads;
mod identity_file;
mod install;
mod ledger;
mod link;
mod lock;
mod log;
mod log_writer;
mod low_priority;
mod manifest;
mod manifest_file;
mod merge;
mod metrics;
mod offline;
mod open_identity;
mod owner;
mod range_crc;
mod read_ahead;
mod received;
mod record_stream;
mod retention;
mod run;
mod run_file;
mod scrub;
mod space;
mod tail;
#[cfg(test)]
mod tests;
mod wal_dir;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use identity_file::{Origin, StoredIdentity};
use open_identity::OpenIdentity;
use owner::LogOwner;
use witan_machine::{member::StoreLineage, values::BlockCache, view::View};
use witan_replica::{host::Recovered, limits::CATCH_UP_ENTRIES};

pub use checkpoint::Checkpoint;
pub use checkpointer::Checkpointer;
pub use create::{Adoption, NewDirectory, adopt, create, is_free};
pub use error::{EXIT_DISK_FAILED, OpenError};
pub use folder::{OnDurable, SnapshotId};
pub use formats::{DataFormat, FORMATS, format_of};
pub use identity_file::{ANCESTORS_MAX, DataIdentity};
pub use install::install;
pub use ledger::Ledger;
pub use lock::DirectoryLock;
pub use log::{LogSize, RaftLog};
pub use low_priority::run_at_low_priority;
pub use metrics::StorageMetrics;
pub use offline::{ReadHold, read};
pub use received::{IncomingSnapshot, ReceivedSnapshot, SnapshotError, SnapshotReceiver};
pub use record_stream::{RecordCounter, RecordTotals, encode_record};
pub use space::{SpaceLevel, SpaceMonitor, SpaceStatus, has_room};
pub use wal_dir::place_log;

/// An opened data directory. The replica's thread takes the log, and a [`Checkpointer`] takes the checkpoint.
#[derive(Debug)]
pub struct Storage {
    /// The raft log.
    pub log: RaftLog,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Size in bytes of the log between two checkpoints, derived from the file system's size.
    pub checkpoint_log_bytes: u64,
    /// The directory's lock, held until this value is dropped.
    pub lock: DirectoryLock,
    /// The store ids of the directory and of its originals, by which the cluster detects copied directories.
    pub store: StoreLineage,
    /// The copied directory; `None` if a leader has brought it up to date, or if it is not a copy.
    pub copy: Option<DirectoryCopy>,
}

/// A copied data directory. The member may have continued to use the original after the copy was made.
#[derive(Debug)]
pub struct DirectoryCopy {
    identity: Arc<OpenIdentity>,
}

impl DirectoryCopy {
    /// Records that the member is up to date, so that the next startup does not treat the directory as a copy. The record is
    /// durable on return.
    pub fn mark_up_to_date(self) -> io::Result<()> {
        self.identity.update(|stored| stored.outdated = false)
    }
}

/// Returns the number of free bytes on the file system of `dir` or of its nearest existing ancestor, or `u64::MAX` if unknown.
pub fn free_bytes(dir: &Path) -> u64 {
    ledger::measure(dir).free
}

/// Returns the size in bytes of the file system of `dir` (or of its nearest existing ancestor) if it keeps its files in memory.
/// Returns 0 for any other file system, and `u64::MAX` if the size is unlimited.
pub fn memory_bytes(dir: &Path) -> u64 {
    let existing = ledger::ancestors(dir).find(|dir| dir.exists());
    match existing.is_some_and(files::is_in_memory) {
        true => ledger::measure(dir).total,
        false => 0,
    }
}

/// Reads a data directory's identity. Returns `None` if the identity file is missing, as it is until the setup is complete.
/// Fails for an etcd data directory that was not adopted, or in which etcd has run since the adoption.
pub fn identity(dir: &Path) -> Result<Option<DataIdentity>, OpenError> {
    let member = member_dir(dir);
    let known = identity_file::stored(&member)?.map(|stored| stored.identity);
    match etcd::find(&member).map_err(|e| OpenError::io(&member, e))? {
        Some(path) if known.is_none() => Err(OpenError::Etcd(path)),
        Some(_) => etcd::refuse_newer(&member).map(|()| known),
        None => Ok(known),
    }
}

/// Returns whether the directory contains a checkpoint's manifest, or a copy of it. Fails if an error of the file system hides
/// the answer. Call this only if the directory has an [`identity`], because an interrupted setup can also leave a checkpoint
/// behind.
pub fn has_state(dir: &Path) -> Result<bool, OpenError> {
    let checkpoints = member_dir(dir).join("checkpoint");
    let found = || -> io::Result<bool> {
        let copies = files::existing(folder::copies(&checkpoints))?;
        let has_copies = copies.is_some_and(|copies| !copies.is_empty());
        Ok(has_copies || checkpoints.join(manifest::CURRENT).try_exists()?)
    };
    found().map_err(|error| OpenError::io(&checkpoints, error))
}

/// Opens or creates a member's data directory and returns it with the recovered state. Later writes reserve their bytes in
/// `ledger`. `cache` decides which values stay in memory, even during recovery. Fails if another process uses the directory, or
/// if the directory is damaged or belongs to another member. Removes the access of other users to the directory's files. Gives
/// a copied directory its own store id. A failure of these two steps is only logged.
pub fn open(
    dir: &Path,
    identity: &DataIdentity,
    ledger: &Arc<Ledger>,
    cache: &Arc<BlockCache>,
    metrics: &StorageMetrics,
) -> Result<(Storage, Recovered), OpenError> {
    let member = member_dir(dir);
    // Refuse a directory of etcd before any file is written.
    self::identity(dir)?;
    make_dir(dir)?;
    if let Ok(Some(mode)) = files::open_to_others(dir) {
        let mode = format!("{mode:o}");
        tracing::warn!(dir = %dir.display(), mode, "the data directory is accessible to other users");
    }
    make_dir(&member)?;
    let lock = DirectoryLock::take(&member)?;
    // A killed process may have created files in these directories without making their names durable.
    for path in [member.as_path(), dir] {
        files::sync_dir(path).map_err(|e| OpenError::io(path, e))?;
    }
    let (origin, stored) = read_identity_of(&member, identity)?;
    let fresh = origin == Origin::New;
    let owner = check_log(&member, identity, fresh)?;
    let mut store = stored.store.clone();
    let stored = match origin {
        Origin::New | Origin::Written => stored,
        Origin::Copied => stored.of_copy(),
    };
    let (own_store, outdated) = (stored.store.clone(), stored.outdated);
    let directory = Arc::new(OpenIdentity::new(&member, stored));
    let opened = open_parts(&directory, origin, ledger, cache, metrics)?;
    let (mut log, mut checkpoint, recovered) = opened;
    let view = recovered.checkpoint.as_ref();
    if let Some(view) = view {
        identity_file::check_known(identity, &view.machine.members, &member)?;
    }
    let dir_of_log = member.join(wal_dir::LOG);
    if fresh {
        let link = owner.and_then(|owner| owner.link);
        LogOwner::new(identity, link).write(&dir_of_log)?;
    }
    log.save_start();
    if origin != Origin::Written {
        // Write the identity last, so that the next startup repeats an interrupted setup.
        match directory.update(|_| ()).and_then(|()| files::sync_dir(dir)) {
            Ok(()) => store = own_store,
            Err(error) if fresh => return Err(OpenError::io(&member, error)),
            // A member must start even on a full disk. It uses the original's store id until the next startup.
            Err(error) => {
                tracing::warn!(%error, "failed to give the copied data directory its own store id");
            }
        }
    }
    let private = files::make_private(&member);
    if let Err(error) = private.and_then(|()| files::make_private(&dir_of_log.canonicalize()?)) {
        tracing::warn!(%error, "failed to remove other users' access to the data directory");
    }
    if view.is_some() && !checkpoint.fell_back {
        // Remove leftovers of an interrupted checkpoint or snapshot.
        checkpoint.remove_others();
    }
    let copy = outdated.then_some(DirectoryCopy { identity: directory });
    let checkpoint_log_bytes = space::checkpoint_log_bytes(&dir_of_log);
    Ok((
        Storage { log, checkpoint, checkpoint_log_bytes, lock, store, copy },
        recovered,
    ))
}

/// Opens and repairs the log and the checkpoint in the member's directory, and completes an interrupted installation. Does not
/// save a changed log-start record; see [`RaftLog::save_start`].
fn open_parts(
    directory: &Arc<OpenIdentity>,
    origin: Origin,
    ledger: &Arc<Ledger>,
    cache: &Arc<BlockCache>,
    metrics: &StorageMetrics,
) -> Result<(RaftLog, Checkpoint, Recovered), OpenError> {
    let member = &directory.member;
    let (mut checkpoint, manifests) = Checkpoint::open(
        &member.join("checkpoint"),
        origin,
        ledger.clone(),
        directory.clone(),
        cache.clone(),
    )?;
    let mut log = RaftLog::open(
        &member.join(wal_dir::LOG),
        origin,
        ledger.clone(),
        directory.clone(),
        metrics.clone(),
    )?;
    let view = checkpoint.restore(manifests)?;
    if origin == Origin::New && (view.is_some() || !log.is_empty()) {
        let what = "is missing, but the directory contains data";
        return Err(OpenError::identity(identity_file::path(member), what));
    }
    install::finish(member, &mut log, &mut checkpoint)?;
    let applied = view.as_ref().map_or(0, |view| view.position.index);
    if origin == Origin::Copied && !log.is_empty() && log.last_index() < applied {
        tracing::warn!(
            last = log.last_index(),
            applied,
            "the data directory is a copy whose log is older than its checkpoint; starting from the checkpoint"
        );
        log.restart(applied);
    }
    check_log_meets_checkpoint(member, &log, view.as_ref())?;
    let alone = view
        .as_ref()
        .is_none_or(|view| view.position.members() == 1);
    let from = match alone {
        true => applied + 1,
        // Other members may need the last entries before the checkpoint. Earlier entries would only use memory.
        false => applied.saturating_sub(CATCH_UP_ENTRIES),
    };
    let records = log.read(from, applied)?;
    let hard_state = log.hard_state.clone();
    let recovered = Recovered { checkpoint: view, hard_state, records };
    Ok((log, checkpoint, recovered))
}

/// Checks that the log exists and belongs to this directory. Returns the log's owner. In a `fresh` directory, the owner's ids
/// are not checked, and the log may be missing or have no owner. The result is then `None`.
fn check_log(
    member: &Path,
    identity: &DataIdentity,
    fresh: bool,
) -> Result<Option<LogOwner>, OpenError> {
    let log = member.join(wal_dir::LOG);
    if log.is_symlink() && !log.exists() {
        let what =
            "it is a link to a directory that does not exist; check whether its disk is mounted";
        return Err(OpenError::log(&log, 0, what));
    }
    let owner = owner::check_link(&log)?;
    match &owner {
        _ if fresh => {}
        Some(owner) => owner.check_ids(identity, (member, &log))?,
        None => return Err(OpenError::log(&log.join(owner::FILE), 0, "it is missing")),
    }
    Ok(owner)
}

/// Returns the origin of a directory and the content of its `identity` file. For a new directory, returns the content that the
/// setup writes later. Fails if the directory belongs to another member.
fn read_identity_of(
    member: &Path,
    identity: &DataIdentity,
) -> Result<(Origin, StoredIdentity), OpenError> {
    let Some(stored) = identity_file::stored(member)? else {
        return Ok((Origin::New, StoredIdentity::new(*identity)));
    };
    if stored.identity != *identity {
        let path = identity_file::path(member);
        return Err(OpenError::Foreign(path, stored.identity, *identity));
    }
    if let Ok(Some(path)) = etcd::find(member) {
        let path = path.display();
        tracing::info!(%path, "the data directory contains etcd's files, which are not used");
    }
    Ok((stored.origin(member)?, stored))
}

fn member_dir(dir: &Path) -> PathBuf {
    dir.join("member")
}

/// Creates a directory and its missing parents durably. Does nothing if `dir` is already a directory.
fn make_dir(dir: &Path) -> Result<(), OpenError> {
    let ancestors = dir.ancestors();
    let missing: Vec<&Path> = ancestors.take_while(|path| !path.is_dir()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    files::create_dirs(dir)
        .and_then(|()| missing.iter().try_for_each(|path| files::sync_parent(path)))
        .map_err(|e| OpenError::io(dir, e))
}

/// Fails if entries are missing between the checkpoint and the log, or if the log ends before the checkpoint.
fn check_log_meets_checkpoint(
    member: &Path,
    log: &RaftLog,
    view: Option<&View>,
) -> Result<(), OpenError> {
    let begin = log.log_start.begin;
    let too_early = match view.map(|view| view.position.index) {
        None if log.log_start.is_truncated() => Some("there is no checkpoint".to_owned()),
        Some(applied) if begin > applied + 1 => {
            Some(format!("the checkpoint ends at entry {applied}"))
        }
        Some(_) | None => None,
    };
    if let Some(too_early) = too_early {
        let what = format!("{too_early}, but the log starts at entry {begin}");
        return Err(OpenError::checkpoint(&member.join("checkpoint"), what));
    }
    let applied = view.map_or(0, |view| view.position.index);
    let last = log.last_index();
    // The log of a new member is empty until its first entry, even if the member has already voted.
    if last < applied && !log.is_empty() {
        let what = format!(
            "the log ends at entry {last}, before the end of the checkpoint at entry {applied}"
        );
        return Err(OpenError::log(&member.join("log"), 0, what));
    }
    Ok(())
}
