//! Estimates the size of the pairs that a command returns, before the command is proposed.

use bytes::Bytes;
use witan_machine::kv::{
    DeleteRange, Kv, Put, Range, SortOrder, SortTarget, Txn, TxnOp, TxnOpKind,
};

/// Counts the operations that return pairs in each branch of a transaction, and returns the larger number.
pub(super) fn txn_reads(txn: &Txn) -> u64 {
    larger_branch(txn, |branch| sum_reads(branch, 0, &|_| 1))
}

/// Estimates the size in bytes of the pairs that a transaction returns if the larger branch is executed. Each range can also
/// return the pairs that its branch writes. A put or deletion cannot return these pairs, because no branch puts a key twice, or
/// both puts and deletes a key.
pub(super) fn txn_bytes(state: &Kv, txn: &Txn) -> u64 {
    let stored_bytes = |range: &Range| range_bytes(state, range);
    larger_branch(txn, |branch| {
        sum_reads(branch, written_bytes(branch), &stored_bytes)
    })
}

/// Returns the size in bytes of the pairs in the range of a deletion.
pub(super) fn deletion_bytes(state: &Kv, delete: &DeleteRange) -> u64 {
    range_bytes(state, &span(&delete.key, &delete.range_end))
}

/// Returns the size in bytes of the current pair of a put's key, or 0 if the key does not exist.
pub(super) fn put_bytes(state: &Kv, put: &Put) -> u64 {
    range_bytes(state, &span(&put.key, &Bytes::new()))
}

/// Returns the result of `of` for the branch with the larger result.
fn larger_branch(txn: &Txn, of: impl Fn(&[TxnOp]) -> u64) -> u64 {
    of(&txn.success).max(of(&txn.failure))
}

/// Sums the results of `of` over the operations of a branch that return pairs. Adds `written` for each range. Includes only the
/// larger branch of each nested transaction.
fn sum_reads(branch: &[TxnOp], written: u64, of: &dyn Fn(&Range) -> u64) -> u64 {
    let reads = branch.iter().map(|op| match &op.kind {
        Some(TxnOpKind::Range(range)) => of(range) + written,
        Some(TxnOpKind::Put(put)) if put.prev_kv => of(&span(&put.key, &Bytes::new())),
        Some(TxnOpKind::Delete(delete)) if delete.prev_kv => {
            of(&span(&delete.key, &delete.range_end))
        }
        Some(TxnOpKind::Txn(nested)) => {
            larger_branch(nested, |branch| sum_reads(branch, written, of))
        }
        Some(TxnOpKind::Put(_) | TxnOpKind::Delete(_)) | None => 0,
    });
    reads.sum()
}

/// Returns the size in bytes of the pairs that a branch puts. Includes only the larger branch of each nested transaction.
fn written_bytes(branch: &[TxnOp]) -> u64 {
    let written = branch.iter().map(|op| match &op.kind {
        Some(TxnOpKind::Put(put)) => (put.key.len() + put.value.len()) as u64,
        Some(TxnOpKind::Txn(nested)) => larger_branch(nested, written_bytes),
        Some(TxnOpKind::Range(_) | TxnOpKind::Delete(_)) | None => 0,
    });
    written.sum()
}

/// Returns the size in bytes of the pairs that a range collects: 0 for `count_only` or a compacted revision. Omits the values
/// for `keys_only`.
fn range_bytes(state: &Kv, range: &Range) -> u64 {
    if range.count_only {
        return 0;
    }
    let range = Range {
        // A range with a sort order collects all pairs before it applies its limit.
        limit: match range.sort_order() {
            SortOrder::None => range.limit,
            SortOrder::Ascend | SortOrder::Descend => 0,
        },
        sort_order: SortOrder::None as i32,
        sort_target: SortTarget::Key as i32,
        // A revision that is in the future now can exist when the command is applied.
        revision: range.revision.min(state.revision().0),
        ..range.clone()
    };
    let mut bytes = 0;
    // If the plan fails, the range of the command will also fail.
    let _ = state.plan_range(&range, 0, &mut |pair, value_len| {
        bytes += (pair.key.len() + value_len) as u64;
    });
    bytes
}

/// Returns a range over `[key, range_end)`.
fn span(key: &Bytes, range_end: &Bytes) -> Range {
    Range {
        key: key.clone(),
        range_end: range_end.clone(),
        ..Range::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_context::put;

    fn txn(success: Vec<TxnOpKind>, failure: Vec<TxnOpKind>) -> Txn {
        let [success, failure] = [success, failure].map(|branch| {
            let ops = branch.into_iter().map(|kind| TxnOp { kind: Some(kind) });
            ops.collect()
        });
        Txn { success, failure, ..Txn::default() }
    }

    #[test]
    fn the_larger_branch_of_a_transaction_is_estimated() {
        let mut state = Kv::default();
        for key in [b"k1", b"k2", b"k3"] {
            put(&mut state, &key[..], vec![0_u8; 98]);
        }
        let one = span(&"k1".into(), &Bytes::new());
        let all = span(&"k".into(), &"l".into());
        let range = |range: &Range| TxnOpKind::Range(range.clone());
        let put = |prev_kv, value_len| {
            let value = vec![0_u8; value_len].into();
            TxnOpKind::Put(Put { key: "k1".into(), value, prev_kv, ..Put::default() })
        };
        let delete = |prev_kv| {
            let (key, range_end) = ("k".into(), "l".into());
            TxnOpKind::Delete(DeleteRange { key, range_end, prev_kv, ..DeleteRange::default() })
        };
        let sorted = Range {
            sort_order: SortOrder::Descend as i32,
            limit: 1,
            ..all.clone()
        };
        let nested = TxnOpKind::Txn(txn(vec![range(&all)], vec![range(&one)]));
        for (success, failure, expect) in [
            (vec![range(&one), range(&one)], vec![range(&one)], (2, 200)),
            (vec![range(&one)], vec![range(&all)], (1, 300)),
            (vec![range(&one), nested], vec![], (2, 400)),
            (vec![delete(true)], vec![], (1, 300)),
            (vec![delete(false), put(false, 8)], vec![], (0, 0)),
            (vec![put(true, 8), range(&one)], vec![], (2, 210)),
            (vec![put(true, 98)], vec![range(&one)], (1, 100)),
            (vec![range(&sorted)], vec![], (1, 300)),
            (
                vec![range(&Range { limit: 1, ..all.clone() })],
                vec![],
                (1, 100),
            ),
            (
                vec![range(&Range { revision: 9, ..all.clone() })],
                vec![],
                (1, 300),
            ),
            (
                vec![range(&Range { keys_only: true, ..all.clone() })],
                vec![],
                (1, 6),
            ),
            (
                vec![range(&Range { count_only: true, ..all.clone() })],
                vec![],
                (1, 0),
            ),
        ] {
            let txn = txn(success, failure);
            assert_eq!(
                (txn_reads(&txn), txn_bytes(&state, &txn)),
                expect,
                "{txn:?}"
            );
        }
    }
}
