//! A minimal model of the v3 key space.

use std::collections::BTreeMap;

use bytes::Bytes;
use witan_machine::kv::{
    Compare, CompareResult, CompareTarget, DeleteRange, DeleteReply, KeyValue, KvCommand, KvError,
    KvOperation, KvReply, OpReply, Put, PutReply, Range, RangeReply, SortOrder, SortTarget,
    TargetValue, Txn, TxnOp, TxnOpKind, TxnReply,
};

/// Every version of every key.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
    /// Revision of the change, and the pair after it (`None` if deleted).
    keys: BTreeMap<Bytes, Vec<(i64, Option<KeyValue>)>>,
}

impl Default for Model {
    fn default() -> Self {
        Self { revision: 1, compacted: -1, keys: BTreeMap::new() }
    }
}

impl Model {
    pub(crate) fn apply(&mut self, command: &KvCommand) -> Result<KvReply, KvError> {
        let mut after = self.clone();
        let main = self.revision + 1;
        let reply = match command.operation.as_ref().unwrap() {
            KvOperation::Put(put) => {
                lease(put).and_then(|()| self.present(put))?;
                KvReply::Op(OpReply::Put(after.put(main, put)))
            }
            KvOperation::Delete(delete) => KvReply::Op(OpReply::Delete(after.delete(main, delete))),
            KvOperation::Txn(txn) => {
                let mut chosen = Vec::new();
                self.check(txn, &mut chosen)?;
                chosen.reverse();
                KvReply::Op(OpReply::Txn(after.execute(main, txn, &mut chosen)))
            }
            KvOperation::Sweep(_) => KvReply::Compact,
            KvOperation::Compact(compact) => {
                if compact.revision <= self.compacted {
                    return Err(KvError::Compacted { compacted: self.compacted });
                }
                if compact.revision > self.revision {
                    return Err(KvError::FutureRevision { current: self.revision });
                }
                after.compacted = compact.revision;
                KvReply::Compact
            }
        };
        *self = after;
        Ok(reply)
    }

    pub(crate) fn range(&self, range: &Range) -> Result<RangeReply, KvError> {
        if range.revision > self.revision {
            return Err(KvError::FutureRevision { current: self.revision });
        }
        if range.revision > 0 && range.revision < self.compacted {
            return Err(KvError::Compacted { compacted: self.compacted });
        }
        Ok(self.read(range))
    }

    /// Returns the pairs of the range at a revision, by key.
    pub(crate) fn pairs(&self, range: &Range, revision: i64) -> Vec<KeyValue> {
        let (key, end) = (&range.key, &range.range_end);
        let inside = |k: &Bytes| match &end[..] {
            b"" => k == key,
            b"\0" => k >= key,
            _ => k >= key && k < end,
        };
        let found = self.keys.iter().filter(|(key, _)| inside(key));
        found
            .filter_map(|(_, versions)| {
                versions
                    .iter()
                    .rev()
                    .find(|(main, _)| *main <= revision)?
                    .1
                    .clone()
            })
            .collect()
    }

    fn newest(&self, key: &Bytes) -> Option<KeyValue> {
        self.keys.get(key)?.last()?.1.clone()
    }

    fn read(&self, range: &Range) -> RangeReply {
        let revision = if range.revision > 0 {
            range.revision
        } else {
            self.revision
        };
        let mut kvs = self.pairs(range, revision);
        let count = kvs.len() as i64;
        if range.count_only {
            return RangeReply { count, ..RangeReply::default() };
        }
        let limit = usize::try_from(range.limit).unwrap_or(0);
        let (order, target) = (range.sort_order(), range.sort_target());
        let filters = [
            (range.min_mod_revision, range.max_mod_revision),
            (range.min_create_revision, range.max_create_revision),
        ];
        if limit > 0 && order == SortOrder::None && filters == [(0, 0); 2] {
            kvs.truncate(limit + 1);
        }
        kvs.retain(|kv| {
            let revisions = [kv.mod_revision, kv.create_revision];
            filters
                .iter()
                .zip(revisions)
                .all(|((least, most), revision)| {
                    (*least == 0 || *least <= revision) && (*most == 0 || *most >= revision)
                })
        });
        if order != SortOrder::None || target != SortTarget::Key {
            // Sorted twice with a stable sort: by key, then by target.
            let rank = |kv: &KeyValue| match target {
                SortTarget::Key => (0, kv.key.clone()),
                SortTarget::Version => (kv.version, Bytes::new()),
                SortTarget::Create => (kv.create_revision, Bytes::new()),
                SortTarget::Mod => (kv.mod_revision, Bytes::new()),
                SortTarget::Value => (0, kv.value.clone()),
            };
            if order == SortOrder::Descend {
                kvs.sort_by_key(|kv| std::cmp::Reverse(rank(kv)));
            } else {
                kvs.sort_by_key(rank);
            }
        }
        let more = limit > 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        if range.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        RangeReply { kvs, more, count }
    }

    fn present(&self, put: &Put) -> Result<(), KvError> {
        let missing = (put.ignore_value || put.ignore_lease) && self.newest(&put.key).is_none();
        if missing {
            Err(KvError::KeyNotFound)
        } else {
            Ok(())
        }
    }

    fn put(&mut self, main: i64, put: &Put) -> PutReply {
        let before = self.newest(&put.key);
        let old = before.clone().unwrap_or_default();
        let kv = KeyValue {
            key: put.key.clone(),
            value: if put.ignore_value {
                old.value
            } else {
                put.value.clone()
            },
            create_revision: if before.is_some() {
                old.create_revision
            } else {
                main
            },
            mod_revision: main,
            version: old.version + 1,
            lease: if put.ignore_lease {
                old.lease
            } else {
                put.lease_id()
            },
        };
        self.keys
            .entry(put.key.clone())
            .or_default()
            .push((main, Some(kv)));
        self.revision = main;
        PutReply { prev_kv: before.filter(|_| put.prev_kv) }
    }

    fn delete(&mut self, main: i64, delete: &DeleteRange) -> DeleteReply {
        let (key, range_end) = (delete.key.clone(), delete.range_end.clone());
        let kvs = self.pairs(&Range { key, range_end, ..Range::default() }, i64::MAX);
        for kv in &kvs {
            self.keys.get_mut(&kv.key).unwrap().push((main, None));
            self.revision = main;
        }
        let deleted = kvs.len() as i64;
        DeleteReply {
            deleted,
            prev_kvs: if delete.prev_kv { kvs } else { Vec::new() },
        }
    }

    /// Records which branches are taken, in the order in which `execute` reaches the transactions.
    fn check(&self, txn: &Txn, chosen: &mut Vec<bool>) -> Result<(), KvError> {
        let success = txn.compare.iter().all(|compare| self.holds(compare));
        chosen.push(success);
        for op in branch(txn, success) {
            match op.kind.as_ref().unwrap() {
                TxnOpKind::Range(range) => {
                    if range.revision < 0 && range.revision < self.compacted {
                        return Err(KvError::Compacted { compacted: self.compacted });
                    }
                    self.range(range)?;
                }
                TxnOpKind::Put(put) => {
                    lease(put)?;
                    self.present(put)?;
                }
                TxnOpKind::Delete(_) => {}
                TxnOpKind::Txn(txn) => self.check(txn, chosen)?,
            }
        }
        Ok(())
    }

    fn execute(&mut self, main: i64, txn: &Txn, chosen: &mut Vec<bool>) -> TxnReply {
        let succeeded = chosen.pop().unwrap();
        let mut replies = Vec::new();
        for op in branch(txn, succeeded) {
            let reply = match op.kind.as_ref().unwrap() {
                TxnOpKind::Range(range) => OpReply::Range(self.read(range)),
                TxnOpKind::Put(put) => OpReply::Put(self.put(main, put)),
                TxnOpKind::Delete(delete) => OpReply::Delete(self.delete(main, delete)),
                TxnOpKind::Txn(txn) => {
                    let reply = self.execute(main, txn, chosen);
                    replies.push((OpReply::Txn(reply), 0));
                    continue;
                }
            };
            replies.push((reply, self.revision));
        }
        TxnReply { succeeded, replies }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let (key, range_end) = (compare.key.clone(), compare.range_end.clone());
        let kvs = self.pairs(&Range { key, range_end, ..Range::default() }, i64::MAX);
        if kvs.is_empty() {
            return compare.target() != CompareTarget::Value
                && relation(compare, &KeyValue::default());
        }
        kvs.iter().all(|kv| relation(compare, kv))
    }
}

fn lease(put: &Put) -> Result<(), KvError> {
    if put.lease == 0 {
        Ok(())
    } else {
        Err(KvError::LeaseNotFound)
    }
}

fn branch(txn: &Txn, success: bool) -> &[TxnOp] {
    if success { &txn.success } else { &txn.failure }
}

fn relation(compare: &Compare, kv: &KeyValue) -> bool {
    let number = |of: i64, wanted: Option<i64>| of.cmp(&wanted.unwrap_or(0));
    let wanted = compare.value.as_ref();
    let ordering = match (compare.target(), wanted) {
        (CompareTarget::Version, Some(TargetValue::Version(v))) => number(kv.version, Some(*v)),
        (CompareTarget::Version, _) => number(kv.version, None),
        (CompareTarget::Create, Some(TargetValue::Create(r))) => {
            number(kv.create_revision, Some(*r))
        }
        (CompareTarget::Create, _) => number(kv.create_revision, None),
        (CompareTarget::Mod, Some(TargetValue::Mod(r))) => number(kv.mod_revision, Some(*r)),
        (CompareTarget::Mod, _) => number(kv.mod_revision, None),
        (CompareTarget::Lease, Some(TargetValue::Lease(l))) => number(kv.lease.0, Some(*l)),
        (CompareTarget::Lease, _) => number(kv.lease.0, None),
        (CompareTarget::Value, Some(TargetValue::Value(value))) => kv.value.cmp(value),
        (CompareTarget::Value, _) => kv.value.cmp(&Bytes::new()),
    };
    match compare.result() {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
        CompareResult::NotEqual => ordering.is_ne(),
    }
}
