//! Laws of the v2 tree, checked on random histories. `tests/differ` compares the answers with etcd's.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows unwrap only in test functions, not in their helpers"
)]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use witan_machine::fingerprint;
use witan_replica::watch::WatchHub;
use witan_tree::{
    CompareAndDelete, CompareAndSwap, Create, Delete, ExpireNodes, Set, Tree, TreeCommand,
    TreeError, TreeErrorKind, TreeOperation, TreeReply, Update, Watch, limits::TREE_DEPTH_MAX,
};

#[derive(Clone, Debug)]
enum Step {
    Do(TreeOperation, i64),
    Bump,
}

fn component() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c!", "_h"])
}

fn path() -> impl Strategy<Value = Bytes> {
    let names = prop::collection::vec(component(), 1..4);
    prop_oneof![
        30 => names.prop_map(|names| Bytes::from(format!("/{}", names.join("/")))),
        1 => Just(Bytes::from_static(b"/")),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "1", "2"]).prop_map(|text| Bytes::from_static(text.as_bytes()))
}

fn deadline() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![2 => Just(None), 1 => (1_i64..60).prop_map(|seconds| Some(seconds * 1_000_000_000))]
}

fn conditions() -> impl Strategy<Value = (Option<Bytes>, Option<u64>)> {
    let value = prop::option::of(prop::sample::select(vec!["1", "2"]));
    let value = value.prop_map(|value| value.map(|text| Bytes::from_static(text.as_bytes())));
    (value, prop::option::weighted(0.2, 1_u64..30))
}

/// Generates operations of all kinds, mostly writes. Options such as a refresh are rare.
fn verb() -> impl Strategy<Value = TreeOperation> {
    let rare = || prop::bool::weighted(0.15);
    prop_oneof![
        6 => (path(), value(), rare(), deadline(), rare()).prop_map(
            |(path, value, dir, expires_ns, refresh)| {
                TreeOperation::Set(Set { path, value, dir, expires_ns, refresh })
            }
        ),
        3 => (path(), value(), rare(), deadline(), rare()).prop_map(
            |(path, value, dir, expires_ns, in_order)| {
                TreeOperation::Create(Create { path, value, dir, expires_ns, in_order })
            }
        ),
        3 => (path(), value(), deadline(), rare()).prop_map(
            |(path, value, expires_ns, refresh)| {
                TreeOperation::Update(Update { path, value, expires_ns, refresh })
            }
        ),
        3 => (path(), value(), deadline(), rare(), conditions()).prop_map(
            |(path, value, expires_ns, refresh, (prev_value, prev_index))| {
                TreeOperation::CompareAndSwap(CompareAndSwap { path, value, expires_ns, refresh, prev_value, prev_index })
            }
        ),
        1 => (path(), conditions()).prop_map(|(path, (prev_value, prev_index))| {
            TreeOperation::CompareAndDelete(CompareAndDelete { path, prev_value, prev_index })
        }),
        2 => (path(), any::<bool>(), any::<bool>()).prop_map(|(path, dir, recursive)| {
            TreeOperation::Delete(Delete { path, dir, recursive })
        }),
        1 => Just(TreeOperation::Expire(ExpireNodes {})),
    ]
}

/// Generates operations in chronological order. Sometimes the index advances without an operation, as for the cluster's own
/// data.
fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (verb(), 0_i64..2_500_000_000, prop::bool::weighted(0.1));
    prop::collection::vec(step, 1..count).prop_map(|steps| {
        let mut now_ns = 0;
        let mut out = Vec::new();
        for (verb, elapsed_ns, bump) in steps {
            now_ns += elapsed_ns;
            out.push(Step::Do(verb, now_ns));
            if bump {
                out.extend(vec![Step::Bump; (elapsed_ns % 300) as usize]);
            }
        }
        out
    })
}

/// Executes a step. Returns the result of an operation, or `None` for [`Step::Bump`].
fn step(tree: &mut Tree, step: &Step) -> Option<Result<TreeReply, TreeError>> {
    match step {
        Step::Do(verb, now_ns) => {
            Some(tree.apply(&TreeCommand { operation: Some(verb.clone()) }, *now_ns))
        }
        Step::Bump => {
            tree.advance_index();
            None
        }
    }
}

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Updates `records` with the changes of `tree` since `since`, or with all records for `None`.
fn checkpoint(records: &mut Records, tree: &Tree, since: Option<&Tree>) {
    tree.changes(since, &mut |key, value| {
        match value {
            Some(value) => records.insert(key, value),
            None => Some(
                records
                    .remove(&key)
                    .expect("only existing records are deleted"),
            ),
        };
    });
}

/// Loads a tree from the records of a checkpoint.
fn restored(records: &Records) -> Tree {
    let mut tree = Tree::default();
    records
        .iter()
        .for_each(|(key, value)| tree.load(key, value).unwrap());
    tree.finish_load().unwrap();
    tree
}

/// Returns two watches for each of some paths, one of them recursive.
fn watches(registered: u64) -> Vec<Watch> {
    let paths = ["/", "/a", "/a/b", "/a/b/c!", "/_h", "/a/_h", "/b", "/c!/a"];
    let both = paths.iter().flat_map(|path| [(path, false), (path, true)]);
    both.map(|(path, recursive)| Watch {
        path: Bytes::from_static(path.as_bytes()),
        recursive,
        registered,
    })
    .collect()
}

/// Asserts that readers see the same content in both trees.
fn assert_same(one: &Tree, other: &Tree) {
    assert_eq!(one.index(), other.index());
    assert_eq!(one.get(b"/", true, 0), other.get(b"/", true, 0));
    assert_eq!(one.get(b"/_h", true, 0), other.get(b"/_h", true, 0));
    assert_eq!(one.next_expiration_ns(), other.next_expiration_ns());
    assert_eq!(one.counts(), other.counts());
    assert_eq!(one.size_bytes(), other.size_bytes());
    assert_eq!(fingerprint::of(one), fingerprint::of(other));
    let oldest = one.index().saturating_sub(1000);
    for watch in watches(u64::MAX) {
        for from in [oldest, oldest + 1, one.index() / 2, one.index()] {
            assert_eq!(one.next_event(&watch, from), other.next_event(&watch, from));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    /// Incremental checkpoints have exactly the records of a single full checkpoint, and restore a tree that behaves like the
    /// original.
    #[test]
    fn checkpoints_restore_the_same_tree(history in steps(120), check_interval_ticks in 1_usize..40) {
        let mut tree = Tree::default();
        let mut records = Records::new();
        let mut last: Option<Tree> = None;
        for (i, entry) in history.iter().enumerate() {
            step(&mut tree, entry);
            if i % check_interval_ticks == 0 {
                checkpoint(&mut records, &tree, last.as_ref());
                last = Some(tree.clone());
                let mut whole = Records::new();
                checkpoint(&mut whole, &tree, None);
                prop_assert!(records == whole, "the incremental checkpoints differ from a full one");
            }
        }
        checkpoint(&mut records, &tree, last.as_ref());
        let mut back = restored(&records);
        assert_same(&tree, &back);
        let mut nothing = 0;
        tree.changes(Some(&tree.clone()), &mut |_, _| nothing += 1);
        prop_assert_eq!(nothing, 0);
        for entry in &history {
            prop_assert_eq!(step(&mut tree, entry), step(&mut back, entry));
        }
        assert_same(&tree, &back);
    }

    #[test]
    fn no_watcher_misses_an_event(history in steps(60)) {
        let mut tree = Tree::default();
        let mut hub = WatchHub::default();
        let watches: Vec<_> =
            watches(0).into_iter().map(|watch| (hub.register(&watch).unwrap(), watch)).collect();
        for entry in &history {
            let before = tree.index();
            step(&mut tree, entry);
            let woken: Vec<_> = tree.events_since(before).unwrap().flat_map(|e| hub.affected_by(e)).collect();
            for (id, watch) in &watches {
                for registered in [before, u64::MAX] {
                    let watch = Watch { registered, ..watch.clone() };
                    if before > 0 && tree.next_event(&watch, before + 1).unwrap().is_some() {
                        prop_assert!(woken.contains(id), "{watch:?} was not woken by {entry:?}");
                    }
                }
            }
        }
    }

    /// Every change of a single bit in a checkpoint is detected.
    #[test]
    fn damage_is_found(history in steps(30), which in any::<prop::sample::Index>(), bit in 0..8) {
        let mut tree = Tree::default();
        history.iter().for_each(|entry| { step(&mut tree, entry); });
        let mut records = Records::new();
        checkpoint(&mut records, &tree, None);
        let bytes: usize = records.values().map(Vec::len).sum();
        let mut at = which.index(bytes);
        for value in records.values_mut() {
            if at < value.len() {
                value[at] ^= 1_u8 << bit;
                break;
            }
            at -= value.len();
        }
        let mut back = Tree::default();
        let loaded = records.iter().try_for_each(|(key, value)| back.load(key, value));
        prop_assert!(loaded.is_err());
    }
}

#[test]
fn a_missing_parent_is_named() {
    let mut tree = Tree::default();
    let set = Set { path: Bytes::from_static(b"/a/b"), ..Set::default() };
    step(&mut tree, &Step::Do(TreeOperation::Set(set), 0));
    let mut records = Records::new();
    checkpoint(&mut records, &tree, None);
    records.retain(|key, _| key.as_slice() != b"n/a");
    let mut back = Tree::default();
    let error = records
        .iter()
        .try_for_each(|(key, value)| back.load(key, value))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "v2 tree: node /a/b has no parent directory"
    );
    records.retain(|key, _| key.as_slice() != b"m" && !key.starts_with(b"n"));
    let mut back = Tree::default();
    records
        .iter()
        .for_each(|(key, value)| back.load(key, value).unwrap());
    assert!(back.finish_load().is_err());
}

#[test]
fn the_deepest_path_overflows_no_stack() {
    let deep = |depth: usize| {
        let path = Bytes::from("/a".repeat(depth));
        Step::Do(TreeOperation::Set(Set { path, ..Set::default() }), 0)
    };
    let mut tree = Tree::default();
    let refused = step(&mut tree, &deep(TREE_DEPTH_MAX + 1))
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.kind, TreeErrorKind::NotDir);
    assert_eq!(refused.cause.text(), "a key has at most 256 components");
    step(&mut tree, &deep(TREE_DEPTH_MAX)).unwrap().unwrap();
    let mut records = Records::new();
    checkpoint(&mut records, &tree, None);
    let back = restored(&records);
    assert_same(&tree, &back);
    let path = Bytes::from_static(b"/a");
    let delete = TreeOperation::Delete(Delete { path, dir: true, recursive: true });
    step(&mut tree, &Step::Do(delete, 0)).unwrap().unwrap();
    checkpoint(&mut records, &tree, Some(&back));
    assert_same(&tree, &restored(&records));
}
