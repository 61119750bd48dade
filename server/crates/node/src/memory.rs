//! The memory budget of this process. It decides how many values stay in memory and whether the member refuses commands and
//! entries that add data. `witan_base::memory_limit` reads the limit from which the composition root derives the budget.
//!
//! Values that are on disk can be evicted from the cache. The other memory cannot be released: keys, versions, requests,
//! connections, values that no checkpoint contains yet, and memory that the allocator keeps.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout};
use witan_base::{memory_limit::first_values_bytes, metrics::anonymous_bytes, panics};
use witan_machine::values::BlockCache;

/// Interval between two measurements while more than three quarters of the budget is free.
const MEASURE_INTERVAL_FAR: Duration = Duration::from_secs(1);

/// Interval between two measurements otherwise, and during startup.
const MEASURE_INTERVAL: Duration = Duration::from_millis(100);

/// Interval between two measurements while less than a quarter of the budget is free.
const MEASURE_INTERVAL_NEAR: Duration = Duration::from_millis(20);

/// Divisor of the budget. Commands that add data are refused while the other memory leaves less than the quotient for values.
const VALUES_DIVISOR: u64 = 8;

/// Divisor of the budget. The other memory must shrink by the quotient before commands that add data are accepted again.
const RECOVERY_DIVISOR: u64 = 32;

/// Divisor of the budget. While the other memory leaves less than the quotient free, this member accepts no entries that add
/// data.
const LOG_DIVISOR: u64 = 32;

/// Divisor of the budget. At the next startup, the log after the last checkpoint may take the quotient. The remaining memory is
/// for keys.
const REPLAY_DIVISOR: u64 = 2;

/// Divisor of the free memory. While the budget is used up, the quotient is the maximum size of a snapshot to accept. In
/// memory, the keys of a state can take several times the bytes of their records.
const SNAPSHOT_DIVISOR: u64 = 4;

/// Divisor of the memory that a snapshot has taken so far. The quotient is the estimated memory of its index. The index takes
/// about as much as the keys and versions. The remaining memory holds values that are not on disk yet.
const SNAPSHOT_INDEX_DIVISOR: u64 = 2;

/// Time that a command waits for memory before it is refused. A checkpoint that is being written usually frees enough memory.
const WAIT_FOR_ROOM: Duration = Duration::from_secs(5);

/// Divisor of the memory that the allocator holds for evicted values. The allocator returns the quotient between two
/// measurements.
const HELD_DIVISOR: u64 = 8;

/// Divisor of the budget. The estimate of the held memory is at most the quotient.
const HELD_MAX_DIVISOR: u64 = 8;

/// Divisor of an increase of the other memory. The quotient is added to the estimate.
const AVERAGE_DIVISOR: u64 = 4;

/// Number of bytes by which the cache shrinks for each byte beyond the budget. The allocator returns only whole pages.
const SHRINK_BY: u64 = 4;

/// The budget and the last measurement, shared by all threads.
#[derive(Debug)]
pub struct MemoryBudget {
    bytes: u64,
    cache: Arc<BlockCache>,
    other_bytes: AtomicU64,
    /// See [`Self::set_log_bytes`].
    log_bytes: AtomicU64,
    /// Whether the process is still loading its state.
    starting: AtomicBool,
    full: AtomicBool,
    /// Whether the budget is used up even though commands that add data are refused. The leader's entries still add data.
    exhausted: AtomicBool,
    /// Time at which the budget became full, or `None` if the budget is not full.
    full_since: watch::Sender<Option<Instant>>,
}

impl MemoryBudget {
    /// Creates the budget of a process whose values are in `cache`. Until [`Self::started`], values use [`first_values_bytes`].
    pub fn new(bytes: u64, cache: Arc<BlockCache>) -> Self {
        cache.set_target(first_values_bytes(bytes));
        Self {
            bytes,
            cache,
            other_bytes: AtomicU64::default(),
            log_bytes: AtomicU64::default(),
            starting: AtomicBool::new(true),
            full: AtomicBool::default(),
            exhausted: AtomicBool::default(),
            full_since: watch::Sender::default(),
        }
    }

    /// Returns the size of the budget in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the cache of values.
    pub fn cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }

    /// Returns the estimated size in bytes of the memory that cannot be released.
    pub fn other_bytes(&self) -> u64 {
        self.other_bytes.load(Relaxed)
    }

    /// Sets the size in bytes of the memory that the next startup needs to replay the log after the last checkpoint.
    pub(super) fn set_log_bytes(&self, bytes: u64) {
        self.log_bytes.store(bytes, Relaxed);
    }

    /// Returns whether commands that add data must wait for memory.
    pub fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    /// Returns whether commands that add data are refused, because the budget has been full for `WAIT_FOR_ROOM`.
    pub fn refuses_growth(&self) -> bool {
        let is_long_ago = |since: Instant| since.elapsed() >= WAIT_FOR_ROOM;
        self.is_full() && self.full_since.borrow().is_some_and(is_long_ago)
    }

    /// Returns whether this member must not accept entries that add data. The limit is higher than the limit of
    /// [`Self::is_full`].
    pub fn is_exhausted(&self) -> bool {
        self.exhausted.load(Relaxed)
    }

    /// Returns whether readers must release superseded data: the budget is full, and not only because of the log or held
    /// values.
    pub(super) fn must_end_readers(&self) -> bool {
        self.is_full() && self.lacks_memory(VALUES_DIVISOR)
    }

    /// Returns whether the other memory alone exceeds the limit with this divisor. The limit includes the memory that must
    /// become free before commands or entries are accepted again.
    fn lacks_memory(&self, divisor: u64) -> bool {
        let left = self.bytes.saturating_sub(self.other_bytes());
        left < self.bytes / divisor + self.bytes / RECOVERY_DIVISOR
    }

    /// Records that the process has loaded its state, so that values may use all memory that is left.
    pub fn started(&self) {
        self.starting.store(false, Relaxed);
    }

    /// Returns a function that returns whether a snapshot's state fits into memory next to the current state. The function
    /// takes the size in bytes of the snapshot or of its received part. A small snapshot fits even if the budget is used up,
    /// because without entries only a snapshot can shrink the state.
    pub fn snapshot_fits(self: &Arc<Self>) -> impl Fn(u64) -> bool + Send + 'static {
        let (memory, before) = (self.clone(), self.other_bytes());
        move |bytes| {
            let other = memory.other_bytes();
            let index_bytes = other.saturating_sub(before) / SNAPSHOT_INDEX_DIVISOR;
            let left = memory.bytes.saturating_sub(other);
            // A long log can also use up the budget, but the snapshot replaces the log.
            let is_exhausted = memory.is_exhausted() && memory.lacks_memory(LOG_DIVISOR);
            bytes <= left / SNAPSHOT_DIVISOR || index_bytes <= left && !is_exhausted
        }
    }

    /// Waits until the budget has room, at most until it has been full for [`WAIT_FOR_ROOM`].
    pub(super) async fn wait_for_room(&self) {
        let mut full_since = self.full_since.subscribe();
        let since = *full_since.borrow_and_update();
        let left = since.and_then(|since| WAIT_FOR_ROOM.checked_sub(since.elapsed()));
        if let Some(left) = left {
            let room = full_since.wait_for(Option::is_none);
            // After the timeout, the replica's thread refuses the command.
            drop(timeout(left, room).await);
        }
    }
}

/// Measures the memory of this process and keeps the process within its budget.
#[derive(Debug)]
pub struct MemoryMonitor {
    budget: Arc<MemoryBudget>,
    estimate: Estimate,
}

/// Estimates the other memory, which cannot be released.
///
/// The other memory is at most the memory of the process minus the values. The allocator holds the memory of evicted values for
/// a while, so the other memory can be smaller by this held memory. An estimate within this range does not change.
#[derive(Debug, Default)]
struct Estimate {
    /// The estimate in bytes, or `None` before the first measurement.
    other_bytes: Option<u64>,
    /// Lower bound of the other memory in bytes at the last measurement.
    last_least: u64,
    /// Total size in bytes of the values evicted from the cache as of the last measurement.
    dropped_bytes: u64,
    /// Estimated size in bytes of the evicted values whose memory the allocator still holds.
    held_bytes: u64,
}

/// The memory of this process at one time, in bytes.
#[derive(Clone, Copy, Debug)]
struct Measurement {
    process: u64,
    /// Size in bytes of the values that the cache can evict.
    values: u64,
    /// Total size in bytes of the values evicted from the cache so far.
    dropped: u64,
}

impl Estimate {
    /// Adds a measurement. Returns the new estimate in bytes. The estimate falls immediately. It rises only if the previous
    /// measurement also shows the increase. The estimate then rises by a quarter of the increase, or by the entire increase if
    /// the process is close to `budget_bytes`.
    fn add(&mut self, budget_bytes: u64, measured: Measurement) -> u64 {
        let Measurement { process, values, dropped } = measured;
        let newly_dropped = dropped - std::mem::replace(&mut self.dropped_bytes, dropped);
        let held = self.held_bytes - self.held_bytes / HELD_DIVISOR + newly_dropped;
        self.held_bytes = held.min(budget_bytes / HELD_MAX_DIVISOR);
        let most = process.saturating_sub(values);
        let least = most.saturating_sub(self.held_bytes);
        let last_least = std::mem::replace(&mut self.last_least, least);
        let before = self.other_bytes.unwrap_or(most);
        // A single measurement must not shrink the cache, so an increase is counted only if the previous measurement also shows
        // it.
        let increase = least.min(last_least).saturating_sub(before);
        let is_near = process > budget_bytes - budget_bytes / VALUES_DIVISOR;
        let counted = match is_near {
            true => increase,
            false => increase / AVERAGE_DIVISOR,
        };
        let other = (before + counted).min(most);
        self.other_bytes = Some(other);
        other
    }
}

impl MemoryMonitor {
    /// Creates the monitor.
    pub fn new(budget: Arc<MemoryBudget>) -> Self {
        Self { budget, estimate: Estimate::default() }
    }

    /// Starts a thread that measures until `stopping` is true.
    pub fn start(mut self, stopping: watch::Receiver<bool>) -> io::Result<()> {
        panics::start_thread("memory", move || {
            while !*stopping.borrow() {
                let process_bytes = anonymous_bytes();
                self.measured(process_bytes);
                thread::sleep(self.interval(process_bytes));
            }
        })?;
        Ok(())
    }

    /// Returns the time until the next measurement of a process of `process_bytes` bytes. After a failed measurement (0 bytes),
    /// the process can be of any size.
    fn interval(&self, process_bytes: u64) -> Duration {
        let quarter = self.budget.bytes / 4;
        if process_bytes > 3 * quarter || process_bytes == 0 {
            MEASURE_INTERVAL_NEAR
        } else if process_bytes > quarter || self.budget.starting.load(Relaxed) {
            MEASURE_INTERVAL
        } else {
            MEASURE_INTERVAL_FAR
        }
    }

    /// Adapts the size of the cache to a process of `process_bytes` bytes and decides whether commands are refused. Does
    /// nothing for 0 bytes, which means that the measurement has failed.
    fn measured(&mut self, process_bytes: u64) {
        if process_bytes == 0 {
            return;
        }
        let budget = &self.budget;
        let measured = Measurement {
            process: process_bytes,
            values: budget.cache.resident_bytes(),
            dropped: budget.cache.dropped_bytes(),
        };
        let other = self.estimate.add(budget.bytes, measured);
        budget.other_bytes.store(other, Relaxed);
        self.refuse_or_accept(match budget.cache.is_held() {
            // Held values cannot be evicted, so new data must not make the process larger than the budget.
            true => other.max(process_bytes.saturating_sub(budget.bytes / VALUES_DIVISOR)),
            false => other,
        });
        let excess = process_bytes.saturating_sub(budget.bytes);
        let target = budget
            .bytes
            .saturating_sub(other)
            .saturating_sub(excess.saturating_mul(SHRINK_BY));
        if budget.starting.load(Relaxed) {
            // The loading thread does not evict values while it builds the index and reads the log, so this thread evicts them.
            budget
                .cache
                .set_target(target.min(first_values_bytes(budget.bytes)));
            budget.cache.trim();
        } else if target != budget.cache.target() {
            budget.cache.set_target(target);
        }
    }

    /// Decides whether commands and entries that add data are refused. They are refused because of the other memory, or because
    /// the next startup could not replay a longer log. Logs a change.
    fn refuse_or_accept(&self, other_bytes: u64) {
        let (budget, budget_bytes) = (&self.budget, self.budget.bytes);
        let log_bytes = budget.log_bytes.load(Relaxed);
        let used_bytes = other_bytes.max(log_bytes.saturating_mul(REPLAY_DIVISOR));
        let exceeds = |part: u64, exceeded: bool| {
            let recovery = if exceeded {
                budget_bytes / RECOVERY_DIVISOR
            } else {
                0
            };
            used_bytes > budget_bytes - budget_bytes / part - recovery
        };
        let was_exhausted = budget.is_exhausted();
        let exhausted = exceeds(LOG_DIVISOR, was_exhausted);
        budget.exhausted.store(exhausted, Relaxed);
        if exhausted && !was_exhausted {
            tracing::error!(
                other_bytes,
                log_bytes,
                budget_bytes,
                "the memory budget is used up; accepting no entries that add data until memory is freed"
            );
        }
        let was_full = budget.is_full();
        let full = exceeds(VALUES_DIVISOR, was_full);
        budget.full.store(full, Relaxed);
        if full != was_full {
            budget.full_since.send_replace(full.then(Instant::now));
        }
        match (was_full, full) {
            (false, true) => tracing::warn!(
                other_bytes,
                log_bytes,
                budget_bytes,
                "the memory budget is almost used up by keys, requests or the log after the last checkpoint; delaying writes, \
                 then refusing them, until memory is freed"
            ),
            (true, false) => tracing::info!(
                other_bytes,
                budget_bytes,
                "the memory budget has free memory again; accepting writes"
            ),
            (false, false) | (true, true) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Creates the monitor of a budget of 256 MiB, in which no values can be evicted.
    fn monitor() -> MemoryMonitor {
        let budget = MemoryBudget::new(256 * MIB, Arc::new(BlockCache::new()));
        budget.started();
        MemoryMonitor::new(Arc::new(budget))
    }

    /// Measures `mib` MiB often enough for the estimate to reach this size.
    fn settle(monitor: &mut MemoryMonitor, mib: u64) {
        for _ in 0..100 {
            monitor.measured(mib * MIB);
        }
    }

    fn target_mib(monitor: &MemoryMonitor) -> u64 {
        monitor.budget.cache().target() / MIB
    }

    #[test]
    fn values_get_what_the_other_memory_leaves() {
        let mut monitor = monitor();
        monitor.measured(56 * MIB);
        assert_eq!(target_mib(&monitor), 200);
        settle(&mut monitor, 100);
        assert_eq!(target_mib(&monitor), 156);
        settle(&mut monitor, 300);
        assert_eq!(target_mib(&monitor), 0);
    }

    /// A measurement opens a file, which fails if no descriptor is free.
    #[test]
    fn a_failed_measurement_frees_no_memory() {
        let mut monitor = monitor();
        settle(&mut monitor, 230);
        let target = target_mib(&monitor);
        monitor.measured(0);
        assert_eq!(target_mib(&monitor), target);
        assert!(monitor.budget.is_full());
        assert_eq!(monitor.interval(0), MEASURE_INTERVAL_NEAR);
    }

    #[test]
    fn a_single_measurement_does_not_shrink_the_cache() {
        let mut monitor = monitor();
        settle(&mut monitor, 56);
        let before = target_mib(&monitor);
        monitor.measured(256 * MIB);
        assert_eq!(target_mib(&monitor), before);
        monitor.measured(56 * MIB);
        assert_eq!(target_mib(&monitor), before);
        monitor.measured(256 * MIB);
        monitor.measured(256 * MIB);
        assert!(target_mib(&monitor) < before);
    }

    #[test]
    fn values_that_a_scan_drops_leave_no_room_for_others() {
        let mut estimate = Estimate::default();
        let mut dropped = 0;
        let mut add = |process: u64, values: u64, newly_dropped: u64| {
            dropped += newly_dropped * MIB;
            let measured = Measurement { process: process * MIB, values: values * MIB, dropped };
            estimate.add(256 * MIB, measured) / MIB
        };
        assert_eq!(add(156, 100, 0), 56);
        for _ in 0..50 {
            assert_eq!(add(156, 100, 40), 56);
        }
        // The allocator holds the memory of evicted values.
        assert_eq!(add(156, 70, 30), 56);
        // The other memory grows. The held memory shrinks with each measurement, so the estimate also rises.
        let grown = (0..50).map(|_| add(216, 70, 0)).last();
        assert!(grown > Some(140), "{grown:?}");
        assert_eq!(add(136, 70, 0), 66);
    }

    #[test]
    fn a_process_beyond_the_budget_drops_values() {
        let mut monitor = monitor();
        settle(&mut monitor, 56);
        monitor.measured(266 * MIB);
        assert_eq!(target_mib(&monitor), 200 - 4 * 10);
    }

    #[test]
    fn a_full_budget_refuses_until_memory_is_free() {
        let mut monitor = monitor();
        // 224 MiB is 28/32 of the budget, and 216 MiB is 27/32.
        for (mib, full) in [
            (223, false),
            (226, true),
            (218, true),
            (214, false),
            (223, false),
        ] {
            settle(&mut monitor, mib);
            assert_eq!(monitor.budget.is_full(), full, "{mib} MiB");
            assert_eq!(monitor.budget.must_end_readers(), full, "{mib} MiB");
        }
    }

    #[test]
    fn a_log_that_the_next_start_could_not_replay_fills_the_budget() {
        let mut monitor = monitor();
        settle(&mut monitor, 50);
        for (log_mib, full, exhausted) in [
            (111, false, false),
            (113, true, false),
            (125, true, true),
            (0, false, false),
        ] {
            monitor.budget.set_log_bytes(log_mib * MIB);
            monitor.measured(50 * MIB);
            let budget = &monitor.budget;
            assert_eq!(
                (budget.is_full(), budget.is_exhausted()),
                (full, exhausted),
                "{log_mib} MiB"
            );
            // The log is on disk, so the values keep their memory.
            assert_eq!(target_mib(&monitor), 206);
            let fits = budget.snapshot_fits();
            assert!(fits(u64::MAX), "a snapshot replaces the log");
            assert!(!budget.must_end_readers(), "the log stays as long");
        }
    }

    #[test]
    fn held_values_leave_no_room_for_new_data() {
        let mut monitor = monitor();
        for held in [false, true, false] {
            settle(&mut monitor, 100);
            assert!(!monitor.budget.is_full());
            let hold = held.then(|| monitor.budget.cache().hold());
            // Values could be evicted, and a single measurement does not increase the other memory.
            monitor.measured(260 * MIB);
            assert_eq!(monitor.budget.is_full(), held);
            drop(hold);
        }
    }

    #[test]
    fn a_member_refuses_entries_and_snapshots_long_after_it_refuses_writes() {
        let mut monitor = monitor();
        // 248 MiB is 31/32 of the budget, and 240 MiB is 30/32.
        for (mib, largest_mib) in [(247, None), (252, Some(1)), (244, Some(3)), (238, None)] {
            settle(&mut monitor, mib);
            let budget = &monitor.budget;
            assert_eq!(budget.is_exhausted(), largest_mib.is_some(), "{mib} MiB");
            let fits = budget.snapshot_fits();
            let largest = largest_mib.map_or(u64::MAX, |mib: u64| mib * MIB);
            assert!(fits(largest), "{mib} MiB");
            assert_eq!(fits(largest.saturating_add(1)), largest == u64::MAX);
            assert!(budget.is_full());
        }
    }

    #[test]
    fn a_snapshot_that_would_exceed_the_memory_next_to_the_state_is_refused() {
        let mut monitor = monitor();
        settle(&mut monitor, 100);
        let fits = monitor.budget.snapshot_fits();
        assert!(fits(u64::MAX), "the size of its keys is unknown");
        // The snapshot has taken 100 MiB, and its index will take 50 MiB.
        settle(&mut monitor, 200);
        assert!(fits(u64::MAX));
        settle(&mut monitor, 210);
        assert!(!fits(u64::MAX));
        assert!(fits(MIB));
    }

    #[test]
    fn values_use_half_of_the_budget_until_the_state_is_loaded() {
        let mut monitor = monitor();
        monitor.budget.starting.store(true, Relaxed);
        settle(&mut monitor, 50);
        assert_eq!(target_mib(&monitor), 128);
        settle(&mut monitor, 200);
        assert_eq!(target_mib(&monitor), 56);
        monitor.budget.started();
        settle(&mut monitor, 50);
        assert_eq!(target_mib(&monitor), 206);
    }

    #[tokio::test]
    async fn a_command_waits_for_memory_up_to_a_timeout() {
        let mut monitor = monitor();
        let budget = monitor.budget.clone();
        settle(&mut monitor, 250);
        let waiting = tokio::spawn(async move { budget.wait_for_room().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        settle(&mut monitor, 50);
        waiting.await.expect("no panic");
        settle(&mut monitor, 250);
        assert!(monitor.budget.is_full() && !monitor.budget.refuses_growth());
        let long_ago = Instant::now().checked_sub(WAIT_FOR_ROOM);
        monitor.budget.full_since.send_replace(long_ago);
        monitor.budget.wait_for_room().await;
        assert!(monitor.budget.refuses_growth());
    }

    #[test]
    fn without_a_known_limit_nothing_is_dropped_or_refused() {
        let budget = MemoryBudget::new(u64::MAX, Arc::new(BlockCache::new()));
        budget.started();
        let mut monitor = MemoryMonitor::new(Arc::new(budget));
        settle(&mut monitor, 1 << 30);
        assert!(!monitor.budget.is_full() && !monitor.budget.is_exhausted());
        assert!(monitor.budget.cache().target() > u64::MAX / 2);
    }
}
