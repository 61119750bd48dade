//! When the state is written as a checkpoint: after so much log, when a compaction has freed as much, when the version
//! of the cluster falls, and when a client asks for it.

use witan_machine::{
    member::MemberRegistry,
    versions::{Release, release},
    view::View,
};
use witan_storage::{Checkpointer, OnDurable, SpaceLevel};

/// On an almost full disk checkpoints are this many times as frequent.
const LOW_SPACE_FACTOR: u64 = 16;

pub(super) struct Checkpoints {
    pub(super) checkpointer: Checkpointer,
    /// Bytes of log between two checkpoints that suit the disk.
    log_bytes: u64,
    /// Bytes appended to the log since the last checkpoint was taken.
    appended_bytes: u64,
    /// The largest that the v3 key space was since then.
    kv_bytes: u64,
    /// Whether a checkpoint is to be taken whatever was appended.
    due: bool,
    /// The version of the cluster in the state; `None` before it is decided.
    cluster_version: Option<Release>,
}

impl Checkpoints {
    /// `replayed_bytes` of log follow the last checkpoint.
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

    /// Notes the version of the cluster. When it falls, a checkpoint is due: an older release, which may be
    /// started here from now on, does not know all commands in the log before.
    pub(super) fn follow_version(&mut self, members: &MemberRegistry) {
        let version = release(&members.cluster_version);
        self.due |= version < self.cluster_version;
        self.cluster_version = version;
    }

    /// Notes that the state was replaced by one that is on disk.
    pub(super) fn installed(&mut self, members: &MemberRegistry) {
        self.appended_bytes = 0;
        self.cluster_version = release(&members.cluster_version);
    }

    /// Has the checkpointer write a state as a new base; `done` is called when that is durable.
    pub(super) fn rewrite(&mut self, view: View, done: OnDurable) {
        self.checkpointer.rewrite(view, done);
        self.appended_bytes = 0;
    }

    /// Offers a frozen view to the checkpointer if enough log was written since the last offer, or if a
    /// compaction freed enough: the previous checkpoint keeps compacted data in memory and on disk. On
    /// a disk that is almost full, less is enough. `kv_bytes` is the size of the v3 key space.
    pub(super) fn offer(&mut self, kv_bytes: u64, space: SpaceLevel, view: impl FnOnce() -> View) {
        let compacted = self.kv_bytes.saturating_sub(kv_bytes);
        let enough = match space {
            SpaceLevel::Enough => self.log_bytes,
            // The log before a checkpoint is not needed.
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
