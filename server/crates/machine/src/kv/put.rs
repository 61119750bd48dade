//! Put: sets the value of a key.

use super::{Kv, KvError, Put, PutReply, WriteBatch};
use crate::lease::LeaseId;

impl Kv {
    /// Checks a put without changing anything. The order of the checks, also in a transaction, is etcd 3.7's.
    pub(super) fn check_put(&self, put: &Put) -> Result<(), KvError> {
        self.check_lease(put)?;
        self.check_present(put)?;
        self.check_kept_value(put)
    }

    /// Fails if the put attaches a lease that does not exist.
    fn check_lease(&self, put: &Put) -> Result<(), KvError> {
        if put.lease_id() != LeaseId::NONE && self.leases.get(put.lease_id()).is_none() {
            Err(KvError::LeaseNotFound)
        } else {
            Ok(())
        }
    }

    /// Fails if the put keeps the value or the lease of a key that does not exist.
    fn check_present(&self, put: &Put) -> Result<(), KvError> {
        let keeps = put.ignore_value || put.ignore_lease;
        let present = || {
            self.index
                .get(&put.key)
                .is_some_and(|entry| !entry.tombstone)
        };
        if keeps && !present() {
            Err(KvError::KeyNotFound)
        } else {
            Ok(())
        }
    }

    /// Executes a checked put. The API refuses transactions that delete a key and then keep its value or lease.
    pub(super) fn put(&mut self, batch: &mut WriteBatch, put: &Put) -> Result<PutReply, KvError> {
        let looks = put.prev_kv || put.ignore_value || put.ignore_lease;
        let before = if looks { self.newest(&put.key) } else { None };
        if let Some(before) = before.as_ref().filter(|_| put.prev_kv) {
            batch.reads.hold()?;
            batch.reads.return_pair(before)?;
        }
        let kept = before.clone().unwrap_or_default();
        let value = if put.ignore_value {
            &kept.value
        } else {
            &put.value
        };
        let lease = if put.ignore_lease {
            kept.lease
        } else {
            put.lease_id()
        };
        self.write(batch, &put.key, Some((value, lease)));
        Ok(PutReply { prev_kv: batch.reads.answer(before.filter(|_| put.prev_kv)) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    use super::*;
    use crate::{
        fingerprint,
        kv::{Compact, KvOperation, test_helpers::apply},
        record::RecordChange,
        revision::Revision,
    };

    /// Returns a put whose value consists of `size` times `byte`. `None` keeps the current value.
    fn operation(byte: Option<u8>, size: usize) -> KvOperation {
        KvOperation::Put(Put {
            key: Bytes::from_static(b"key"),
            value: byte.map_or_else(Bytes::new, |byte| vec![byte; size].into()),
            ignore_value: byte.is_none(),
            ..Put::default()
        })
    }

    /// Returns the number of distinct buffers that contain the values of all versions.
    fn buffers(kv: &Kv) -> usize {
        let changes = kv.changes_from(Revision::NONE, None);
        // Collect all values first, because a freed copy's address could be reused.
        let values: Vec<Bytes> = changes.map(|(_, change)| change.pair().value).collect();
        let places: BTreeSet<*const u8> = values.iter().map(|value| value.as_ptr()).collect();
        places.len()
    }

    fn loaded(kv: &Kv) -> Kv {
        let mut copy = Kv::default();
        kv.changes(None, &mut |change| match change {
            RecordChange::Put { key, value } => copy.load(&key, &value).unwrap(),
            RecordChange::Delete { key } => panic!("{key:?} was never written"),
        });
        copy.finish_load().unwrap();
        copy
    }

    #[test]
    fn a_kept_value_is_in_memory_once_and_counts_as_often_as_it_is_written() {
        for size in [600, 40_000] {
            let (mut kept, mut written) = (Kv::default(), Kv::default());
            for put in 0..200 {
                apply(&mut kept, operation((put == 0).then_some(b'v'), size));
                apply(&mut written, operation(Some(put), size));
            }
            // One buffer for the first put, and one that the other puts share.
            assert!(buffers(&kept) <= 2, "{} buffers", buffers(&kept));
            assert_eq!(buffers(&written), 200);
            let sizes = |kv: &Kv| (kv.size_bytes(), kv.live_size_bytes(), kv.end());
            assert_eq!(sizes(&kept), sizes(&written));
            let mut restarted = loaded(&kept);
            assert!(buffers(&restarted) <= 2);
            assert_eq!(fingerprint::of(&restarted), fingerprint::of(&kept));
            for kv in [&mut kept, &mut restarted, &mut written] {
                let revision = kv.revision().0 - 50;
                apply(kv, KvOperation::Compact(Compact { revision }));
                assert_eq!(kv.retained_versions().count(), 51);
                assert_eq!(kv.newest(b"key").unwrap().value.len(), size);
            }
            assert_eq!((buffers(&restarted), buffers(&kept)), (1, 1));
            assert_eq!(fingerprint::of(&loaded(&kept)), fingerprint::of(&restarted));
            assert_eq!(sizes(&kept), sizes(&written));
            assert_eq!(sizes(&kept), sizes(&restarted));
        }
    }
}
