//! Decides when the state is written as a checkpoint: after a certain size of log, when a compaction has freed as much, when
//! the cluster version falls, and when a client requests it.

use witan_machine::{
    member::MemberRegistry,
    versions::{Release, release},
    view::View,
};
use witan_storage::{Checkpointer, OnDurable, SpaceLevel};

/// Factor by which checkpoints are more frequent on an almost full disk.
const LOW_SPACE_FACTOR: u64 = 16;

pub(super) struct Checkpoints {
    pub(super) checkpointer: Checkpointer,
    /// Size in bytes of the log between two checkpoints, chosen for the disk.
    log_bytes: u64,
    /// Number of bytes appended to the log since the last checkpoint was taken.
    appended_bytes: u64,
    /// The largest size of the v3 key space since then, in bytes.
    kv_bytes: u64,
    /// Whether a checkpoint is due regardless of the log's size.
    due: bool,
    /// The cluster version in the state; `None` before it is decided.
    cluster_version: Option<Release>,
}

impl Checkpoints {
    /// Creates the schedule. `replayed_bytes` is the size of the log after the last checkpoint.
    pub(super) fn new(
        checkpointer: Checkpointer,
        log_bytes: u64,
        replayed_bytes: u64,
        members: &MemberRegistry,
    ) -> Self {
        Self {
            checkpointer,
            log_bytes,
            appended_bytes: replayed_bytes,
            kv_bytes: 0,
            due: false,
            cluster_version: release(&members.cluster_version),
        }
    }

    pub(super) fn appended(&mut self, bytes: u64) {
        self.appended_bytes += bytes;
    }

    /// Records the cluster version. When it falls, a checkpoint is due: from now on, an older release can start on this
    /// directory, and it does not support all commands in the earlier log.
    pub(super) fn follow_version(&mut self, members: &MemberRegistry) {
        let version = release(&members.cluster_version);
        self.due |= version < self.cluster_version;
        self.cluster_version = version;
    }

    /// Records that a state that is already on disk has replaced the state.
    pub(super) fn installed(&mut self, members: &MemberRegistry) {
        self.appended_bytes = 0;
        self.cluster_version = release(&members.cluster_version);
    }

    /// Makes the checkpointer write a state as a new base. Calls `done` when it is durable.
    pub(super) fn rewrite(&mut self, view: View, done: OnDurable) {
        self.checkpointer.rewrite(view, done);
        self.appended_bytes = 0;
    }

    /// Offers a frozen view to the checkpointer if enough log was written since the last offer, or if a compaction has freed
    /// enough memory. The previous checkpoint keeps compacted data in memory and on disk. On an almost full disk, a smaller
    /// log is enough. `kv_bytes` is the size of the v3 key space.
    pub(super) fn offer(&mut self, kv_bytes: u64, space: SpaceLevel, view: impl FnOnce() -> View) {
        let compacted = self.kv_bytes.saturating_sub(kv_bytes);
        let enough = match space {
            SpaceLevel::Enough => self.log_bytes,
            // A checkpoint makes the earlier log unnecessary.
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
