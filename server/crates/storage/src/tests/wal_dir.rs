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
fn a_log_in_the_data_directory_moves_after_attempts_that_were_interrupted() {
    let states: [fn(&TempDir, &Path); 3] = [
        |_, _| {},
        // with another --wal-dir
        |dir, _| symlink("/nowhere", log_of(dir).with_file_name("log.exchanged")).unwrap(),
        // after the exchange
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
        place_log(&dir.data(), &wal).expect("it moves");
        assert_eq!(fs::read_link(log_of(&dir)).unwrap(), wal.join("log"));
        assert!(!log_of(&dir).with_file_name("log.exchanged").exists());
        assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
    }
}

#[test]
fn a_copy_that_was_not_exchanged_is_refused_until_it_is_removed() {
    let (dir, wal) = with_log();
    fs::create_dir_all(wal.join("log")).unwrap();
    fs::write(wal.join("log/0000000000000001.raftlog"), "whose?").unwrap();
    let error = place_log(&dir.data(), &wal).expect_err("it may be another's");
    assert!(matches!(error, OpenError::WalDir { .. }), "{error}");
    assert!(wal.join("log/0000000000000001.raftlog").exists());
    fs::remove_dir_all(wal.join("log")).unwrap();
    place_log(&dir.data(), &wal).expect("it moves");
    assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
}

#[test]
fn a_link_of_another_form_leads_to_the_same_place() {
    let (dir, wal) = with_log();
    place_log(&dir.data(), &wal).expect("it moves");
    fs::remove_file(log_of(&dir)).unwrap();
    symlink("../../wal/log", log_of(&dir)).unwrap();
    place_log(&dir.data(), &wal).expect("its place");
    assert_eq!(reopen(&dir).1.records, batch(2..5, 1).records);
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
fn folders_in_the_data_directory_are_places_too() {
    for (name, is_link) in [("member", false), ("member/wal", true), ("wal", true)] {
        for is_fresh in [false, true] {
            let dir = match is_fresh {
                true => TempDir::new(),
                false => with_log().0,
            };
            for _ in 0..2 {
                place_log(&dir.data(), &dir.data().join(name)).expect("a place");
                assert_eq!(log_of(&dir).is_symlink(), is_link, "{name}");
                let records = reopen(&dir).1.records;
                assert_eq!(records.is_empty(), is_fresh, "{name}");
            }
        }
    }
}
