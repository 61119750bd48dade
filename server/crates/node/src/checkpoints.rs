//! Decides when to write a checkpoint: after enough log, after a large compaction, when the feature level rises, or on request.
//! Tells the memory budget how much log the next startup must replay.

use std::{collections::VecDeque, sync::Arc};

use witan_machine::{member::MemberRegistry, values::CacheHold, view::View};
use witan_storage::{Checkpointer, LogSize, OnDurable, SpaceLevel};

use super::MemoryBudget;

/// Factor by which checkpoints are more frequent while the disk or the memory budget is almost full.
const LOW_SPACE_FACTOR: u64 = 16;

/// Divisor of the memory budget. A checkpoint is due once startup would need the quotient to replay the log since the last
/// checkpoint. Values stay in memory until a checkpoint contains them.
const MEMORY_DIVISOR: u64 = 8;

pub(super) struct Checkpoints {
    pub(super) checkpointer: Checkpointer,
    memory: Arc<MemoryBudget>,
    /// Log size in bytes after which a checkpoint is due, derived from the disk's size.
    log_bytes: u64,
    /// Size of the log since the last checkpoint.
    appended: LogSize,
    unsaved: UnsavedLog,
    /// The largest size in bytes of the v3 key space since the last checkpoint.
    kv_bytes: u64,
    /// Whether a checkpoint is due regardless of the log's size, because the feature level requires a newer format.
    due: bool,
}

/// The log that the last durable checkpoint does not contain. All sizes are computed by [`LogSize::memory_bytes`].
#[derive(Debug, Default)]
struct UnsavedLog {
    /// Size of all entries so far.
    total: u64,
    /// `total` when the state of the last durable checkpoint was offered.
    saved: u64,
    /// The index of each offered state that is not durable yet, and `total` at that time, oldest first.
    offered: VecDeque<(u64, u64)>,
}

impl UnsavedLog {
    /// Returns the bytes of log that no durable checkpoint contains.
    fn bytes(&self) -> u64 {
        self.total - self.saved
    }

    /// Records that a state up to the entry `index` is queued for a checkpoint.
    fn offered(&mut self, index: u64) {
        self.offered.push_back((index, self.total));
    }

    /// Records that the checkpoint at the entry `index` is durable.
    fn durable(&mut self, index: u64) {
        while let Some((_, total)) = self.offered.pop_front_if(|(offered, _)| *offered <= index) {
            self.saved = total;
        }
    }
}

impl Checkpoints {
    /// Creates the schedule. `log_bytes` bytes of log make a checkpoint due. `replayed` is the size of the log after the last
    /// checkpoint, and `members` contains the feature level. A checkpoint is due immediately if that level requires a newer
    /// format.
    pub(super) fn new(
        (checkpointer, memory): (Checkpointer, Arc<MemoryBudget>),
        log_bytes: u64,
        replayed: LogSize,
        members: &MemberRegistry,
    ) -> Self {
        let due = checkpointer.awaits_format_of(members.level());
        let mut checkpoints = Self {
            checkpointer,
            memory,
            log_bytes,
            appended: LogSize::default(),
            unsaved: UnsavedLog::default(),
            kv_bytes: 0,
            due,
        };
        checkpoints.appended(replayed);
        checkpoints
    }

    /// Counts appended log, and updates the memory budget's size of the log.
    pub(super) fn appended(&mut self, size: LogSize) {
        self.appended += size;
        self.unsaved.total += size.memory_bytes();
        self.memory.set_log_bytes(self.unsaved.bytes());
    }

    /// Records that the checkpoint at the entry `index` is durable, and updates the memory budget's size of the log.
    pub(super) fn durable(&mut self, index: u64) {
        self.unsaved.durable(index);
        self.memory.set_log_bytes(self.unsaved.bytes());
    }

    /// Makes a checkpoint due if the feature level requires a newer format of the data directory.
    pub(super) fn require_level(&mut self, members: &MemberRegistry) {
        self.due |= self.checkpointer.awaits_format_of(members.level());
    }

    /// Records that an installed snapshot, which is already on disk, has replaced the state.
    pub(super) fn installed(&mut self) {
        self.appended = LogSize::default();
        self.unsaved = UnsavedLog::default();
        self.memory.set_log_bytes(0);
    }

    /// Queues a state to be written as a new base without outdated records. Calls `done` when this state or a newer state is
    /// durable. If the base does not fit on the disk, drops `done` without calling it.
    pub(super) fn rewrite(&mut self, view: View, done: OnDurable) {
        self.record_offer(&view);
        self.checkpointer.rewrite(view, done);
    }

    /// Queues a state to be written as a new base without runs of the previous checkpoint, because a run is damaged.
    /// `hold` keeps the values in memory until the base is durable.
    pub(super) fn rewrite_all_runs(&mut self, view: View, hold: CacheHold) {
        self.record_offer(&view);
        self.checkpointer.rewrite_all_runs(view, hold);
    }

    /// Offers a view to the checkpointer if a checkpoint is due: for a higher feature level, after enough log, or after a large
    /// compaction, whose data only a new checkpoint frees. Calls `view` only in this case. If `space` is low, less log makes a
    /// checkpoint due. `kv_bytes` is the size of the v3 key space.
    pub(super) fn offer(&mut self, kv_bytes: u64, space: SpaceLevel, view: impl FnOnce() -> View) {
        let compacted = self.kv_bytes.saturating_sub(kv_bytes);
        let factor = match space {
            SpaceLevel::Enough => 1,
            // After a checkpoint, the earlier log can be deleted, and the checkpoint's values can be dropped from memory.
            SpaceLevel::Low | SpaceLevel::None => LOW_SPACE_FACTOR,
        };
        let memory_bytes = self.memory.bytes() / MEMORY_DIVISOR / factor;
        let log_bytes = (self.log_bytes / factor).min(memory_bytes);
        let is_enough = is_enough(self.appended, (log_bytes, memory_bytes));
        let due = std::mem::take(&mut self.due);
        if due || is_enough || compacted >= log_bytes {
            let view = view();
            self.record_offer(&view);
            self.checkpointer.offer(view);
            self.kv_bytes = kv_bytes;
        } else {
            self.kv_bytes = self.kv_bytes.max(kv_bytes);
        }
    }

    /// Records that a state is queued, and restarts the count of appended log.
    fn record_offer(&mut self, view: &View) {
        self.appended = LogSize::default();
        self.unsaved.offered(view.position.index);
    }
}

/// Returns whether the log makes a checkpoint due: the log has at least `log_bytes` bytes, or startup needs at least
/// `memory_bytes` bytes to replay it.
fn is_enough(appended: LogSize, (log_bytes, memory_bytes): (u64, u64)) -> bool {
    appended.bytes >= log_bytes || appended.memory_bytes() >= memory_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_entries_make_a_checkpoint_due_after_less_log() {
        let bounds = (32 << 20, 56 << 20);
        let log = |entries: u64, bytes: u64| LogSize { bytes: entries * bytes, entries };
        assert!(!is_enough(log(300, 100 << 10), bounds));
        assert!(is_enough(log(330, 100 << 10), bounds));
        // The second of these logs has only 15 MiB.
        assert!(!is_enough(log(100_000, 80), bounds));
        assert!(is_enough(log(200_000, 80), bounds));
    }

    #[test]
    fn a_durable_checkpoint_leaves_the_log_since_its_state() {
        let mut log = UnsavedLog { total: 10, ..UnsavedLog::default() };
        log.offered(5);
        log.total = 30;
        log.offered(7);
        log.total = 100;
        assert_eq!(log.bytes(), 100);
        log.durable(4);
        assert_eq!(log.bytes(), 100);
        log.durable(5);
        assert_eq!(log.bytes(), 90);
        // The checkpointer skips a state if a newer state waits.
        log.offered(9);
        log.total = 120;
        log.durable(9);
        assert_eq!(log.bytes(), 20);
        assert!(log.offered.is_empty());
    }
}
