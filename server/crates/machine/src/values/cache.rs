//! Decides which values stay in memory even though they are also on disk. The clock algorithm gives used values a second
//! chance.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use super::{Holder, ReadPattern};

/// Minimum length of a queue before it is cleaned; each time the queue doubles, entries of removed blocks are dropped.
const CLEANED_ENTRIES_MIN: usize = 1024;

/// The values in memory that are also on disk, and the maximum memory that they may use.
#[derive(Debug)]
pub struct BlockCache {
    queues: Mutex<Queues>,
    resident_bytes: AtomicU64,
    target_bytes: AtomicU64,
    dropped_bytes: AtomicU64,
    reads: AtomicU64,
    read_bytes: AtomicU64,
    /// Number of [`CacheHold`]s.
    holds: AtomicUsize,
}

/// While a hold exists, all values of its cache stay in memory.
#[derive(Debug)]
pub struct CacheHold(Arc<BlockCache>);

impl Drop for CacheHold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, SeqCst);
    }
}

/// The counted values, each in one queue.
#[derive(Debug, Default)]
struct Queues {
    /// Values that scans have read, oldest first. They are evicted before all other values.
    scanned: Queue,
    /// All other values, in the order in which the clock examines them.
    clock: Queue,
}

#[derive(Debug, Default)]
struct Queue {
    holders: VecDeque<Weak<dyn Holder>>,
    /// Number of entries after the last search for entries of removed blocks.
    cleaned: usize,
}

impl Queue {
    /// Appends an entry. Removes the entries of removed blocks whenever the queue has doubled.
    fn push(&mut self, holder: Weak<dyn Holder>) {
        if self.holders.len() >= 2 * self.cleaned.max(CLEANED_ENTRIES_MIN / 2) {
            self.holders.retain(|holder| holder.strong_count() > 0);
            self.cleaned = self.holders.len();
        }
        self.holders.push_back(holder);
    }
}

impl Default for BlockCache {
    fn default() -> Self {
        Self::new()
    }
}

impl BlockCache {
    /// Creates a cache without a limit.
    pub fn new() -> Self {
        Self {
            queues: Mutex::default(),
            resident_bytes: AtomicU64::new(0),
            target_bytes: AtomicU64::new(u64::MAX),
            dropped_bytes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            holds: AtomicUsize::new(0),
        }
    }

    /// Prevents evictions until the returned value is dropped. Until then, values that are in memory can be read without the
    /// disk.
    pub fn hold(self: &Arc<Self>) -> CacheHold {
        self.holds.fetch_add(1, SeqCst);
        CacheHold(self.clone())
    }

    /// Returns whether a [`CacheHold`] exists.
    pub fn is_held(&self) -> bool {
        self.holds.load(SeqCst) > 0
    }

    /// Sets the maximum size in bytes of the values that can be evicted. When this size is exceeded, [`Self::trim`] evicts
    /// values.
    pub fn set_target(&self, bytes: u64) {
        self.target_bytes.store(bytes, Relaxed);
    }

    /// Evicts values beyond the target unless the cache is held. The allocator reuses the freed memory soonest if the
    /// allocating thread calls this method.
    pub fn trim(&self) {
        self.make_room(0);
    }

    /// Returns the maximum that [`Self::set_target`] set, or `u64::MAX`.
    pub fn target(&self) -> u64 {
        self.target_bytes.load(Relaxed)
    }

    /// Returns the size in bytes of the values in memory that have a place on disk.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes.load(Relaxed)
    }

    /// Returns the total size in bytes of the values that were evicted to free memory.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes.load(Relaxed)
    }

    /// Returns the number of blocks that were read from disk.
    pub fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }

    /// Returns the size in bytes of the records that were read from disk.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Relaxed)
    }

    /// Counts a record of `bytes` bytes that was read from disk.
    pub(super) fn count_read(&self, bytes: usize) {
        self.reads.fetch_add(1, Relaxed);
        self.read_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts values of `bytes` bytes that can now be evicted from `holder`.
    pub(super) fn add(&self, holder: Weak<dyn Holder>, bytes: usize, pattern: ReadPattern) {
        self.resident_bytes.fetch_add(bytes as u64, Relaxed);
        let mut queues = self.queues();
        let queue = match pattern {
            ReadPattern::Random => &mut queues.clock,
            ReadPattern::Scan => &mut queues.scanned,
        };
        queue.push(holder);
    }

    /// Counts `bytes` bytes of values that were evicted to free memory.
    pub(super) fn count_dropped(&self, bytes: usize) {
        self.dropped_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Stops counting `bytes` bytes of values.
    pub(super) fn subtract(&self, bytes: usize) {
        self.resident_bytes.fetch_sub(bytes as u64, Relaxed);
    }

    /// Returns whether the values exceed three quarters of the target, so that reads from disk will soon replace other values.
    pub(super) fn is_nearly_full(&self) -> bool {
        let target = self.target();
        self.resident_bytes() > target - target / 4
    }

    /// Evicts values, scanned values first, until `bytes` more bytes fit, until no values are left, or until the cache is held.
    pub(super) fn make_room(&self, bytes: usize) {
        let target = self.target().saturating_sub(bytes as u64);
        if self.resident_bytes() <= target || self.is_held() {
            return;
        }
        // In the first round, used values get a second chance.
        let mut chances = self.queues().clock.holders.len();
        while self.resident_bytes() > target {
            let (scanned, oldest) = {
                let mut queues = self.queues();
                let scanned = queues.scanned.holders.pop_front();
                (
                    scanned.is_some(),
                    scanned.or_else(|| queues.clock.holders.pop_front()),
                )
            };
            let Some(oldest) = oldest else {
                return;
            };
            let Some(holder) = oldest.upgrade() else {
                continue;
            };
            if !scanned && chances > 0 && holder.values().take_used() {
                chances -= 1;
                self.queues().clock.push(oldest);
            } else if !holder.values().evict() {
                self.queues().clock.push(oldest);
                return;
            }
        }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
