//! Deletion of all keys in a range.

use bytes::Bytes;

use super::{
    DeleteRange, DeleteReply, KeyRange, Kv, KvError, ValueUse, WriteBatch, index::WalkStep,
};

impl Kv {
    /// Deletes the live keys in a range. Returns their number and, if `prev_kv` is set and results are not discarded, their
    /// pairs. If the range has no live keys, nothing changes, not even the revision. Fails before the first write if the
    /// deletion reads too much.
    pub(super) fn delete(
        &mut self,
        batch: &mut WriteBatch,
        delete: &DeleteRange,
    ) -> Result<DeleteReply, KvError> {
        let span = KeyRange::new(&delete.key, &delete.range_end);
        let mut keys = Vec::new();
        let mut prev_kvs = Vec::new();
        let returns = delete.prev_kv && !batch.reads.discards_results();
        // Charge only ranges. The deletion of a single key without `prev_kv` must not fail, because a transaction with only
        // such deletions saves no state to restore.
        let charged = !delete.range_end.is_empty();
        let reads = &mut batch.reads;
        let mut outcome = if charged { reads.read_key() } else { Ok(()) };
        self.index.visit_live(&span, &mut |walked| {
            match walked {
                WalkStep::Deleted(passed) if charged => outcome = reads.passed(passed),
                WalkStep::Deleted(_) => {}
                WalkStep::Live(key, location) => {
                    keys.push(Bytes::copy_from_slice(key));
                    if returns && let Some(found) = self.history.get(location) {
                        outcome = reads
                            .read_key()
                            .and_then(|()| reads.hold())
                            .and_then(|()| reads.return_pair(key.len(), found.1.value_len));
                        if outcome.is_ok() && reads.returns_results() {
                            let pair = reads.pair(&found, ValueUse::Return);
                            outcome = pair.map(|kv| prev_kvs.push(kv));
                        }
                    }
                }
            }
            outcome.is_ok()
        });
        outcome?;
        for key in &keys {
            self.write(batch, key, None);
        }
        Ok(DeleteReply { deleted: keys.len() as i64, prev_kvs })
    }
}
