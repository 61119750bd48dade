//! Properties of the v3 key space on random histories: compactions, checkpoints and values on disk do not change the response
//! to any valid request. `tests/differ` compares the responses with etcd's.
#![expect(
    clippy::unwrap_used,
    reason = "clippy allows unwrap only in test functions, not in their helpers"
)]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use witan_machine::{
    fingerprint,
    kv::{
        Compact, Compare, CompareResult, CompareTarget, DeleteRange, KeyValue, Kv, KvCommand,
        KvError, KvOperation, Put, Range, RangePartBounds, RangeReply, ReadResults, SortOrder,
        SortTarget, TargetValue, Txn, TxnOp, TxnOpKind, ValueSource,
    },
    record::RecordChange,
    values::test_support::{drop_kv_values, load_kv_heads},
};

#[derive(Clone, Debug)]
enum Step {
    Apply(KvOperation),
    /// Compacts this many revisions below the current revision, or above it if negative.
    CompactBehind(i64),
    Range(Range),
    /// Writes a checkpoint. Continues with the state loaded from its records (0) or from block heads (1), or with the old state
    /// (2).
    Checkpoint {
        go_on_with: usize,
    },
    Freeze,
    /// Leaves the values of closed blocks only on disk.
    DropValues,
}

/// Generates mostly keys of one letter. Some keys are so long that a few fill a page of the index.
fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => (b'a'..b'g').prop_map(|c| Bytes::from(vec![c])),
        1 => Just(Bytes::from_static(b"\0")),
        1 => (0..200_u8).prop_map(|n| Bytes::from(vec![b'd', n])),
        1 => (900..4000_usize).prop_map(|n| Bytes::from(vec![b'c'; n])),
    ]
}

fn end() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => Just(Bytes::new()), 2 => key(), 1 => Just(Bytes::from_static(b"\0"))]
}

/// Generates mostly short values. Some values are so long that a few fill a block, and some need a separate block.
fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        12 => (0..4_u8).prop_map(|n| Bytes::from(vec![n])),
        1 => Just(Bytes::new()),
        2 => (5000..15_000_usize).prop_map(|n| Bytes::from(vec![1; n])),
        1 => (27_000..80_000_usize).prop_map(|n| Bytes::from(vec![2; n])),
    ]
}

/// Generates puts. Some attach lease 7, which does not exist, or keep the value or lease of a key that might not exist.
fn put() -> impl Strategy<Value = Put> {
    let lease = prop_oneof![15 => Just(0), 1 => Just(7)];
    let keeps = prop::bool::weighted(0.1);
    (
        key(),
        value(),
        lease,
        any::<bool>(),
        keeps,
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(key, value, lease, prev_kv, ignore_value, ignore_lease)| Put {
                key,
                value,
                lease,
                prev_kv,
                ignore_value,
                ignore_lease,
                kept_bytes_max: None,
            },
        )
}

/// Generates deletions without read limits.
fn delete() -> impl Strategy<Value = DeleteRange> {
    (key(), end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRange {
        key,
        range_end,
        prev_kv,
        bounded: false,
    })
}

/// Generates ranges. Some read at a negative, compacted or future revision.
fn range() -> impl Strategy<Value = Range> {
    let filters = prop_oneof![3 => Just([0; 4]), 1 => prop::array::uniform4(0..15_i64)];
    (
        (
            key(),
            end(),
            -1..6_i64,
            prop_oneof![2 => Just(0), 3 => -2..25_i64],
        ),
        (0..3, 0..5, any::<bool>(), prop::bool::weighted(0.2)),
        filters,
    )
        .prop_map(|(what, how, filters)| Range {
            key: what.0,
            range_end: what.1,
            limit: what.2,
            revision: what.3,
            sort_order: SortOrder::try_from(how.0).unwrap() as i32,
            sort_target: SortTarget::try_from(how.1).unwrap() as i32,
            keys_only: how.2,
            count_only: how.3,
            min_mod_revision: filters[0],
            max_mod_revision: filters[1],
            min_create_revision: filters[2],
            max_create_revision: filters[3],
        })
}

fn compare() -> impl Strategy<Value = Compare> {
    let wanted = prop_oneof![
        (0..4_i64).prop_map(TargetValue::Version),
        (0..12_i64).prop_map(TargetValue::Create),
        (0..12_i64).prop_map(TargetValue::Mod),
        value().prop_map(TargetValue::Value),
        (0..2_i64).prop_map(TargetValue::Lease),
    ];
    (key(), end(), 0..4, 0..5, prop::option::of(wanted)).prop_map(
        |(key, range_end, result, target, value)| Compare {
            key,
            range_end,
            result: CompareResult::try_from(result).unwrap() as i32,
            target: CompareTarget::try_from(target).unwrap() as i32,
            value,
        },
    )
}

fn txn() -> impl Strategy<Value = Txn> {
    let leaf = prop_oneof![
        4 => put().prop_map(TxnOpKind::Put),
        2 => delete().prop_map(TxnOpKind::Delete),
        3 => range().prop_map(TxnOpKind::Range),
    ];
    let kind = leaf.prop_recursive(2, 12, 4, |inner| branches(inner).prop_map(TxnOpKind::Txn));
    branches(kind)
}

fn branches(kind: impl Strategy<Value = TxnOpKind> + Clone) -> impl Strategy<Value = Txn> {
    let ops = prop::collection::vec(kind.prop_map(|kind| TxnOp { kind: Some(kind) }), 0..4);
    let compare = prop::collection::vec(compare(), 0..3);
    (compare, ops.clone(), ops, any::<bool>())
        .prop_map(|(compare, success, failure, bounded)| Txn { compare, success, failure, bounded })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => put().prop_map(|put| Step::Apply(KvOperation::Put(put))),
        3 => delete().prop_map(|delete| Step::Apply(KvOperation::Delete(delete))),
        4 => txn().prop_map(|txn| Step::Apply(KvOperation::Txn(txn))),
        2 => (-1..6_i64).prop_map(Step::CompactBehind),
        4 => range().prop_map(Step::Range),
        2 => (0..3_usize).prop_map(|go_on_with| Step::Checkpoint { go_on_with }),
        2 => Just(Step::DropValues),
        1 => Just(Step::Freeze),
    ]
}

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Applies the changes since `since` (all records for `None`) to `records`. Panics if a deleted record does not exist.
fn write(kv: &Kv, since: Option<&Kv>, records: &mut Records) {
    kv.changes(since, &mut |change| match change {
        RecordChange::Put { key, value } => drop(records.insert(key, value)),
        RecordChange::Delete { key } => assert!(records.remove(&key).is_some(), "no such record"),
    });
}

fn load(records: &Records) -> Kv {
    let mut kv = Kv::default();
    records
        .iter()
        .for_each(|(key, value)| kv.load(key, value).unwrap());
    kv.finish_load().unwrap();
    kv
}

/// Plans a range and reads its response in small parts. Checks that the plan has measured each pair correctly.
fn in_parts(kv: &Kv, range: &Range) -> Result<RangeReply, KvError> {
    let mut promised = Vec::new();
    let mut plan = kv.plan_range(range, u64::MAX, &mut |pair, value_len| {
        assert!(pair.value.is_empty());
        promised.push((pair, value_len));
    })?;
    let mut kvs = Vec::new();
    while !plan.is_done() {
        let bounds = RangePartBounds { pairs: 2, bytes: 20_000, keys: 3 };
        let in_memory = kv.planned_part(&mut plan, &bounds, ValueSource::Memory);
        kvs.extend(match in_memory {
            Err(KvError::NotResident) => kv.planned_part(&mut plan, &bounds, ValueSource::Disk)?,
            part => part?,
        });
    }
    let measured = kvs.iter().map(|pair| {
        let value_len = pair.value.len();
        (KeyValue { value: Bytes::new(), ..pair.clone() }, value_len)
    });
    assert!(measured.eq(promised), "{range:?}");
    Ok(RangeReply { kvs, ..plan.reply })
}

/// Compares the responses for all keys at every readable revision with the responses of a store that was never compacted.
fn agrees(kv: &Kv, plain: &Kv) -> Result<(), TestCaseError> {
    prop_assert_eq!(kv.revision(), plain.revision());
    let all = Range { range_end: Bytes::from_static(b"\0"), ..Range::default() };
    for revision in kv.compacted().0.max(1)..=kv.revision().0 {
        let range = Range { revision, ..all.clone() };
        prop_assert_eq!(
            kv.range(&range, ValueSource::Disk),
            plain.range(&range, ValueSource::Disk),
            "at revision {}",
            revision
        );
    }
    prop_assert_eq!(kv.len(), plain.len());
    prop_assert!(kv.live_size_bytes() <= kv.size_bytes());
    Ok(())
}

fn compact(revision: i64) -> KvCommand {
    KvCommand { operation: Some(KvOperation::Compact(Compact { revision })) }
}

/// Asserts that two states have the same contents, sizes, revisions and number of keys; their layouts may differ.
fn same(a: &Kv, b: &Kv) -> Result<(), TestCaseError> {
    prop_assert_eq!(fingerprint::of(&a), fingerprint::of(&b));
    prop_assert_eq!(a.size_bytes(), b.size_bytes());
    prop_assert_eq!(a.live_size_bytes(), b.live_size_bytes());
    prop_assert_eq!(
        (a.revision(), a.compacted(), a.len()),
        (b.revision(), b.compacted(), b.len())
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compactions_and_checkpoints_change_no_answer(steps in prop::collection::vec(step(), 1..60)) {
        let mut kv = Kv::default();
        let mut replayed = Kv::default();
        let mut plain = Kv::default();
        let mut records = Records::new();
        let mut since: Option<Kv> = None;
        let mut frozen: Vec<(Kv, Kv)> = Vec::new();
        for step in steps {
            let verb = match step {
                Step::Apply(verb) => verb,
                Step::CompactBehind(behind) => {
                    let revision = kv.revision().0 - behind;
                    let refused = behind < 0 || revision <= kv.compacted().0;
                    let command = compact(revision);
                    prop_assert_eq!(kv.apply(&command).is_err(), refused);
                    let _ = replayed.apply_with(&command, ReadResults::Discard);
                    continue;
                }
                Step::Range(range) => {
                    if range.revision > 0 && range.revision < kv.compacted().0 {
                        prop_assert!(kv.range(&range, ValueSource::Disk).is_err());
                    } else {
                        let in_memory = kv.range(&range, ValueSource::Memory);
                        let found = kv.range(&range, ValueSource::Disk);
                        prop_assert_eq!(&found, &plain.range(&range, ValueSource::Disk));
                        if in_memory != Err(KvError::NotResident) {
                            prop_assert_eq!(&in_memory, &found);
                        }
                        prop_assert_eq!(in_parts(&kv, &range), found, "{:?}", range);
                    }
                    continue;
                }
                Step::Checkpoint { go_on_with } => {
                    write(&kv, since.as_ref(), &mut records);
                    let mut whole = Records::new();
                    write(&kv, None, &mut whole);
                    prop_assert_eq!(&whole, &records, "incremental checkpoints equal a full one");
                    let loaded = [load(&records), load_kv_heads(&records).unwrap()];
                    for loaded in &loaded {
                        same(loaded, &kv)?;
                    }
                    since = Some(kv.clone());
                    if let Some(loaded) = loaded.into_iter().nth(go_on_with) {
                        kv = loaded;
                    }
                    continue;
                }
                Step::DropValues => {
                    drop_kv_values(&kv);
                    continue;
                }
                Step::Freeze => {
                    frozen.push((kv.clone(), plain.clone()));
                    continue;
                }
            };
            let command = KvCommand { operation: Some(verb) };
            let answer = kv.apply(&command);
            // The request reads a revision that only the plain store still has.
            let reads_compacted = matches!(answer, Err(KvError::Compacted { .. }));
            if !reads_compacted {
                prop_assert_eq!(answer, plain.apply(&command), "{:?}", command);
            }
            let _ = replayed.apply_with(&command, ReadResults::Discard);
        }
        agrees(&kv, &plain)?;
        same(&kv, &replayed)?;
        for (kv, plain) in &frozen {
            agrees(kv, plain)?;
        }
    }

    #[test]
    fn a_flipped_bit_is_found(
        puts in prop::collection::vec(put(), 1..20),
        record in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut kv = Kv::default();
        for put in puts {
            let put = Put { lease: 0, ignore_value: false, ignore_lease: false, ..put };
            kv.apply(&KvCommand { operation: Some(KvOperation::Put(put)) }).unwrap();
        }
        let mut records = Records::new();
        write(&kv, None, &mut records);
        let which = record.index(records.len());
        let (_, value) = records.iter_mut().nth(which).unwrap();
        let at = at.index(value.len());
        value[at] ^= 1_u8 << bit;
        let mut loaded = Kv::default();
        prop_assert!(records.iter().any(|(key, value)| loaded.load(key, value).is_err()));
    }

    #[test]
    fn a_missing_record_is_found(
        values in prop::collection::vec(value(), 1..20),
        record in any::<prop::sample::Index>(),
    ) {
        let mut kv = Kv::default();
        for value in values {
            let put = Put { key: Bytes::from_static(b"k"), value, ..Put::default() };
            kv.apply(&KvCommand { operation: Some(KvOperation::Put(put)) }).unwrap();
        }
        let mut records = Records::new();
        write(&kv, None, &mut records);
        let missing = records.keys().nth(record.index(records.len())).unwrap().clone();
        records.remove(&missing);
        let mut loaded = Kv::default();
        let mut failed = records.iter().any(|(key, value)| loaded.load(key, value).is_err());
        failed |= loaded.finish_load().is_err();
        prop_assert!(failed, "the load did not detect the missing record {:?}", missing);
    }
}

#[test]
fn an_emptied_store_has_the_size_of_an_empty_one() {
    let mut kv = Kv::default();
    let empty = kv.size_bytes();
    assert!(empty <= 32 << 10);
    let mut apply = |verb| kv.apply(&KvCommand { operation: Some(verb) }).unwrap();
    for n in 0..2000_u32 {
        let key = Bytes::from(format!("key-{:04}", n % 500));
        apply(KvOperation::Put(Put {
            key,
            value: vec![0; 300].into(),
            ..Put::default()
        }));
    }
    let all = Bytes::from_static(b"\0");
    let delete = DeleteRange {
        key: all.clone(),
        range_end: all,
        prev_kv: false,
        bounded: false,
    };
    apply(KvOperation::Delete(delete));
    apply(KvOperation::Put(Put {
        key: Bytes::from_static(b"last"),
        ..Put::default()
    }));
    kv.apply(&compact(2003)).unwrap();
    assert_eq!(kv.len(), 1);
    assert_eq!(kv.size_bytes(), empty + 4096);
    assert_eq!(kv.live_size_bytes(), empty + 4096);
    let mut records = Records::new();
    write(&kv, None, &mut records);
    assert_eq!(records.len(), 2, "the counters and the open block");
}
