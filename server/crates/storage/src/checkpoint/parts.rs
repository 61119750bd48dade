//! Writes a state in parts while it is built, for example from a snapshot. The values of a part can be evicted from memory, so
//! the state can be larger than memory.
//!
//! A part contains the keys that were built so far and is written as the difference from the previous part. No part is
//! published: after a crash, no checkpoint exists. The runs of the parts become runs of the checkpoint, so no value is written
//! twice.

use std::io;

use witan_machine::{
    StateMachine,
    kv::Kv,
    member::MemberRegistry,
    values::BlockCache,
    view::{Position, View},
};

use super::Checkpoint;

/// Divisor of the cache's target. The quotient is the size of a part. Values that no part contains must stay in memory.
const TARGET_DIVISOR: u64 = 16;

/// Minimum size of a part in bytes, because each part takes several syncs.
#[cfg(not(test))]
const SMALL_PART_BYTES: u64 = 1 << 20;
#[cfg(test)]
const SMALL_PART_BYTES: u64 = 32 << 10;

/// The parts of a state that is being built.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The state that the parts contain, or `None` if no part was written.
    pub(super) written: Option<View>,
    /// [`built_bytes`] of that state.
    bytes: u64,
    /// Whether only a part of the state is being written.
    pub(super) writing: bool,
}

impl Checkpoint {
    /// If many values have been added since the last part, writes the keys of the incomplete state `machine`. Their values can
    /// then be evicted from memory. If there are few values, does nothing, so this function can be called after each change. No
    /// part is published. Once the state is complete, the caller publishes it with [`Checkpoint::write`] and `None`.
    ///
    /// The directory must not have a published checkpoint.
    pub fn write_part(&mut self, machine: &StateMachine) -> io::Result<()> {
        let bytes = built_bytes(&machine.kv);
        if bytes.saturating_sub(self.parts.bytes) < part_bytes(&self.folder.cache) {
            return Ok(());
        }
        // A part contains only keys, because everything else can still change.
        let members = MemberRegistry {
            raised_level: machine.members.raised_level,
            ..MemberRegistry::default()
        };
        let kv = machine.kv.clone();
        let part = View {
            machine: StateMachine { kv, members, ..StateMachine::default() },
            position: Position::default(),
        };
        self.parts.writing = true;
        let written = self.write(None, &part);
        self.parts.writing = false;
        written?;
        (self.parts.written, self.parts.bytes) = (Some(part.diff_base()), bytes);
        self.folder.cache.trim();
        Ok(())
    }
}

/// Returns a number of bytes that grows with each new value, even if a compaction removes other values.
fn built_bytes(kv: &Kv) -> u64 {
    kv.size_bytes() + kv.dropped_bytes()
}

/// Returns the size in bytes of the new values after which a part is written.
fn part_bytes(cache: &BlockCache) -> u64 {
    (cache.target() / TARGET_DIVISOR).max(SMALL_PART_BYTES)
}
