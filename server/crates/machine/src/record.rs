//! Checkpoint records: the one representation of state outside memory, used by the checkpoint on
//! disk, by snapshots between members and by the simulated disk.
//!
//! A record is a key and a value of bytes. The first byte of a key names the section. The sections
//! choose the rest so that ascending key order is an order in which they can be loaded.

pub use witan_tree::COUNT_MAX;

use super::kv;

/// Section of the v3 key space.
pub const KV: u8 = b'k';
/// Section of the leases; loaded after the key space.
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

/// Whether a record with this key is a block of the key space.
pub fn is_block(key: &[u8]) -> bool {
    matches!(key.split_first(), Some((&KV, key)) if kv::checkpoint::block_number(key).is_some())
}

/// Whether no record can have a key between these two, of which `key` sorts behind `before`: they are blocks of the key space
/// that follow one another.
pub fn are_neighbors(before: &[u8], key: &[u8]) -> bool {
    match (before.split_first(), key.split_first()) {
        (Some((&KV, before)), Some((&KV, key))) => kv::checkpoint::are_neighbors(before, key),
        (_, _) => false,
    }
}

/// One changed record between two checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// Write or overwrite a record.
    Put {
        /// Byte of the section, then the section's own key.
        key: Vec<u8>,
        /// The record.
        value: Vec<u8>,
    },
    /// Delete a record.
    Delete {
        /// Byte of the section, then the section's own key.
        key: Vec<u8>,
    },
}

impl RecordChange {
    /// The key of the record.
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
    /// Builds the error; `what` names the record and what is wrong with it.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl From<witan_tree::CorruptTree> for CorruptRecord {
    fn from(error: witan_tree::CorruptTree) -> Self {
        Self::new(error.to_string())
    }
}

/// Receives changed records one by one.
pub type Emit<'a> = dyn FnMut(RecordChange) + 'a;

/// Says by the key of a record, before it is encoded, whether it is left out.
pub type LeaveOut<'a> = dyn Fn(&[u8]) -> bool + 'a;

/// An emitter that puts the section's byte before every key.
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
