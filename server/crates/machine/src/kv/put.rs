//! Put sets the value of a key.

use bytes::Bytes;

use super::{Kv, KvError, Put, PutReply, ValueUse, WriteBatch};
use crate::lease::LeaseId;

impl Kv {
    /// Checks a put without changing anything. The order of the checks matches etcd 3.7, even in a transaction.
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

    /// Executes a checked put. The API refuses transactions that delete a key and then keep its value or lease. Such a put
    /// would have an empty value or no lease. Fails without a write if the previous pair exceeds the read budget.
    pub(super) fn put(&mut self, batch: &mut WriteBatch, put: &Put) -> Result<PutReply, KvError> {
        let looks = put.prev_kv || put.ignore_value || put.ignore_lease;
        let newest = self
            .index
            .get(&put.key)
            .filter(|entry| looks && !entry.tombstone);
        let before = newest.and_then(|entry| self.history.get(entry.location));
        if let Some((_, version)) = before.as_ref().filter(|_| put.prev_kv) {
            batch.reads.hold()?;
            batch
                .reads
                .return_pair(version.key.len(), version.value_len)?;
        }
        let returns = put.prev_kv && batch.reads.returns_results();
        let lease = match (&before, put.ignore_lease) {
            (Some((_, version)), true) => version.lease,
            (None, true) => LeaseId::NONE,
            (_, false) => put.lease_id(),
        };
        // Only these puts need the previous value, which may be on disk.
        let before = before.filter(|_| returns || put.ignore_value);
        let before = before
            .map(|found| batch.reads.pair(&found, ValueUse::Compare))
            .transpose()?;
        let value = match &before {
            Some(before) if put.ignore_value => before.value.clone(),
            None if put.ignore_value => Bytes::new(),
            Some(_) | None => put.value.clone(),
        };
        self.write(batch, &put.key, Some((&value, lease)));
        Ok(PutReply { prev_kv: before.filter(|_| returns) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fingerprint,
        kv::{Compact, KvOperation, test_helpers::apply},
        record::RecordChange,
    };

    /// Returns a put whose value contains `byte` `size` times. If `byte` is `None`, the put keeps the current value.
    fn operation(byte: Option<u8>, size: usize) -> KvOperation {
        KvOperation::Put(Put {
            key: Bytes::from_static(b"key"),
            value: byte.map_or_else(Bytes::new, |byte| vec![byte; size].into()),
            ignore_value: byte.is_none(),
            ..Put::default()
        })
    }

    /// Returns a copy that is loaded from the records of a full checkpoint.
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
    fn a_kept_value_counts_as_often_as_it_is_written() {
        for size in [600, 40_000] {
            let (mut kept, mut written) = (Kv::default(), Kv::default());
            for put in 0..200 {
                apply(&mut kept, operation((put == 0).then_some(b'v'), size));
                apply(&mut written, operation(Some(put), size));
            }
            let sizes = |kv: &Kv| (kv.size_bytes(), kv.live_size_bytes(), kv.end());
            assert_eq!(sizes(&kept), sizes(&written));
            let mut restarted = loaded(&kept);
            assert_eq!(fingerprint::of(&restarted), fingerprint::of(&kept));
            for kv in [&mut kept, &mut restarted, &mut written] {
                let revision = kv.revision().0 - 50;
                apply(kv, KvOperation::Compact(Compact { revision }));
                assert_eq!(kv.retained_versions().count(), 51);
                assert_eq!(kv.newest(b"key").unwrap().value.len(), size);
            }
            assert_eq!(fingerprint::of(&loaded(&kept)), fingerprint::of(&restarted));
            assert_eq!(sizes(&kept), sizes(&written));
        }
    }
}
