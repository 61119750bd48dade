//! Helpers for this module's tests.

use bytes::Bytes;

use super::{
    KeyValue, Kv, ValueSource,
    request::{Compact, DeleteRange, KvCommand, KvOperation, Put, Range},
};
use crate::{revision::Revision, values::ReadPattern};

/// Applies an operation that must succeed. Then drops the states saved for watchers, as at the end of a turn.
pub(super) fn apply(kv: &mut Kv, operation: KvOperation) {
    let command = KvCommand { operation: Some(operation) };
    kv.apply(&command).expect("the operation succeeds");
    kv.clear_states_before_compaction();
}

/// Puts a value of `size` bytes. Like [`apply`], panics if the put fails.
pub(super) fn put(kv: &mut Kv, key: &str, size: usize) {
    let put = Put {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: vec![b'v'; size].into(),
        ..Put::default()
    };
    apply(kv, KvOperation::Put(put));
}

/// Deletes a single key, which need not exist.
pub(super) fn delete(kv: &mut Kv, key: &str) {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let delete = DeleteRange { key, ..DeleteRange::default() };
    apply(kv, KvOperation::Delete(delete));
}

/// Compacts at this revision and finishes the sweep.
pub(super) fn compact(kv: &mut Kv, revision: i64) {
    apply(kv, KvOperation::Compact(Compact { revision }));
    while kv.sweeping {
        kv.continue_sweep();
    }
}

/// Returns all pairs at this revision.
pub(super) fn all(kv: &Kv, revision: i64) -> Vec<KeyValue> {
    let from = Bytes::from_static(b"\0");
    let range = Range {
        key: from.clone(),
        range_end: from,
        revision,
        ..Range::default()
    };
    let found = kv.range(&range, ValueSource::Disk);
    found.expect("the revision is readable").kvs
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
