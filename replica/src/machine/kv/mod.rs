//! The v3 key space: multi-version keys in immutable blocks (rulings, State).
//!
//! A verb owns its file: `put`, `delete`, `range`, `txn`, `compact`.

mod request;

pub use request::{
    Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, Op, OpKind, Put, Range,
    SortOrder, SortTarget, TargetValue, Txn, Verb,
};

use bytes::Bytes;

use super::record::{Change, Corrupt};

/// A key with its value and metadata, as etcd's `mvccpb.KeyValue`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty when keys only were asked for.
    pub value: Bytes,
    /// Revision of the put that began this key's present life.
    pub create_revision: i64,
    /// Revision of the last put.
    pub mod_revision: i64,
    /// Number of puts in this life.
    pub version: i64,
    /// Attached lease, 0 for none.
    pub lease: i64,
}

/// Answer of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The pairs, sorted as asked.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut something off.
    pub more: bool,
    /// Number of keys in the range irrespective of limit and revision filters.
    pub count: i64,
}

/// Answer of one successful v3 command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of a put.
    Put {
        /// The pair before, if asked for and existing.
        prev_kv: Option<KeyValue>,
    },
    /// Of a delete.
    Delete {
        /// Number of keys deleted.
        deleted: i64,
        /// The pairs before, if asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// Of a range inside a transaction.
    Range(RangeReply),
    /// Of a transaction.
    Txn {
        /// Whether the success branch ran.
        succeeded: bool,
        /// One reply per executed operation; a nested transaction's is again a `Txn`.
        /// The second element is the revision that the operation's own header carries.
        replies: Vec<(Reply, i64)>,
    },
    /// Of a compaction.
    Compact,
}

/// Why a v3 request could not be done; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The revision asked for is below the compacted one.
    #[error("required revision has been compacted")]
    Compacted {
        /// The compacted revision.
        compacted: i64,
    },
    /// The revision asked for is above the present one.
    #[error("required revision is a future revision")]
    FutureRevision {
        /// The present revision.
        current: i64,
    },
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    #[error("key not found")]
    KeyNotFound,
    /// The lease to attach does not exist.
    #[error("requested lease not found")]
    LeaseNotFound,
}

/// The v3 state. Cloning is O(1).
#[derive(Clone, Debug, Default)]
pub struct Kv {}

impl Kv {
    /// Executes one committed command (I2).
    pub fn apply(&mut self, _command: &Command) -> Result<Reply, Error> {
        Err(Error::KeyNotFound)
    }

    /// Reads a range at the present or an older revision.
    pub fn range(&self, _range: &Range) -> Result<RangeReply, Error> {
        Err(Error::KeyNotFound)
    }

    /// The revision of the last change; 1 when nothing was ever written.
    pub fn revision(&self) -> i64 {
        1
    }

    /// The compacted revision, -1 when never compacted.
    pub fn compacted(&self) -> i64 {
        -1
    }

    /// Number of live keys.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether no key is alive.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all records in 4 KiB pages (rulings: dbSize), the same on every member after the
    /// same log.
    pub fn size_bytes(&self) -> u64 {
        0
    }

    /// Of these, bytes that the live set needs.
    pub fn size_in_use_bytes(&self) -> u64 {
        0
    }

    /// A hash of the whole visible state and history: equal states hash equal.
    pub fn fingerprint(&self) -> u64 {
        0
    }

    /// Emits what changed since `since` (everything, if `None`). Keys are the room's own.
    pub fn changes(&self, _since: Option<&Kv>, _emit: &mut dyn FnMut(Change)) {}

    /// Takes one record back; records come in ascending key order.
    pub fn load(&mut self, _key: &[u8], _value: &[u8]) -> Result<(), Corrupt> {
        Ok(())
    }

    /// Builds what is derived after the last record and checks the whole.
    pub fn loaded(&mut self) -> Result<(), Corrupt> {
        Ok(())
    }
}
