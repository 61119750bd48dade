//! Checks that the operations that can run together in a transaction neither put a key twice, nor put and delete a key. Refuses
//! exactly the transactions that etcd refuses, even where the result depends on the order of operations. Takes O(n log n) time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use witan_api::v3::etcdserverpb::{RequestOp, TxnRequest, request_op::Request};

use super::RpcResult;
use crate::error::RpcError;

/// The writes of one branch, including nested transactions.
#[derive(Default)]
pub(super) struct BranchWrites {
    puts: BTreeSet<Bytes>,
    deletes: DeletedRanges,
}

impl BranchWrites {
    /// Collects the writes of a branch. Fails with `DuplicateKey` if a key is put twice, or put and deleted. Both branches of a
    /// nested transaction can put the same key, because only one of them runs.
    pub(super) fn of(ops: &[RequestOp]) -> RpcResult<Self> {
        let mut writes = Self::default();
        for op in ops {
            if let Some(Request::RequestDeleteRange(request)) = &op.request {
                writes.deletes.add(&request.key, &request.range_end);
            }
        }
        for op in ops {
            if let Some(Request::RequestTxn(request)) = &op.request {
                writes.nest(request)?;
            }
        }
        // As in etcd, the branch's own puts come last, so they conflict with all nested deletions.
        for op in ops {
            if let Some(Request::RequestPut(request)) = &op.request {
                let key = &request.key;
                if writes.deletes.covers(key) || !writes.puts.insert(key.clone()) {
                    return Err(RpcError::DuplicateKey);
                }
            }
        }
        Ok(writes)
    }

    /// Adds the writes of a nested transaction. Fails with `DuplicateKey` if the nested transaction has a conflict itself, or
    /// puts a key that `self` already puts or deletes. As in etcd, its deletions conflict only with puts that are added later.
    fn nest(&mut self, request: &TxnRequest) -> RpcResult<()> {
        let success = Self::of(&request.success)?;
        let failure = Self::of(&request.failure)?;
        for inner in [&success.puts, &failure.puts] {
            if !self.puts.is_disjoint(inner) || self.deletes.covers_any(inner) {
                return Err(RpcError::DuplicateKey);
            }
        }
        for inner in [success, failure] {
            merge(&mut self.puts, inner.puts);
            self.deletes.merge(inner.deletes);
        }
        Ok(())
    }
}

/// Adds one set to another by inserting the keys of the smaller set into the larger set.
fn merge(into: &mut BTreeSet<Bytes>, mut other: BTreeSet<Bytes>) {
    if into.len() < other.len() {
        std::mem::swap(into, &mut other);
    }
    into.extend(other);
}

/// Disjoint spans of deleted keys, as a map from the first key of each span to its exclusive end.
#[derive(Default)]
struct DeletedRanges(BTreeMap<Bytes, Bytes>);

impl DeletedRanges {
    /// Adds the range of a deletion, unless the range is empty. As in etcd, a range end of one zero byte is an ordinary end
    /// here. No key precedes it, so such a deletion never conflicts with a put.
    fn add(&mut self, key: &Bytes, range_end: &Bytes) {
        let end = if range_end.is_empty() {
            [key, &b"\0"[..]].concat().into()
        } else {
            range_end.clone()
        };
        if *key < end {
            self.insert(key.clone(), end);
        }
    }

    /// Inserts a span and merges it with all spans that it touches.
    fn insert(&mut self, mut first: Bytes, mut end: Bytes) {
        while let Some((low, high)) = self.last_from(&end) {
            if high < first {
                break;
            }
            self.0.remove(&low);
            first = first.min(low);
            end = end.max(high);
        }
        self.0.insert(first, end);
    }

    /// Returns the last span that starts at or before a key, or `None`.
    fn last_from(&self, key: &Bytes) -> Option<(Bytes, Bytes)> {
        let span = self.0.range(..=key.clone()).next_back();
        span.map(|(first, end)| (first.clone(), end.clone()))
    }

    /// Returns whether a deleted range contains `key`.
    fn covers(&self, key: &Bytes) -> bool {
        let span = self.0.range::<Bytes, _>(..=key).next_back();
        span.is_some_and(|(_, end)| key < end)
    }

    /// Returns whether a span covers any of the keys. Iterates over the smaller set only.
    fn covers_any(&self, keys: &BTreeSet<Bytes>) -> bool {
        if keys.len() < self.0.len() {
            return keys.iter().any(|key| self.covers(key));
        }
        let mut spans = self.0.iter();
        spans.any(|(first, end)| keys.range::<Bytes, _>(first..end).next().is_some())
    }

    /// Adds the spans of another set. Iterates over the smaller set only.
    fn merge(&mut self, mut other: Self) {
        if self.0.len() < other.0.len() {
            std::mem::swap(self, &mut other);
        }
        for (first, end) in other.0 {
            self.insert(first, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(deleted: &DeletedRanges) -> Vec<(&[u8], &[u8])> {
        deleted.0.iter().map(|(a, b)| (&a[..], &b[..])).collect()
    }

    #[test]
    fn touching_spans_are_merged() {
        let mut deleted = DeletedRanges::default();
        let mut add = |first: &'static str, end: &'static str| {
            deleted.add(&first.into(), &end.into());
        };
        add("m", "p");
        add("c", "e");
        add("x", "x");
        add("x", "\0");
        add("a", "");
        add("d", "f");
        add("b", "n");
        assert_eq!(
            spans(&deleted),
            [(&b"a"[..], &b"a\0"[..]), (&b"b"[..], &b"p"[..])]
        );
        for (key, taken) in [
            ("a", true),
            ("aa", false),
            ("b", true),
            ("o", true),
            ("p", false),
        ] {
            assert_eq!(deleted.covers(&key.into()), taken, "{key}");
            let keys = BTreeSet::from([Bytes::from(key)]);
            assert_eq!(deleted.covers_any(&keys), taken, "{key} in a small set");
            let more: BTreeSet<Bytes> = ["q", "r", "s", key].map(Bytes::from).into();
            assert_eq!(deleted.covers_any(&more), taken, "{key} in a large set");
        }
        let mut other = DeletedRanges::default();
        other.add(&"o".into(), &"z".into());
        deleted.merge(other);
        assert_eq!(spans(&deleted).last(), Some(&(&b"b"[..], &b"z"[..])));
    }
}
