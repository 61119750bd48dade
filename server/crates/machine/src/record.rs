//! Checkpoint records: the only representation of the state outside memory. Used by the checkpoint on disk, by snapshots
//! between members and by the simulated disk.
//!
//! A record is a key and a value of bytes. The first byte of a key identifies the section. Each section
//! defines the rest of its keys, so that records can be loaded in ascending key order.

pub use witan_tree::COUNT_MAX;

use super::kv;

/// Section of the v3 key space.
pub const KV: u8 = b'k';
/// Section for leases; loaded after the key space.
pub const LEASE: u8 = b'l';
/// Section of the v2 tree.
pub const TREE: u8 = b't';
/// Section of the member registry.
pub const MEMBER: u8 = b'm';
/// Section of the alarms.
pub const ALARM: u8 = b'a';
/// Section of users and roles.
pub const AUTH: u8 = b'u';
/// Section of the view itself: position in the log and configuration.
pub const VIEW: u8 = b'v';

/// Returns whether a record with this key is a block of the key space.
pub fn is_block(key: &[u8]) -> bool {
    matches!(key.split_first(), Some((&KV, key)) if kv::checkpoint::block_number(key).is_some())
}

/// Returns whether no record can have a key between these two, where `key` sorts after `before`: they are consecutive blocks of
/// the key space.
pub fn are_neighbors(before: &[u8], key: &[u8]) -> bool {
    match (before.split_first(), key.split_first()) {
        (Some((&KV, before)), Some((&KV, key))) => kv::checkpoint::are_neighbors(before, key),
        (_, _) => false,
    }
}

/// A changed record between two checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// Writes or overwrites a record.
    Put {
        /// The section byte, then the section's own key.
        key: Vec<u8>,
        /// The record.
        value: Vec<u8>,
    },
    /// Deletes a record.
    Delete {
        /// The section byte, then the section's own key.
        key: Vec<u8>,
    },
}

impl RecordChange {
    /// Returns the key of the record.
    pub fn key(&self) -> &[u8] {
        let (Self::Put { key, .. } | Self::Delete { key }) = self;
        key
    }
}

/// A checkpoint record with invalid contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt checkpoint record: {0}")]
pub struct CorruptRecord(String);

impl CorruptRecord {
    /// Creates the error; `what` names the record and the problem.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl From<witan_tree::CorruptTree> for CorruptRecord {
    fn from(error: witan_tree::CorruptTree) -> Self {
        Self::new(error.to_string())
    }
}

/// Receives changed records.
pub type Emit<'a> = dyn FnMut(RecordChange) + 'a;

/// Decides by the key of a record, before it is encoded, whether to leave it out.
pub type SkipRecord<'a> = dyn Fn(&[u8]) -> bool + 'a;

/// Returns an emitter that prefixes every key with the section byte.
pub(crate) fn in_section(section: u8, emit: &mut Emit<'_>) -> impl FnMut(RecordChange) {
    move |change| {
        emit(match change {
            RecordChange::Put { mut key, value } => {
                key.insert(0, section);
                RecordChange::Put { key, value }
            }
            RecordChange::Delete { mut key } => {
                key.insert(0, section);
                RecordChange::Delete { key }
            }
        });
    }
}
