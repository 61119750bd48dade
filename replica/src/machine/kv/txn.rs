//! Txn: compare, then do one of two lists of operations under one revision.
//!
//! Three steps, as in etcd: all comparisons (of nested transactions too) are evaluated on the
//! state before, then the operations of the chosen branches are checked, then executed. So a
//! transaction that fails has changed nothing.

use std::cmp::Ordering;

use super::{
    Batch, Compare, CompareResult, CompareTarget, Error, KeyValue, Kv, Op, OpKind, Reply, Span,
    TargetValue, Txn,
};

/// Which branch a transaction takes, and those nested in that branch.
struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

impl Path {
    fn branch<'a>(&self, txn: &'a Txn) -> &'a [Op] {
        if self.succeeded {
            &txn.success
        } else {
            &txn.failure
        }
    }
}

impl Kv {
    pub(super) fn txn(&mut self, batch: &mut Batch, txn: &Txn) -> Result<Reply, Error> {
        let path = self.choose(txn);
        self.check_txn(txn, &path)?;
        Ok(self.execute(batch, txn, &path))
    }

    fn choose(&self, txn: &Txn) -> Path {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let mut path = Path {
            succeeded,
            nested: Vec::new(),
        };
        for op in path.branch(txn) {
            if let Some(OpKind::Txn(txn)) = &op.kind {
                path.nested.push(self.choose(txn));
            }
        }
        path
    }

    fn check_txn(&self, txn: &Txn, path: &Path) -> Result<(), Error> {
        let mut nested = path.nested.iter();
        for op in path.branch(txn) {
            match &op.kind {
                Some(OpKind::Range(range)) => self.check_range_in_txn(range)?,
                Some(OpKind::Put(put)) => self.check_put_in_txn(put)?,
                Some(OpKind::Txn(txn)) => {
                    let path = nested.next().expect("one path for each nested transaction");
                    self.check_txn(txn, path)?;
                }
                Some(OpKind::Delete(_)) | None => {}
            }
        }
        Ok(())
    }

    /// An operation without a kind is refused by the API; here it does and answers nothing.
    fn execute(&mut self, batch: &mut Batch, txn: &Txn, path: &Path) -> Reply {
        let mut nested = path.nested.iter();
        let mut replies = Vec::new();
        for op in path.branch(txn) {
            replies.push(match &op.kind {
                Some(OpKind::Range(range)) => {
                    let current = self.current(batch);
                    (Reply::Range(self.read(range, current)), current)
                }
                Some(OpKind::Put(put)) => {
                    let reply = self.put(batch, put);
                    (reply, batch.main)
                }
                Some(OpKind::Delete(delete)) => {
                    let reply = self.delete(batch, delete);
                    (reply, self.current(batch))
                }
                Some(OpKind::Txn(txn)) => {
                    let path = nested.next().expect("one path for each nested transaction");
                    // etcd leaves the revision out of a nested transaction's own header.
                    (self.execute(batch, txn, path), 0)
                }
                None => continue,
            });
        }
        Reply::Txn {
            succeeded: path.succeeded,
            replies,
        }
    }

    /// Without a key in the span, everything but a value is compared as 0, and a value fails.
    fn holds(&self, compare: &Compare) -> bool {
        let span = Span::new(&compare.key, &compare.range_end);
        let mut found = false;
        let mut holds = true;
        self.index.visit(&span, &mut |_, entry| {
            if !entry.tombstone
                && let Some(kv) = self.history.key_value(entry.place)
            {
                found = true;
                holds = holds_for(compare, &kv);
            }
            holds
        });
        if found {
            return holds;
        }
        compare.target != CompareTarget::Value as i32 && holds_for(compare, &KeyValue::default())
    }
}

/// A target or relation of a later version counts as etcd counts it: equal, and true.
fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let wanted = compare.value.as_ref();
    let ordering = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Version) => match wanted {
            Some(TargetValue::Version(version)) => kv.version.cmp(version),
            _ => kv.version.cmp(&0),
        },
        Ok(CompareTarget::Create) => match wanted {
            Some(TargetValue::Create(revision)) => kv.create_revision.cmp(revision),
            _ => kv.create_revision.cmp(&0),
        },
        Ok(CompareTarget::Mod) => match wanted {
            Some(TargetValue::Mod(revision)) => kv.mod_revision.cmp(revision),
            _ => kv.mod_revision.cmp(&0),
        },
        Ok(CompareTarget::Value) => match wanted {
            Some(TargetValue::Value(value)) => kv.value.cmp(value),
            _ => kv.value[..].cmp(&[]),
        },
        Ok(CompareTarget::Lease) => match wanted {
            Some(TargetValue::Lease(lease)) => kv.lease.cmp(lease),
            _ => kv.lease.cmp(&0),
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
