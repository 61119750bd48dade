//! Tests the log outside the data directory: placing, moving, refusing and finding it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::*;

fn place_log(dir: &Path, wal: &Path) -> Result<(), OpenError> {
    while_unlocked(|| crate::place_log(dir, wal, &ME))
}

/// Creates a data directory whose log ends at entry 4. Also returns a path outside it for `--wal-dir`.
fn with_log() -> (TempDir, PathBuf) {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..5, 1));
    drop(storage);
    let wal = dir.data().with_file_name("wal");
    (dir, wal)
}

fn log_of(dir: &TempDir) -> PathBuf {
    dir.data().join("member/log")
}

#[test]
fn a_new_log_is_in_the_requested_directory() {
    let dir = TempDir::new();
    let wal = dir.data().with_file_name("wal");
    place_log(&dir.data(), &wal).expect("a new log");
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..5, 1));
    drop(storage);
    assert!(fs::read_dir(wal.join("log")).unwrap().count() > 0);
    // Startup finds the log with the flag and without it.
    place_log(&dir.data(), &wal).expect("the log is in place");
    assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
}

#[test]
fn a_log_in_the_data_directory_moves_after_attempts_that_were_interrupted() {
    let states: [fn(&TempDir, &Path); 5] = [
        |_, _| {},
        // An earlier process with the same id was interrupted while it copied a log.
        |_, wal| {
            let staged = wal.join(format!("log.moving-{}", std::process::id()));
            fs::create_dir(&staged).unwrap();
            fs::write(staged.join("0000000000000009.raftlog"), "earlier").unwrap();
        },
        // A move to another --wal-dir was interrupted.
        |dir, _| symlink("/nowhere", log_of(dir).with_file_name("log.exchanged")).unwrap(),
        // The move was interrupted before the exchange.
        |dir, wal| {
            let log = log_of(dir);
            let saved = log.with_file_name("saved");
            copy_with_link(&log, &saved);
            place_log(&dir.data(), wal).unwrap();
            fs::rename(&log, log.with_file_name("log.exchanged")).unwrap();
            fs::rename(saved, log).unwrap();
            fs::write(wal.join("log/0000000000000009.raftlog"), "earlier").unwrap();
        },
        // The move was interrupted after the exchange.
        |dir, wal| {
            place_log(&dir.data(), wal).unwrap();
            fs::create_dir(log_of(dir).with_file_name("log.exchanged")).unwrap();
        },
    ];
    for state in states {
        let (dir, wal) = with_log();
        fs::create_dir(&wal).unwrap();
        let wal = fs::canonicalize(wal).unwrap();
        fs::create_dir(wal.join("log.moving-1")).unwrap();
        state(&dir, &wal);
        place_log(&dir.data(), &wal).expect("the log is moved");
        assert_eq!(fs::read_link(log_of(&dir)).unwrap(), wal.join("log"));
        assert!(!log_of(&dir).with_file_name("log.exchanged").exists());
        assert!(!wal.join("log/0000000000000009.raftlog").exists());
        assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
    }
}

#[test]
fn a_copy_that_was_not_exchanged_is_refused_until_it_is_removed() {
    let (dir, wal) = with_log();
    fs::create_dir_all(wal.join("log")).unwrap();
    fs::write(wal.join("log/0000000000000001.raftlog"), "whose?").unwrap();
    let error = place_log(&dir.data(), &wal).expect_err("an unknown owner");
    assert!(error.to_string().contains("--wal-dir puts"), "{error}");
    assert!(wal.join("log/0000000000000001.raftlog").exists());
    fs::remove_dir_all(wal.join("log")).unwrap();
    place_log(&dir.data(), &wal).expect("the log is moved");
    assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
}

#[test]
fn a_relative_link_to_the_log_is_accepted() {
    let (dir, wal) = with_log();
    place_log(&dir.data(), &wal).expect("the log is moved");
    fs::remove_file(log_of(&dir)).unwrap();
    symlink("../../wal/log", log_of(&dir)).unwrap();
    // This link is not the link that the log names.
    assert_eq!(open(&dir.data(), &ME).unwrap_err().exit_code(), 39);
    place_log(&dir.data(), &wal).expect("the log is in place");
    assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
}

#[test]
fn another_directory_and_another_log_are_refused() {
    let ((dir, wal), (other, _)) = (with_log(), with_log());
    place_log(&dir.data(), &wal).expect("the log is moved");
    for (refused, wal) in [(&dir, wal.with_file_name("second")), (&other, wal)] {
        let error = place_log(&refused.data(), &wal).expect_err("a contradiction");
        assert!(error.to_string().contains("--wal-dir puts"), "{error}");
        assert_eq!(reopen(refused).1.records, batch(2..5, 1).records);
    }
}

#[test]
fn a_log_is_not_created_while_its_disk_is_missing() {
    let (dir, wal) = with_log();
    place_log(&dir.data(), &wal).expect("the log is moved");
    fs::rename(&wal, wal.with_file_name("unmounted")).unwrap();
    for _ in 0..2 {
        let error = open(&dir.data(), &ME).expect_err("the log is missing");
        assert!(
            error.to_string().contains("whether its disk is mounted"),
            "{error}"
        );
        // The empty directory is like the mount point of an unmounted disk.
        fs::create_dir_all(&wal).unwrap();
        place_log(&dir.data(), &wal).expect("the log is in place");
    }
}

#[test]
fn the_log_can_be_in_a_folder_of_the_data_directory() {
    for (name, is_link) in [("member", false), ("member/wal", true), ("wal", true)] {
        for is_fresh in [false, true] {
            let dir = match is_fresh {
                true => TempDir::new(),
                false => with_log().0,
            };
            for _ in 0..2 {
                place_log(&dir.data(), &dir.data().join(name)).expect("the log is placed");
                assert_eq!(log_of(&dir).is_symlink(), is_link, "{name}");
                let records = reopen(&dir).1.records;
                assert_eq!(records.is_empty(), is_fresh, "{name}");
            }
        }
    }
}

/// Copies a data directory with its link, like `cp -a`.
fn copy_with_link(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_copy_does_not_touch_the_log_of_its_original() {
    let (dir, wal) = with_log();
    place_log(&dir.data(), &wal).expect("the log is moved");
    let copy = dir.data().with_file_name("copy");
    copy_with_link(&dir.data(), &copy);
    let before = contents(&wal.join("log"));
    let reading = || crate::read(&copy, &unlimited(), &metrics());
    let refusals = [
        open(&copy, &ME).expect_err("the original's log"),
        while_unlocked(reading).expect_err("the original's log"),
        place_log(&copy, &wal).expect_err("the original exists"),
    ];
    for error in refusals {
        assert_eq!(error.exit_code(), 39, "{error}");
        let original = dir.data().join("member/log");
        assert!(
            error.to_string().contains(original.to_str().unwrap()),
            "{error}"
        );
    }
    assert_eq!(contents(&wal.join("log")), before);
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(5..7, 1));
}

#[test]
fn a_copy_with_its_own_copy_of_the_log_is_a_separate_directory() {
    let (dir, wal) = with_log();
    place_log(&dir.data(), &wal).expect("the log is moved");
    let (copy, wal_copy) = (
        dir.data().with_file_name("copy"),
        wal.with_file_name("wal-copy"),
    );
    copy_with_link(&dir.data(), &copy);
    copy_with_link(&wal, &wal_copy);
    let link = copy.join("member/log");
    fs::remove_file(&link).unwrap();
    symlink(wal_copy.join("log"), &link).unwrap();
    assert_eq!(open(&copy, &ME).unwrap_err().exit_code(), 39);
    place_log(&copy, &wal_copy).expect("no other link exists");
    for data in [&copy, &dir.data()] {
        let (mut storage, recovered) = open(data, &ME).unwrap();
        assert_eq!(recovered.records, batch(2..5, 1).records);
        storage.log.append(&batch(5..6, 1));
    }
}

#[test]
fn a_moved_directory_takes_its_log_along() {
    let (dir, wal) = with_log();
    place_log(&dir.data(), &wal).expect("the log is moved");
    let moved = dir.data().with_file_name("moved");
    fs::rename(dir.data(), &moved).unwrap();
    assert_eq!(open(&moved, &ME).unwrap().1.records, batch(2..5, 1).records);
    // A move to another disk copies the directory and then deletes it.
    copy_with_link(&moved, &dir.data());
    fs::remove_dir_all(&moved).unwrap();
    assert_eq!(open(&dir.data(), &ME).unwrap_err().exit_code(), 39);
    place_log(&dir.data(), &wal).expect("the original is gone");
    assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
    assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
}
