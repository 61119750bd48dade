//! Values that puts keep (`ignore_value`). A put that keeps a value stores it again, so the size of the value is counted as if
//! the client had sent the value. The proposer adds a maximum length, based on the current length, to the put. Without a
//! maximum, many small puts could store a value again after another put has made the value large. If the value is longer when
//! the put is applied, the put changes nothing and is proposed again.

use super::{Kv, KvCommand, KvError, KvOperation, Put, Txn, TxnOpKind};

/// Length in bytes up to which a value can always be kept, because any command uses about as much space in the log.
const KEPT_BYTES_FREE: u64 = 512;

impl KvCommand {
    /// Returns whether the command contains a put that keeps a value.
    pub fn keeps_values(&self) -> bool {
        let mut operation = self.operation.iter();
        operation.any(|operation| operation.has_put(&|put| put.ignore_value))
    }
}

impl Put {
    /// Returns whether the put limits the length of the value that it keeps.
    pub(crate) fn is_bounded(&self) -> bool {
        self.kept_bytes_max.is_some()
    }
}

impl Kv {
    /// Returns the current size in bytes of the values that a command keeps; for a transaction, of the larger branch. Sets the
    /// maximum length of each value in the command to the next power of two, but at least 512 bytes, which permits some growth.
    pub(crate) fn limit_kept_values(&self, command: &mut KvCommand) -> u64 {
        match &mut command.operation {
            Some(KvOperation::Put(put)) => self.limit_kept_value(put),
            Some(KvOperation::Txn(txn)) => self.limit_kept_values_of_txn(txn),
            Some(KvOperation::Delete(_) | KvOperation::Compact(_) | KvOperation::Sweep(_))
            | None => 0,
        }
    }

    /// Like [`Self::limit_kept_values`], but for a transaction. Returns the size for the larger branch.
    fn limit_kept_values_of_txn(&self, txn: &mut Txn) -> u64 {
        let branches = [&mut txn.success, &mut txn.failure];
        let bytes = branches.map(|branch| {
            let kept = branch.iter_mut().map(|op| match &mut op.kind {
                Some(TxnOpKind::Put(put)) => self.limit_kept_value(put),
                Some(TxnOpKind::Txn(txn)) => self.limit_kept_values_of_txn(txn),
                Some(TxnOpKind::Range(_) | TxnOpKind::Delete(_)) | None => 0,
            });
            kept.sum::<u64>()
        });
        bytes.into_iter().max().unwrap_or_default()
    }

    /// Like [`Self::limit_kept_values`], but for a put. Returns 0 if the put does not keep a value.
    fn limit_kept_value(&self, put: &mut Put) -> u64 {
        if !put.ignore_value {
            return 0;
        }
        let bytes = self.value_bytes(&put.key);
        put.kept_bytes_max = Some(bytes.max(KEPT_BYTES_FREE).next_power_of_two());
        bytes
    }

    /// Fails if the value that a put keeps is longer than the put's maximum.
    pub(super) fn check_kept_value(&self, put: &Put) -> Result<(), KvError> {
        match put.kept_bytes_max.filter(|_| put.ignore_value) {
            Some(max) if self.value_bytes(&put.key) > max => Err(KvError::KeptValueGrew),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the length in bytes of a key's value, or 0 if the key does not exist.
    fn value_bytes(&self, key: &[u8]) -> u64 {
        let entry = self.index.get(key).filter(|entry| !entry.tombstone);
        let found = entry.and_then(|entry| self.history.get(entry.location));
        found.map_or(0, |(_, version)| version.value_len as u64)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::kv::{
        TxnOp,
        test_helpers::{apply, put},
    };

    fn keep(key: &'static str) -> Put {
        Put { key: key.into(), ignore_value: true, ..Put::default() }
    }

    fn command(operation: KvOperation) -> KvCommand {
        KvCommand { operation: Some(operation) }
    }

    fn txn(success: Vec<TxnOpKind>, failure: Vec<TxnOpKind>) -> Txn {
        let ops = |kinds: Vec<TxnOpKind>| {
            let ops = kinds.into_iter().map(|kind| TxnOp { kind: Some(kind) });
            ops.collect()
        };
        Txn {
            success: ops(success),
            failure: ops(failure),
            ..Txn::default()
        }
    }

    #[test]
    fn kept_values_count_as_if_they_were_sent() {
        let mut kv = Kv::default();
        put(&mut kv, "large", 10_000);
        put(&mut kv, "small", 10);
        let kept = |operation| {
            let mut command = command(operation);
            let keeps = command.keeps_values();
            (keeps, kv.limit_kept_values(&mut command))
        };
        assert_eq!(kept(KvOperation::Put(keep("large"))), (true, 10_000));
        assert_eq!(kept(KvOperation::Put(keep("none"))), (true, 0));
        let sent = Put { ignore_value: false, ..keep("large") };
        assert_eq!(kept(KvOperation::Put(sent)), (false, 0));
        let nested = txn(vec![TxnOpKind::Put(keep("small"))], vec![]);
        let both = vec![TxnOpKind::Put(keep("large")), TxnOpKind::Txn(nested)];
        let one = vec![TxnOpKind::Put(keep("small"))];
        assert_eq!(kept(KvOperation::Txn(txn(both, one))), (true, 10_010));
    }

    #[test]
    fn a_value_that_has_grown_since_is_not_kept() {
        let mut kv = Kv::default();
        put(&mut kv, "key", 10);
        let mut before = command(KvOperation::Put(keep("key")));
        let of_earlier_release = before.clone();
        let txn = txn(vec![TxnOpKind::Put(keep("key"))], vec![]);
        let mut within = command(KvOperation::Txn(txn));
        kv.limit_kept_values(&mut before);
        kv.limit_kept_values(&mut within);
        put(&mut kv, "key", 500);
        assert!(kv.apply(&before).is_ok());
        put(&mut kv, "key", 100_000);
        let (revision, size) = (kv.revision(), kv.size_bytes());
        for command in [&before, &within] {
            assert_eq!(kv.apply(command), Err(KvError::KeptValueGrew));
        }
        assert_eq!((kv.revision(), kv.size_bytes()), (revision, size));
        apply(&mut kv, of_earlier_release.operation.unwrap());
        kv.limit_kept_values(&mut before);
        assert!(kv.apply(&before).is_ok());
        assert_eq!(
            kv.newest(b"key").unwrap().value,
            Bytes::from(vec![b'v'; 100_000])
        );
    }
}
