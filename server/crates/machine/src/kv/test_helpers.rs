//! Helpers for this module's tests.

use bytes::Bytes;

use super::{
    KeyValue, Kv,
    request::{KvCommand, KvOperation, Put},
};
use crate::{revision::Revision, values::ReadPattern};

/// Applies an operation that must succeed, as in a turn of the replica.
pub(super) fn apply(kv: &mut Kv, operation: KvOperation) {
    let command = KvCommand { operation: Some(operation) };
    kv.apply(&command).expect("the operation succeeds");
    kv.clear_states_before_compaction();
}

pub(super) fn put(kv: &mut Kv, key: &str, size: usize) {
    let put = Put {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: vec![b'v'; size].into(),
        ..Put::default()
    };
    apply(kv, KvOperation::Put(put));
}

/// Returns a key space without keys at this revision.
pub(crate) fn at_revision(revision: Revision) -> Kv {
    Kv { revision, ..Kv::default() }
}

impl Kv {
    /// Returns a live key's newest pair, or `None` if the key does not exist.
    pub(super) fn newest(&self, key: &[u8]) -> Option<KeyValue> {
        let entry = self.index.get(key).filter(|entry| !entry.tombstone)?;
        let (block, version) = self.history.get(entry.location)?;
        Some(block.key_value(&version, ReadPattern::Random))
    }
}
