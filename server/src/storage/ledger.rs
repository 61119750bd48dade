//! Who may take what is still free on the disk. The log and the checkpoint are written by two threads:
//! each announces here what it is going to write before it writes, so that neither counts on the
//! same bytes. The ballast is the log's last resort: a file that is given up when a write of the log
//! finds no space.
//!
//! How much has to stay free, and what is refused when it is not, is decided in `space`.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// Name of the ballast in the member's folder.
const BALLAST: &str = "ballast";

/// What a run takes beyond its records while it is written: sled allocates segments of a MiB and
/// writes files of its own beside them.
const RUN_EXTRA_BYTES: u64 = 2 << 20;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The ballast.
    path: PathBuf,
    /// Whether the ballast is there.
    held: AtomicBool,
    /// A write of the log found no space since the last look.
    short: AtomicBool,
    /// Bytes that a checkpoint leaves free, so that the log can be written.
    floor_bytes: u64,
    claims: Mutex<Claims>,
    /// Held while a run is written, and while a write of the log is repeated: what a run that fails
    /// has taken is free again when it ends.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Claims {
    /// Bytes of commands that were taken and are not written yet.
    promised: u64,
    /// What the run that is being written leaves to the log.
    left_by_run: Option<u64>,
    /// A run has begun or ended since the log's side has looked.
    stale: bool,
}

/// A run that may be written; dropped when that is done.
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
    /// Of the member's folder. A file of another size than `ballast_bytes` is no ballast.
    pub(super) fn new(member: &Path, ballast_bytes: u64, floor_bytes: u64) -> Self {
        let path = member.join(BALLAST);
        let held = fs::metadata(&path).is_ok_and(|there| there.len() == ballast_bytes);
        Self {
            path,
            held: held.into(),
            floor_bytes,
            ..Self::default()
        }
    }

    /// Whether the ballast is there.
    pub(super) fn holds_ballast(&self) -> bool {
        self.held.load(Relaxed)
    }

    /// Whether a file lies in the ballast's place.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.path.exists()
    }

    /// Bytes that commands and checkpoints leave free, so that the log can be written.
    pub(super) fn floor_bytes(&self) -> u64 {
        self.floor_bytes
    }

    /// Gives the ballast up.
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

    /// Takes the ballast back. Answers `false` where the file system cannot.
    pub(super) fn make_ballast(&self, bytes: u64) -> bool {
        let made = File::create(&self.path).and_then(|file| {
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

    /// Announces bytes of a command, unless the run that is being written needs them.
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

    /// What was announced is written.
    pub(super) fn keep_promises(&self) {
        lock(&self.claims).promised = 0;
    }

    /// Bytes that were announced and are not written.
    pub(super) fn promised(&self) -> u64 {
        lock(&self.claims).promised
    }

    /// Whether what was measured does not hold any more: a run has begun or ended, or a write of the
    /// log found no space. Asking takes the mark away.
    pub(super) fn take_stale(&self) -> bool {
        std::mem::take(&mut lock(&self.claims).stale)
    }

    /// Whether a write of the log found no space since the last call.
    pub(super) fn take_short(&self) -> bool {
        self.short.swap(false, Relaxed)
    }

    /// Announces a run of so many bytes below `dir`; an error where it does not fit beside what the
    /// log needs.
    pub(super) fn begin_run(&self, dir: &Path, bytes: u64) -> io::Result<Claim<'_>> {
        let turn = lock(&self.turn);
        let mut claims = lock(&self.claims);
        let left = free_for_run(dir, bytes)?.checked_sub(self.floor_bytes + claims.promised);
        let left = left.ok_or(io::ErrorKind::StorageFull)?;
        claims.left_by_run = Some(left + self.floor_bytes);
        claims.stale = true;
        Ok(Claim {
            ledger: self,
            _turn: turn,
        })
    }

    /// Whether runs of so many bytes fit below `dir` as things are.
    pub(super) fn has_room(&self, dir: &Path, bytes: u64) -> bool {
        free_for_run(dir, bytes).is_ok_and(|left| left >= self.floor_bytes + self.promised())
    }

    /// Called by a write of the log that found no space: gives the ballast up. The write is repeated
    /// while the answer is held, when no run is being written.
    pub(super) fn make_room(&self) -> impl Drop + '_ {
        let turn = lock(&self.turn);
        self.release();
        self.short.store(true, Relaxed);
        lock(&self.claims).stale = true;
        turn
    }
}

/// What a run would leave free.
fn free_for_run(dir: &Path, bytes: u64) -> io::Result<u64> {
    let free = measure(dir).map_or(u64::MAX, |measured| measured.free);
    let left = free.checked_sub(bytes.saturating_add(RUN_EXTRA_BYTES));
    left.ok_or(io::ErrorKind::StorageFull.into())
}

/// The numbers are whole at every step, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether so many bytes are free.
pub(super) fn has_room(dir: &Path, bytes: u64) -> bool {
    measure(dir).is_none_or(|measured| measured.free >= bytes)
}

pub(super) struct Measured {
    pub(super) total: u64,
    pub(super) free: u64,
}

/// `None` where the system does not know.
pub(super) fn measure(dir: &Path) -> Option<Measured> {
    let dir = dir.ancestors().find(|dir| dir.exists());
    let dir = dir.filter(|dir| !dir.as_os_str().is_empty());
    let stat = statvfs(dir.unwrap_or(Path::new("."))).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    (stat.f_blocks > 0).then(|| Measured {
        total: bytes(stat.f_blocks),
        free: bytes(stat.f_bavail),
    })
}
