//! Put: give a key a value.

use super::{Kv, KvError, Put, PutReply, WriteBatch};
use crate::machine::lease;

impl Kv {
    /// Checks a put outside of a transaction, without changing anything.
    pub(super) fn check_put(&self, put: &Put) -> Result<(), KvError> {
        self.check_lease(put)?;
        self.check_present(put)
    }

    /// Checks a put inside a transaction, where etcd checks the key before the lease.
    pub(super) fn check_put_in_txn(&self, put: &Put) -> Result<(), KvError> {
        self.check_present(put)?;
        self.check_lease(put)
    }

    /// Fails if the put attaches a lease that does not exist.
    fn check_lease(&self, put: &Put) -> Result<(), KvError> {
        if put.lease != lease::NONE && self.leases.get(put.lease).is_none() {
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

    /// Executes a checked put. If the same transaction deleted the key before, there is no value or
    /// lease to keep; the API refuses such transactions.
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
            put.lease
        };
        self.write(batch, &put.key, Some((value, lease)));
        Ok(PutReply { prev_kv: batch.reads.answer(before.filter(|_| put.prev_kv)) })
    }
}
