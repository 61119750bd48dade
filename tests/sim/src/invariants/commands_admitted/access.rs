//! The keys that a v3 command reads and writes, and whether permissions cover them.

use bytes::Bytes;
use witan_machine::{
    auth::{Permission, PermissionType},
    kv::{DeleteRange, KvOperation, Put, Txn, TxnOp, TxnOpKind},
};

/// A range of keys that a command reads or writes.
pub(super) struct Access {
    key: Bytes,
    range_end: Bytes,
    writes: bool,
}

pub(super) fn puts(operation: &KvOperation) -> bool {
    match operation {
        KvOperation::Put(_) => true,
        KvOperation::Txn(txn) => operations(txn).any(|op| matches!(op, TxnOpKind::Put(_))),
        KvOperation::Delete(_) | KvOperation::Compact(_) | KvOperation::Sweep(_) => false,
    }
}

pub(super) fn attaches(operation: &KvOperation) -> bool {
    matches!(operation, KvOperation::Put(Put { lease, .. }) if *lease != 0)
}

/// Returns the operations of both branches. Clients in a run do not nest transactions.
fn operations(txn: &Txn) -> impl Iterator<Item = &TxnOpKind> {
    let ops = txn.success.iter().chain(&txn.failure);
    ops.filter_map(|TxnOp { kind }| kind.as_ref())
}

/// Returns the ranges that an operation reads or writes.
pub(super) fn accesses(operation: &KvOperation) -> Vec<Access> {
    let access = |key: &Bytes, range_end: &Bytes, writes| Access {
        key: key.clone(),
        range_end: range_end.clone(),
        writes,
    };
    let one = Bytes::new();
    let mut all = Vec::new();
    let put = |put: &Put, all: &mut Vec<Access>| {
        all.push(access(&put.key, &one, true));
        if put.prev_kv {
            all.push(access(&put.key, &one, false));
        }
    };
    let delete = |asked: &DeleteRange, all: &mut Vec<Access>| {
        all.push(access(&asked.key, &asked.range_end, true));
        if asked.prev_kv {
            all.push(access(&asked.key, &asked.range_end, false));
        }
    };
    match operation {
        KvOperation::Put(asked) => put(asked, &mut all),
        KvOperation::Delete(asked) => delete(asked, &mut all),
        KvOperation::Txn(txn) => {
            for compare in &txn.compare {
                all.push(access(&compare.key, &compare.range_end, false));
            }
            for op in operations(txn) {
                match op {
                    TxnOpKind::Put(asked) => put(asked, &mut all),
                    TxnOpKind::Range(range) => {
                        all.push(access(&range.key, &range.range_end, false));
                    }
                    TxnOpKind::Delete(asked) => delete(asked, &mut all),
                    TxnOpKind::Txn(_) => {}
                }
            }
        }
        KvOperation::Compact(_) | KvOperation::Sweep(_) => {}
    }
    all
}

/// Returns whether the permissions together cover the entire range.
pub(super) fn covers(permissions: &[&Permission], access: &Access) -> bool {
    // The end of a single key is its successor, and an open range ends above all keys.
    let end_of = |key: &Bytes, range_end: &Bytes| match range_end.as_ref() {
        [] => Some([key.as_ref(), b"\0"].concat()),
        [0] => None,
        end => Some(end.to_vec()),
    };
    let kind = match access.writes {
        true => PermissionType::Write,
        false => PermissionType::Read,
    };
    let counts = |permission: &&&Permission| {
        [kind as i32, PermissionType::ReadWrite as i32].contains(&permission.kind)
    };
    let wanted = end_of(&access.key, &access.range_end);
    let mut reached = access.key.to_vec();
    // A range that ends before its first key counts as that key.
    loop {
        let here = permissions.iter().filter(counts).filter(|permission| {
            let end = end_of(&permission.key, &permission.range_end);
            permission.key <= reached && end.is_none_or(|end| reached < end)
        });
        let ends: Vec<_> = here.map(|p| end_of(&p.key, &p.range_end)).collect();
        if ends.contains(&None) {
            return true;
        }
        match ends.into_iter().flatten().max() {
            Some(end) => reached = end,
            None => return false,
        }
        if wanted.as_ref().is_some_and(|wanted| reached >= *wanted) {
            return true;
        }
    }
}
