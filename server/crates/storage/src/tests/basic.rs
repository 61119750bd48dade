//! Tests that written data is read back: the log, the hard state, the checkpoint, and all of them together.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use witan_replica::{
    host::LogBatch,
    limits::{CATCH_UP_BYTES, CATCH_UP_ENTRIES},
};

use super::{
    rewrite::{RUN_BYTES, put, run},
    workload::first,
    *,
};
use crate::{LogSize, folder::is_superseded};

#[test]
fn entries_and_hard_state_are_restored() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..5, 1));
    storage.log.append(&batch(5..6, 2));
    drop(storage);
    let (storage, recovered) = reopen(&dir);
    assert_eq!(recovered.records[..3], batch(2..5, 1).records);
    assert_eq!(recovered.records[3..], batch(5..6, 2).records);
    assert_eq!(recovered.hard_state, batch(5..6, 2).hard_state);
    assert_eq!(storage.log.last_index(), 5);
}

#[test]
fn appending_below_the_end_replaces_the_rest() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..100, 1));
    storage.log.append(&batch(50..60, 2));
    drop(storage);
    let (mut storage, recovered) = reopen(&dir);
    assert_eq!(indexes(&recovered), (2..60).collect::<Vec<_>>());
    assert_eq!(recovered.records[48..], batch(50..60, 2).records);
    storage.log.append(&batch(2..3, 3));
    drop(storage);
    assert_eq!(reopen(&dir).1.records, batch(2..3, 3).records);
}

#[test]
fn a_hard_state_that_needs_no_sync_is_written_with_the_next_batch() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..3, 1));
    let moved = LogBatch { hard_state: Some("moved".into()), ..LogBatch::default() };
    storage.log.append(&moved);
    storage.log.append(&LogBatch {
        records: vec![record(3, 1, 10)],
        hard_state: None,
        must_sync: true,
    });
    drop(storage);
    let (mut storage, recovered) = reopen(&dir);
    assert_eq!(recovered.hard_state, Some("moved".into()));
    storage
        .log
        .append(&LogBatch { hard_state: Some("last".into()), ..LogBatch::default() });
    storage.log.close();
    drop((storage.checkpoint, storage.lock));
    assert_eq!(reopen(&dir).1.hard_state, Some("last".into()));
}

#[test]
fn a_cut_log_begins_where_it_was_cut() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.log.append(&batch(2..100, 1));
    storage.checkpoint.write(None, &view(60, 10)).unwrap();
    storage.log.cut(40);
    storage.log.cut(30);
    storage.log.append(&batch(100..101, 1));
    drop(storage);
    let (_, recovered) = reopen(&dir);
    assert_eq!(indexes(&recovered), (61..101).collect::<Vec<_>>());
    same(recovered.checkpoint.as_ref(), &view(60, 10));
}

#[test]
fn checkpoints_are_restored_from_bases_and_differences() {
    let dir = TempDir::new();
    let mut since: Option<View> = None;
    for (index, size) in [
        (2, 0),
        (3, 10 << 20),
        (4, 40_000),
        (5, 5),
        (6, 1 << 20),
        (7, 31 << 10),
    ] {
        let (mut storage, recovered) = reopen(&dir);
        if let Some(since) = &since {
            same(recovered.checkpoint.as_ref(), since);
        }
        let next = view(index, size);
        storage
            .checkpoint
            .write(recovered.checkpoint.as_ref(), &next)
            .unwrap();
        let again = view(index + 100, size);
        storage.checkpoint.write(Some(&next), &again).unwrap();
        if index % 2 == 0 {
            storage.checkpoint.write(None, &again).unwrap();
        }
        since = Some(again);
    }
    let (_, recovered) = reopen(&dir);
    same(recovered.checkpoint.as_ref(), &since.unwrap());
}

#[test]
fn the_thread_writes_the_offered_views() {
    let dir = TempDir::new();
    let (storage, _) = reopen(&dir);
    let metrics = metrics();
    let (mut thread, durable) = start_checkpointer(storage.checkpoint, None, &metrics);
    for index in 2..20 {
        thread.offer(view(index, 100_000));
    }
    let wait = || durable.recv_timeout(LONG).unwrap();
    while wait() != 19 {}
    thread.offer(view(20, 7));
    assert_eq!(wait(), 20);
    assert!(thread.healthy());
    assert_eq!(metrics.checkpoint_failures.get(), 0);
    thread.stop();
    drop((thread, storage.log, storage.lock));
    same(reopen(&dir).1.checkpoint.as_ref(), &view(20, 7));
}

/// A base can take minutes, and the process ends only after the checkpoint thread.
#[test]
fn a_checkpoint_that_is_not_needed_is_abandoned() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    let checkpoint = &mut storage.checkpoint;
    checkpoint.run_bytes = RUN_BYTES;
    checkpoint.write(None, &first()).unwrap();
    let (published, mut view) = (dir.runs(), first());
    (0..100).for_each(|name| run(&mut view, put(name, 2000)));
    let folder = checkpoint.folder.clone();
    let abandoned = |checkpoint: &mut Checkpoint| {
        let error = checkpoint.write(None, &view).unwrap_err();
        assert!(is_superseded(&error), "{error}");
        assert_eq!(dir.runs(), published);
    };
    folder.state().installs += 1;
    abandoned(checkpoint);
    folder.state().installs -= 1;
    folder.stop();
    abandoned(checkpoint);
}

#[test]
fn a_chain_stays_short_and_has_few_outdated_records() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    let mut since: Option<View> = None;
    let runs = || dir.runs().len();
    let (mut most, mut fewest) = (0, usize::MAX);
    for index in 2..120 {
        let next = view(index, 1 << 20);
        storage.checkpoint.write(since.as_ref(), &next).unwrap();
        (most, fewest) = (most.max(runs()), fewest.min(runs()));
        since = Some(next);
    }
    assert!(most < 80 && fewest < 5, "{fewest} to {most} runs");
    drop(storage);
    same(reopen(&dir).1.checkpoint.as_ref(), &since.unwrap());
}

#[test]
fn a_member_that_voted_before_its_first_entry_can_restart() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    let member = Member { id: ME.member_id.0, ..Member::default() };
    let first = witan_replica::replica::genesis(ME.cluster_id, vec![member]);
    storage.checkpoint.write(None, &first).unwrap();
    storage.log.append(&LogBatch {
        hard_state: Some("voted".into()),
        must_sync: true,
        ..LogBatch::default()
    });
    drop(storage);
    let (mut storage, recovered) = reopen(&dir);
    assert_eq!(recovered.hard_state, Some("voted".into()));
    assert_eq!(recovered.checkpoint.unwrap().position.index, 1);
    storage.log.append(&batch(2..3, 1));
    drop(storage);
    assert_eq!(indexes(&reopen(&dir).1), [2]);
}

/// Reopens a member of a cluster of two. The member has these entries and a checkpoint at the index `applied`.
fn reopened_of_two(
    dir: &TempDir,
    entries: impl IntoIterator<Item = LogBatch>,
    applied: u64,
) -> (Storage, Recovered) {
    let (mut storage, _) = reopen(dir);
    let members = [ME.member_id.0, 7].map(|id| Member { id, ..Member::default() });
    let before = witan_replica::replica::genesis(ME.cluster_id, members.to_vec());
    storage.checkpoint.write(None, &before).unwrap();
    for batch in entries {
        storage.log.append(&batch);
    }
    let mut state = before.clone();
    (state.position.index, state.position.term) = (applied, 1);
    storage.checkpoint.write(Some(&before), &state).unwrap();
    drop(storage);
    reopen(dir)
}

#[test]
fn a_member_with_others_reads_entries_below_its_checkpoint() {
    let dir = TempDir::new();
    let (storage, recovered) = reopened_of_two(&dir, [batch(2..10, 1)], 7);
    assert_eq!(indexes(&recovered), (2..10).collect::<Vec<_>>());
    let above = batch(8..10, 1).records;
    let bytes: usize = above.iter().map(|record| record.payload.len()).sum();
    let replayed = LogSize { bytes: bytes as u64, entries: 2 };
    assert_eq!(storage.log.replayed(), replayed);
}

#[test]
fn a_start_reads_only_the_entries_that_other_members_may_need() {
    let dir = TempDir::new();
    let applied = CATCH_UP_ENTRIES + 1000;
    let (_, recovered) = reopened_of_two(&dir, [batch(2..applied + 3, 1)], applied);
    let read = indexes(&recovered);
    assert_eq!(
        (read.first(), read.last()),
        (Some(&1000), Some(&(applied + 2)))
    );
}

#[test]
fn a_start_reads_a_limited_size_of_the_entries_that_other_members_may_need() {
    let dir = TempDir::new();
    // Six entries before the checkpoint fit.
    let entries = (2..=11).map(|index| large(index, CATCH_UP_BYTES / 13 * 2));
    let (_, recovered) = reopened_of_two(&dir, entries, 9);
    assert_eq!(indexes(&recovered), (4..=11).collect::<Vec<_>>());
}

/// Returns the paths that other users can access: `dir` itself, and files and directories in it, recursively.
fn open_to_others(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if dir.metadata().unwrap().permissions().mode() & 0o077 != 0 {
        found.push(dir.to_owned());
    }
    if dir.is_dir() {
        for entry in fs::read_dir(dir).unwrap() {
            found.extend(open_to_others(&entry.unwrap().path()));
        }
    }
    found
}

/// Lets all users read the files and directories in `dir`.
fn open_all_to_others(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        if path.is_dir() {
            open_all_to_others(&path);
        }
    }
}

#[test]
fn only_the_owner_can_access_a_data_directory() {
    let dir = TempDir::new();
    let (mut storage, _) = reopen(&dir);
    storage.checkpoint.write(None, &view(3, 100)).unwrap();
    for index in 2..20 {
        // Write more than one log file.
        storage.log.append(&large(index, 1 << 20));
    }
    assert!(dir.log_files().len() > 1);
    assert_eq!(open_to_others(&dir.data()), Vec::<PathBuf>::new());
    drop(storage);
    // A copy may be accessible to other users.
    open_all_to_others(&dir.data());
    assert!(!open_to_others(&dir.data()).is_empty());
    let (storage, _) = reopen(&dir);
    assert_eq!(open_to_others(&dir.data()), Vec::<PathBuf>::new());
    drop(storage);
}
