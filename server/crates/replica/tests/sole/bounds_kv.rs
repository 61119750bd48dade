//! The read limits of one command. A rejected command changes nothing. Entries of older releases are replayed without their
//! answers.
#![expect(
    clippy::unwrap_used,
    reason = "clippy allows unwrap only in test functions, not in their helpers"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use witan_machine::{
    Reply,
    command::Command,
    kv::{self, Kv, KvError, KvOperation, OpReply, ReadResults, Txn, TxnOp, TxnOpKind},
    levels::FIRST,
    member::Member,
    pacing::Pacing,
    revision::Revision,
};
use witan_replica::{
    host::Recovered,
    replica::{Replica, genesis},
};

use super::{ID, Recorder, config, propose};

const KEYS: u64 = 1000;

const TXN_READ_KEYS_MAX: u64 = Pacing::of(FIRST).txn_read_keys_max;
const TXN_READ_BYTES_MAX: u64 = Pacing::of(FIRST).txn_read_bytes_max;

fn put(key: &str, value: usize) -> kv::Put {
    kv::Put {
        key: key.to_owned().into(),
        value: vec![b'v'; value].into(),
        ..kv::Put::default()
    }
}

fn add(kv: &mut Kv, key: &str, value: usize) {
    let operation = Some(KvOperation::Put(put(key, value)));
    kv.apply(&kv::KvCommand { operation }).unwrap();
}

/// Returns a key space with keys `k000` to `k999`, and a key with a value of 1 MiB.
fn filled() -> Kv {
    let mut kv = Kv::default();
    for at in 0..KEYS {
        add(&mut kv, &format!("k{at:03}"), 1);
    }
    add(&mut kv, "large", 1 << 20);
    kv
}

fn op(kind: TxnOpKind) -> TxnOp {
    TxnOp { kind: Some(kind) }
}

fn range(key: &str, end: &str) -> kv::Range {
    kv::Range {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        ..kv::Range::default()
    }
}

fn read(key: &str, end: &str) -> TxnOpKind {
    TxnOpKind::Range(range(key, end))
}

/// Creates a put followed by `times` copies of an operation, in nested transactions of up to a hundred operations. `bounded`
/// applies the limits.
fn many(kind: &TxnOpKind, times: u64, bounded: bool) -> kv::KvCommand {
    let mut success = vec![op(TxnOpKind::Put(put("new", 1)))];
    let mut left = times;
    while left > 0 {
        let some = left.min(100);
        success.push(op(TxnOpKind::Txn(Txn {
            success: (0..some).map(|_| op(kind.clone())).collect(),
            ..Txn::default()
        })));
        left -= some;
    }
    let txn = Txn { success, bounded, ..Txn::default() };
    kv::KvCommand { operation: Some(KvOperation::Txn(txn)) }
}

fn records(kv: &Kv) -> Vec<String> {
    let mut records = Vec::new();
    kv.changes(None, &mut |change| records.push(format!("{change:?}")));
    records
}

fn pairs(reply: &kv::KvReply) -> usize {
    match reply {
        kv::KvReply::Op(reply) => pairs_of(reply),
        kv::KvReply::Compact => 0,
    }
}

/// Returns the number of key-value pairs in a reply, including previous pairs and the pairs of nested replies.
fn pairs_of(reply: &OpReply) -> usize {
    match reply {
        OpReply::Put(put) => usize::from(put.prev_kv.is_some()),
        OpReply::Delete(delete) => delete.prev_kvs.len(),
        OpReply::Range(range) => range.kvs.len(),
        OpReply::Txn(txn) => txn.replies.iter().map(|(reply, _)| pairs_of(reply)).sum(),
    }
}

#[test]
fn a_transaction_that_reads_too_much_changes_nothing() {
    let before = filled();
    let sorted = TxnOpKind::Range(first_by_value(kv::SortOrder::Descend));
    let too_often = TXN_READ_KEYS_MAX / KEYS + 1;
    for (kind, times) in [
        (read("k", "l"), too_often),
        (sorted, too_often),
        (read("large", ""), (TXN_READ_BYTES_MAX >> 20) + 1),
    ] {
        for answers in [ReadResults::Return, ReadResults::Discard] {
            let mut kv = before.clone();
            let refused = kv.apply_with(&many(&kind, times, true), answers);
            assert_eq!(refused, Err(KvError::ResponseTooLarge));
            assert_eq!(kv.revision(), before.revision());
            assert_eq!(records(&kv), records(&before));
            let few = kv.apply_with(&many(&kind, 9, true), answers).unwrap();
            assert_eq!(kv.revision(), before.revision().next());
            assert_eq!(pairs(&few) > 0, answers == ReadResults::Return);
        }
    }
}

#[test]
fn a_deletion_of_one_key_after_a_write_is_never_refused() {
    let mut kv = Kv::default();
    // With this many keys, the ranges read exactly as much as a transaction may.
    let keys = TXN_READ_KEYS_MAX / 128 - 1;
    for at in 0..keys {
        add(&mut kv, &format!("k{at:04}"), 1);
    }
    let ranges = |times: usize| {
        op(TxnOpKind::Txn(Txn {
            success: vec![op(read("k", "l")); times],
            ..Txn::default()
        }))
    };
    let delete =
        TxnOpKind::Delete(kv::DeleteRange { key: "k0000".into(), ..kv::DeleteRange::default() });
    let txn = |times: usize| kv::KvCommand {
        operation: Some(KvOperation::Txn(Txn {
            success: vec![
                ranges(64),
                ranges(times - 64),
                op(TxnOpKind::Put(put("new", 1))),
                op(delete.clone()),
            ],
            bounded: true,
            ..Txn::default()
        })),
    };
    let before = (kv.revision(), records(&kv));
    assert_eq!(kv.apply(&txn(129)), Err(KvError::ResponseTooLarge));
    assert_eq!((kv.revision(), records(&kv)), before);
    assert!(kv.apply(&txn(128)).is_ok());
    assert_eq!((kv.revision(), kv.len() as u64), (before.0.next(), keys));
}

#[test]
fn comparing_counts_as_reading() {
    let mut kv = filled();
    let compare = kv::Compare {
        key: "k".into(),
        range_end: "l".into(),
        result: kv::CompareResult::Greater as i32,
        target: kv::CompareTarget::Mod as i32,
        value: Some(kv::TargetValue::Mod(0)),
    };
    let txn = |times| kv::KvCommand {
        operation: Some(KvOperation::Txn(Txn {
            compare: vec![compare.clone(); times],
            success: vec![op(TxnOpKind::Put(put("new", 1)))],
            bounded: true,
            ..Txn::default()
        })),
    };
    let too_often = (TXN_READ_KEYS_MAX / KEYS + 1) as usize;
    assert_eq!(kv.apply(&txn(too_often)), Err(KvError::ResponseTooLarge));
    assert!(kv.apply(&txn(10)).is_ok());
}

#[test]
fn values_to_compare_are_counted_before_they_are_compared() {
    const VALUE_BYTES: usize = 100_000;
    let mut kv = Kv::default();
    for at in 0..30 {
        add(&mut kv, &format!("k{at:02}"), VALUE_BYTES);
    }
    let txn = |times: usize, wanted: usize, range_end: &'static str| Txn {
        compare: vec![
            kv::Compare {
                key: "k".into(),
                range_end: range_end.into(),
                result: kv::CompareResult::Equal as i32,
                target: kv::CompareTarget::Value as i32,
                value: Some(kv::TargetValue::Value(vec![b'v'; wanted].into())),
            };
            times
        ],
        ..Txn::default()
    };
    let most = TXN_READ_BYTES_MAX as usize / (30 * VALUE_BYTES);
    let within = |txn: Txn| Txn { success: vec![op(TxnOpKind::Txn(txn))], ..Txn::default() };
    for (wanted, range_end, too_much) in [
        (VALUE_BYTES, "l", true),
        (VALUE_BYTES / 2, "l", false),
        (2 * VALUE_BYTES, "l", true),
        (VALUE_BYTES, "", false),
    ] {
        let many = txn(most + 1, wanted, range_end);
        assert_eq!(many.compares_values(), !range_end.is_empty());
        assert_eq!(kv.txn_compares_too_much(&many), too_much, "{wanted}");
        assert_eq!(kv.txn_compares_too_much(&within(many)), too_much);
        assert!(!kv.txn_compares_too_much(&txn(most, wanted, range_end)));
    }
}

/// Creates a range that returns one key and reads all keys that start with `k`.
fn first_by_value(sort_order: kv::SortOrder) -> kv::Range {
    kv::Range {
        limit: 1,
        sort_order: sort_order as i32,
        sort_target: kv::SortTarget::Value as i32,
        ..range("k", "l")
    }
}

#[test]
fn values_to_sort_are_counted_before_they_are_sorted() {
    const KEYS: usize = 30;
    const VALUE_BYTES: usize = 100_000;
    let mut kv = Kv::default();
    for at in 0..KEYS {
        add(&mut kv, &format!("k{at:02}"), VALUE_BYTES);
    }
    let txn = |times: usize, range: &kv::Range| Txn {
        success: vec![op(TxnOpKind::Range(range.clone())); times],
        ..Txn::default()
    };
    let most = TXN_READ_BYTES_MAX as usize / (KEYS * VALUE_BYTES);
    let sorted = first_by_value(kv::SortOrder::Descend);
    let old = kv::Range { revision: kv.revision().0 - 1, ..sorted.clone() };
    let one = kv::Range { range_end: Bytes::new(), ..sorted.clone() };
    let counted = kv::Range { count_only: true, ..sorted.clone() };
    let created = kv::Range { max_create_revision: 2, ..sorted.clone() };
    // As in etcd, only the pairs within the limit are sorted.
    let two = first_by_value(kv::SortOrder::None);
    for (range, too_much) in [
        (sorted, true),
        (old, true),
        (one, false),
        (counted, false),
        (created, false),
        (two, false),
    ] {
        // The older state has one key fewer.
        let many = txn(most + 10, &range);
        let nested = Txn {
            failure: vec![op(TxnOpKind::Txn(many.clone()))],
            ..Txn::default()
        };
        assert_eq!(kv.txn_compares_too_much(&many), too_much, "{range:?}");
        assert_eq!(kv.txn_compares_too_much(&nested), too_much, "{range:?}");
        let refused =
            kv.read_txn(&many, u64::MAX, kv::ValueSource::Disk) == Err(KvError::ResponseTooLarge);
        assert_eq!(refused, too_much, "{range:?}");
        let fewer = txn(most, &range);
        assert!(
            !kv.txn_compares_too_much(&fewer)
                && kv.read_txn(&fewer, u64::MAX, kv::ValueSource::Disk).is_ok()
        );
    }
}

/// The returned pairs have a different length than the pairs that are only read.
#[test]
fn discarded_pairs_are_charged_like_returned_pairs() {
    const LONG: usize = 1 << 20;
    let mut filled = Kv::default();
    for (key, value) in [("k1", 1), ("k2", LONG), ("k3", 1), ("k4", LONG - 1)] {
        add(&mut filled, key, value);
    }
    // Each range reads four pairs of 96 bytes and returns one pair.
    let times = TXN_READ_BYTES_MAX / (LONG as u64 + 2 + 4 * 96);
    let outcome = |sort_order, times, answers| {
        let range = TxnOpKind::Range(first_by_value(sort_order));
        let mut kv = filled.clone();
        let done = kv.apply_with(&many(&range, times, true), answers);
        (done.map(|_| ()), kv.revision())
    };
    for answers in [ReadResults::Return, ReadResults::Discard] {
        for (sort_order, times, refused) in [
            (kv::SortOrder::Descend, times, false),
            (kv::SortOrder::Descend, times + 1, true),
            (kv::SortOrder::Ascend, times + 1, false),
        ] {
            let (done, revision) = outcome(sort_order, times, answers);
            assert_eq!(done.is_err(), refused, "{sort_order:?} {answers:?}");
            assert_eq!(
                revision,
                Revision(filled.revision().0 + i64::from(!refused))
            );
        }
    }
}

#[test]
fn a_deletion_may_remove_any_number_of_keys_but_return_limited_bytes() {
    let mut kv = Kv::default();
    for at in 0..=(TXN_READ_BYTES_MAX >> 20) {
        add(&mut kv, &format!("k{at:03}"), 1 << 20);
    }
    let delete = |prev_kv| kv::KvCommand {
        operation: Some(KvOperation::Delete(kv::DeleteRange {
            key: "k".into(),
            range_end: "l".into(),
            prev_kv,
            bounded: prev_kv,
        })),
    };
    let keys = kv.len();
    assert_eq!(kv.apply(&delete(true)), Err(KvError::ResponseTooLarge));
    assert_eq!(kv.len(), keys);
    assert!(kv.apply(&delete(false)).is_ok());
    assert!(kv.is_empty());
}

/// The entry reads two million pairs and comes from a release without limits.
#[test]
fn an_entry_without_limits_is_replayed_with_its_effects_and_without_its_answers() {
    let mut view = genesis(1, vec![Member { id: ID, ..Member::default() }]);
    view.machine.kv = filled();
    let mut host = Recorder {
        disk: Recovered { checkpoint: Some(view), ..Recovered::default() },
        ..Recorder::default()
    };
    let mut replica = Replica::new(config(1), host.disk.clone()).unwrap();
    replica.turn(&mut host).expect("no halt");
    host.crashes = true;
    for (ticket, bounded) in [(1, false), (2, true)] {
        let command = Command::Kv(many(&read("k", "l"), 2000, bounded));
        propose(&mut replica, ticket, command);
    }
    let crashed = catch_unwind(AssertUnwindSafe(|| replica.turn(&mut host)));
    assert!(crashed.is_err() && !host.disk.records.is_empty());
    (host.crashes, host.applied) = (false, Vec::new());
    let mut again = Replica::new(config(2), host.disk.clone()).unwrap();
    again.turn(&mut host).expect("no halt");
    let replies: Vec<&Reply> = host.applied.iter().map(|a| &a.outcome.reply).collect();
    let Some(Reply::Kv(Ok(reply))) = replies.iter().find(|r| matches!(r, Reply::Kv(Ok(_)))) else {
        panic!("the old entry was not executed")
    };
    assert_eq!(pairs(reply), 0, "no request waits for the pairs");
    let refused = Reply::Kv(Err(KvError::ResponseTooLarge));
    assert!(replies.contains(&&refused), "the new entry is refused");
    let new = again.view().machine.kv.range(
        &kv::Range { key: Bytes::from_static(b"new"), ..kv::Range::default() },
        kv::ValueSource::Disk,
    );
    assert_eq!(
        new.unwrap().kvs.len(),
        1,
        "the old entry's put has its effect"
    );
}
