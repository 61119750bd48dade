//! Tests the levels, the ballast, and the allocation of free bytes.

use std::{fs, thread};

use rustix::io::Errno;

use super::*;
use crate::{
    member_dir,
    tests::{TempDir, failing_calls::fail_next},
};

const BALLAST_BYTES: u64 = 200_000;

fn open(dir: &Path) -> SpaceMonitor {
    let wanted = SpaceConfig {
        reserve_bytes: Some(1 << 20),
        ballast_bytes: Some(BALLAST_BYTES),
    };
    SpaceMonitor::open(dir, wanted)
}

/// Opens an empty data directory and checks the space once, which creates the ballast.
fn checked(dir: &TempDir) -> SpaceMonitor {
    fs::create_dir_all(member_dir(&dir.data())).unwrap();
    let mut space = open(&dir.data());
    assert_eq!(space.update(), SpaceLevel::Enough);
    space
}

#[test]
fn a_ballast_of_another_size_is_replaced_under_the_lock() {
    let dir = TempDir::new();
    let member = member_dir(&dir.data());
    fs::create_dir_all(&member).unwrap();
    let ballast = member.join("ballast");
    fs::write(&ballast, b"cut short").unwrap();
    let lock = DirectoryLock::take(&member).unwrap();
    assert!(!open(&dir.data()).ledger.holds_ballast());
    assert!(ballast.exists(), "another process uses the ballast");
    drop(lock);
    let mut space = open(&dir.data());
    assert!(!ballast.exists());
    space.update();
    assert_eq!(fs::metadata(&ballast).unwrap().len(), BALLAST_BYTES);
    assert!(space.ledger.holds_ballast());
    assert!(open(&dir.data()).ledger.holds_ballast());
}

#[test]
fn the_log_and_a_checkpoint_never_reserve_the_same_bytes() {
    let dir = TempDir::new();
    let member = member_dir(&dir.data());
    let mut space = checked(&dir);
    let ledger = space.ledger().clone();
    let most = space.free / 4 * 3;
    let run = ledger.begin_run(&member, most).unwrap();
    assert!(space.take(1000, false));
    assert!(!space.take(most, false), "the run needs the bytes");
    drop(run);
    assert!(space.take(most, false));
    let error = ledger.begin_run(&member, most).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    space.update();
    assert!(!space.take(most, false), "accepted but not written");
    space.written(0, most);
    assert!(ledger.begin_run(&member, most).is_err(), "not written yet");
    space.written(0, 0);
    assert!(ledger.begin_run(&member, most).is_ok());
}

#[test]
fn commands_that_add_data_leave_half_of_the_reserve_to_others() {
    let dir = TempDir::new();
    let mut space = checked(&dir);
    space.free = space.reserve_bytes;
    let half = space.reserve_bytes / 2;
    assert!(!space.take(half + 1, true));
    assert!(space.take(half, true));
    assert!(!space.take(1, true));
    assert!(space.take(half - space.ledger.floor_bytes, false));
    assert!(!space.take(1, false), "the log itself needs the floor");
}

/// A follower's log grows by entries that the leader has accepted.
#[test]
fn entries_of_the_leader_and_a_checkpoint_never_use_the_same_bytes() {
    let dir = TempDir::new();
    let member = member_dir(&dir.data());
    let mut space = checked(&dir);
    let ledger = space.ledger().clone();
    let most = space.free / 4 * 3;
    let run = ledger.begin_run(&member, most).unwrap();
    let left = space.log_room();
    assert!(left > 0 && left < most, "the run needs the bytes");
    space.written(1000, 0);
    assert_eq!(space.log_room(), left - 1000);
    drop(run);
    space.written(0, 0);
    assert!(space.log_room() > most);
}

#[test]
fn free_space_is_measured_again_after_much_log_of_others() {
    let dir = TempDir::new();
    let mut space = checked(&dir);
    space.free = 0;
    space.written(space.ledger.floor_bytes / 2, 0);
    assert_eq!(space.free, 0, "not yet");
    space.written(1, 0);
    assert!(space.free > 0);
    assert!(space.log_room() > 0 && space.log_room() < space.free);
    space.free = space.ledger.floor_bytes - 1;
    assert_eq!(space.log_room(), 0);
}

#[test]
fn a_deleted_ballast_is_restored() {
    let dir = TempDir::new();
    let ballast = member_dir(&dir.data()).join("ballast");
    let mut space = checked(&dir);
    fs::remove_file(&ballast).unwrap();
    space.ledger.release();
    assert!(!space.ledger.holds_ballast());
    space.update();
    assert!(space.ledger.holds_ballast() && ballast.exists());
}

#[test]
fn a_quota_without_space_for_the_ballast_refuses_commands_that_add_data() {
    let dir = TempDir::new();
    let mut space = checked(&dir);
    for error in [Errno::DQUOT, Errno::NOSPC] {
        // A log write that exceeds the quota also deletes the ballast.
        space.ledger.release();
        fail_next(error);
        assert_eq!(space.update(), SpaceLevel::Low, "{error}");
        assert!(!space.ledger.holds_ballast());
        assert_eq!(space.update(), SpaceLevel::Enough, "{error}");
        assert!(space.ledger.holds_ballast());
    }
    // Another file system may not be able to allocate space in advance.
    space.ledger.release();
    fail_next(Errno::OPNOTSUPP);
    assert_eq!(space.update(), SpaceLevel::Enough);
    assert!(!space.ledger.holds_ballast());
}

/// A failed attempt uses up the quota for a moment, in which a run could not be written.
#[test]
fn a_ballast_beyond_a_quota_is_created_at_an_update_without_a_run() {
    let dir = TempDir::new();
    let mut space = checked(&dir);
    let ledger = space.ledger().clone();
    ledger.release();
    fail_next(Errno::DQUOT);
    assert_eq!(space.update(), SpaceLevel::Low);
    // The turn measures the free space again.
    space.written(1, 0);
    assert_eq!(space.level(), SpaceLevel::Low);
    let run = ledger.begin_run(&dir.data(), 1).unwrap();
    assert_eq!(space.update(), SpaceLevel::Low);
    drop(run);
    assert!(!ledger.holds_ballast());
    // No run starts during an attempt.
    let deferred = ledger.defer_runs();
    thread::scope(|scope| {
        let run = scope.spawn(|| ledger.begin_run(&dir.data(), 1).map(drop));
        let update = space.update();
        assert!(!run.is_finished());
        assert_eq!((update, ledger.holds_ballast()), (SpaceLevel::Low, false));
        drop(deferred);
        run.join().unwrap().unwrap();
    });
    assert_eq!(space.update(), SpaceLevel::Enough);
    assert!(ledger.holds_ballast());
}

#[test]
fn a_rewrite_of_the_checkpoint_leaves_the_reserve_to_the_log() {
    let dir = TempDir::new();
    let mut space = checked(&dir);
    let status = space.status();
    assert_eq!(status.rewrite_lacks_bytes(), 0, "there is no checkpoint");
    space.free_for_checkpoint = space.reserve_bytes + space.checkpoint_log_bytes + 1000;
    for (bytes, lacks) in [(0, 0), (1000, 0), (1001, 1), (5000, 4000)] {
        space.ledger.checkpoint_bytes.store(bytes, Relaxed);
        assert_eq!(space.rewrite_lacks_bytes(), lacks, "{bytes}");
    }
    space.ledger.checkpoint_bytes.store(u64::MAX, Relaxed);
    space.update();
    assert!(status.rewrite_lacks_bytes() > 0, "the value is published");
}
