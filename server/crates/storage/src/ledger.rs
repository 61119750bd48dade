//! Allocates the disk's free bytes among the threads that write the log and the checkpoint. Each thread announces its writes
//! here first, so that two threads never rely on the same bytes. The ballast is the log's reserve: a file that is deleted when
//! a log write finds no space.
//!
//! `space` decides how much must stay free and which commands are refused.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use witan_base::sync::Mutex;

use super::files;

pub(super) const BALLAST: &str = "ballast";

/// Number of bytes that a run takes in addition to its records, for the manifest and its copy.
const RUN_EXTRA_BYTES: u64 = 1 << 20;

/// Tracks the announced bytes of the log, the bytes of the run being written, and the ballast.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Path of the ballast.
    pub(super) path: PathBuf,
    ballast_exists: AtomicBool,
    /// Number of free bytes that commands and checkpoints leave for the log.
    pub(super) floor_bytes: u64,
    /// Size in bytes of the published checkpoint without the records that are known to be outdated. A base of the same state is
    /// not larger.
    pub(super) checkpoint_bytes: AtomicU64,
    /// Size in bytes of the runs that only older states refer to.
    pub(super) held_bytes: AtomicU64,
    claims: Mutex<Claims>,
    /// The lock that is held while a run is written, while a log write is retried, and while the ballast may be created again. A
    /// retry therefore starts after a failed run has been removed.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Claims {
    /// Size in bytes of accepted commands that are not in the log yet.
    announced: u64,
    /// Number of free bytes that the run being written, if any, leaves for the log.
    left_by_run: Option<u64>,
    /// Whether the last measurement is outdated; see [`Ledger::take_stale`].
    stale: bool,
}

impl Claims {
    /// Returns the number of the `free` bytes that the log can still use. Excludes announced bytes and bytes for the run being
    /// written.
    fn left(&self, free: u64) -> u64 {
        let free = free.saturating_sub(self.announced);
        self.left_by_run.map_or(free, |left| left.min(free))
    }
}

/// The disk space reserved for one run until this value is dropped.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    ledger: &'a Ledger,
    _turn: MutexGuard<'a, ()>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut claims = self.ledger.claims.lock();
        claims.left_by_run = None;
        claims.stale = true;
    }
}

impl Ledger {
    /// Creates a ledger without announced bytes. A file at `path` is used as the ballast only if its size is `ballast_bytes`.
    pub(super) fn new(path: PathBuf, ballast_bytes: u64, floor_bytes: u64) -> Self {
        let exists = fs::metadata(&path).is_ok_and(|file| file.len() == ballast_bytes);
        Self {
            path,
            ballast_exists: exists.into(),
            floor_bytes,
            ..Self::default()
        }
    }

    /// Returns whether the ballast existed at the last check.
    pub(super) fn holds_ballast(&self) -> bool {
        self.ballast_exists.load(Relaxed)
    }

    /// Deletes the ballast. After a failure, which is only logged, the ballast is still considered to exist.
    pub(super) fn release(&self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {
                tracing::warn!(
                    ballast = %self.path.display(),
                    "the disk is full: deleted the ballast"
                );
                self.ballast_exists.store(false, Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.ballast_exists.store(false, Relaxed);
            }
            Err(error) => tracing::error!(%error, "failed to delete the ballast"),
        }
    }

    /// Creates the ballast with `bytes` allocated bytes. Removes the file if the file system cannot allocate them.
    pub(super) fn make_ballast(&self, bytes: u64) -> io::Result<()> {
        let made = files::create(&self.path).and_then(|file| {
            let flags = FallocateFlags::empty();
            fallocate(&file, flags, 0, bytes).map_err(io::Error::from)
        });
        if made.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        self.ballast_exists.store(made.is_ok(), Relaxed);
        made
    }

    /// Announces a command of `bytes` bytes until [`Self::written`] accounts for it. Returns `false`, without announcing, if
    /// fewer than `bytes` of the `free` bytes are unclaimed.
    pub(super) fn announce(&self, bytes: u64, free: u64) -> bool {
        let mut claims = self.claims.lock();
        let fits = bytes <= claims.left(free);
        if fits {
            claims.announced += bytes;
            claims.left_by_run = claims.left_by_run.map(|left| left - bytes);
        }
        fits
    }

    /// Returns the number of the `free` bytes that are unclaimed, so that the log can use them.
    pub(super) fn left(&self, free: u64) -> u64 {
        self.claims.lock().left(free)
    }

    /// Records that the log has written `bytes` bytes. These bytes include all announced bytes except the last `unwritten`. On
    /// a follower, the written bytes also include entries from the leader, which reduce the bytes that a run leaves for the
    /// log.
    pub(super) fn written(&self, bytes: u64, unwritten: u64) {
        let mut claims = self.claims.lock();
        let unwritten = unwritten.min(claims.announced);
        let unannounced = bytes.saturating_sub(claims.announced - unwritten);
        claims.announced = unwritten;
        let left = claims.left_by_run;
        claims.left_by_run = left.map(|left| left.saturating_sub(unannounced));
    }

    /// Returns whether the last measurement of free space is stale. It is stale if, since the last call, a run has started or
    /// ended, or a log write has found no space.
    pub(super) fn take_stale(&self) -> bool {
        std::mem::take(&mut self.claims.lock().stale)
    }

    /// Reserves `bytes` bytes for a run below `dir` until the claim is dropped. Fails with `StorageFull` if there is not enough
    /// disk space for the run and the log. Blocks while another run is written or a log write is retried.
    pub(super) fn begin_run(&self, dir: &Path, bytes: u64) -> io::Result<Claim<'_>> {
        let turn = self.turn.lock();
        let mut claims = self.claims.lock();
        let left = left_beside_run(dir, bytes, self.floor_bytes + claims.announced)?;
        claims.left_by_run = Some(left + self.floor_bytes);
        claims.stale = true;
        Ok(Claim { ledger: self, _turn: turn })
    }

    /// Returns `None` if a run is being written. Otherwise, no run starts until the returned guard is dropped.
    pub(super) fn defer_runs(&self) -> Option<impl Drop + '_> {
        self.turn.try_lock()
    }

    /// Returns whether runs of `bytes` bytes below `dir` currently fit on the disk in addition to the log.
    pub(super) fn has_room(&self, dir: &Path, bytes: u64) -> bool {
        let kept_bytes = self.floor_bytes + self.claims.lock().announced;
        left_beside_run(dir, bytes, kept_bytes).is_ok()
    }

    /// Waits until no run is being written and deletes the ballast, because a log write found no space. No run starts until the
    /// guard is dropped, so retry the write before dropping the guard.
    pub(super) fn make_room(&self) -> impl Drop + '_ {
        let turn = self.turn.lock();
        self.release();
        self.claims.lock().stale = true;
        turn
    }
}

/// Returns the number of free bytes, in addition to `kept_bytes`, that a run of `bytes` bytes below `dir` would leave. Fails
/// with `StorageFull` if the run does not fit.
fn left_beside_run(dir: &Path, bytes: u64, kept_bytes: u64) -> io::Result<u64> {
    let taken = bytes.saturating_add(RUN_EXTRA_BYTES + kept_bytes);
    let left = measure(dir).free.checked_sub(taken);
    left.ok_or(io::ErrorKind::StorageFull.into())
}

/// The total and the free bytes of a file system; `u64::MAX` if unknown.
pub(super) struct Measured {
    pub(super) total: u64,
    pub(super) free: u64,
}

/// Iterates over `dir` and the directories above it, the nearest first. For a relative path, the last directory is `.`.
pub(super) fn ancestors(dir: &Path) -> impl Iterator<Item = &Path> {
    dir.ancestors().map(|dir| match dir.as_os_str().is_empty() {
        true => Path::new("."),
        false => dir,
    })
}

/// Measures the file system of `dir` or of its nearest existing ancestor. On failure, both sizes are considered to be
/// unlimited.
pub(super) fn measure(dir: &Path) -> Measured {
    match ancestors(dir).flat_map(statvfs).next() {
        Some(stat) if stat.f_blocks > 0 => {
            let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
            Measured { total: bytes(stat.f_blocks), free: bytes(stat.f_bavail) }
        }
        Some(_) | None => Measured { total: u64::MAX, free: u64::MAX },
    }
}
