//! Tests values that are evicted from memory. A member whose cache keeps no value has the same data as a member without a
//! limit. A run stays while a place refers to it.

use std::{io, sync::atomic::Ordering::Relaxed};

use witan_base::panics::catch_in_library;
use witan_machine::{
    kv::{KeyValue, KvError, Range, ValueSource},
    record,
    values::{Place, RecordFile},
};

use super::{
    failing_calls::{ERRORS, each_call, failing},
    rewrite::{RUN_BYTES, command, compact, numbers, put, run},
    workload::{chances, first, id, receive, records},
    *,
};
use crate::{
    ReceivedSnapshot, SnapshotReceiver, install,
    merge::{MergedRecords, Record},
    run_file::RunFile,
};

/// Returns a cache in which values that have a place do not stay in memory.
pub(super) fn keeps_none() -> Arc<BlockCache> {
    let cache = unlimited();
    cache.set_target(0);
    cache
}

/// Opens a directory with `cache` for its values. New runs of the checkpoint are small.
pub(super) fn open_cached(dir: &TempDir, cache: &Arc<BlockCache>) -> (Storage, Option<View>) {
    let open = || crate::open(&dir.data(), &ME, &Arc::default(), cache, &metrics());
    let (mut storage, recovered) = while_unlocked(open).unwrap();
    storage.checkpoint.run_bytes = RUN_BYTES;
    assert!(!storage.checkpoint.fell_back);
    (storage, recovered.checkpoint)
}

/// Returns all pairs. With `Memory`, fails with `NotResident` if a value is only on disk.
fn pairs(view: &View, source: ValueSource) -> Result<Vec<KeyValue>, KvError> {
    let all = Bytes::from_static(b"\0");
    let range = Range { key: all.clone(), range_end: all, ..Range::default() };
    view.machine.kv.range(&range, source).map(|reply| reply.kvs)
}

/// Returns whether the value of at least one pair is only on disk.
pub(super) fn is_cold(view: &View) -> bool {
    pairs(view, ValueSource::Memory) == Err(KvError::NotResident)
}

/// Compares a state with a state whose values are all in memory.
fn compare(view: &View, twin: &View) {
    let expected = pairs(twin, ValueSource::Memory).unwrap();
    let found = pairs(view, ValueSource::Disk).unwrap();
    assert!(found == expected, "other pairs");
    assert!(records(view) == records(twin), "other records");
}

/// Returns a state with `keys` keys, whose values have `size` bytes each.
pub(super) fn filled(keys: u64, size: u64) -> View {
    let mut view = first();
    for name in 0..keys {
        run(&mut view, put(name, size));
    }
    view
}

#[test]
fn values_that_leave_memory_read_like_values_that_stay() {
    for seed in 0..4 {
        let (dir, cache) = (TempDir::new(), keeps_none());
        let mut chance = chances(seed);
        let (mut storage, _) = open_cached(&dir, &cache);
        let (mut view, mut twin) = (first(), first());
        storage.checkpoint.write(None, &view).unwrap();
        let (mut cold, mut restarts) = (0, 0);
        for _ in 0..60 {
            let since = view.clone();
            for _ in 0..chance(30) {
                let command = command(&mut chance, twin.machine.kv.revision().0);
                run(&mut view, command.clone());
                run(&mut twin, command);
            }
            match chance(6) {
                0 => storage.checkpoint.rewrite(Some(&since), &view).unwrap(),
                1 => storage.checkpoint.write(None, &view).unwrap(),
                _ => storage.checkpoint.write(Some(&since), &view).unwrap(),
            }
            cache.trim();
            assert_eq!(cache.resident_bytes(), 0);
            if chance(6) == 0 {
                drop(storage);
                let (opened, recovered) = open_cached(&dir, &cache);
                assert_eq!(cache.resident_bytes(), 0, "after a restart");
                (storage, view) = (opened, recovered.unwrap());
                restarts += 1;
            }
            cold += usize::from(is_cold(&view));
            compare(&view, &twin);
        }
        assert!(
            cold > 40 && restarts > 2,
            "{cold} comparisons with cold values, {restarts} restarts"
        );
    }
}

#[test]
fn a_base_reads_only_the_values_that_it_writes() {
    let (dir, cache) = (TempDir::new(), keeps_none());
    let (mut storage, _) = open_cached(&dir, &cache);
    let (mut view, mut twin) = (filled(400, 2000), filled(400, 2000));
    storage.checkpoint.write(None, &view).unwrap();
    let reads = || cache.reads();
    // The second base follows a restart.
    for name in 1000..1002 {
        cache.trim();
        let (since, before) = (view.clone(), reads());
        run(&mut view, put(name, 2000));
        run(&mut twin, put(name, 2000));
        storage.checkpoint.rewrite(Some(&since), &view).unwrap();
        // The last run of blocks contains the open block, so its blocks are written again.
        let read = reads() - before;
        assert!(read < 5, "{read} blocks read for a base that keeps runs");
        drop(storage);
        let (opened, recovered) = open_cached(&dir, &cache);
        (storage, view) = (opened, recovered.unwrap());
    }
    let before = reads();
    cache.trim();
    storage.checkpoint.write(None, &view).unwrap();
    let read = reads() - before;
    assert!(read > 20, "{read} blocks read for a whole base");
    compare(&view, &twin);
}

/// Receives a state in two streams. The second stream continues after the durable records of the first one.
fn receive_in_two_streams(receiver: &SnapshotReceiver, view: &View) -> ReceivedSnapshot {
    let all: Vec<_> = records(view).into_iter().collect();
    let mut incoming = receiver.begin(id(view), 0).unwrap();
    for (key, value) in &all[..all.len() - 1] {
        incoming.add(key.clone(), value.clone()).unwrap();
    }
    incoming.park();
    let mut incoming = receiver.begin(id(view), 0).unwrap();
    let from = usize::try_from(incoming.durable().0.records).unwrap();
    assert!(from > 0, "no record is durable");
    for (key, value) in &all[from..] {
        incoming.add(key.clone(), value.clone()).unwrap();
    }
    let totals = incoming.totals();
    incoming.finish(totals, &|| true).unwrap()
}

#[test]
fn values_of_an_installed_snapshot_leave_memory() {
    for streams in 1..=2 {
        let (dir, cache) = (TempDir::new(), keeps_none());
        let (storage, _) = open_cached(&dir, &cache);
        let Storage { mut log, mut checkpoint, lock, .. } = storage;
        checkpoint.write(None, &first()).unwrap();
        log.append(&batch(2..10, 1));
        let base = Some(first());
        let (mut checkpointer, durable) = start_checkpointer(checkpoint, base, &metrics());
        // The state fills several runs.
        let mut twin = filled(900, 20_000);
        let receiver = checkpointer.receiver();
        let received = match streams {
            1 => receive(&receiver, &twin).unwrap(),
            _ => receive_in_two_streams(&receiver, &twin),
        };
        assert!(!files(&dir.checkpoint(), ".heads").is_empty());
        cache.trim();
        assert_eq!(cache.resident_bytes(), 0);
        let mut view = received.view.clone();
        assert!(is_cold(&view));
        compare(&view, &twin);
        install(&mut log, &checkpointer, received, first());
        run(&mut view, put(5, 10));
        run(&mut twin, put(5, 10));
        let index = view.position.index;
        log.append(&batch(index..index + 1, 1));
        checkpointer.offer(view.clone());
        assert_eq!(durable.recv_timeout(LONG), Ok(index));
        compare(&view, &twin);
        checkpointer.stop();
        drop((checkpointer, receiver, log, lock, view));
        let (_storage, recovered) = open_cached(&dir, &cache);
        cache.trim();
        assert_eq!(cache.resident_bytes(), 0);
        compare(&recovered.unwrap(), &twin);
    }
}

#[test]
fn a_run_stays_while_a_view_holds_a_place_in_it() {
    let (dir, cache) = (TempDir::new(), keeps_none());
    let (mut storage, _) = open_cached(&dir, &cache);
    let old = filled(100, 2000);
    let expected = records(&old);
    storage.checkpoint.write(None, &old).unwrap();
    let of_old = numbers(&dir);
    // No block of the old view is part of the new one.
    let mut view = old.clone();
    for name in 0..100 {
        run(&mut view, put(name, 1000));
    }
    compact(&mut view);
    view.machine.kv.clear_states_before_compaction();
    // After the second checkpoint, only the old view needs the runs of the first checkpoint.
    for _ in 0..2 {
        storage.checkpoint.write(None, &view).unwrap();
    }
    assert!(numbers(&dir).is_disjoint(&of_old));
    let held = || dir.runs().intersection(&of_old).count();
    assert!(held() > 0, "the runs of the old view are removed");
    let ledger = storage.checkpoint.folder.ledger.clone();
    assert!(ledger.held_bytes.load(Relaxed) > 0);
    cache.trim();
    assert!(is_cold(&old) && records(&old) == expected);
    // The drop of the last place wakes the thread.
    let (checkpointer, _) = start_checkpointer(storage.checkpoint, Some(view), &metrics());
    drop(old);
    wait_until("the runs of the old view stay", || held() == 0);
    assert_eq!(ledger.held_bytes.load(Relaxed), 0);
    drop(checkpointer);
}

#[test]
fn runs_that_no_view_needs_are_removed_before_a_checkpoint_is_repeated() {
    let (dir, cache) = (TempDir::new(), keeps_none());
    let (mut storage, _) = open_cached(&dir, &cache);
    let old = filled(100, 2000);
    storage.checkpoint.write(None, &old).unwrap();
    let of_old = numbers(&dir);
    let view = filled(10, 1000);
    for _ in 0..2 {
        storage.checkpoint.write(None, &view).unwrap();
    }
    let held = || dir.runs().intersection(&of_old).count();
    assert!(held() > 0, "the runs of the old view are removed");
    let ledger = storage.checkpoint.folder.ledger.clone();
    let metrics = metrics();
    let base = Some(view.clone());
    let (checkpointer, _) = start_checkpointer(storage.checkpoint, base, &metrics);
    // The log needs all space.
    assert!(ledger.announce(u64::MAX / 2, u64::MAX));
    let mut later = view;
    later.position.index += 1;
    checkpointer.offer(later);
    wait_until("the checkpoint does not fail", || {
        metrics.checkpoint_failures.get() > 0
    });
    // The thread pauses, and its next attempt must wait for this turn.
    ledger.written(0, 0);
    let turn = ledger.begin_run(&dir.data(), 1).unwrap();
    drop(old);
    wait_until("the runs of the old view stay", || held() == 0);
    drop(turn);
    drop(checkpointer);
}

#[test]
fn a_failed_checkpoint_lets_no_value_leave_memory() {
    for error in ERRORS {
        let mut failures = 0;
        each_call(error, |calls| {
            let (dir, cache) = (TempDir::new(), keeps_none());
            let (mut storage, _) = open_cached(&dir, &cache);
            let (since, view) = (first(), filled(40, 2000));
            storage.checkpoint.write(None, &since).unwrap();
            let write = || storage.checkpoint.write(Some(&since), &view);
            let (written, failed) = failing(calls, error, write);
            failures += usize::from(written.is_err());
            let what = format!("{error} at call {calls}: {written:?}");
            cache.trim();
            assert_eq!(is_cold(&view), written.is_ok(), "{what}");
            storage.checkpoint.write(Some(&since), &view).unwrap();
            cache.trim();
            assert!(is_cold(&view), "{what}");
            compare(&view, &filled(40, 2000));
            failed
        });
        assert!(failures > 5, "{failures} failures");
    }
}

/// Returns all blocks in the published chain of an open directory.
pub(super) fn blocks(dir: &TempDir) -> Vec<Record> {
    let merged = MergedRecords::new(&dir.checkpoint(), &manifest(dir).chain, false);
    let all = merged.map(|record| record.unwrap());
    all.filter(|found| record::is_block(&found.key)).collect()
}

/// Flips a bit of a byte in the run that contains a block. The byte is `at` bytes after the start of the block's record.
pub(super) fn flip(dir: &TempDir, block: &Record, at: usize) {
    let offset = usize::try_from(block.offset).unwrap();
    flip_bit(&dir.run_path(block.run), offset + at);
}

/// A run that panics where the product exits.
#[derive(Debug)]
struct PanickingFile(Arc<RunFile>);

impl RecordFile for PanickingFile {
    fn read(&self, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        self.0.read(offset, len)
    }

    fn fail(&self, what: &str) -> ! {
        panic!("{what}")
    }

    fn cache(&self) -> &Arc<BlockCache> {
        self.0.cache()
    }
}

/// Damages a run that contains a block.
type DamageRun = fn(&TempDir, &Record);

#[test]
fn a_read_fails_on_a_damaged_run() {
    let damages: [(&str, DamageRun); 5] = [
        ("the first byte", |dir, block| flip(dir, block, 0)),
        ("a value", |dir, block| {
            flip(dir, block, block.value.bytes().len() / 2)
        }),
        ("the checksum", |dir, block| {
            flip(dir, block, block.value.bytes().len() - 1)
        }),
        ("a missing run", |dir, block| {
            std::fs::remove_file(dir.run_path(block.run)).unwrap();
        }),
        ("no damage", |_, _| ()),
    ];
    for (what, damage) in damages {
        let (dir, cache) = (TempDir::new(), unlimited());
        let (mut storage, _) = open_cached(&dir, &cache);
        let view = filled(100, 2000);
        storage.checkpoint.write(None, &view).unwrap();
        let blocks = blocks(&dir);
        for Record { key, value, run, offset } in &blocks {
            let file = Arc::new(PanickingFile(storage.checkpoint.folder.run_file(*run)));
            let len = value.record_len();
            view.settle(key, Place { file, offset: *offset, len });
        }
        damage(&dir, &blocks[blocks.len() / 2]);
        cache.set_target(0);
        cache.trim();
        let read = catch_in_library(|| pairs(&view, ValueSource::Disk));
        match what {
            "no damage" => assert!(read == Some(pairs(&filled(100, 2000), ValueSource::Memory))),
            _ => assert!(
                read.is_none(),
                "{what}: {} pairs",
                read.unwrap().unwrap().len()
            ),
        }
    }
}

/// Environment variable that turns the test function into the process that reads a damaged value.
const CHILD: &str = "WITAN_TEST_VALUES";

#[test]
fn a_damaged_value_ends_the_process() {
    if let Some(path) = std::env::var_os(CHILD) {
        let dir = TempDir(PathBuf::from(path));
        let (_storage, view) = open_cached(&dir, &keeps_none());
        let blocks = blocks(&dir);
        let closed = &blocks[..blocks.len() - 1];
        closed.iter().for_each(|block| flip(&dir, block, 20));
        let read = pairs(&view.unwrap(), ValueSource::Disk);
        std::process::exit(if read.is_ok() { 3 } else { 4 });
    }
    let dir = TempDir::new();
    let (mut storage, _) = open_cached(&dir, &unlimited());
    storage.checkpoint.write(None, &filled(100, 2000)).unwrap();
    drop(storage);
    let heads = || files(&dir.checkpoint(), ".heads").len();
    let before = heads();
    let test = "values::a_damaged_value_ends_the_process";
    let mut command = child(test, CHILD, dir.0.as_os_str());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let status = start(&mut command).unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(29));
    // The next startup reads the run and finds the damage.
    assert_eq!(heads() + 1, before);
    let open = || crate::open(&dir.data(), &ME, &Arc::default(), &keeps_none(), &metrics());
    assert_eq!(while_unlocked(open).unwrap_err().exit_code(), 28);
}
