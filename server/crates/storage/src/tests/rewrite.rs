//! Tests that a base keeps runs of blocks with few outdated bytes. Most tests read the state back.

use witan_machine::{
    command::{Command as Verb, Entry},
    kv::{self, Compact, DeleteRange, Put, Sweep},
    record::is_block,
};

use super::{
    workload::{apply, chances, first, receive_and_install, records},
    *,
};
use crate::run::{RunItem, RunReader};

/// Size of a run in bytes, so small that a small state has many runs.
pub(super) const RUN_BYTES: u64 = 32 << 10;

/// Returns a put of a value of `size` bytes to the key `key-NAME`.
pub(super) fn put(name: u64, size: u64) -> Verb {
    let put = Put {
        key: format!("key-{name:05}").into(),
        value: vec![b'v'; size as usize].into(),
        ..Put::default()
    };
    kv::KvOperation::Put(put).into()
}

pub(super) fn run(view: &mut View, command: impl Into<Verb>) {
    let command = Some(command.into());
    apply(view, &Entry { stamp: None, command, caller: None });
}

/// Returns the run numbers of the newest chain.
pub(super) fn numbers(dir: &TempDir) -> BTreeSet<u64> {
    manifest(dir).chain.numbers().collect()
}

/// Opens a copy of the directory and compares its state with `expected`.
pub(super) fn compare(dir: &TempDir, expected: &View) {
    let scratch = TempDir::new();
    copy(&dir.0, &scratch.0);
    let (storage, recovered) = reopen(&scratch);
    assert!(!storage.checkpoint.fell_back, "the chain is readable");
    let found = recovered.checkpoint.expect("a checkpoint exists");
    assert!(records(&found) == records(expected), "another state");
}

#[test]
fn a_rewrite_keeps_unchanged_runs() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.checkpoint.run_bytes = RUN_BYTES;
    let mut view = first();
    for name in 0..400 {
        run(&mut view, put(name, 2000));
    }
    storage.checkpoint.write(None, &view).unwrap();
    let all = numbers(&dir);
    assert!(all.len() > 10, "{} runs", all.len());
    // The counters are in the first run; the open block and the position are in the last one.
    for round in 0..3 {
        let since = view.clone();
        run(&mut view, put(1000 + round, 2000));
        storage.checkpoint.rewrite(Some(&since), &view).unwrap();
        let now = numbers(&dir);
        let kept = now.intersection(&all).count();
        assert!(kept + 3 >= all.len(), "{kept} of {} runs kept", all.len());
        assert!(now.len() <= all.len() + 2, "{} runs", now.len());
    }
    // A compaction changes blocks in the middle, so their runs are not kept.
    for name in 100..180 {
        run(&mut view, put(name, 10));
    }
    let since = view.clone();
    compact(&mut view);
    storage.checkpoint.rewrite(Some(&since), &view).unwrap();
    assert!(numbers(&dir).intersection(&all).count() + 3 < all.len());
    // A base does not keep any run if the state of the checkpoint on disk is not given.
    let before = numbers(&dir);
    storage.checkpoint.write(None, &view).unwrap();
    assert!(numbers(&dir).is_disjoint(&before));
    compare(&dir, &view);
}

/// Compacts to the last revision and sweeps to the end.
pub(super) fn compact(view: &mut View) {
    let revision = view.machine.kv.revision().0;
    run(view, kv::KvOperation::Compact(Compact { revision }));
    while view.machine.kv.is_sweeping() {
        run(view, kv::KvOperation::Sweep(Sweep {}));
    }
}

fn links(dir: &TempDir) -> usize {
    manifest(dir).chain.links.len()
}

/// Repeatedly applies `change` and writes a checkpoint until one is a base. Returns the run numbers before and after this base.
fn until_base(
    dir: &TempDir,
    storage: &mut Storage,
    view: &mut View,
    change: &mut dyn FnMut(&mut View),
) -> (BTreeSet<u64>, BTreeSet<u64>) {
    loop {
        let before = (links(dir), numbers(dir));
        let since = view.clone();
        change(view);
        storage.checkpoint.write(Some(&since), view).unwrap();
        if links(dir) <= before.0 {
            return (before.1, numbers(dir));
        }
    }
}

#[test]
fn a_base_keeps_the_runs_of_differences() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    // Each run has several blocks, so the open block, which the next difference outdates, is a small part.
    storage.checkpoint.run_bytes = 8 * RUN_BYTES;
    let mut view = first();
    storage.checkpoint.write(None, &view).unwrap();
    let mut name = 0;
    for _ in 0..2 {
        let (before, after) = until_base(&dir, &mut storage, &mut view, &mut |view| {
            for _ in 0..130 {
                run(view, put(name, 2000));
                name += 1;
            }
        });
        let written = after.difference(&before).count();
        assert!(written <= 4, "{written} of {} runs written", after.len());
        assert!(after.len() > 40, "{} runs", after.len());
    }
    // A compaction deletes all but the last blocks, so the runs of the deleted blocks are not kept.
    for _ in 0..100 {
        run(&mut view, put(0, 2000));
    }
    let since = view.clone();
    for name in 1..name {
        let key = format!("key-{name:05}").into();
        run(
            &mut view,
            kv::KvOperation::Delete(DeleteRange { key, ..DeleteRange::default() }),
        );
    }
    compact(&mut view);
    storage.checkpoint.write(Some(&since), &view).unwrap();
    until_base(&dir, &mut storage, &mut view, &mut |view| {
        run(view, put(0, 10))
    });
    assert!(numbers(&dir).len() < 10, "{:?}", numbers(&dir));
    compare(&dir, &view);
}

/// Opens a directory whose checkpoints get runs of `run_bytes` bytes.
fn open_small(dir: &TempDir, run_bytes: u64) -> (Storage, Option<View>) {
    let (mut storage, recovered) = reopen(dir);
    storage.checkpoint.run_bytes = run_bytes;
    (storage, recovered.checkpoint)
}

/// Lets checkpoints rewrite even a chain with few outdated bytes.
fn rewrite_often(checkpoint: &mut Checkpoint) {
    (checkpoint.outdated_bytes, checkpoint.compact_threshold) = (RUN_BYTES, 0);
}

/// Returns the items of all runs of the newest chain, by the run's number.
fn items(dir: &TempDir) -> BTreeMap<u64, Vec<RunItem>> {
    let mut items = BTreeMap::new();
    for of in manifest(dir).chain.runs() {
        let path = dir.run_path(of.number);
        let mut reader = RunReader::open(&path, of.content).unwrap();
        let run: Vec<RunItem> = std::iter::from_fn(|| reader.next().unwrap()).collect();
        items.insert(of.number, run);
    }
    items
}

#[test]
fn a_base_keeps_runs_with_few_outdated_records() {
    let dir = TempDir::new();
    // A run has 19 blocks, and a block has 14 keys.
    let run_bytes = 16 * RUN_BYTES;
    let (mut storage, _) = open_small(&dir, run_bytes);
    let mut view = first();
    for name in 0..1000 {
        run(&mut view, put(name, 2000));
    }
    storage.checkpoint.write(None, &view).unwrap();
    let all: Vec<u64> = numbers(&dir).into_iter().collect();
    // The base has four runs of blocks and one run of other records.
    assert_eq!(all.len(), 5);
    // The first run loses one block, and two of its other blocks become shorter. The second run loses most blocks.
    let since = view.clone();
    for name in (20..50).chain(300..500) {
        run(&mut view, put(name, 10));
    }
    compact(&mut view);
    storage.checkpoint.write(Some(&since), &view).unwrap();
    let kept = |numbers: &BTreeSet<u64>| -> Vec<u64> {
        let kept = all.iter().filter(|number| numbers.contains(*number));
        kept.copied().collect()
    };
    for _ in 0..2 {
        let (_, base) = until_base(&dir, &mut storage, &mut view, &mut |view| {
            run(view, put(0, 10));
        });
        assert_eq!(kept(&base), [all[0], all[2], all[3]]);
        compare(&dir, &view);
        drop(storage);
        let (opened, recovered) = open_small(&dir, run_bytes);
        (storage, view) = (opened, recovered.unwrap());
    }
    let mut blocks = items(&dir).into_values().flatten();
    assert!(
        blocks.any(|(key, value)| is_block(&key) && value.is_none()),
        "no base removes the block that the first run still contains"
    );
    // A rewrite keeps only runs without outdated records.
    let since = view.clone();
    run(&mut view, put(0, 10));
    storage.checkpoint.rewrite(Some(&since), &view).unwrap();
    assert_eq!(kept(&numbers(&dir)), [all[2]]);
    compare(&dir, &view);
}

/// No other checkpoint can be written during a base, so a base of a large state must not write all runs.
#[test]
fn a_base_of_a_large_state_rewrites_the_most_outdated_runs() {
    let dir = TempDir::new();
    // A run has 5 blocks, and a block has 14 keys.
    let (mut storage, _) = open_small(&dir, 4 * RUN_BYTES);
    let mut view = first();
    for name in 0..1000 {
        run(&mut view, put(name, 2000));
    }
    storage.checkpoint.write(None, &view).unwrap();
    let all: Vec<u64> = numbers(&dir).into_iter().collect();
    // The last two runs contain the last blocks and other records.
    assert_eq!(all.len(), 16);
    // The first seven runs lose two blocks, and the next seven runs lose four blocks.
    let since = view.clone();
    for at in 0..14 {
        let lost = if at < 7 { 2 } else { 4 };
        for block in 0..lost {
            run(&mut view, put(14 * (5 * at + block), 10));
        }
    }
    compact(&mut view);
    // The runs with two outdated blocks may be kept, but no other run.
    let (size, kept_bytes) = (view.machine.kv.size_bytes(), 480_000);
    let interval_bytes = (size - kept_bytes) / 8;
    storage.checkpoint.outdated_bytes = interval_bytes;
    storage.checkpoint.write(Some(&since), &view).unwrap();
    let (_, base) = until_base(&dir, &mut storage, &mut view, &mut |view| {
        run(view, put(0, 10));
    });
    let kept: Vec<u64> = all.into_iter().filter(|run| base.contains(run)).collect();
    assert_eq!(kept, (1..=7).collect::<Vec<u64>>());
    compare(&dir, &view);
    // The outdated bytes of kept runs do not delay the next base.
    let threshold = storage.checkpoint.compact_threshold;
    assert!(threshold < 2 * (size + 100_000) + interval_bytes);
    // A rewrite of all runs needs no space for outdated records.
    let checkpoint_bytes = &storage.checkpoint.folder.ledger.checkpoint_bytes;
    assert!(checkpoint_bytes.load(Ordering::Relaxed) < size + 100_000);
}

#[test]
fn a_base_leaves_no_outdated_record_of_another_kind() {
    const SECRET: &str = "an outdated secret";
    let on_disk = |dir: &TempDir| {
        let mut records = items(dir).into_values().flatten();
        records.any(|(_, value)| {
            let secret = SECRET.as_bytes();
            value.is_some_and(|value| value.windows(secret.len()).any(|part| part == secret))
        })
    };
    for restarted in [false, true] {
        let dir = TempDir::new();
        let (mut storage, _) = open_small(&dir, RUN_BYTES);
        storage.checkpoint.write(None, &first()).unwrap();
        storage.log.append(&batch(2..9, 1));
        let mut sent = first();
        let rename = |view: &mut View, name: &str| {
            let name = name.to_owned();
            let member = Member { id: ME.member_id.0, name, ..Member::default() };
            view.machine.members.by_id.insert(ME.member_id, member);
        };
        rename(&mut sent, SECRET);
        for name in 0..100 {
            run(&mut sent, put(name, 2000));
        }
        let mut view = receive_and_install(&mut storage, &sent);
        if restarted {
            drop(storage);
            let (opened, recovered) = open_small(&dir, RUN_BYTES);
            (storage, view) = (opened, recovered.unwrap());
        }
        let since = view.clone();
        rename(&mut view, "another name");
        storage.checkpoint.write(Some(&since), &view).unwrap();
        assert!(on_disk(&dir));
        until_base(&dir, &mut storage, &mut view, &mut |view| {
            run(view, put(0, 10));
        });
        assert!(!on_disk(&dir));
        compare(&dir, &view);
    }
}

#[test]
fn bases_contain_the_state_after_any_changes() {
    let mut kept = 0;
    for seed in 0..8 {
        let mut chance = chances(seed);
        let dir = TempDir::new();
        // Only larger runs can have outdated records and still be kept.
        let run_bytes = [RUN_BYTES, 8 * RUN_BYTES][seed as usize / 2 % 2];
        let (mut storage, _) = open_small(&dir, run_bytes);
        rewrite_often(&mut storage.checkpoint);
        let mut view = first();
        storage.checkpoint.write(None, &view).unwrap();
        // With few rewrites, the chain grows until a checkpoint must be a base.
        let rewrites = [3, 100][seed as usize % 2];
        for _ in 0..130 {
            let before = numbers(&dir);
            let since = view.clone();
            for _ in 0..chance(30) {
                let command = command(&mut chance, view.machine.kv.revision().0);
                run(&mut view, command);
            }
            match chance(rewrites) {
                0 => storage.checkpoint.rewrite(Some(&since), &view).unwrap(),
                _ => storage.checkpoint.write(Some(&since), &view).unwrap(),
            }
            if links(&dir) == 1 {
                kept += numbers(&dir).intersection(&before).count();
            }
            if chance(12) == 0 || links(&dir) == 1 {
                compare(&dir, &view);
            }
            if chance(12) == 0 {
                drop(storage);
                let (opened, recovered) = open_small(&dir, run_bytes);
                (storage, view) = (opened, recovered.unwrap());
                rewrite_often(&mut storage.checkpoint);
            }
        }
        compare(&dir, &view);
    }
    assert!(kept > 50, "{kept} runs kept");
}

/// Startup opens a run at its first key and closes it after its last key.
#[test]
fn runs_of_blocks_contain_nothing_else() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.checkpoint.run_bytes = RUN_BYTES;
    let mut view = first();
    storage.checkpoint.write(None, &view).unwrap();
    let mut name = 0;
    for _ in 0..2 {
        until_base(&dir, &mut storage, &mut view, &mut |view| {
            for _ in 0..20 {
                run(view, put(name, 2000));
                name += 1;
            }
            run(view, set(format!("/dir/{:02}", name % 50), 4000));
        });
    }
    let (mut of_blocks, mut others) = (0, 0);
    for (number, items) in items(&dir) {
        let blocks: BTreeSet<bool> = items.iter().map(|(key, _)| is_block(key)).collect();
        assert_eq!(blocks.len(), 1, "run {number}");
        match blocks.contains(&true) {
            true => of_blocks += 1,
            false => others += 1,
        }
    }
    assert!(
        of_blocks > 40 && others > 0,
        "{of_blocks} and {others} runs"
    );
}

/// Returns a v2 set of a value of `size` bytes.
fn set(path: String, size: u64) -> Verb {
    let set = witan_tree::Set {
        path: path.into(),
        value: vec![b'v'; size as usize].into(),
        ..witan_tree::Set::default()
    };
    witan_tree::TreeOperation::Set(set).into()
}

/// Returns a random write of any kind. Most writes are small, with old and new keys.
pub(super) fn command(chance: &mut impl FnMut(u64) -> u64, revision: i64) -> Verb {
    let size = [10, 500, 4000, 40_000][chance(4) as usize];
    match chance(20) {
        0 => {
            let revision = revision - chance(30).cast_signed();
            kv::KvOperation::Compact(Compact { revision }).into()
        }
        1 | 2 => {
            let key = format!("key-{:05}", chance(200)).into();
            kv::KvOperation::Delete(DeleteRange { key, ..DeleteRange::default() }).into()
        }
        3..6 => set(format!("/dir{}/{}", chance(9), chance(50)), size),
        _ => put(chance(200), size),
    }
}
