//! Monitors the free space for a data directory and sets the level that determines which commands are refused. With
//! `--wal-dir`, the log and the checkpoint can be on different file systems; the smaller values are then used. Below the
//! reserve, commands that add data are refused until the free space exceeds the reserve by a quarter and the ballast is
//! restored. Below the floor, all commands are refused, because a failed log write ends the process. The ballast is deleted
//! when the log's disk is full, so that startup and commands that free space can still write. `docs/internals/paths.md` names
//! the fault that each limit prevents.
//!
//! `witan_node` determines which commands add data and refuses these commands.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
};

use witan_config::SpaceConfig;

use super::{
    error::lacks_space,
    ledger::{Ledger, measure},
    lock::DirectoryLock,
    wal_dir,
};

/// Maximum default reserve in bytes. The default is an eighth of the file system.
const DEFAULT_RESERVE_BYTES: u64 = 256 << 20;
const RESERVE_DIVISOR: u64 = 8;

/// Maximum default ballast in bytes. The default is a thirty-second of the file system.
const DEFAULT_BALLAST_BYTES: u64 = 16 << 20;
const BALLAST_DIVISOR: u64 = 32;

const FLOOR_DIVISOR: u64 = 32;

const CHECKPOINT_DIVISOR: u64 = 32;

/// Range of the checkpoint interval: the size in bytes of the log after which a checkpoint is written. Startup replays up to
/// this size, and the disk keeps about three times as much log (I5).
const CHECKPOINT_LOG_BYTES: RangeInclusive<u64> = 1 << 20..=32 << 20;

/// Returns the number of bytes that must stay free on a file system of `total` bytes, or 0 if monitoring is disabled.
fn reserve_bytes(settings: SpaceConfig, total: u64) -> u64 {
    let default = (total / RESERVE_DIVISOR).min(DEFAULT_RESERVE_BYTES);
    settings.reserve_bytes.unwrap_or(default)
}

/// Returns whether a file of `bytes` bytes leaves the reserve free at `path`. Always true if monitoring is disabled.
pub fn has_room(settings: SpaceConfig, path: &Path, bytes: u64) -> bool {
    let measured = measure(path);
    match reserve_bytes(settings, measured.total) {
        0 => true,
        reserve => measured.free >= bytes.saturating_add(reserve),
    }
}

/// Returns the size in bytes of the log between two checkpoints, for the file system of `dir` or its nearest existing ancestor.
pub(super) fn checkpoint_log_bytes(dir: &Path) -> u64 {
    let suited = measure(dir).total / CHECKPOINT_DIVISOR;
    suited.clamp(*CHECKPOINT_LOG_BYTES.start(), *CHECKPOINT_LOG_BYTES.end())
}

/// The commands that the free space permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpaceLevel {
    /// All commands are accepted.
    #[default]
    Enough,
    /// Only commands that do not add data are accepted.
    Low,
    /// All commands are refused.
    None,
}

/// The last measurement, shared by all threads.
#[derive(Debug, Default)]
pub struct SpaceStatus {
    free_bytes: AtomicU64,
    reserve_bytes: AtomicU64,
    ballast_bytes: AtomicU64,
    rewrite_lacks_bytes: AtomicU64,
    held_bytes: AtomicU64,
    level: AtomicU8,
}

impl SpaceStatus {
    /// Returns the number of free bytes on the file system with the least free space.
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Relaxed)
    }

    /// Returns the number of bytes that must stay free, or 0 if monitoring is disabled.
    pub fn reserve_bytes(&self) -> u64 {
        self.reserve_bytes.load(Relaxed)
    }

    /// Returns the size of the ballast in bytes, or 0 if it does not exist.
    pub fn ballast_bytes(&self) -> u64 {
        self.ballast_bytes.load(Relaxed)
    }

    /// Returns the number of bytes that must become free so that a rewrite of the entire checkpoint leaves the reserve free; 0
    /// if enough bytes are free. When the feature level rises to one with a later data format, the member rewrites its
    /// checkpoint.
    pub fn rewrite_lacks_bytes(&self) -> u64 {
        self.rewrite_lacks_bytes.load(Relaxed)
    }

    /// Returns the size in bytes of the checkpoint files that are kept only for readers of older states.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Relaxed)
    }

    /// Returns whether commands that add data are refused.
    pub fn is_low(&self) -> bool {
        self.level.load(Relaxed) != SpaceLevel::Enough as u8
    }
}

/// Monitors the free space on a member's file systems: one, or two with `--wal-dir`.
#[derive(Debug)]
pub struct SpaceMonitor {
    dir: PathBuf,
    log: PathBuf,
    /// Announced bytes, shared with the threads that write to the disk.
    ledger: Arc<Ledger>,
    reserve_bytes: u64,
    ballast_bytes: u64,
    checkpoint_log_bytes: u64,
    level: SpaceLevel,
    /// Whether the last attempt to create the ballast found no space, although the file system has free space.
    exceeds_quota: bool,
    /// The smaller of `free_for_log` and `free_for_checkpoint`.
    free: u64,
    /// Number of free bytes on the file system with the log and the ballast.
    free_for_log: u64,
    /// Number of free bytes on the file system with the checkpoint.
    free_for_checkpoint: u64,
    appended_since_check: u64,
    status: Arc<SpaceStatus>,
}

impl SpaceMonitor {
    /// Measures the file systems and resolves the settings. Deletes a ballast of another size. Also deletes the ballast on a
    /// full disk, so that the log can be opened. Call this before opening the data directory.
    pub fn open(dir: &Path, wanted: SpaceConfig) -> Self {
        let member = super::member_dir(dir);
        let log = member.join(wal_dir::LOG);
        let total = measure(dir).total.min(measure(&log).total);
        let reserve_bytes = reserve_bytes(wanted, total);
        let ballast = (total / BALLAST_DIVISOR).min(DEFAULT_BALLAST_BYTES);
        let ballast_bytes = match reserve_bytes {
            0 => 0,
            _ => wanted.ballast_bytes.unwrap_or(ballast),
        };
        let ballast = wal_dir::ballast_of(&member);
        let ledger = Ledger::new(ballast, ballast_bytes, reserve_bytes / FLOOR_DIVISOR);
        let mut space = Self {
            dir: dir.to_owned(),
            log,
            ledger: Arc::new(ledger),
            reserve_bytes,
            ballast_bytes,
            checkpoint_log_bytes: checkpoint_log_bytes(&member),
            level: SpaceLevel::Enough,
            exceeds_quota: false,
            free: 0,
            free_for_log: 0,
            free_for_checkpoint: 0,
            appended_since_check: 0,
            status: Arc::new(SpaceStatus::default()),
        };
        space.measure();
        let held = space.ledger.holds_ballast();
        let unfit = !held && space.ledger.path.exists();
        if unfit || (held && space.is_full()) {
            space.release_at_start();
        }
        space
    }

    /// Returns whether the log's disk has less free space than the ballast takes, or less than the reserve if the reserve is
    /// smaller.
    fn is_full(&self) -> bool {
        self.free_for_log < self.ballast_bytes.min(self.reserve_bytes)
    }

    /// Deletes the ballast unless the directory cannot be locked, for example because another process uses it. Releases the
    /// directory's lock afterward, because opening the storage takes it again.
    fn release_at_start(&self) {
        match DirectoryLock::take(&super::member_dir(&self.dir)) {
            Ok(_lock) => self.ledger.release(),
            // Opening the storage reports the lock's holder.
            Err(error) => {
                tracing::debug!(%error, "keeping the ballast, because the data directory cannot be locked")
            }
        }
    }

    /// Returns the shared status, which later measurements update.
    pub fn status(&self) -> Arc<SpaceStatus> {
        self.status.clone()
    }

    /// Returns the ledger, to which writers announce their bytes.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Returns the level at the last measurement.
    pub fn level(&self) -> SpaceLevel {
        self.level
    }

    /// Measures the free space, deletes or restores the ballast, then publishes and returns the new level. After a failed
    /// measurement, the free space is considered to be unlimited. If a quota leaves no space for the ballast, the level is
    /// `Low`. If the ballast cannot be created for another reason, the process continues without it. Call this at every tick.
    pub fn update(&mut self) -> SpaceLevel {
        // A failed attempt to create the ballast uses up the quota for a moment, in which no run can be written.
        let ledger = self.ledger.clone();
        let deferred = ledger.defer_runs();
        self.refresh(deferred.is_some())
    }

    /// Does the work of [`Self::update`]. After a quota has left no space for the ballast, tries again only if `retries_ballast`.
    fn refresh(&mut self, retries_ballast: bool) -> SpaceLevel {
        // The next update covers runs that start or end after this point.
        self.ledger.take_stale();
        self.measure();
        if self.ledger.holds_ballast() && self.is_full() {
            self.ledger.release();
            self.measure();
        }
        // A log write that found no space may have deleted the ballast.
        let lost_ballast = self.status.ballast_bytes() > 0 && !self.ledger.holds_ballast();
        let recovered_bytes = self.reserve_bytes + self.reserve_bytes / 4;
        let wants_ballast = !self.ledger.holds_ballast()
            && self.ballast_bytes > 0
            && (retries_ballast || !self.exceeds_quota);
        if wants_ballast && self.free >= recovered_bytes + self.ballast_bytes {
            self.make_ballast();
            self.measure();
        }
        let recovers = self.free >= recovered_bytes
            && (self.ledger.holds_ballast() || self.ballast_bytes == 0);
        let stays_low = lost_ballast || self.exceeds_quota || self.level != SpaceLevel::Enough;
        let level = if self.free < self.ledger.floor_bytes {
            SpaceLevel::None
        } else if self.free < self.reserve_bytes || (stays_low && !recovers) {
            SpaceLevel::Low
        } else {
            SpaceLevel::Enough
        };
        self.publish(level);
        level
    }

    /// Creates the ballast. Records whether it exceeds a quota. After any other failure, no ballast is wanted.
    fn make_ballast(&mut self) {
        let made = self.ledger.make_ballast(self.ballast_bytes);
        let exceeds_quota = made.as_ref().is_err_and(lacks_space);
        if let Err(error) = made {
            if !self.exceeds_quota {
                tracing::warn!(%error, "failed to create the ballast on this file system");
            }
            if !exceeds_quota {
                self.ballast_bytes = 0;
            }
        }
        self.exceeds_quota = exceeds_quota;
    }

    /// Reserves `bytes` bytes of log for a command. Returns whether the command is accepted, which is always true if monitoring
    /// is disabled. `grows` says whether the command adds data. Measures the free space first if the last measurement is stale.
    pub fn take(&mut self, bytes: u64, grows: bool) -> bool {
        if self.reserve_bytes == 0 {
            return true;
        }
        if self.ledger.take_stale() {
            self.refresh(false);
        }
        let kept_bytes = match (self.level, grows) {
            (SpaceLevel::Enough, true) => self.reserve_bytes / 2,
            (SpaceLevel::Enough | SpaceLevel::Low, false) => self.ledger.floor_bytes,
            (SpaceLevel::Low, true) | (SpaceLevel::None, _) => return false,
        };
        self.ledger.announce(bytes, self.free_above(kept_bytes))
    }

    /// Records that `appended` bytes were written to the log and measures the free space again if the level may have changed.
    /// The written bytes include all accepted commands except the last `unwritten` bytes.
    pub fn written(&mut self, appended: u64, unwritten: u64) {
        self.ledger.written(appended, unwritten);
        self.appended_since_check += appended;
        let due = match self.level {
            _ if self.reserve_bytes == 0 => u64::MAX,
            SpaceLevel::Enough => self.ledger.floor_bytes / 2,
            SpaceLevel::Low | SpaceLevel::None => 0,
        };
        if self.appended_since_check > due || self.ledger.take_stale() {
            self.refresh(false);
        }
    }

    /// Returns the number of bytes by which the log can grow before the free space reaches the floor; `u64::MAX` if monitoring
    /// is disabled.
    pub fn log_room(&self) -> u64 {
        match self.reserve_bytes {
            0 => u64::MAX,
            _ => self.ledger.left(self.free_above(self.ledger.floor_bytes)),
        }
    }

    /// Returns the number of free bytes in excess of `kept_bytes`, minus the bytes written since the measurement.
    fn free_above(&self, kept_bytes: u64) -> u64 {
        self.free
            .saturating_sub(self.appended_since_check + kept_bytes)
    }

    /// Computes [`SpaceStatus::rewrite_lacks_bytes`]. Includes the log that is written during the rewrite.
    fn rewrite_lacks_bytes(&self) -> u64 {
        let written = self.ledger.checkpoint_bytes.load(Relaxed);
        let written = written.saturating_add(self.checkpoint_log_bytes);
        let needed = written.saturating_add(self.reserve_bytes);
        needed.saturating_sub(self.free_for_checkpoint)
    }

    /// Measures the free space on the file systems of the log and the checkpoint again.
    fn measure(&mut self) {
        self.free_for_log = measure(&self.log).free;
        self.free_for_checkpoint = measure(&self.dir).free;
        self.free = self.free_for_checkpoint.min(self.free_for_log);
        self.appended_since_check = 0;
    }

    /// Publishes the level and the sizes to other threads. Logs a change of the level.
    fn publish(&mut self, level: SpaceLevel) {
        let (free_bytes, reserve_bytes) = (self.free, self.reserve_bytes);
        if level != self.level {
            match level {
                SpaceLevel::Enough => {
                    tracing::info!(
                        free_bytes,
                        "the disk has free space again; accepting all writes"
                    );
                }
                SpaceLevel::Low => tracing::warn!(
                    free_bytes,
                    reserve_bytes,
                    "the disk is almost full; refusing writes that add data until space is freed"
                ),
                SpaceLevel::None => tracing::error!(
                    free_bytes,
                    "the disk is full; refusing all commands until space is freed"
                ),
            }
        }
        self.level = level;
        let held = self.ledger.holds_ballast();
        let ballast = if held { self.ballast_bytes } else { 0 };
        self.status.free_bytes.store(free_bytes, Relaxed);
        self.status.reserve_bytes.store(reserve_bytes, Relaxed);
        self.status.ballast_bytes.store(ballast, Relaxed);
        let lacks = self.rewrite_lacks_bytes();
        self.status.rewrite_lacks_bytes.store(lacks, Relaxed);
        let held_bytes = self.ledger.held_bytes.load(Relaxed);
        self.status.held_bytes.store(held_bytes, Relaxed);
        self.status.level.store(level as u8, Relaxed);
    }
}

#[cfg(test)]
mod tests;
