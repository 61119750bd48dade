//! Txn executes one of two lists of operations at one revision, depending on comparisons.
//!
//! As in etcd, all comparisons, including the comparisons of nested transactions, are first evaluated on the state before the
//! transaction. Then the operations in the chosen branches are checked and finally executed, so a failed transaction changes
//! nothing. A transaction that reads too much can fail during its execution. The state before the transaction is then restored.

use std::cmp::Ordering;

use super::{
    Compare, CompareResult, CompareTarget, DeleteRange, KeyRange, KeyValue, Kv, KvError, OpReply,
    RangeReply, ReadBudget, ReadResults, TargetValue, Txn, TxnOp, TxnOpKind, TxnReply, ValueSource,
    ValueUse, WriteBatch, range::reachable_keys,
};
use crate::{lease::LeaseId, revision::Revision};

/// The branches that a transaction and its nested transactions take. A path fits only the transaction for which it was chosen.
/// With another transaction, functions may panic.
struct TxnPath {
    /// Whether all comparisons hold, so that the transaction takes its success branch.
    succeeded: bool,
    /// The paths of the nested transactions in the branch that is taken, in order.
    nested: Vec<TxnPath>,
}

impl TxnPath {
    /// Returns the operations of the branch that the transaction takes.
    fn branch<'a>(&self, txn: &'a Txn) -> &'a [TxnOp] {
        if self.succeeded {
            &txn.success
        } else {
            &txn.failure
        }
    }
}

impl Kv {
    /// Executes a transaction: evaluates its comparisons, and checks and executes the chosen branches. A failure changes
    /// nothing.
    pub(super) fn txn(&mut self, batch: &mut WriteBatch, txn: &Txn) -> Result<TxnReply, KvError> {
        let path = self.choose(txn, &mut batch.reads)?;
        self.check_txn(txn, &path)?;
        let undo = batch.reads.is_bounded() && reads_after_a_write(txn, &path, &mut false);
        let before = undo.then(|| self.clone());
        let done = self.execute(batch, txn, &path);
        if let (Err(_), Some(before)) = (&done, before) {
            *self = before;
        }
        done
    }

    /// Executes a read-only transaction on a copy of this state. The transaction may compare and sort as many bytes as it may
    /// return. Fails with [`KvError::ResponseTooLarge`] if the pairs of its ranges take more than `bytes` bytes of memory. Also
    /// fails with this error if the transaction exceeds the budget of a read-only transaction.
    pub fn read_txn(
        &self,
        txn: &Txn,
        bytes: u64,
        source: ValueSource,
    ) -> Result<TxnReply, KvError> {
        let budget = ReadBudget::of_read_txn(self.pacing, self.len() as u64, self.live_bytes);
        let budget = budget.from(source).collecting(bytes);
        self.charge_compared_values(txn, &mut budget.clone())?;
        let mut copy = self.clone();
        let mut batch = copy.begin_write(budget);
        copy.txn(&mut batch, txn)
    }

    /// Returns whether both branches of a transaction together may read more than `keys` keys, according to a cheap estimate.
    pub fn txn_reads_more_than(&self, txn: &Txn, keys: u64) -> bool {
        let mut reads = ReadBudget::of_estimate(self.pacing, keys);
        self.charge_txn_reads(txn, &mut reads).is_err()
    }

    /// Returns whether both branches together compare and sort more keys or bytes than one command may. Costs as much as
    /// reading the keys.
    pub fn txn_compares_too_much(&self, txn: &Txn) -> bool {
        let mut reads = ReadBudget::of_command(self.pacing, true, ReadResults::Discard);
        self.charge_compared_values(txn, &mut reads).is_err()
    }

    /// Charges the bytes of values that a transaction compares or sorts in the ranges of both branches, and the keys of these
    /// values.
    fn charge_compared_values(&self, txn: &Txn, reads: &mut ReadBudget) -> Result<(), KvError> {
        let compares_values = |compare: &&Compare| compare.compares_values();
        for compare in txn.comparisons().filter(compares_values) {
            let wanted = match &compare.value {
                Some(TargetValue::Value(value)) => value.len(),
                Some(_) | None => 0,
            };
            let span = KeyRange::new(&compare.key, &compare.range_end);
            self.walk(&span, None, reads, |(_, version), reads| {
                reads.compare_bytes(version.value_len.min(wanted))?;
                Ok(true)
            })?;
        }
        txn.ranges()
            .try_for_each(|range| self.charge_sorted_values(range, reads))
    }

    /// Returns whether a transaction compares or sorts the values of several keys, or may take longer than reading `keys` keys
    /// at the newest revision.
    pub fn txn_reads_longer_than(&self, txn: &Txn, keys: u64) -> bool {
        let history = txn.reads_history(self.revision);
        txn.compares_values() || self.txn_reads_more_than(txn, reachable_keys(keys, history))
    }

    /// Returns whether a deletion may read more than `keys` keys to return the deleted pairs. Returns `false` for a deletion
    /// that returns no pairs.
    pub fn delete_reads_more_than(&self, delete: &DeleteRange, keys: u64) -> bool {
        let mut reads = ReadBudget::of_estimate(self.pacing, keys);
        self.charge_prev_kvs(delete, &mut reads).is_err()
    }

    /// Charges the reads of a transaction's comparisons and branches, and of nested transactions. Fails if the budget is
    /// exhausted.
    fn charge_txn_reads(&self, txn: &Txn, reads: &mut ReadBudget) -> Result<(), KvError> {
        for compare in txn.comparisons() {
            let span = KeyRange::new(&compare.key, &compare.range_end);
            self.charge_walk(&span, Some(usize::MAX), reads)?;
        }
        for operation in txn.operations() {
            match operation {
                TxnOpKind::Range(range) => self.charge_read(range, reads)?,
                TxnOpKind::Delete(delete) => self.charge_prev_kvs(delete, reads)?,
                TxnOpKind::Txn(_) | TxnOpKind::Put(_) => {}
            }
        }
        Ok(())
    }

    /// Charges the reads of a deletion. A deletion that returns no pairs is not charged.
    fn charge_prev_kvs(&self, delete: &DeleteRange, reads: &mut ReadBudget) -> Result<(), KvError> {
        if !delete.prev_kv {
            return Ok(());
        }
        let span = KeyRange::new(&delete.key, &delete.range_end);
        self.charge_walk(&span, Some(usize::MAX), reads)
    }

    /// Evaluates the comparisons of a transaction and of nested transactions in the chosen branch. Returns the branches to
    /// execute. Fails if the budget is exhausted.
    fn choose(&self, txn: &Txn, reads: &mut ReadBudget) -> Result<TxnPath, KvError> {
        let mut succeeded = true;
        for compare in &txn.compare {
            succeeded = self.holds(compare, reads)?;
            if !succeeded {
                break;
            }
        }
        let mut path = TxnPath { succeeded, nested: Vec::new() };
        for op in path.branch(txn) {
            if let Some(TxnOpKind::Txn(txn)) = &op.kind {
                path.nested.push(self.choose(txn, reads)?);
            }
        }
        Ok(path)
    }

    /// Checks the revisions of ranges and the keys and leases of puts in the branches of `path`, without changing anything.
    fn check_txn(&self, txn: &Txn, path: &TxnPath) -> Result<(), KvError> {
        let mut nested = path.nested.iter();
        for op in path.branch(txn) {
            match &op.kind {
                Some(TxnOpKind::Range(range)) => self.check_range_in_txn(range)?,
                Some(TxnOpKind::Put(put)) => self.check_put(put)?,
                Some(TxnOpKind::Txn(txn)) => {
                    let path = nested.next().expect("one path for each nested transaction");
                    self.check_txn(txn, path)?;
                }
                Some(TxnOpKind::Delete(_)) | None => {}
            }
        }
        Ok(())
    }

    /// Executes the operations in the branches of `path` and returns their replies. Ignores an operation without a kind. Does
    /// not read a range if the result is discarded and no limit applies.
    fn execute(
        &mut self,
        batch: &mut WriteBatch,
        txn: &Txn,
        path: &TxnPath,
    ) -> Result<TxnReply, KvError> {
        let mut nested = path.nested.iter();
        let mut replies = Vec::new();
        for op in path.branch(txn) {
            replies.push(match &op.kind {
                Some(TxnOpKind::Range(range)) => {
                    let current = self.revision_within(batch);
                    let reply = if batch.reads.discards_results() {
                        RangeReply::default()
                    } else {
                        self.read(range, current, &mut batch.reads)?
                    };
                    (OpReply::Range(reply), current)
                }
                Some(TxnOpKind::Put(put)) => {
                    let reply = self.put(batch, put)?;
                    (OpReply::Put(reply), batch.main)
                }
                Some(TxnOpKind::Delete(delete)) => {
                    let reply = self.delete(batch, delete)?;
                    (OpReply::Delete(reply), self.revision_within(batch))
                }
                Some(TxnOpKind::Txn(txn)) => {
                    let path = nested.next().expect("one path for each nested transaction");
                    // etcd omits the revision from the header of a nested transaction.
                    (
                        OpReply::Txn(self.execute(batch, txn, path)?),
                        Revision::NONE,
                    )
                }
                None => continue,
            });
        }
        Ok(TxnReply { succeeded: path.succeeded, replies })
    }

    /// Returns whether a comparison holds for all live keys in its range. In a range without keys, a comparison of `value` does
    /// not hold, and all other targets compare as 0.
    fn holds(&self, compare: &Compare, reads: &mut ReadBudget) -> Result<bool, KvError> {
        let span = KeyRange::new(&compare.key, &compare.range_end);
        let mut found = false;
        let mut holds = true;
        let by_value = compare.target == CompareTarget::Value as i32;
        let value_use = match by_value {
            true => ValueUse::Compare,
            false => ValueUse::Nothing,
        };
        self.walk(&span, None, reads, |version, reads| {
            found = true;
            holds = holds_for(compare, &reads.pair(&version, value_use)?);
            Ok(holds)
        })?;
        if found {
            return Ok(holds);
        }
        Ok(!by_value && holds_for(compare, &KeyValue::default()))
    }
}

/// Returns whether an operation that may exceed the read limits follows a write. Sets `written` after the first write.
fn reads_after_a_write(txn: &Txn, path: &TxnPath, written: &mut bool) -> bool {
    let mut nested = path.nested.iter();
    path.branch(txn).iter().any(|op| {
        let (reads, writes) = match &op.kind {
            Some(TxnOpKind::Range(_)) => (true, false),
            Some(TxnOpKind::Put(put)) => (put.prev_kv, true),
            Some(TxnOpKind::Delete(delete)) => {
                (delete.prev_kv || !delete.range_end.is_empty(), true)
            }
            Some(TxnOpKind::Txn(txn)) => {
                let path = nested.next().expect("one path for each nested transaction");
                (reads_after_a_write(txn, path, written), false)
            }
            None => (false, false),
        };
        let nested_reads = matches!(&op.kind, Some(TxnOpKind::Txn(_)));
        let found = reads && (nested_reads || *written);
        *written |= writes;
        found
    })
}

/// Returns whether a comparison holds for a pair. As in etcd, an unknown target compares as equal, and an unknown relation
/// holds.
fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let wanted = compare.value.as_ref();
    let ordering = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Version) => match wanted {
            Some(TargetValue::Version(version)) => kv.version.cmp(version),
            _ => kv.version.cmp(&0),
        },
        Ok(CompareTarget::Create) => match wanted {
            Some(TargetValue::Create(revision)) => kv.create_revision.0.cmp(revision),
            _ => kv.create_revision.cmp(&Revision::NONE),
        },
        Ok(CompareTarget::Mod) => match wanted {
            Some(TargetValue::Mod(revision)) => kv.mod_revision.0.cmp(revision),
            _ => kv.mod_revision.cmp(&Revision::NONE),
        },
        Ok(CompareTarget::Value) => match wanted {
            Some(TargetValue::Value(value)) => kv.value.cmp(value),
            _ => kv.value[..].cmp(&[]),
        },
        Ok(CompareTarget::Lease) => match wanted {
            Some(TargetValue::Lease(lease)) => kv.lease.cmp(&LeaseId(*lease)),
            _ => kv.lease.cmp(&LeaseId::NONE),
        },
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering.is_eq(),
        Ok(CompareResult::Greater) => ordering.is_gt(),
        Ok(CompareResult::Less) => ordering.is_lt(),
        Ok(CompareResult::NotEqual) => ordering.is_ne(),
        Err(_) => true,
    }
}
