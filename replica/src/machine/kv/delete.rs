//! DeleteRange: delete all keys of a span.

use bytes::Bytes;

use super::{Batch, DeleteRange, Kv, Reply, Span};

impl Kv {
    /// A span without live keys changes nothing, the revision included.
    pub(super) fn delete(&mut self, batch: &mut Batch, delete: &DeleteRange) -> Reply {
        let span = Span::new(&delete.key, &delete.range_end);
        let mut keys = Vec::new();
        let mut prev_kvs = Vec::new();
        self.index.visit(&span, &mut |key, entry| {
            if !entry.tombstone {
                keys.push(Bytes::copy_from_slice(key));
                if delete.prev_kv {
                    prev_kvs.extend(self.history.key_value(entry.place));
                }
            }
            true
        });
        for key in &keys {
            self.write(batch, key, None);
        }
        Reply::Delete {
            deleted: keys.len() as i64,
            prev_kvs,
        }
    }
}
