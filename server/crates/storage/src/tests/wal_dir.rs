//! The log outside of the data directory: where it is placed, moved, refused, and found.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::*;

fn place_log(dir: &Path, wal: &Path) -> Result<(), OpenError> {
    while_unlocked(|| crate::place_log(dir, wal))
}

/// A data directory whose log, in it, ends at entry 4; and a folder beside it.
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
fn a_new_log_is_where_it_was_asked_for() {
    let dir = TempDir::new();
    let wal = dir.data().with_file_name("wal");
    place_log(&dir.data(), &wal).expect("a new place");
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..5, 1));
    drop(storage);
    assert!(fs::read_dir(wal.join("log")).unwrap().count() > 0);
    // with the flag and without
    place_log(&dir.data(), &wal).expect("its place");
    assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
}

#[test]
fn a_log_in_the_data_directory_moves_whenever_it_was_interrupted() {
    let states: [fn(&TempDir, &Path); 4] = [
        |_, _| {},
        |dir, wal| symlink(wal.join("log"), log_of(dir).with_file_name("log.exchanged")).unwrap(),
        |dir, wal| {
            symlink(wal.join("log"), log_of(dir).with_file_name("log.exchanged")).unwrap();
            fs::create_dir_all(wal.join("log")).unwrap();
            fs::write(wal.join("log/0000000000000001.raftlog"), "half").unwrap();
        },
        |dir, wal| {
            place_log(&dir.data(), wal).unwrap();
            fs::create_dir(log_of(dir).with_file_name("log.exchanged")).unwrap();
        },
    ];
    for state in states {
        let (dir, wal) = with_log();
        fs::create_dir(&wal).unwrap();
        let wal = fs::canonicalize(wal).unwrap();
        state(&dir, &wal);
        place_log(&dir.data(), &wal).expect("it moves");
        assert_eq!(fs::read_link(log_of(&dir)).unwrap(), wal.join("log"));
        assert!(!log_of(&dir).with_file_name("log.exchanged").exists());
        assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
    }
}

#[test]
fn another_place_and_another_log_are_refused() {
    let ((dir, wal), (other, _)) = (with_log(), with_log());
    place_log(&dir.data(), &wal).expect("it moves");
    for (refused, wal) in [(&dir, wal.with_file_name("second")), (&other, wal)] {
        let error = place_log(&refused.data(), &wal).expect_err("a contradiction");
        assert!(matches!(error, OpenError::WalDir { .. }), "{error}");
        assert_eq!(reopen(refused).1.records, batch(2..5, 1).records);
    }
}

#[test]
fn a_log_whose_disk_is_missing_is_no_new_log() {
    let (dir, wal) = with_log();
    place_log(&dir.data(), &wal).expect("it moves");
    fs::rename(&wal, wal.with_file_name("unmounted")).unwrap();
    for _ in 0..2 {
        let error = open(&dir.data(), &ME).expect_err("its log is missing");
        assert!(
            error.to_string().contains("is its disk mounted?"),
            "{error}"
        );
        // its folder without the log, as a mount point is
        fs::create_dir_all(&wal).unwrap();
        place_log(&dir.data(), &wal).expect("its place");
    }
}

#[test]
fn the_folder_of_the_member_itself_is_no_other_place() {
    let (dir, _) = with_log();
    place_log(&dir.data(), &dir.data().join("member")).expect("where it is");
    assert!(!log_of(&dir).is_symlink());
    assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
}
