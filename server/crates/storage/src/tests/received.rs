//! Tests which parts of a broken snapshot are kept, which snapshots are refused, and that discarded snapshots leave no files.

use std::{io, iter, thread};

use witan_machine::record::RecordChange;

use super::{
    workload::{Driven, first, id, records},
    *,
};
use crate::{IncomingSnapshot, Ledger, RecordTotals, SnapshotError, SnapshotId};

/// Starts a member with some entries and a durable checkpoint.
fn member(dir: &TempDir) -> Driven {
    let mut driven = Driven::start(&dir.data());
    while driven.step() < 30 {}
    driven.offer();
    driven.settle();
    driven
}

/// Receives all records of a state.
fn fill(driven: &Driven, view: &View) -> IncomingSnapshot {
    let mut incoming = driven.begin(view).unwrap();
    for (key, value) in records(view) {
        incoming.add(key, value).unwrap();
    }
    incoming
}

/// Receives all records except the last one, so that the last run is missing, and parks the snapshot.
fn interrupt(driven: &Driven, view: &View, all: &[(Vec<u8>, Vec<u8>)]) {
    let mut incoming = driven.begin(view).unwrap();
    for (key, value) in &all[..all.len() - 1] {
        incoming.add(key.clone(), value.clone()).unwrap();
    }
    incoming.park();
}

#[test]
fn a_broken_stream_continues_after_the_last_durable_record() {
    let dir = TempDir::new();
    let mut driven = member(&dir);
    let before = dir.runs();
    let view = driven.ahead(50);
    let all: Vec<_> = records(&view).into_iter().collect();
    let continued = |fits: bool| {
        interrupt(&driven, &view, &all);
        let mut incoming = driven.begin(&view).unwrap();
        let (durable, last_key) = incoming.durable();
        let from = usize::try_from(durable.records).unwrap();
        assert!(from > 0 && from < all.len() - 1, "{durable:?}");
        assert_eq!(all[from - 1].0, last_key);
        assert_eq!(incoming.totals(), durable);
        for (key, value) in &all[from..] {
            incoming.add(key.clone(), value.clone()).unwrap();
        }
        let totals = incoming.totals();
        incoming.finish(totals, &|| fits)
    };
    // Without memory for the state, the snapshot is discarded.
    let error = continued(false).unwrap_err();
    let full = matches!(&error, SnapshotError::Io(e) if e.kind() == io::ErrorKind::OutOfMemory);
    assert!(full, "{error}");
    assert_eq!(dir.runs(), before);
    let received = continued(true).unwrap();
    assert!(records(&received.view) == records(&view));
    driven.install(received);
    drop(driven);
    let (_, recovered) = reopen(&dir);
    assert!(records(&recovered.checkpoint.unwrap()) == records(&view));
}

#[test]
fn records_in_the_order_of_the_sender_make_the_same_state() {
    let dir = TempDir::new();
    let driven = member(&dir);
    let view = driven.ahead(50);
    let mut sent = Vec::new();
    view.changes(None, &mut |change| match change {
        RecordChange::Put { key, value } => sent.push((key, value)),
        RecordChange::Delete { key } => panic!("{key:?} was never there"),
    });
    assert!(!sent.is_sorted(), "the order of keys is tested elsewhere");
    let mut incoming = driven.begin(&view).unwrap();
    for (key, value) in sent {
        incoming.add(key, value).unwrap();
    }
    let totals = incoming.totals();
    let received = incoming.finish(totals, &|| true).unwrap();
    assert!(records(&received.view) == records(&view));
}

#[test]
fn another_snapshot_replaces_one_that_was_begun() {
    let dir = TempDir::new();
    let driven = member(&dir);
    let before = dir.runs();
    let view = driven.ahead(50);
    fill(&driven, &view).park();
    assert!(dir.runs().len() > before.len());
    let later = driven.ahead(51);
    let incoming = driven.begin(&later).unwrap();
    assert_eq!(incoming.durable(), (RecordTotals::default(), &[][..]));
    assert_eq!(dir.runs(), before);
    drop(incoming);
    assert_eq!(driven.begin(&view).unwrap().totals().records, 0);
}

#[test]
fn the_records_of_a_broken_stream_are_kept_until_a_checkpoint_is_newer() {
    let dir = TempDir::new();
    let mut driven = member(&dir);
    let before = dir.runs();
    let view = driven.ahead(50);
    fill(&driven, &view).park();
    let parked: BTreeSet<u64> = dir.runs().difference(&before).copied().collect();
    driven.step();
    driven.offer();
    driven.settle();
    assert!(!parked.is_empty() && parked.is_subset(&dir.runs()));
    // The member receives entries from the leader's log instead of a snapshot.
    while driven.step() <= view.position.index {}
    driven.offer();
    driven.settle();
    assert!(parked.is_disjoint(&dir.runs()));
    assert_eq!(driven.begin(&view).unwrap().totals().records, 0);
}

#[test]
fn one_snapshot_is_received_at_a_time() {
    let dir = TempDir::new();
    let mut driven = member(&dir);
    let view = driven.ahead(3);
    let is_busy = |driven: &Driven| matches!(driven.begin(&view), Err(SnapshotError::Busy));
    let incoming = driven.begin(&view).unwrap();
    assert!(is_busy(&driven));
    drop(incoming);
    let received = driven.receive(&view).unwrap();
    assert!(is_busy(&driven), "the snapshot is not installed yet");
    drop(received);
    let received = driven.receive(&view).unwrap();
    driven.install(received);
    assert!(!is_busy(&driven));
}

#[test]
fn a_snapshot_that_is_parked_does_not_end_the_turn_of_the_next_stream() {
    let dir = TempDir::new();
    let driven = member(&dir);
    let view = driven.ahead(50);
    let incoming = fill(&driven, &view);
    thread::scope(|scope| {
        let parking = scope.spawn(move || incoming.park());
        let mut streams = iter::repeat_with(|| driven.begin(&view));
        let next = streams.find_map(Result::ok);
        parking.join().unwrap();
        let another = driven.begin(&view);
        assert!(matches!(another, Err(SnapshotError::Busy)));
        drop(next);
    });
}

#[test]
fn a_discarded_snapshot_leaves_no_file() {
    let dir = TempDir::new();
    let driven = member(&dir);
    let before = dir.runs();
    let view = driven.ahead(50);
    drop(fill(&driven, &view));
    assert_eq!(dir.runs(), before, "the stream ended");
    let incoming = fill(&driven, &view);
    let short = RecordTotals { records: incoming.totals().records - 1, ..incoming.totals() };
    let error = incoming.finish(short, &|| true).unwrap_err();
    assert!(matches!(error, SnapshotError::Corrupt(_)), "{error}");
    assert_eq!(dir.runs(), before, "other totals were announced");
    drop(driven.receive(&view).unwrap());
    wait_until("unpublished runs stay", || dir.runs() == before);
    fill(&driven, &view).park();
    drop(driven);
    assert!(dir.runs().len() > before.len(), "the process ended");
    reopen(&dir);
    assert_eq!(dir.runs(), before);
}

#[test]
fn invalid_states_are_refused_and_change_nothing() {
    let dir = TempDir::new();
    let driven = member(&dir);
    let before = dir.runs();
    let view = driven.ahead(5);
    let other = SnapshotId { term: 7, ..id(&view) };
    type Records = Vec<(Vec<u8>, Vec<u8>)>;
    let all: Records = records(&view).into_iter().collect();
    let without_position = all[..all.len() - 1].to_vec();
    let mut damaged = all.clone();
    damaged[0].1[0] ^= 1;
    let mut unknown = all.clone();
    unknown.push((b"zz".to_vec(), Vec::new()));
    for (what, id, records, is_later) in [
        ("another term", other, all.clone(), false),
        ("no position", id(&view), without_position, false),
        ("a flipped bit", id(&view), damaged, false),
        ("a record of an unknown part", id(&view), unknown, true),
        ("nothing", id(&view), Vec::new(), false),
    ] {
        let receiver = driven.receiver();
        let mut incoming = receiver.begin(id, 0).unwrap();
        let mut records = records.into_iter();
        let added = records.try_for_each(|(key, value)| incoming.add(key, value));
        let totals = incoming.totals();
        let finished = added.and_then(|()| incoming.finish(totals, &|| true));
        let error = finished.expect_err(what);
        match is_later {
            true => assert!(
                matches!(error, SnapshotError::LaterRelease(_)),
                "{what}: {error}"
            ),
            false => assert!(
                matches!(error, SnapshotError::Corrupt(_)),
                "{what}: {error}"
            ),
        }
        assert_eq!(dir.runs(), before, "{what}");
    }
    drop(driven);
    let (_, recovered) = reopen(&dir);
    let found = recovered.checkpoint.unwrap().position.index;
    assert_eq!(found + 5, view.position.index);
}

#[test]
fn a_snapshot_without_space_is_refused_immediately() {
    let dir = TempDir::new();
    let ledger = Arc::new(Ledger::default());
    let (storage, _) = open_with(&dir.data(), &ME, &ledger).unwrap();
    let (checkpointer, _) = start_checkpointer(storage.checkpoint, None, &metrics());
    let receiver = checkpointer.receiver();
    let id = id(&first());
    let error = receiver.begin(id, u64::MAX / 2).unwrap_err();
    let full = matches!(&error, SnapshotError::Io(e) if e.kind() == io::ErrorKind::StorageFull);
    assert!(full, "{error}");
    drop(receiver.begin(id, 1 << 10).unwrap());
    assert!(files(&dir.checkpoint(), "").is_empty());
}
