//! Tests startups that read the heads of runs. The state is always the same as without heads, and values are not read.

use rustix::io::Errno;

use super::{
    failing_calls::fail_next,
    rewrite::{command, compact, numbers, put, run},
    values::{blocks, filled, flip, is_cold, keeps_none, open_cached},
    workload::{chances, first, id},
    *,
};
use crate::{
    heads::{self, heads_number},
    manifest::Run,
};

fn numbers_of_heads(dir: &TempDir) -> Vec<u64> {
    let heads = files(&dir.checkpoint(), ".heads");
    heads.iter().filter_map(|path| heads_number(path)).collect()
}

/// Opens a copy of the directory with no values in memory and compares the state with `expected`.
fn compare(dir: &TempDir, expected: &View, what: &str) {
    let (copied, cache) = (TempDir::new(), keeps_none());
    copy(&dir.0, &copied.0);
    let (_storage, found) = open_cached(&copied, &cache);
    let found = found.unwrap();
    assert_eq!(cache.resident_bytes(), 0, "{what}");
    assert!(
        found.full_fingerprint() == expected.full_fingerprint(),
        "{what}"
    );
}

/// Creates a directory with a state of `keys` keys, in a base and two differences that remove and compact blocks.
fn written(keys: u64) -> (TempDir, View) {
    let dir = TempDir::new();
    let (mut storage, _) = open_cached(&dir, &unlimited());
    let mut view = filled(keys, 2000);
    storage.checkpoint.write(None, &view).unwrap();
    for round in 0..2 {
        let since = view.clone();
        // In some blocks, all versions are replaced, and in other blocks, only some versions.
        for name in (0..keys / 3).chain((keys / 2..keys).step_by(4)) {
            run(&mut view, put(name, 1000 + round));
        }
        compact(&mut view);
        view.machine.kv.clear_states_before_compaction();
        storage.checkpoint.write(Some(&since), &view).unwrap();
    }
    (dir, view)
}

#[test]
fn a_start_by_heads_reads_no_value() {
    let (dir, view) = written(600);
    compare(&dir, &view, "whole");
    // Damage each closed block. Only a startup that reads the values can find the damage.
    let blocks = blocks(&dir);
    assert!(blocks.len() > 20, "{} blocks", blocks.len());
    for block in &blocks[..blocks.len() - 1] {
        flip(&dir, block, block.value.bytes().len() / 2);
    }
    let (storage, found) = open_cached(&dir, &keeps_none());
    assert!(is_cold(&found.unwrap()));
    drop(storage);
    assert_eq!(open(&dir.data(), &ME).unwrap_err().exit_code(), 28);
}

#[test]
fn a_start_reads_values_if_the_cache_can_keep_all() {
    let (dir, view) = written(150);
    let bytes = manifest(&dir).chain.bytes();
    for (target, reads) in [(bytes, true), (bytes - 1, false)] {
        let cache = unlimited();
        cache.set_target(target);
        let (_storage, found) = open_cached(&dir, &cache);
        let found = found.unwrap();
        assert_eq!(is_cold(&found), !reads, "{target} bytes");
        assert_eq!(cache.resident_bytes() > 0, reads, "{target} bytes");
        assert!(found.full_fingerprint() == view.full_fingerprint());
    }
}

#[test]
fn small_values_have_no_heads() {
    for (size, has_heads) in [(100, false), (2000, true)] {
        let dir = TempDir::new();
        let (mut storage, _) = open_cached(&dir, &unlimited());
        let view = filled(600, size);
        storage.checkpoint.write(None, &view).unwrap();
        assert_eq!(
            !numbers_of_heads(&dir).is_empty(),
            has_heads,
            "{size} bytes"
        );
        compare(&dir, &view, "written");
    }
}

#[test]
fn a_start_by_heads_gives_the_same_state_after_any_writes() {
    for seed in 0..4 {
        let (dir, mut chance) = (TempDir::new(), chances(seed));
        let (mut storage, _) = open_cached(&dir, &unlimited());
        let mut view = first();
        storage.checkpoint.write(None, &view).unwrap();
        for round in 0..40 {
            let since = view.clone();
            for _ in 0..chance(40) {
                let command = command(&mut chance, view.machine.kv.revision().0);
                run(&mut view, command);
            }
            match chance(8) {
                0 => storage.checkpoint.rewrite(Some(&since), &view).unwrap(),
                _ => storage.checkpoint.write(Some(&since), &view).unwrap(),
            }
            compare(&dir, &view, &format!("seed {seed}, round {round}"));
        }
    }
}

/// Appends the checksum that ends a file of heads.
fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&content);
    content.extend(crc.to_le_bytes());
    content
}

/// Returns the bytes that replace the heads of a run, or `None` to remove them. The second argument contains the heads of
/// another run.
type ReplaceHeads = fn(Vec<u8>, &[u8]) -> Option<Vec<u8>>;

#[test]
fn heads_that_do_not_match_their_run_are_not_used() {
    let damages: [(&str, ReplaceHeads); 7] = [
        ("missing", |_, _| None),
        ("empty", |_, _| Some(Vec::new())),
        ("torn", |bytes, _| Some(bytes[..bytes.len() / 2].to_vec())),
        ("with a hole", |mut bytes, _| {
            let middle = bytes.len() / 2;
            bytes[middle..].fill(0);
            Some(bytes)
        }),
        ("of another run", |_, other| Some(other.to_vec())),
        ("of a later version", |bytes, _| {
            let content = &bytes[..bytes.len() - 4];
            let later = String::from_utf8_lossy(&content[..13]).replace('1', "2");
            Some(sealed([later.as_bytes(), &content[13..]].concat()))
        }),
        ("invalid", |bytes, _| {
            let title = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let mut content = bytes[..bytes.len() - 4].to_vec();
            // This byte is the kind of the first block's directory, after two lengths, the key, a length and the base.
            if let Some(kind) = content.get_mut(title + 8 + 10 + 4 + 8) {
                *kind = 9;
            }
            Some(sealed(content))
        }),
    ];
    let (dir, view) = written(150);
    let paths = files(&dir.checkpoint(), ".heads");
    assert!(paths.len() > 3, "{paths:?}");
    let read = |path: &PathBuf| std::fs::read(path).unwrap();
    let all: Vec<Vec<u8>> = paths.iter().map(read).collect();
    for (what, damage) in damages {
        for (at, path) in paths.iter().enumerate() {
            let other = &all[(at + 1) % all.len()];
            match damage(all[at].clone(), other) {
                Some(bytes) => std::fs::write(path, bytes).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
        }
        compare(&dir, &view, what);
    }
}

#[test]
fn every_flipped_bit_in_heads_is_detected() {
    let (dir, _) = written(20);
    let of = |run: &Run| (run.clone(), dir.run_path(run.number));
    let manifest = manifest(&dir);
    let mut runs = manifest.chain.runs().map(of);
    let (run, path) = runs
        .find(|(run, path)| heads::read(path, run).is_some())
        .expect("a run has heads");
    let heads_path = heads::heads_path(&path);
    let whole = std::fs::read(&heads_path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&heads_path, bytes).unwrap();
        assert_eq!(heads::read(&path, &run), None, "byte {at}");
    }
    std::fs::write(&heads_path, &whole).unwrap();
    assert!(heads::read(&path, &run).is_some());
    // The manifest names another run, or the run is incomplete.
    let other = Run { number: run.number + 1, ..run.clone() };
    assert_eq!(heads::read(&path, &other), None);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[1..]).unwrap();
    assert_eq!(heads::read(&path, &run), None);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(heads::read(&path, &run), None);
}

#[test]
fn heads_are_removed_with_their_run() {
    let (dir, mut view) = written(60);
    assert!(!numbers_of_heads(&dir).is_empty());
    let orphan = dir.checkpoint().join("00009999.heads");
    std::fs::write(&orphan, "of a run that an earlier release has removed").unwrap();
    let (mut storage, _) = open_cached(&dir, &unlimited());
    assert!(!orphan.exists());
    let before = numbers_of_heads(&dir);
    run(&mut view, put(1, 1));
    for _ in 0..2 {
        storage.checkpoint.write(None, &view).unwrap();
    }
    let after = numbers_of_heads(&dir);
    assert!(!after.is_empty() && after.iter().all(|number| !before.contains(number)));
    let runs = dir.runs();
    assert!(after.iter().all(|number| runs.contains(number)));
    assert!(after.iter().any(|number| numbers(&dir).contains(number)));
}

#[test]
fn heads_are_removed_when_the_disk_lacks_space() {
    for receives in [true, false] {
        let (dir, view) = written(60);
        assert!(!numbers_of_heads(&dir).is_empty());
        // The disk has no space for anything but the log.
        let ledger = Arc::new(Ledger::new(PathBuf::new(), 0, u64::MAX / 2));
        let (storage, _) = open_with(&dir.data(), &ME, &ledger).unwrap();
        let base = Some(view.clone());
        let (mut checkpointer, _) = start_checkpointer(storage.checkpoint, base, &metrics());
        match receives {
            true => assert!(checkpointer.receiver().begin(id(&view), 1).is_err()),
            false => checkpointer.rewrite_all_runs(view.clone(), unlimited().hold()),
        }
        wait_until("heads stay", || numbers_of_heads(&dir).is_empty());
        checkpointer.stop();
        compare(&dir, &view, "without heads");
    }
}

#[test]
fn heads_are_removed_if_the_quota_is_used_up() {
    let (dir, mut view) = written(60);
    let (storage, _) = open_with(&dir.data(), &ME, &Arc::default()).unwrap();
    let (send, durable) = mpsc::sync_channel(2);
    // The checkpoint thread calls this function, so its next write fails once.
    let durable_at = move |index| {
        fail_next(Errno::DQUOT);
        let _ = send.try_send(index);
    };
    let base = Some(view.clone());
    let checkpointer = Checkpointer::start(storage.checkpoint, base, metrics(), durable_at);
    let checkpointer = checkpointer.unwrap();
    for heads_go in [false, true] {
        view.position.index += 1;
        checkpointer.offer(view.clone());
        assert_eq!(durable.recv_timeout(LONG), Ok(view.position.index));
        assert_eq!(numbers_of_heads(&dir).is_empty(), heads_go);
    }
}
