//! The work of a request apart from returned pairs: skipped deleted keys, counted keys, and permission checks of a lease's
//! keys. A refusal shows that work was charged. `auth/range_set.rs` tests how often a lease is examined.
#![expect(
    clippy::unwrap_used,
    reason = "clippy allows unwrap only in test functions, not in their helpers"
)]

use witan_machine::{
    auth::{AccessCheck, Auth, Caller, Permission, PermissionType, Role, User},
    kv::{
        self, Compact, Compare, DeleteRange, Kv, KvError, KvOperation, Put, Range, SortTarget, Txn,
        TxnOp, TxnOpKind, ValueSource,
    },
    lease::{self, LeaseId},
    record::RecordChange,
};

/// Maximum number of keys that a worker reads itself, without another thread.
const INLINE_KEYS: u64 = 1024;

const LEASE: LeaseId = LeaseId(7);

fn apply(kv: &mut Kv, verb: KvOperation) {
    kv.apply(&kv::KvCommand { operation: Some(verb) }).unwrap();
}

fn op(kind: TxnOpKind) -> TxnOp {
    TxnOp { kind: Some(kind) }
}

/// Returns keys in an order that leaves the pages of the index half full.
fn keys(many: usize) -> impl Iterator<Item = String> {
    (0..many).map(move |at| format!("k{:06}", at * 7919 % many))
}

fn put(key: String, lease: LeaseId) -> Put {
    Put {
        key: key.into(),
        value: "v".into(),
        lease: lease.0,
        ..Put::default()
    }
}

/// Puts the first `many` [`keys`] with this lease, in transactions of 1000 puts without read limits.
fn fill(kv: &mut Kv, many: usize, lease: LeaseId) {
    let puts: Vec<TxnOp> = keys(many)
        .map(|key| op(TxnOpKind::Put(put(key, lease))))
        .collect();
    for success in puts.chunks(1000).map(<[TxnOp]>::to_vec) {
        let txn = Txn { success, ..Txn::default() };
        apply(kv, KvOperation::Txn(txn));
    }
}

/// Returns a deletion. The read limits apply only if the deletion returns the previous pairs.
fn delete(key: &str, range_end: &str, prev_kv: bool) -> DeleteRange {
    DeleteRange {
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
        prev_kv,
        bounded: prev_kv,
    }
}

/// Returns a store with `many` keys, starting with `k000000`, all deleted.
fn deleted(many: usize) -> Kv {
    let mut kv = Kv::default();
    fill(&mut kv, many, LeaseId::NONE);
    apply(&mut kv, KvOperation::Delete(delete("k", "l", false)));
    kv
}

fn all() -> Range {
    Range { key: "k".into(), range_end: "l".into(), ..Range::default() }
}

fn counted() -> Range {
    Range { count_only: true, ..all() }
}

fn txn(success: Vec<TxnOp>) -> kv::KvCommand {
    let verb = KvOperation::Txn(Txn { success, bounded: true, ..Txn::default() });
    kv::KvCommand { operation: Some(verb) }
}

/// Returns a transaction that compares the version of all keys from `k` to `l` with 0 several times and executes nothing.
fn compares(times: usize) -> kv::KvCommand {
    let compare = Compare {
        key: "k".into(),
        range_end: "l".into(),
        result: kv::CompareResult::Equal as i32,
        target: kv::CompareTarget::Version as i32,
        value: Some(kv::TargetValue::Version(0)),
    };
    let verb = KvOperation::Txn(Txn {
        compare: vec![compare; times],
        bounded: true,
        ..Txn::default()
    });
    kv::KvCommand { operation: Some(verb) }
}

#[test]
fn deleted_keys_are_charged_when_they_are_skipped() {
    let kv = deleted(50_000);
    let refused = |command: &kv::KvCommand| {
        let outcome = kv.clone().apply(command);
        assert!(
            matches!(outcome, Ok(_) | Err(KvError::ResponseTooLarge)),
            "{outcome:?}"
        );
        outcome.is_err()
    };
    let limited = Range { limit: 1, ..all() };
    for (what, kind, few, many) in [
        ("count", TxnOpKind::Range(counted()), 1000, 12_000),
        ("range", TxnOpKind::Range(all()), 20, 100),
        ("limited range", TxnOpKind::Range(limited), 20, 100),
        (
            "delete",
            TxnOpKind::Delete(delete("k", "l", false)),
            20,
            100,
        ),
        (
            "delete and return",
            TxnOpKind::Delete(delete("k", "l", true)),
            20,
            100,
        ),
    ] {
        let ops = |times| txn(vec![op(kind.clone()); times]);
        assert!(!refused(&ops(few)), "{few} times {what}");
        assert!(refused(&ops(many)), "{many} times {what}");
    }
    assert!(!refused(&compares(20)) && refused(&compares(100)));
    // Entries of a release without limits keep their effects.
    let mut old = kv.clone();
    let mut ops = vec![op(TxnOpKind::Range(counted())); 12_000];
    ops.push(op(TxnOpKind::Put(put("new".into(), LeaseId::NONE))));
    let unbounded = Txn { success: ops, ..Txn::default() };
    apply(&mut old, KvOperation::Txn(unbounded));
    assert_eq!(old.len(), 1);
}

#[test]
fn a_worker_does_not_walk_over_many_deleted_keys_itself() {
    let kv = deleted(50_000);
    let at_revision = Range { revision: kv.revision().0 - 1, limit: 1, ..all() };
    let limited = Range { limit: 1, ..all() };
    for range in [all(), limited, at_revision] {
        assert!(kv.reads_more_than(&range, INLINE_KEYS), "{range:?}");
    }
    assert!(!kv.reads_more_than(&counted(), INLINE_KEYS));
    let beyond = |command: &kv::KvCommand| match &command.operation {
        Some(KvOperation::Txn(txn)) => kv.txn_reads_more_than(txn, INLINE_KEYS),
        Some(KvOperation::Delete(delete)) => kv.delete_reads_more_than(delete, INLINE_KEYS),
        Some(KvOperation::Put(_) | KvOperation::Compact(_) | KvOperation::Sweep(_)) | None => false,
    };
    let ranges = |range: Range, times| txn(vec![op(TxnOpKind::Range(range)); times]);
    assert!(beyond(&ranges(all(), 1)) && beyond(&compares(1)));
    assert!(beyond(&ranges(counted(), 127)) && !beyond(&ranges(counted(), 4)));
    let taken = |prev_kv| kv::KvCommand {
        operation: Some(KvOperation::Delete(delete("k", "l", prev_kv))),
    };
    assert!(beyond(&taken(true)) && !beyond(&taken(false)));
    // The worker reads an ordinary page of a list itself.
    let mut kv = Kv::default();
    fill(&mut kv, 50_000, LeaseId::NONE);
    let page = Range { limit: 500, ..all() };
    assert!(!kv.reads_more_than(&page, INLINE_KEYS) && kv.reads_more_than(&all(), INLINE_KEYS));
    // Reading a few values can take as long as reading many keys, and a key can have many versions.
    let longer = |range: Range| kv.reads_longer_than(&range, 16 * INLINE_KEYS);
    let two = Range { range_end: "k000002".into(), ..all() };
    let by_value = Range { sort_target: SortTarget::Value as i32, ..two.clone() };
    let before =
        |to: &'static str| Range { range_end: to.into(), revision: kv.revision().0 - 1, ..all() };
    assert!(longer(by_value.clone()) && longer(all()) && longer(before("k002000")));
    assert!(!longer(two) && !longer(page) && !longer(before("k001000")));
    let longer = |of: &kv::KvCommand| match &of.operation {
        Some(KvOperation::Txn(txn)) => kv.txn_reads_longer_than(txn, 16 * INLINE_KEYS),
        _ => false,
    };
    assert!(longer(&ranges(by_value, 1)) && longer(&ranges(before("k002000"), 1)));
    assert!(!longer(&ranges(before("k001000"), 1)));
    let Some(KvOperation::Txn(nested)) = ranges(before("k002000"), 1).operation else {
        unreachable!("the command is a transaction")
    };
    assert!(longer(&txn(vec![op(TxnOpKind::Txn(nested))])));
}

/// A member that started from a checkpoint has different pages from a member that did not.
#[test]
fn refusals_do_not_depend_on_the_pages_of_the_index() {
    let mut kv = deleted(9000);
    fill(&mut kv, 3001, LeaseId::NONE);
    apply(
        &mut kv,
        KvOperation::Delete(delete("k001000", "k001500", false)),
    );
    let revision = kv.revision().0;
    apply(&mut kv, KvOperation::Compact(Compact { revision }));
    apply(
        &mut kv,
        KvOperation::Delete(delete("k002000", "k002950", false)),
    );
    let mut restored = Kv::default();
    kv.changes(None, &mut |change| match change {
        RecordChange::Put { key, value } => restored.load(&key, &value).unwrap(),
        RecordChange::Delete { .. } => unreachable!("a full checkpoint has no deletions"),
    });
    restored.finish_load().unwrap();
    let limited = Range { key: "k001990".into(), limit: 20, ..all() };
    let mut ops = [all(), counted(), limited]
        .map(|range| op(TxnOpKind::Range(range)))
        .to_vec();
    ops.push(op(TxnOpKind::Delete(delete("k002000", "k002980", true))));
    let fits = |kv: &Kv, times| {
        let command = txn(vec![ops.clone(); times].concat());
        kv.clone().apply(&command).is_ok()
    };
    let (mut low, mut high) = (64, 256);
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        if fits(&kv, middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    assert!(fits(&kv, low) && fits(&restored, low), "{low} times");
    assert!(!fits(&kv, high) && !fits(&restored, high), "{high} times");
}

#[test]
fn a_read_only_transaction_does_not_return_the_store_many_times() {
    let mut kv = Kv::default();
    fill(&mut kv, 20_000, LeaseId::NONE);
    let names = Range { keys_only: true, ..all() };
    let read = |times| {
        let success = vec![op(TxnOpKind::Range(names.clone())); times];
        kv.read_txn(
            &Txn { success, ..Txn::default() },
            u64::MAX,
            ValueSource::Disk,
        )
    };
    assert!(read(10).is_ok());
    assert_eq!(read(127), Err(KvError::ResponseTooLarge));
}

/// Returns enabled authentication and a user who can read and write `a`, the keys from `k` to `l` and the keys from `x` to `z`.
fn caller() -> (Auth, Caller) {
    let range = |key: &str, end: &str| Permission {
        kind: PermissionType::ReadWrite as i32,
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
    };
    let role = Role {
        name: "r".into(),
        permissions: vec![range("a", ""), range("k", "l"), range("x", "z")],
    };
    let user = User { name: "u".into(), roles: vec!["r".into()], ..User::default() };
    let caller = Caller { user: "u".into(), revision: 1 };
    (Auth::restored(true, 1, [user], [role]), caller)
}

#[test]
fn permission_for_a_lease_is_permission_for_each_of_its_keys() {
    let (auth, caller) = caller();
    let mut kv = Kv::default();
    let grant = lease::LeaseGrant { id: LEASE.0, ttl_s: 60 };
    let granted = kv
        .apply_lease(&lease::LeaseCommand { operation: Some(lease::LeaseOperation::Grant(grant)) });
    granted.unwrap();
    let write = kv::KvCommand { operation: Some(KvOperation::Put(put("k".into(), LEASE))) };
    let ask = |kv: &Kv| {
        let check = AccessCheck::new(&auth, Some(&caller), kv.leases());
        let asked = [
            check.end_lease(LEASE),
            check.list_lease(LEASE),
            check.list_leases(),
            check.command(&write),
        ];
        assert!(asked.windows(2).all(|two| two[0] == two[1]), "{asked:?}");
        let mut keys = kv.leases().keys(LEASE);
        let each = keys.all(|key| check.write(key, b"").is_ok());
        assert_eq!(asked[0].is_ok(), each);
        each
    };
    assert!(ask(&kv));
    fill(&mut kv, 3000, LEASE);
    for key in ["a", "x", "yy"] {
        apply(&mut kv, KvOperation::Put(put(key.into(), LEASE)));
    }
    assert!(ask(&kv));
    for key in ["m", "A", "a0", "z"] {
        let mut kv = kv.clone();
        apply(&mut kv, KvOperation::Put(put(key.into(), LEASE)));
        assert!(!ask(&kv), "{key}");
    }
}
