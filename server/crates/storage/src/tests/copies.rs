//! Copies a running member's directory, file by file, while the member writes, makes checkpoints and cuts its log.

use super::{
    workload::{Driven, Expected},
    *,
};

/// A retention longer than any copy in these tests.
const HOUR: Duration = Duration::from_secs(3600);
const BATCHES_BEFORE: usize = 120;
/// Number of batches written while each file is copied. More batches would exceed the size limit of outdated entries and drop
/// some of them during the copy.
const BATCHES_A_FILE: usize = 2;

/// The order in which a directory's files are copied.
#[derive(Clone, Copy, Debug)]
enum Order {
    LogFirst,
    CheckpointFirst,
    Backwards,
}

const ORDERS: [Order; 3] = [Order::LogFirst, Order::CheckpointFirst, Order::Backwards];

/// Copies a directory as copy programs do: lists it, then copies the files one by one. Skips locks and files that have been
/// removed in the meantime. Calls `after_each` after each file.
fn copy_slowly(from: &Path, to: &Path, order: Order, after_each: &mut dyn FnMut()) {
    std::fs::create_dir_all(to).unwrap();
    let listed = std::fs::read_dir(from);
    let mut paths: Vec<PathBuf> = listed
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    match order {
        Order::CheckpointFirst => {}
        Order::LogFirst => paths.sort_by_key(|path| !path.ends_with("log")),
        Order::Backwards => paths.reverse(),
    }
    for path in paths {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_slowly(&path, &target, order, after_each);
        } else if path.file_name().unwrap() != "LOCK" {
            let _ = std::fs::copy(&path, &target);
            after_each();
        }
    }
}

/// Copies the directory of a running member. Returns the index of the last entry acknowledged before the copy, and the copy.
fn copied(order: Order, kept_for: Duration) -> (u64, TempDir) {
    let (dir, copy) = (TempDir::new(), TempDir::new());
    let mut member = Driven::start_and_keep(&dir.data(), kept_for);
    let mut acknowledged = 0;
    for _ in 0..BATCHES_BEFORE {
        acknowledged = member.step();
    }
    copy_slowly(&dir.data(), &copy.data(), order, &mut || {
        for _ in 0..BATCHES_A_FILE {
            member.step();
        }
        member.settle();
    });
    (acknowledged, copy)
}

#[test]
fn a_copy_of_a_running_member_has_all_that_was_acknowledged_before() {
    for order in ORDERS {
        let (acknowledged, copy) = copied(order, HOUR);
        let found = Expected::default().compare(&copy.data()).unwrap();
        assert!(found.last >= acknowledged, "{order:?}: {found:?}");
        // The copy continues after its last entry.
        let (storage, _) = reopen(&copy);
        assert_eq!(storage.log.last_index(), found.last + 1, "{order:?}");
    }
}

#[test]
fn a_copy_that_takes_longer_than_outdated_files_are_kept_is_whole_or_refused() {
    let mut refused = 0;
    for order in ORDERS {
        let (acknowledged, copy) = copied(order, Duration::ZERO);
        match Expected::default().compare(&copy.data()) {
            Ok(found) => assert!(found.last >= acknowledged, "{order:?}: {found:?}"),
            Err(error) => {
                assert!([27, 28].contains(&error.exit_code()), "{order:?}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "the member removes nothing while it is copied");
}

/// A copy that stops before it is up to date must not be considered the original at its next startup.
#[test]
fn a_copy_counts_as_a_copy_at_each_start_until_it_is_up_to_date() {
    let (dir, copy) = (TempDir::new(), TempDir::new());
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..9, 1));
    assert!(storage.copy.is_none());
    drop(storage);
    super::copy(&dir.data(), &copy.data());
    for index in 9..11 {
        let (mut storage, _) = reopen(&copy);
        assert!(storage.copy.is_some());
        storage.log.append(&batch(index..index + 1, 1));
    }
    reopen(&copy).0.copy.unwrap().mark_up_to_date().unwrap();
    for own in [&dir, &copy] {
        assert!(reopen(own).0.copy.is_none());
    }
}

#[test]
fn only_a_copy_may_have_a_log_that_ends_before_its_checkpoint() {
    let (dir, copy) = (TempDir::new(), TempDir::new());
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..9, 1));
    drop(storage);
    let log = dir.data().join("member/log");
    super::copy(&log, &copy.0.join("log"));
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(9..12, 1));
    storage.checkpoint.write(None, &view(11, 10)).unwrap();
    drop(storage);
    super::copy(&dir.data(), &copy.data());
    for data in [dir.data(), copy.data()] {
        std::fs::remove_dir_all(data.join("member/log")).unwrap();
        super::copy(&copy.0.join("log"), &data.join("member/log"));
    }
    assert_eq!(open(&dir.data(), &ME).unwrap_err().exit_code(), 27);
    let (mut storage, recovered) = reopen(&copy);
    assert_eq!(recovered.checkpoint.unwrap().position.index, 11);
    assert_eq!(storage.log.last_index(), 11);
    storage.log.append(&batch(12..14, 2));
    drop(storage);
    assert_eq!(indexes(&reopen(&copy).1), [12, 13]);
}

#[test]
fn a_copy_may_lack_log_files_that_no_startup_needs() {
    const ENTRY_BYTES: usize = 6 << 20;
    let (dir, copy) = (TempDir::new(), TempDir::new());
    let (mut storage, _) = reopen(&dir);
    for index in 2..12 {
        storage.log.append(&large(index, ENTRY_BYTES));
    }
    storage.checkpoint.write(None, &view(10, 10)).unwrap();
    drop(storage);
    super::copy(&dir.data(), &copy.data());
    for at in [&dir, &copy] {
        let files = at.log_files();
        assert!(files.len() > 3, "{files:?}");
        std::fs::remove_file(&files[1]).unwrap();
    }
    assert_eq!(open(&dir.data(), &ME).unwrap_err().exit_code(), 27);
    for _ in 0..2 {
        let (storage, recovered) = reopen(&copy);
        assert_eq!(indexes(&recovered), [11]);
        assert_eq!(storage.log.last_index(), 11);
    }
}

#[test]
fn the_previous_checkpoint_is_kept_after_a_startup() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..9, 1));
    storage.checkpoint.rewrite(None, &view(5, 10)).unwrap();
    storage.checkpoint.rewrite(None, &view(8, 10)).unwrap();
    drop(storage);
    drop(reopen(&dir));
    flip_bit(&dir.run_path(2), 100);
    let (storage, recovered) = reopen(&dir);
    assert!(storage.checkpoint.fell_back);
    assert_eq!(recovered.checkpoint.as_ref().unwrap().position.index, 5);
    assert_eq!(indexes(&recovered), [6, 7, 8]);
}
