//! Allocation of the free bytes of the disk. The log and the checkpoint are written by two threads:
//! each announces its bytes here before it writes, so that both do not rely on the same bytes. The
//! ballast is the log's last resort: a file that is deleted when a write of the log finds no space.
//!
//! Not here: how much must stay free, and what is refused otherwise (`space`).

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::files;

/// Name of the ballast in the member's folder.
const BALLAST: &str = "ballast";

/// Bytes that a run takes in addition to its records while it is written: sled allocates segments of a MiB and writes
/// files of its own.
const RUN_EXTRA_BYTES: u64 = 2 << 20;

/// Announced bytes of the log and of the run that is being written, and the ballast.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Path of the ballast.
    path: PathBuf,
    /// Whether the ballast exists.
    held: AtomicBool,
    /// Whether a write of the log found no space since the last call of [`Ledger::take_short`].
    short: AtomicBool,
    /// Bytes that a checkpoint leaves free, so that the log can be written.
    floor_bytes: u64,
    claims: Mutex<Claims>,
    /// Locked while a run is written, and while a write of the log is repeated: so the repeated
    /// write starts after the bytes of a failed run are free again.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Claims {
    /// Bytes of accepted commands that the log has not written yet.
    promised: u64,
    /// Free bytes that the run in progress leaves to the log; `None` without a run.
    left_by_run: Option<u64>,
    /// Whether the last measurement is outdated, see [`Ledger::take_stale`].
    stale: bool,
}

/// A claim on the disk for one run, dropped when the run is written.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    ledger: &'a Ledger,
    _turn: MutexGuard<'a, ()>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut claims = lock(&self.ledger.claims);
        claims.left_by_run = None;
        claims.stale = true;
    }
}

impl Ledger {
    /// Makes the ledger of a member's folder, without announced bytes. A file at the ballast's path with a size other
    /// than `ballast_bytes` is not the ballast.
    pub(super) fn new(member: &Path, ballast_bytes: u64, floor_bytes: u64) -> Self {
        let path = member.join(BALLAST);
        let held = fs::metadata(&path).is_ok_and(|there| there.len() == ballast_bytes);
        Self { path, held: held.into(), floor_bytes, ..Self::default() }
    }

    /// Whether the ballast exists.
    pub(super) fn holds_ballast(&self) -> bool {
        self.held.load(Relaxed)
    }

    /// Whether any file exists at the ballast's path.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.path.exists()
    }

    /// Returns the bytes that commands and checkpoints leave free, so that the log can be written.
    pub(super) fn floor_bytes(&self) -> u64 {
        self.floor_bytes
    }

    /// Deletes the ballast. A failure is logged.
    pub(super) fn release(&self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {
                tracing::warn!(
                    ballast = %self.path.display(),
                    "the disk is full: deleting the ballast"
                );
                self.held.store(false, Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.held.store(false, Relaxed);
            }
            Err(error) => tracing::error!(%error, "failed to delete the ballast"),
        }
    }

    /// Creates the ballast with its space allocated. Returns `false` if the file system cannot
    /// allocate it.
    pub(super) fn make_ballast(&self, bytes: u64) -> bool {
        let made = files::create(&self.path).and_then(|file| {
            let flags = FallocateFlags::empty();
            fallocate(&file, flags, 0, bytes).map_err(io::Error::from)
        });
        if let Err(error) = &made {
            tracing::warn!(%error, "failed to create the ballast on this file system");
            // remove a partial file
            let _ = fs::remove_file(&self.path);
        }
        self.held.store(made.is_ok(), Relaxed);
        made.is_ok()
    }

    /// Announces bytes of a command. Returns `false` if the run in progress does not leave enough.
    pub(super) fn promise(&self, bytes: u64) -> bool {
        let mut claims = lock(&self.claims);
        if let Some(left) = &mut claims.left_by_run {
            let Some(rest) = left.checked_sub(bytes) else {
                return false;
            };
            *left = rest;
        }
        claims.promised += bytes;
        true
    }

    /// Notes that the log has written all announced bytes.
    pub(super) fn keep_promises(&self) {
        lock(&self.claims).promised = 0;
    }

    /// Returns the announced bytes of commands that are not written yet.
    pub(super) fn promised(&self) -> u64 {
        lock(&self.claims).promised
    }

    /// Whether the last measurement of free space is outdated: since the last call a run has begun
    /// or ended, or a write of the log found no space.
    pub(super) fn take_stale(&self) -> bool {
        std::mem::take(&mut lock(&self.claims).stale)
    }

    /// Whether a write of the log found no space since the last call of this.
    pub(super) fn take_short(&self) -> bool {
        self.short.swap(false, Relaxed)
    }

    /// Announces a run of this many bytes below `dir`. An error (`StorageFull`) if it does not fit on the disk beside
    /// the log. Waits while a write of the log is repeated.
    pub(super) fn begin_run(&self, dir: &Path, bytes: u64) -> io::Result<Claim<'_>> {
        let turn = lock(&self.turn);
        let mut claims = lock(&self.claims);
        let left = free_for_run(dir, bytes)?.checked_sub(self.floor_bytes + claims.promised);
        let left = left.ok_or(io::ErrorKind::StorageFull)?;
        claims.left_by_run = Some(left + self.floor_bytes);
        claims.stale = true;
        Ok(Claim { ledger: self, _turn: turn })
    }

    /// Whether runs of this many bytes below `dir` and the log now fit on the disk.
    pub(super) fn has_room(&self, dir: &Path, bytes: u64) -> bool {
        free_for_run(dir, bytes).is_ok_and(|left| left >= self.floor_bytes + self.promised())
    }

    /// Deletes the ballast for a write of the log that found no space, after waiting for the run in
    /// progress. The caller repeats the write before it drops the result: until then no run begins.
    pub(super) fn make_room(&self) -> impl Drop + '_ {
        let turn = lock(&self.turn);
        self.release();
        self.short.store(true, Relaxed);
        lock(&self.claims).stale = true;
        turn
    }
}

/// Returns the free bytes that a run of this many bytes would leave below `dir`; an error if it does not fit.
fn free_for_run(dir: &Path, bytes: u64) -> io::Result<u64> {
    let free = measure(dir).map_or(u64::MAX, |measured| measured.free);
    let left = free.checked_sub(bytes.saturating_add(RUN_EXTRA_BYTES));
    left.ok_or(io::ErrorKind::StorageFull.into())
}

/// Locks a mutex. A poisoned lock is ignored: the numbers are consistent at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this many bytes are free below `dir`; `true` if that cannot be measured.
pub(super) fn has_room(dir: &Path, bytes: u64) -> bool {
    measure(dir).is_none_or(|measured| measured.free >= bytes)
}

pub(super) struct Measured {
    pub(super) total: u64,
    pub(super) free: u64,
}

/// Measures total and free bytes of the file system of `dir`; `None` if the system cannot.
pub(super) fn measure(dir: &Path) -> Option<Measured> {
    let dir = dir.ancestors().find(|dir| dir.exists());
    let dir = dir.filter(|dir| !dir.as_os_str().is_empty());
    let stat = statvfs(dir.unwrap_or(Path::new("."))).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    (stat.f_blocks > 0)
        .then(|| Measured { total: bytes(stat.f_blocks), free: bytes(stat.f_bavail) })
}
