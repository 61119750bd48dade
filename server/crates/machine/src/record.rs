//! Checkpoint records: the representation of the state outside memory, in checkpoints on disk and in snapshots between members.
//!
//! A record consists of a key and a value. The first byte of a key identifies the section. Each section defines the remaining
//! bytes of its keys so that its records can be loaded in ascending key order.

use std::fmt;

use prost::Message;
use witan_tree::CorruptTree;

pub use witan_tree::COUNT_MAX;

use super::kv;

/// Section for the v3 key space.
pub const KV: u8 = b'k';
/// Section for leases; loaded after the key space.
pub const LEASE: u8 = b'l';
/// Section for the v2 tree.
pub const TREE: u8 = b't';
/// Section for the member registry.
pub const MEMBER: u8 = b'm';
/// Section for the alarms.
pub const ALARM: u8 = b'a';
/// Section for users and roles.
pub const AUTH: u8 = b'u';
/// Section for the position in the log and the Raft configuration.
pub const VIEW: u8 = b'v';

/// Size in bytes of the key of a block's record.
pub const BLOCK_KEY_BYTES: usize = 2 + size_of::<u64>();

/// Returns the record key of the block of the key space with this number.
pub fn block_key(number: u64) -> Vec<u8> {
    [&[KV], kv::checkpoint::block_key(number).as_slice()].concat()
}

/// Parses the number of a block of the key space from its record key. Returns `None` for other records.
pub fn block_number(key: &[u8]) -> Option<u64> {
    match key.split_first() {
        Some((&KV, key)) => kv::checkpoint::block_number(key),
        Some(_) | None => None,
    }
}

/// Returns the head of a block's record, without the values. Returns `None` if `key` is not a block's key or the record is
/// damaged.
pub fn block_head(key: &[u8], record: &[u8]) -> Option<Vec<u8>> {
    kv::checkpoint::block_head(key.strip_prefix(&[KV])?, record)
}

/// Returns whether a record with this key is a block of the key space.
pub fn is_block(key: &[u8]) -> bool {
    block_number(key).is_some()
}

/// A record that differs between two checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// Writes or overwrites a record.
    Put {
        /// The section byte, then the key within the section.
        key: Vec<u8>,
        /// The record's value.
        value: Vec<u8>,
    },
    /// Deletes a record.
    Delete {
        /// The section byte, then the key within the section.
        key: Vec<u8>,
    },
}

impl RecordChange {
    /// Returns the record's key.
    pub fn key(&self) -> &[u8] {
        let (Self::Put { key, .. } | Self::Delete { key }) = self;
        key
    }
}

/// A record of the checkpoint or the log that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptRecord {
    /// The contents are invalid.
    #[error("corrupt checkpoint record: {0}")]
    Invalid(String),
    /// A later release wrote the record, which has an unknown part. The data is intact, and this release must not change it.
    #[error("a later release wrote this data: {0}. Start the release that wrote it")]
    Later(String),
}

impl CorruptRecord {
    /// Creates the error for invalid contents; `what` names the record and the problem.
    pub fn new(what: impl Into<String>) -> Self {
        Self::Invalid(what.into())
    }

    /// Creates the error for a record from a later release; `what` names the record and the unknown part.
    pub fn later(what: impl Into<String>) -> Self {
        Self::Later(what.into())
    }

    /// Returns whether a later release wrote the record.
    pub fn is_later(&self) -> bool {
        match self {
            Self::Invalid(_) => false,
            Self::Later(_) => true,
        }
    }
}

impl From<CorruptTree> for CorruptRecord {
    fn from(error: CorruptTree) -> Self {
        let what = error.to_string();
        match error {
            CorruptTree::Invalid(_) => Self::Invalid(what),
            CorruptTree::Later(_) => Self::Later(what),
        }
    }
}

/// Decodes a record. `name` is the record's name in errors. Fails with `Invalid` if the record cannot be decoded, and with
/// `Later` if it has unknown fields, which the next checkpoint would lack.
pub fn decode<M: Message + Default>(
    name: impl fmt::Display,
    bytes: &[u8],
) -> Result<M, CorruptRecord> {
    let message =
        M::decode(bytes).map_err(|error| CorruptRecord::new(format!("{name}: {error}")))?;
    // If the decoder has skipped unknown fields, at any depth, the encoded length is smaller.
    match message.encoded_len() == bytes.len() {
        true => Ok(message),
        false => Err(CorruptRecord::later(format!("{name}: unknown fields"))),
    }
}

/// Receives changed records.
pub type Emit<'a> = dyn FnMut(RecordChange) + 'a;

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
