//! The disk of a member: the data directory, its raft log and its checkpoint. Nothing here knows
//! what an entry or a record means; nothing above here names a file.
//!
//! ```text
//! DIR/member/LOCK         held while a process uses the directory
//! DIR/member/identity     format version, cluster id, member id; written last at set-up
//! DIR/member/log/         raft-engine: every entry since the last cut, and the hard state
//! DIR/member/checkpoint/  sled: the state as of some index; `current` names the valid one
//! ```
//!
//! Reading order: `format`, `lock` → `log` (and `tail`, its judge after a crash) → `checkpoint` (and
//! `pieces`, its records) → `checkpointer` (the thread that writes it).
//!
//! - **I4** a checkpoint and its index become visible in one atomic step.
//! - **I5** the log is cut only below the older of the last two durable checkpoints.

mod checkpoint;
mod checkpointer;
mod error;
mod format;
mod lock;
mod log;
mod pieces;
mod tail;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use witan_replica::{host::Recovered, machine::view::View};

pub use checkpoint::Checkpoint;
pub use checkpointer::{CHECKPOINT_LOG_BYTES, CHECKPOINT_QUIET_MS, Checkpointer, Policy};
pub use error::{EXIT_WRITE_FAILED, OpenError};
pub use format::{FORMAT, Identity};
pub use log::Log;

/// Only the member's own user may look into its data, as etcd has it.
const DIR_MODE: u32 = 0o700;

/// An opened data directory. Its parts go to different threads: the log to the replica's, the
/// checkpoint into a [`Checkpointer`].
#[derive(Debug)]
pub struct Storage {
    /// The raft log.
    pub log: Log,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Keep this until the process ends: it is what keeps other processes out.
    pub hold: Hold,
}

/// Proof that this process alone uses the directory.
#[derive(Debug)]
pub struct Hold {
    _lock: lock::Lock,
}

/// Which identity a data directory carries; `None` if it holds no finished one. For a restart,
/// which must not compute its ids again.
pub fn identity(dir: &Path) -> Result<Option<Identity>, OpenError> {
    Identity::read(&member_dir(dir))
}

/// Opens the data directory of a member, making it if it is not there.
pub fn open(dir: &Path, identity: &Identity) -> Result<(Storage, Recovered), OpenError> {
    let member = member_dir(dir);
    make_dir(dir)?;
    make_dir(&member)?;
    let lock = lock::Lock::take(&member)?;
    let known = Identity::read(&member)?;
    if let Some(found) = &known {
        identity.matches(found, &member)?;
    }
    let fresh = known.is_none();
    let (mut log, found) = log::Log::open(&member.join("log"), fresh)?;
    let checkpoints = member.join("checkpoint");
    let (checkpoint, view) = Checkpoint::open(&checkpoints)?;
    if fresh {
        if view.is_some() || !found.records.is_empty() {
            return Err(OpenError::Unreadable {
                path: member.join("identity"),
            });
        }
        // Last, so that a set-up that a crash cut short is simply done again.
        identity
            .write(&member)
            .and_then(|()| format::sync_dir(dir))
            .map_err(|e| OpenError::io(&member, e))?;
    }
    let found = settle_install(&mut log, found, view.as_ref());
    check(&member, &found, view.as_ref())?;
    let recovered = Recovered {
        checkpoint: view,
        hard_state: found.hard_state,
        records: found.records,
    };
    Ok((
        Storage {
            log,
            checkpoint,
            hold: Hold { _lock: lock },
        },
        recovered,
    ))
}

impl Storage {
    /// Replaces the whole state by a received snapshot; durable when it returns. A crash between
    /// its steps leaves either the old state or the new one.
    pub fn install(log: &mut Log, checkpointer: &Checkpointer, view: &View) {
        let index = view.position.index;
        log.announce(index);
        checkpointer.install(view.clone());
        log.restart(Some(index));
    }
}

/// The index below which the log may be cut (I5): that of the older of the last two durable
/// checkpoints, so that one bad checkpoint never costs an entry. A member takes it from
/// `Replica::durable`; this is for those who drive the disk without a replica (tests, figures).
#[derive(Clone, Copy, Debug, Default)]
pub struct CutLine {
    newest: u64,
}

impl CutLine {
    /// After a start with a checkpoint at `index`, 0 without one.
    pub fn new(index: u64) -> Self {
        Self { newest: index }
    }

    /// A checkpoint at `index` is durable: entries smaller than the answer may go.
    pub fn durable(&mut self, index: u64) -> u64 {
        std::mem::replace(&mut self.newest, index)
    }
}

fn member_dir(dir: &Path) -> PathBuf {
    dir.join("member")
}

fn make_dir(dir: &Path) -> Result<(), OpenError> {
    if dir.is_dir() {
        let mode = fs::metadata(dir)
            .map_err(|e| OpenError::io(dir, e))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            let mode = format!("{:o}", mode & 0o777);
            tracing::warn!(dir = %dir.display(), mode, "others may read the data directory");
        }
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(dir)
        .and_then(|()| {
            dir.parent()
                .map_or(Ok(()), |up| match up.as_os_str().is_empty() {
                    true => format::sync_dir(Path::new(".")),
                    false => format::sync_dir(up),
                })
        })
        .map_err(|e| OpenError::io(dir, e))
}

/// Finishes or forgets a snapshot whose installation a crash cut short.
fn settle_install(log: &mut Log, mut found: log::Found, view: Option<&View>) -> log::Found {
    let Some(index) = found.install else {
        return found;
    };
    let installed = view.is_some_and(|view| view.position.index >= index);
    log.restart(view.filter(|_| installed).map(|view| view.position.index));
    if installed {
        found.records.clear();
        found.line = log::Line {
            origin: 0,
            begin: log.last_index() + 1,
        };
    }
    found
}

/// Refuses a log and a checkpoint that do not meet.
fn check(member: &Path, found: &log::Found, view: Option<&View>) -> Result<(), OpenError> {
    let path = member.join("log");
    let begin = found.line.begin;
    let Some(view) = view else {
        if found.line.was_cut() {
            let what = format!("no checkpoint is there, but the log begins at entry {begin}");
            return Err(OpenError::checkpoint(&member.join("checkpoint"), what));
        }
        return Ok(());
    };
    let applied = view.position.index;
    if begin > applied + 1 {
        let what = format!("the checkpoint ends at entry {applied}, the log begins at {begin}");
        return Err(OpenError::checkpoint(&member.join("checkpoint"), what));
    }
    let virgin = found.records.is_empty() && found.hard_state.is_none();
    let last = found
        .records
        .last()
        .map_or(begin.saturating_sub(1), |record| record.index);
    if last < applied && !virgin {
        let what = format!("it ends at entry {last}, the checkpoint at {applied}");
        return Err(OpenError::log(&path, 0, what));
    }
    Ok(())
}
