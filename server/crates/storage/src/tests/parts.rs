//! Tests states that are written in parts while they are built. The directory then has the same state as one that was written
//! in one step, and a part is never used as a state.

use std::os::unix::fs::MetadataExt;

use super::{
    rewrite::{command, numbers, put, run},
    values::{keeps_none, open_cached},
    workload::{chances, first, records},
    *,
};

/// Builds a state. The same seed always produces the same state. Calls `built` after each command.
fn build(seed: u64, built: &mut dyn FnMut(&View)) -> View {
    let (mut view, mut chance) = (first(), chances(seed));
    for _ in 0..1000 {
        let command = command(&mut chance, view.machine.kv.revision().0);
        run(&mut view, command);
        view.machine.kv.clear_states_before_compaction();
        built(&view);
    }
    view
}

#[test]
fn a_directory_that_is_created_in_parts_has_the_same_state() {
    for seed in 0..3 {
        let (dir, cache) = (TempDir::new(), keeps_none());
        let create = || crate::create(&dir.data(), &ME, &cache);
        let mut new = while_unlocked(create).unwrap();
        let view = build(seed, &mut |view| new.write_part(&view.machine).unwrap());
        let expected = records(&build(seed, &mut |_| ()));
        let dropped = cache.dropped_bytes();
        assert!(dropped > 1 << 20, "only {dropped} bytes were evicted");
        assert!(records(&view) == expected, "another state is built");
        new.finish(view).unwrap();
        assert_eq!(files(&dir.0, ""), [dir.data()]);
        assert!(manifest(&dir).before.is_empty(), "a part could be used");
        let (storage, recovered) = reopen(&dir);
        assert!(!storage.checkpoint.fell_back);
        let found = records(&recovered.checkpoint.unwrap());
        assert!(found == expected, "another state is stored");
    }
}

#[test]
fn a_directory_that_is_not_finished_leaves_nothing() {
    let (dir, cache) = (TempDir::new(), keeps_none());
    let create = || crate::create(&dir.data(), &ME, &cache);
    let mut new = while_unlocked(create).unwrap();
    build(1, &mut |view| new.write_part(&view.machine).unwrap());
    assert_eq!(files(&dir.0, "").len(), 1);
    drop(new);
    assert!(files(&dir.0, "").is_empty());
}

/// An existing directory may be a mount point, which cannot be replaced.
#[test]
fn an_existing_directory_is_filled_and_not_replaced() {
    let (dir, cache) = (TempDir::new(), keeps_none());
    let inode = || std::fs::metadata(dir.data()).unwrap().ino();
    // A killed process has left files.
    let left = dir.data().join("witan-restoring/member");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("LOCK"), "1").unwrap();
    let before = inode();
    assert!(crate::is_free(&dir.data()).unwrap());
    let create = || crate::create(&dir.data(), &ME, &cache);
    drop(while_unlocked(create).unwrap());
    assert!(files(&dir.data(), "").is_empty(), "no files are left");

    let mut new = while_unlocked(create).unwrap();
    let view = build(1, &mut |view| new.write_part(&view.machine).unwrap());
    let expected = records(&view);
    let other = create().expect_err("another restore is running");
    assert_eq!(other.exit_code(), 20, "{other}");
    new.finish(view).unwrap();
    assert_eq!(files(&dir.0, ""), [dir.data()]);
    assert_eq!(files(&dir.data(), ""), [dir.data().join("member")]);
    assert_eq!(inode(), before);
    assert!(!crate::is_free(&dir.data()).unwrap());
    let (_storage, recovered) = reopen(&dir);
    assert!(records(&recovered.checkpoint.unwrap()) == expected);
}

/// Two processes can try to restore into one directory at the same time.
#[test]
fn a_second_creation_fails_and_changes_nothing() {
    let (dir, cache) = (TempDir::new(), keeps_none());
    let staged = dir.data().join("witan-restoring");
    std::fs::create_dir_all(&staged).unwrap();
    // The first process has not created the files of the member yet.
    let lock = while_unlocked(|| crate::DirectoryLock::take(&staged)).unwrap();
    let create = || crate::create(&dir.data(), &ME, &cache);
    let second = create().expect_err("another restore is running");
    assert_eq!(second.exit_code(), 20, "{second}");
    assert_eq!(files(&staged, ""), [staged.join("LOCK")]);
    drop(lock);
}

#[test]
fn a_directory_that_another_process_has_filled_stays_as_it_is() {
    let (dir, cache) = (TempDir::new(), keeps_none());
    let create = || crate::create(&dir.data(), &ME, &cache);
    let late = while_unlocked(create).unwrap();
    std::fs::create_dir(dir.data()).unwrap();
    while_unlocked(create).unwrap().finish(first()).unwrap();
    let identity = || std::fs::read(dir.data().join("member/identity")).unwrap();
    let before = identity();
    late.finish(first()).expect_err("the directory is filled");
    assert_eq!(identity(), before);
    assert_eq!(files(&dir.0, ""), [dir.data()]);
}

#[test]
fn a_new_file_system_is_free() {
    let dir = TempDir::new();
    std::fs::create_dir_all(dir.data().join("lost+found")).unwrap();
    assert!(crate::is_free(&dir.data()).unwrap());
    std::fs::write(dir.data().join("file"), "").unwrap();
    assert!(!crate::is_free(&dir.data()).unwrap());
}

#[test]
fn after_a_crash_a_part_does_not_count_as_a_checkpoint() {
    let (dir, cache) = (TempDir::new(), keeps_none());
    for seed in 0..2 {
        let (mut storage, recovered) = open_cached(&dir, &cache);
        assert!(recovered.is_none(), "a part was published");
        build(seed, &mut |view| {
            storage.checkpoint.write_part(&view.machine).unwrap();
        });
        assert!(!dir.runs().is_empty(), "no part was written");
    }
    let (mut storage, recovered) = open_cached(&dir, &cache);
    assert!(recovered.is_none(), "a part was published");
    let view = build(2, &mut |view| {
        storage.checkpoint.write_part(&view.machine).unwrap();
    });
    storage.checkpoint.write(None, &view).unwrap();
    storage.checkpoint.remove_others();
    assert_eq!(dir.runs(), numbers(&dir));
    // The next checkpoint continues from the entire state.
    let mut later = view.clone();
    run(&mut later, put(1, 100));
    storage.checkpoint.write(Some(&view), &later).unwrap();
    assert!(!manifest(&dir).before.is_empty());
    drop(storage);
    let (_storage, recovered) = open_cached(&dir, &cache);
    let found = records(&recovered.unwrap());
    assert!(found == records(&later), "another state is stored");
}
