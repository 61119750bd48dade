//! Tests the scrub: it finds every damaged run that is published, and reports nothing else as damage. A base or a received
//! snapshot then replaces the damaged runs.

use std::{
    fs,
    sync::mpsc::{SyncSender, sync_channel},
};

use super::{
    rewrite::{RUN_BYTES, compare, numbers},
    values::{filled, keeps_none, open_cached},
    workload::receive,
    *,
};
use crate::{install, manifest::Run, scrub::Scrub};

/// A period in which a test makes only one pass.
const PERIOD: Duration = Duration::from_secs(3600);

/// Opens a directory and writes a state as a base with many runs.
fn with_runs(dir: &TempDir) -> (Storage, View) {
    let (mut storage, _) = reopen(dir);
    storage.checkpoint.run_bytes = RUN_BYTES;
    let view = filled(200, 2000);
    storage.checkpoint.write(None, &view).unwrap();
    assert!(numbers(dir).len() > 5);
    (storage, view)
}

/// Returns a scrub that the test drives. The scrub stops when the sender is dropped.
fn scrub(storage: &Storage) -> (Scrub, SyncSender<()>) {
    let (stop, stopped) = sync_channel(0);
    let scrub = Scrub {
        folder: storage.checkpoint.folder.clone(),
        metrics: metrics(),
        period: PERIOD,
        stopped,
    };
    (scrub, stop)
}

fn flip(dir: &TempDir, run: u64) {
    let path = dir.run_path(run);
    let middle = fs::metadata(&path).unwrap().len() / 2;
    flip_bit(&path, usize::try_from(middle).unwrap());
}

#[test]
fn a_base_of_the_values_in_memory_replaces_a_damaged_run() {
    let (dir, cache) = (TempDir::new(), unlimited());
    let (mut storage, _) = open_cached(&dir, &cache);
    let view = filled(200, 2000);
    storage.checkpoint.write(None, &view).unwrap();
    let hold = cache.hold();
    assert!(view.machine.kv.values_are_in_memory());
    // Without the hold, the values would be evicted from memory, and the damaged run could not be replaced.
    cache.set_target(0);
    cache.trim();
    let before = numbers(&dir);
    flip(&dir, *before.iter().nth(before.len() / 2).unwrap());
    let (metrics, base) = (metrics(), Some(view.clone()));
    let (mut checkpointer, durable) = start_checkpointer(storage.checkpoint, base, &metrics);
    assert!(!checkpointer.take_damage());
    let _scrub = Scrub::start(checkpointer.folder.clone(), metrics.clone(), PERIOD).unwrap();
    wait_until("the damage is not found", || checkpointer.take_damage());
    // Nothing has changed since the checkpoint on disk, so only the damage requires a new one.
    checkpointer.rewrite_all_runs(view.clone(), hold);
    assert_eq!(durable.recv_timeout(LONG), Ok(view.position.index));
    assert!(numbers(&dir).is_disjoint(&before));
    assert_eq!(metrics.scrub_damaged_runs.get(), 1);
    checkpointer.stop();
    cache.trim();
    assert!(!view.machine.kv.values_are_in_memory());
    compare(&dir, &view);
}

#[test]
fn a_received_snapshot_replaces_damaged_runs_without_a_read() {
    let (dir, cache) = (TempDir::new(), keeps_none());
    let (storage, _) = open_cached(&dir, &cache);
    let Storage { mut log, mut checkpoint, lock, .. } = storage;
    // Reading a value of this view would end the process.
    let old = filled(200, 2000);
    checkpoint.write(None, &old).unwrap();
    log.append(&batch(2..old.position.index + 1, 1));
    cache.trim();
    assert!(!old.machine.kv.values_are_in_memory());
    let runs = numbers(&dir);
    runs.iter().for_each(|run| flip(&dir, *run));
    let (metrics, base) = (metrics(), Some(old.clone()));
    let (mut checkpointer, _) = start_checkpointer(checkpoint, base, &metrics);
    let _scrub = Scrub::start(checkpointer.folder.clone(), metrics.clone(), PERIOD).unwrap();
    wait_until("the damage is not found", || {
        metrics.scrub_damaged_runs.get() >= runs.len() as u64
    });
    let leader = filled(300, 2000);
    let received = receive(&checkpointer.receiver(), &leader).unwrap();
    install(&mut log, &checkpointer, received, old);
    assert!(!checkpointer.take_damage(), "the damaged runs are replaced");
    checkpointer.stop();
    drop((checkpointer, log, lock));
    compare(&dir, &leader);
}

#[test]
fn a_pass_reads_each_published_run() {
    let dir = TempDir::new();
    let (storage, view) = with_runs(&dir);
    let read = |storage: &Storage| {
        let (scrub, _stop) = scrub(storage);
        assert!(scrub.pass().is_continue());
        let StorageMetrics { scrub_bytes, scrub_damaged_runs, .. } = &scrub.metrics;
        (scrub_bytes.get(), scrub_damaged_runs.get())
    };
    let bytes = || manifest(&dir).chain.bytes();
    assert_eq!(read(&storage), (bytes(), 0));
    drop(storage);
    let (mut storage, _) = reopen(&dir);
    assert_eq!(read(&storage), (bytes(), 0), "after a restart");
    storage.checkpoint.write(None, &view).unwrap();
    // The scrub reads a damaged run twice.
    let mut twice = 0;
    for (damaged, run) in (1..).zip(numbers(&dir)).take(2) {
        flip(&dir, run);
        twice += fs::metadata(dir.run_path(run)).unwrap().len();
        assert_eq!(
            read(&storage),
            (bytes() + twice, damaged),
            "of the next base"
        );
    }
}

#[test]
fn neither_a_replaced_run_nor_an_unreadable_one_is_damaged() {
    let dir = TempDir::new();
    let (mut storage, view) = with_runs(&dir);
    let (scrub, stop) = scrub(&storage);
    let runs = || -> Vec<Run> { manifest(&dir).chain.runs().cloned().collect() };
    let damaged = || scrub.metrics.scrub_damaged_runs.get();
    let replaced = runs();
    // The second base lets the replaced runs be removed.
    for _ in 0..2 {
        storage.checkpoint.write(None, &view).unwrap();
    }
    for run in &replaced {
        assert!(!dir.run_path(run.number).exists());
        assert!(scrub.verify_run(run).is_continue());
    }
    assert_eq!(damaged(), 0);
    let published = runs();
    let (missing, short, unreadable) = (&published[0], &published[1], &published[2]);
    fs::remove_file(dir.run_path(missing.number)).unwrap();
    let bytes = fs::read(dir.run_path(short.number)).unwrap();
    fs::write(dir.run_path(short.number), &bytes[1..]).unwrap();
    for (run, expected) in [(missing, 1), (short, 2)] {
        assert!(scrub.verify_run(run).is_continue());
        assert_eq!(damaged(), expected);
    }
    // A directory cannot be read as a file.
    fs::remove_file(dir.run_path(unreadable.number)).unwrap();
    fs::create_dir(dir.run_path(unreadable.number)).unwrap();
    assert!(scrub.verify_run(unreadable).is_continue());
    assert_eq!(damaged(), 2);
    drop(stop);
    assert!(scrub.verify_run(short).is_break());
}

#[test]
fn damage_that_a_second_attempt_does_not_find_is_not_reported() {
    let dir = TempDir::new();
    let (storage, _) = with_runs(&dir);
    let (mut scrub, _stop) = scrub(&storage);
    // The pause between the attempts is two seconds.
    scrub.period = 7 * 24 * PERIOD;
    let run = manifest(&dir).chain.runs().next().unwrap().clone();
    let (number, bytes, metrics) = (run.number, run.content.bytes, scrub.metrics.clone());
    flip(&dir, number);
    let checking = std::thread::spawn(move || scrub.verify_run(&run).is_continue());
    wait_until("the run is not read", || metrics.scrub_bytes.get() >= bytes);
    flip(&dir, number);
    assert!(checking.join().unwrap());
    assert_eq!(metrics.scrub_damaged_runs.get(), 0);
}

#[test]
fn damage_counts_when_another_checkpoint_fits_on_the_disk() {
    let dir = TempDir::new();
    drop(with_runs(&dir));
    for (floor_bytes, fits) in [(u64::MAX / 2, false), (0, true)] {
        let ledger = Arc::new(Ledger::new(PathBuf::new(), 0, floor_bytes));
        let (storage, _) = open_with(&dir.data(), &ME, &ledger).unwrap();
        let (scrub, _stop) = scrub(&storage);
        let run = manifest(&dir).chain.runs().next().unwrap().clone();
        flip(&dir, run.number);
        assert!(scrub.verify_run(&run).is_continue());
        assert_eq!(scrub.metrics.scrub_damaged_runs.get(), 1);
        assert_eq!(scrub.folder.take_damage(), fits);
        flip(&dir, run.number);
    }
}
