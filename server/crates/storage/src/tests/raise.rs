//! Raises the feature level of a directory: the identity gets the later format before any other file, and a base without kept
//! runs follows. Tests a power cut at each sync and a failure of each call.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use witan_machine::levels::{self, Level};

use super::{
    disk::Disk,
    failing_calls::{ERRORS, each_call, failing},
    workload::{chances, entry, first, receive_and_install, records},
    *,
};
use crate::{
    FORMATS,
    folder::copies,
    identity_file,
    manifest::{CURRENT, Manifest, copy_name},
};

/// The first level of a later format.
const RAISED: Level = 2;
/// Number of random power cuts at each sync.
const CUTS_AT_ONE: usize = 3;

fn raised(index: u64) -> View {
    let mut view = view(index, 10);
    view.machine.members.raised_level = RAISED;
    view
}

/// Creates a directory at the first level, with a checkpoint at entry 1 and a log up to entry 8.
fn before_the_raise(dir: &TempDir) -> Storage {
    let (mut storage, _) = reopen(dir);
    storage.checkpoint.write(None, &view(1, 10)).unwrap();
    storage.log.append(&batch(2..9, 1));
    storage
}

fn identity_of(data: &Path) -> String {
    fs::read_to_string(data.join("member/identity")).unwrap()
}

/// Returns the numbers of the formats of all manifests, the newest first.
fn manifests(data: &Path) -> Vec<u32> {
    let folder = data.join("member/checkpoint");
    let copies = copies(&folder).unwrap_or_default();
    let names = [CURRENT.to_owned()].into_iter();
    let names = names.chain(copies.into_iter().map(copy_name));
    let read = names.map(|name| Manifest::read(&folder.join(name)));
    read.filter_map(|manifest| Some(manifest.ok()??.format.number))
        .collect()
}

/// Returns the versions of all frames in the log whose entries have an index from 2 to 99 and term 1.
fn frames(data: &Path) -> BTreeSet<u8> {
    let mut versions = BTreeSet::new();
    for file in files(&data.join("member/log"), ".raftlog") {
        for bytes in fs::read(file).unwrap().windows(17) {
            let number = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
            if (1..=2).contains(&bytes[0]) && (2..100).contains(&number(1)) && number(9) == 1 {
                versions.insert(bytes[0]);
            }
        }
    }
    versions
}

/// Fails if a file has a later format than the identity. Returns the number of the identity's format.
fn check_order(data: &Path, what: &str) -> u32 {
    let stored = identity_file::stored(&data.join("member")).unwrap();
    let own = stored.expect("the setup was complete").format;
    for manifest in manifests(data) {
        assert!(manifest <= own.number, "{what}: a manifest of {manifest}");
    }
    for frame in frames(data) {
        assert!(frame <= own.frame_version, "{what}: a frame of {frame}");
    }
    own.number
}

/// Opens a copy of the files that a crash at this moment would leave. Returns the indexes of the checkpoint and of the last
/// entry.
fn after_a_crash(data: &Path, what: &str) -> (u64, u64) {
    let left = TempDir::new();
    copy(data, &left.data());
    reopened(&left, what)
}

/// Opens a directory and checks its checkpoint. Returns the indexes of the checkpoint and of the last entry.
fn reopened(dir: &TempDir, what: &str) -> (u64, u64) {
    let opened = open(&dir.data(), &ME);
    let (storage, recovered) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = recovered.checkpoint.expect("a checkpoint exists");
    let index = found.position.index;
    let expected = match index {
        1 => view(1, 10),
        _ => raised(index),
    };
    same(Some(&found), &expected);
    assert!(!storage.checkpoint.fell_back, "{what}");
    (index, storage.log.last_index())
}

/// Runs `done` on a member before its level rises. For each sync, returns [`CUTS_AT_ONE`] directories after a power cut, each
/// with the synced path.
fn cuts(done: impl FnOnce(&mut Storage)) -> Vec<(String, TempDir)> {
    let dir = TempDir::new();
    let cutting = Arc::new(AtomicBool::new(false));
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let (active, noted, mut chance) = (cutting.clone(), cuts.clone(), chances(7));
    let disk = Disk::watch(&dir.0, move |path, kept| {
        if !active.load(Ordering::SeqCst) {
            return;
        }
        for _ in 0..CUTS_AT_ONE {
            let after = TempDir::new();
            kept.cut(&after.0, &mut chance);
            let what = path.strip_prefix(kept.root()).unwrap();
            let cut = (what.display().to_string(), after);
            noted.lock().unwrap().push(cut);
        }
    });
    let mut storage = before_the_raise(&dir);
    cutting.store(true, Ordering::SeqCst);
    done(&mut storage);
    cutting.store(false, Ordering::SeqCst);
    disk.forget();
    drop(storage);
    std::mem::take(&mut *cuts.lock().unwrap())
}

#[test]
fn a_directory_keeps_the_first_format_until_the_level_rises() {
    let dir = TempDir::new();
    drop(before_the_raise(&dir));
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(9..12, 1));
    storage
        .checkpoint
        .write(Some(&view(1, 10)), &view(11, 10))
        .unwrap();
    let text = identity_of(&dir.data());
    assert!(text.starts_with("format 4\ncluster "), "{text}");
    assert_eq!(manifests(&dir.data())[0], 4);
    assert_eq!(frames(&dir.data()), BTreeSet::from([1]));

    storage
        .checkpoint
        .write(Some(&view(11, 10)), &raised(11))
        .unwrap();
    let text = identity_of(&dir.data());
    assert!(
        text.starts_with("format 5\nrelease 0.2.0\ncluster "),
        "{text}"
    );
    assert_eq!(manifests(&dir.data())[0], 5);
    storage.log.append(&batch(12..14, 1));
    assert_eq!(frames(&dir.data()), BTreeSet::from([1, 2]));
    let store = storage.store.clone();
    drop(storage);

    let (storage, recovered) = reopen(&dir);
    assert_eq!(storage.store, store);
    same(recovered.checkpoint.as_ref(), &raised(11));
    assert_eq!(indexes(&recovered), [12, 13]);
}

#[test]
fn the_format_of_a_directory_never_falls() {
    let dir = TempDir::new();
    let mut storage = before_the_raise(&dir);
    storage.checkpoint.write(None, &raised(8)).unwrap();
    storage.checkpoint.write(None, &view(8, 10)).unwrap();
    assert_eq!(check_order(&dir.data(), "after"), 5);
    assert_eq!(manifests(&dir.data())[0], 5);
}

#[test]
fn the_base_of_a_raise_reuses_no_run() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.checkpoint.run_bytes = 8 << 10;
    let mut view = first();
    for index in 1..60 {
        workload::apply(&mut view, &entry(index));
    }
    storage.checkpoint.write(None, &view).unwrap();
    let numbers = || {
        let chain = manifest(&dir).chain;
        (chain.links.len(), chain.numbers().collect::<BTreeSet<_>>())
    };
    let (_, before) = numbers();
    assert!(before.len() > 5, "{} runs", before.len());
    let since = view.clone();
    view.machine.members.raised_level = RAISED;
    storage.checkpoint.write(Some(&since), &view).unwrap();
    let (links, after) = numbers();
    assert_eq!(links, 1);
    assert!(after.is_disjoint(&before), "{before:?} {after:?}");
    // The next checkpoint is a difference again.
    let since = view.clone();
    workload::apply(&mut view, &entry(60));
    storage.checkpoint.write(Some(&since), &view).unwrap();
    assert_eq!(numbers().0, 2);
    drop(storage);
    let (_, recovered) = reopen(&dir);
    assert!(records(&recovered.checkpoint.unwrap()) == records(&view));
}

#[test]
fn a_power_cut_during_a_raise_leaves_no_later_format_than_the_identitys() {
    let cuts = cuts(|storage| {
        let written = storage.checkpoint.write(Some(&view(1, 10)), &raised(8));
        written.unwrap();
        storage.log.append(&batch(9..12, 1));
        let written = storage.checkpoint.write(Some(&raised(8)), &raised(11));
        written.unwrap();
    });
    let mut seen = BTreeSet::new();
    for (what, dir) in cuts {
        let own = check_order(&dir.data(), &what);
        let newest = manifests(&dir.data()).first().copied();
        seen.insert((own, newest.expect("there is a manifest")));
        let (checkpoint, last) = reopened(&dir, &what);
        assert!([1, 8, 11].contains(&checkpoint) && last >= 8, "{what}");
    }
    // The cuts happen before the level rises, between the writes of the identity and of the base, and after the base.
    assert_eq!(seen, BTreeSet::from([(4, 4), (5, 4), (5, 5)]));
}

#[test]
fn a_power_cut_during_an_installation_leaves_no_later_format_than_the_identitys() {
    let cuts = cuts(|storage| {
        receive_and_install(storage, &raised(90));
        storage.log.append(&batch(91..93, 1));
    });
    let mut seen = BTreeSet::new();
    for (what, dir) in cuts {
        let own = check_order(&dir.data(), &what);
        let (checkpoint, last) = reopened(&dir, &what);
        assert!(
            [(1, 8), (90, 90), (90, 92)].contains(&(checkpoint, last)),
            "{what}"
        );
        seen.insert((own, checkpoint));
    }
    assert_eq!(seen, BTreeSet::from([(4, 1), (5, 1), (5, 90)]));
}

#[test]
fn a_raise_whose_call_fails_is_repeated() {
    for error in ERRORS {
        let mut refused = 0;
        let calls = each_call(error, |calls| {
            let what = format!("{error} at call {calls}");
            let dir = TempDir::new();
            let mut storage = before_the_raise(&dir);
            let mut write = || {
                let checkpoint = &mut storage.checkpoint;
                checkpoint.write(Some(&view(1, 10)), &raised(8))
            };
            let (written, failed) = failing(calls, error, &mut write);
            check_order(&dir.data(), &what);
            assert_eq!(after_a_crash(&dir.data(), &what).1, 8, "{what}");
            if written.is_err() {
                refused += 1;
                write().unwrap_or_else(|error| panic!("{what}: {error}"));
            }
            storage.log.append(&batch(9..11, 1));
            assert_eq!(check_order(&dir.data(), &what), 5, "{what}");
            assert_eq!(manifests(&dir.data())[0], 5, "{what}");
            assert_eq!(after_a_crash(&dir.data(), &what), (8, 10), "{what}");
            failed
        });
        assert!(calls > 10 && refused > 8, "{refused} of {calls} calls");
    }
}

#[test]
fn a_startup_replaces_a_chain_that_was_left_in_an_earlier_format() {
    let dir = TempDir::new();
    let storage = before_the_raise(&dir);
    // The process ends between the writes of the identity and of the base.
    storage.checkpoint.folder.identity.raise(RAISED).unwrap();
    drop(storage);
    assert_eq!(check_order(&dir.data(), "before"), 5);
    assert_eq!(manifests(&dir.data())[0], 4);
    let (storage, recovered) = reopen(&dir);
    let base = recovered.checkpoint;
    let (checkpointer, durable) = start_checkpointer(storage.checkpoint, base, &metrics());
    assert_eq!(durable.recv_timeout(LONG), Ok(1));
    assert!(checkpointer.healthy(), "nothing was damaged");
    assert!(!checkpointer.awaits_format_of(RAISED));
    drop(checkpointer);
    assert_eq!(manifests(&dir.data())[0], 5);
}

#[test]
fn the_checkpoint_of_a_raised_level_is_awaited() {
    let dir = TempDir::new();
    let storage = before_the_raise(&dir);
    let base = Some(view(1, 10));
    let (checkpointer, durable) = start_checkpointer(storage.checkpoint, base, &metrics());
    assert!(!checkpointer.awaits_format_of(levels::FIRST));
    assert!(checkpointer.awaits_format_of(RAISED));
    checkpointer.offer(raised(8));
    assert_eq!(durable.recv_timeout(LONG), Ok(8));
    assert!(!checkpointer.awaits_format_of(RAISED));
}

#[test]
fn a_copy_that_becomes_up_to_date_keeps_the_later_format() {
    let (dir, other) = (TempDir::new(), TempDir::new());
    drop(before_the_raise(&dir));
    copy(&dir.data(), &other.data());
    let (mut storage, _) = reopen(&other);
    let copy = storage.copy.take().expect("the directory is a copy");
    storage.checkpoint.write(None, &raised(8)).unwrap();
    copy.mark_up_to_date().unwrap();
    let text = identity_of(&other.data());
    assert!(text.starts_with("format 5\n"), "{text}");
    assert!(!text.contains("outdated"), "{text}");
}

#[test]
fn a_directory_that_is_created_from_a_raised_state_has_its_format() {
    let dir = TempDir::new();
    let create = || crate::create(&dir.data(), &ME, &unlimited());
    while_unlocked(create).unwrap().finish(raised(8)).unwrap();
    assert_eq!(check_order(&dir.data(), "created"), 5);
    let (storage, recovered) = reopen(&dir);
    same(recovered.checkpoint.as_ref(), &raised(8));
    assert!(storage.copy.is_none());
    assert_eq!(FORMATS.last().map(|format| format.number), Some(5));
}
