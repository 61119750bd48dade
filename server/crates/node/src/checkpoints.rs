//! Decides when to write a checkpoint: after enough log, after a large compaction, when the feature level rises, or on request.

use witan_machine::{member::MemberRegistry, values::CacheHold, view::View};
use witan_storage::{Checkpointer, OnDurable, SpaceLevel};

/// Factor by which checkpoints are more frequent while the disk or the memory budget is almost full.
const LOW_SPACE_FACTOR: u64 = 16;

pub(super) struct Checkpoints {
    pub(super) checkpointer: Checkpointer,
    /// Log size in bytes after which a checkpoint is due, derived from the disk's size.
    log_bytes: u64,
    /// Size in bytes of the log since the last checkpoint.
    appended_bytes: u64,
    /// The largest size in bytes of the v3 key space since the last checkpoint.
    kv_bytes: u64,
    /// Whether a checkpoint is due regardless of the log's size.
    due: bool,
}

impl Checkpoints {
    /// Creates the schedule. `replayed_bytes` is the size in bytes of the log after the last checkpoint.
    pub(super) fn new(
        checkpointer: Checkpointer,
        log_bytes: u64,
        replayed_bytes: u64,
        members: &MemberRegistry,
    ) -> Self {
        let due = checkpointer.awaits_format_of(members.level());
        Self {
            checkpointer,
            log_bytes,
            appended_bytes: replayed_bytes,
            kv_bytes: 0,
            due,
        }
    }

    pub(super) fn appended(&mut self, bytes: u64) {
        self.appended_bytes += bytes;
    }

    /// Makes a checkpoint due if the feature level requires a newer format of the data directory.
    pub(super) fn require_level(&mut self, members: &MemberRegistry) {
        self.due |= self.checkpointer.awaits_format_of(members.level());
    }

    /// Records that an installed snapshot, which is already on disk, has replaced the state.
    pub(super) fn installed(&mut self) {
        self.appended_bytes = 0;
    }

    /// Writes a state as a new base without outdated records. Calls `done` when the base is durable.
    pub(super) fn rewrite(&mut self, view: View, done: OnDurable) {
        self.checkpointer.rewrite(view, done);
        self.appended_bytes = 0;
    }

    /// Writes a state as a new base that keeps no run of the previous checkpoint, because a run is damaged. `hold` keeps the
    /// values in memory until the base is durable.
    pub(super) fn replace(&mut self, view: View, hold: CacheHold) {
        self.checkpointer.rewrite_all_runs(view, hold);
        self.appended_bytes = 0;
    }

    /// Offers a view to the checkpointer if a checkpoint is due: on request, after enough log, or after a large compaction.
    /// Only a new checkpoint frees the compacted data. If `space` is low, less log is enough. `kv_bytes` is the size of the v3
    /// key space.
    pub(super) fn offer(&mut self, kv_bytes: u64, space: SpaceLevel, view: impl FnOnce() -> View) {
        let compacted = self.kv_bytes.saturating_sub(kv_bytes);
        let enough = match space {
            SpaceLevel::Enough => self.log_bytes,
            // After a checkpoint, the earlier log can be deleted, and the checkpoint's values can be dropped from memory.
            SpaceLevel::Low | SpaceLevel::None => self.log_bytes / LOW_SPACE_FACTOR,
        };
        let due = std::mem::take(&mut self.due);
        if due || self.appended_bytes.max(compacted) >= enough {
            self.checkpointer.offer(view());
            self.appended_bytes = 0;
            self.kv_bytes = kv_bytes;
        } else {
            self.kv_bytes = self.kv_bytes.max(kv_bytes);
        }
    }
}
