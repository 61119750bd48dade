//! Tests reads of the history in states whose values are in memory. `on_disk_tests` tests values on disk.

use std::{
    cell::Cell,
    pin::pin,
    task::{self, Poll, Waker},
};

use witan_base::{account::Totals, metrics::Register};
use witan_machine::kv::{Compact, DeleteRange, KvOperation};

use super::*;
use crate::test_context::{self, apply};

fn put(kv: &mut Kv, key: &str, bytes: usize) {
    test_context::put(kv, key.to_owned(), vec![b'v'; bytes]);
}

fn states(kv: &Kv) -> HistoryStates {
    HistoryStates { current: Arc::new(kv.clone()), older: Vec::new() }
}

fn delete_all(kv: &mut Kv) {
    let delete = DeleteRange {
        key: "\0".into(),
        range_end: "\0".into(),
        ..Default::default()
    };
    apply(kv, KvOperation::Delete(delete));
}

/// The result of a batch and the number of yields.
struct BatchRead {
    batch: Result<EventBatch, Compacted>,
    yields: usize,
}

/// Reads one batch.
fn next_batch(
    states: &HistoryStates,
    range: RangeToRead<'_>,
    from: &mut Option<ResumePoint>,
) -> BatchRead {
    let account = Totals::register(&Register::default(), u64::MAX).open();
    let (read, yields) = charged_batch(states, range, from, &account);
    BatchRead { batch: read.expect("the states exist"), yields }
}

/// Reads one batch with charges to `account`. Returns the result and the number of yields. Asserts that the states are
/// requested again after each yield.
fn charged_batch(
    states: &HistoryStates,
    range: RangeToRead<'_>,
    from: &mut Option<ResumePoint>,
    account: &Account,
) -> (RpcResult<Result<EventBatch, Compacted>>, usize) {
    let mut turn = WorkerTurn::default();
    let fetched = Cell::new(0);
    let again = || {
        fetched.set(fetched.get() + 1);
        let (current, older) = (states.current.clone(), states.older.clone());
        std::future::ready(Ok(HistoryStates { current, older }))
    };
    let mut yields = 0;
    let read = {
        let mut reading = pin!(range.next_batch(from, &mut turn, account, again));
        loop {
            let polled = reading
                .as_mut()
                .poll(&mut task::Context::from_waker(Waker::noop()));
            match polled {
                Poll::Ready(read) => break read,
                Poll::Pending => yields += 1,
            }
        }
    };
    assert_eq!(fetched.get(), yields + 1, "no state is kept across a yield");
    (read, yields)
}

/// Reads a range to its end. Returns the number of events in each batch.
fn batches(states: &HistoryStates, span: &WatchRange, from: Revision) -> Vec<usize> {
    let until = states.current.revision();
    let range = RangeToRead { span, until, prev_kv: true, synced: true };
    let mut from = Some(ResumePoint::at_revision(from, None));
    let (mut counts, mut next) = (Vec::new(), None);
    while from.is_some() {
        let batch = next_batch(states, range, &mut from)
            .batch
            .expect("not compacted");
        for event in &batch.events {
            assert!(next.is_none_or(|next| event.revision == next), "{next:?}");
            next = Some(event.revision.next());
        }
        counts.push(batch.events.len());
    }
    counts
}

#[test]
fn a_revision_without_wanted_changes_is_read_in_parts() {
    let mut kv = Kv::default();
    let keys = 3 * UNWANTED_SCAN_CHANGES + 1;
    (0..keys).for_each(|n| put(&mut kv, &format!("x{n:06}"), 1));
    delete_all(&mut kv);
    let until = kv.revision();
    let span = WatchRange::new(b"a", b"b");
    let range = RangeToRead { span: &span, until, prev_kv: false, synced: false };
    let first = kv
        .changes_from(until, None)
        .find(|(_, it)| it.revision() == until);
    let location = first.map(|(location, _)| location);
    let mut from = Some(ResumePoint::at_revision(until, location));
    let (mut scanned_changes, states) = (Vec::new(), states(&kv));
    while from.is_some() {
        let read = next_batch(&states, range, &mut from);
        let batch = read.batch.expect("not compacted");
        assert!(
            batch.events.is_empty() && read.yields == 0,
            "the stream yields after the batch"
        );
        scanned_changes.push(batch.scanned_changes);
    }
    let part = UNWANTED_SCAN_CHANGES;
    assert_eq!(scanned_changes, [part, part, part, 1]);
}

/// While a revision is read, yields let other clients run. A revision with an event is still sent as a whole.
#[test]
fn a_partly_read_revision_is_sent_as_a_whole_after_yields() {
    let mut kv = Kv::default();
    put(&mut kv, "a", 1);
    let unwanted = 4 * SCAN_CHANGES;
    (0..unwanted).for_each(|n| put(&mut kv, &format!("n{n:06}"), 1));
    put(&mut kv, "z", 1);
    delete_all(&mut kv);
    let until = kv.revision();
    put(&mut kv, "z", 1);
    let range = |span, until| RangeToRead { span, until, prev_kv: false, synced: true };
    let start = || Some(ResumePoint::at_revision(until, None));
    // "a" and all later keys: the last event of the revision is far behind the first.
    let all = WatchRange::new(b"a", b"\0");
    let mut from = start();
    let read = next_batch(&states(&kv), range(&all, until), &mut from);
    assert_eq!(
        read.batch.expect("not compacted").events.len(),
        unwanted + 2
    );
    assert!(
        read.yields >= unwanted / SCAN_CHANGES,
        "{} yields",
        read.yields
    );
    assert!(from.is_none());
    // The range has one event at the beginning of the revision and no later event in that revision.
    let one = WatchRange::new(b"a", b"b");
    let mut from = start();
    let read = next_batch(&states(&kv), range(&one, until.next()), &mut from);
    assert_eq!(read.batch.expect("not compacted").events.len(), 1);
    let parts = (unwanted - SCAN_CHANGES) / UNWANTED_SCAN_CHANGES;
    assert!(read.yields >= parts, "{} yields", read.yields);
    assert!(from.is_none_or(|from| from.revision > until), "{from:?}");
}

/// Since the first revision, the key has more changes than the reader follows by links; since the second revision, fewer.
/// Following the links would return the second revision's change again.
#[test]
fn no_event_of_a_partly_read_revision_is_sent_twice() {
    let mut kv = Kv::default();
    (0..2 * SCAN_CHANGES).for_each(|n| put(&mut kv, &format!("n{n:06}"), 1));
    put(&mut kv, "a", 1);
    let first = kv.revision();
    delete_all(&mut kv);
    (1..LINKED_CHANGES).for_each(|_| put(&mut kv, "a", 1));
    let counts = batches(&states(&kv), &WatchRange::new(b"a", b""), first);
    assert_eq!(counts.iter().sum::<usize>(), LINKED_CHANGES + 1);
}

#[test]
fn a_batch_is_bounded_by_revisions_and_by_bytes() {
    let mut kv = Kv::default();
    (0..2500).for_each(|_| put(&mut kv, "k", 1));
    for span in [WatchRange::new(b"k", b""), WatchRange::new(b"a", b"z")] {
        assert_eq!(batches(&states(&kv), &span, Revision(1)), [1000, 1000, 500]);
        assert_eq!(batches(&states(&kv), &span, Revision(1502)), [1000]);
        assert_eq!(batches(&states(&kv), &span, Revision(2502)), [0]);
    }
    let mut kv = Kv::default();
    (0..10).for_each(|_| put(&mut kv, "k", BATCH_BYTES / 4));
    // Each event except the first has the previous pair.
    assert_eq!(
        batches(&states(&kv), &WatchRange::new(b"k", b""), Revision(1)),
        [3, 2, 2, 2, 1]
    );
}

/// A batch keeps its values in memory even after the state has dropped them, so the batch must be small.
#[test]
fn recorded_changes_are_read_in_batches() {
    let mut kv = Kv::default();
    (0..5).for_each(|_| put(&mut kv, "k", BATCH_BYTES / 2));
    let mut locations = kv
        .changes_from(Revision(2), None)
        .map(|(location, _)| location);
    let mut unread = Some(PendingChanges {
        revision: Revision(2),
        first: locations.next().expect("a change"),
        more: locations.collect(),
        rest: false,
    });
    let mut revisions = Vec::new();
    while let Some(touched) = unread {
        let (batch, rest) = states(&kv)
            .at_locations(&touched, false)
            .expect("in a state");
        assert_eq!(batch.events[0].revision, touched.revision);
        let of_batch = batch.events.iter().map(|event| event.revision.0);
        revisions.push(of_batch.collect::<Vec<_>>());
        unread = rest;
    }
    assert_eq!(revisions, [vec![2, 3], vec![4, 5], vec![6]]);
}

#[test]
fn an_event_is_not_copied_before_its_response_is_sent() {
    let mut kv = Kv::default();
    put(&mut kv, "k", 1 << 20);
    let first = kv.seek(Revision(2));
    let touched = PendingChanges { revision: Revision(2), first, more: Vec::new(), rest: false };
    let (batch, _) = states(&kv)
        .at_locations(&touched, true)
        .expect("in a state");
    let [event] = &batch.events[..] else {
        panic!("expected one event");
    };
    assert!(event.encoded.iter().all(|cell| cell.get().is_none()));
    let value = &event.message.kv.as_ref().expect("a put").value;
    let stored = kv.change_at(first).expect("a change").pair().value;
    assert_eq!(value.as_ptr(), stored.as_ptr());
    assert!(event.encoded(true).encoded_len() > value.len());
    assert!(event.encoded[1].get().is_none(), "no previous pair");
}

/// Returns a state whose last revision deletes `keys` keys with values of [`BATCH_BYTES`] bytes.
fn with_large_deletion(keys: usize) -> Kv {
    let mut kv = Kv::default();
    (0..keys).for_each(|n| put(&mut kv, &format!("k{n}"), BATCH_BYTES));
    delete_all(&mut kv);
    kv
}

/// A revision is never split, so its events can take much more memory than a batch.
#[test]
fn a_revision_that_exceeds_the_memory_for_responses_is_refused() {
    let kv = with_large_deletion(8);
    let (states, until) = (states(&kv), kv.revision());
    let span = WatchRange::new(b"k", b"l");
    let totals = Totals::register(&Register::default(), u64::MAX);
    let [account, other] = [(); 2].map(|()| totals.open());
    let read = |prev_kv| {
        let range = RangeToRead { span: &span, until, prev_kv, synced: true };
        let mut from = Some(ResumePoint::at_revision(until, None));
        let (read, _) = charged_batch(&states, range, &mut from, &account);
        let events = read.map(|batch| batch.expect("not compacted").events.len());
        (events, from.map(|from| from.revision))
    };
    let limit = Resource::Answers.limit();
    let unread = other.hold(Resource::Answers, limit);
    // The client can resume the watch when the other responses have been read.
    assert_eq!(read(true), (Err(RpcError::TooManyRequests), Some(until)));
    drop(unread);
    let unread = other.hold(Resource::Answers, limit - 8 * BATCH_BYTES);
    assert_eq!(read(true), (Err(RpcError::ResponseTooLarge), Some(until)));
    let charged = || account.charged(Resource::Answers);
    assert_eq!(charged(), 0, "the charge is released");
    assert_eq!(read(false), (Ok(8), None), "the events are small");
    drop(unread);
    assert_eq!((read(true), charged()), ((Ok(8), None), 0));
}

#[test]
fn a_revision_that_exceeds_a_batch_is_not_read_at_its_recorded_locations() {
    let kv = with_large_deletion(3);
    let until = kv.revision();
    let changes = kv.changes_from(until, None);
    let mut locations = changes
        .filter(|(_, change)| change.revision() == until)
        .map(|(location, _)| location);
    let touched = PendingChanges {
        revision: until,
        first: locations.next().expect("a change"),
        more: locations.collect(),
        rest: false,
    };
    let Err(UnreadLocations::ByRevision(from)) = states(&kv).at_locations(&touched, true) else {
        panic!("the values are in memory without a charge");
    };
    assert_eq!((from.revision, from.source), (until, ValueSource::Memory));
    let read = states(&kv).at_locations(&touched, false);
    let (batch, rest) = read.expect("the events are small");
    assert_eq!((batch.events.len(), rest), (3, None));
}

#[test]
fn scanning_unmatched_changes_is_bounded() {
    let mut kv = Kv::default();
    let others = |kv: &mut Kv, count| {
        (0..count).for_each(|n| put(kv, &format!("x{n}"), 1));
    };
    others(&mut kv, 2 * UNWANTED_SCAN_CHANGES);
    put(&mut kv, "b", 1);
    assert_eq!(
        batches(&states(&kv), &WatchRange::new(b"a", b"c"), Revision::EMPTY),
        [0, 0, 1]
    );
    // The batch also contains changes of neighboring revisions.
    others(&mut kv, SCAN_CHANGES - 2);
    put(&mut kv, "b", 1);
    let span = WatchRange::new(b"a", b"c");
    let mut from = Some(ResumePoint::at_revision(
        Revision(2 * UNWANTED_SCAN_CHANGES as i64 + 2),
        None,
    ));
    let (span, until) = (&span, kv.revision());
    let range = RangeToRead { span, until, prev_kv: false, synced: true };
    let read = next_batch(&states(&kv), range, &mut from);
    assert_eq!(read.batch.expect("not compacted").events.len(), 2);
    assert!(from.is_none());
    // The reader finds changes of one key by links.
    let first = kv.revision();
    assert_eq!(
        batches(&states(&kv), &WatchRange::new(b"b", b""), first),
        [1]
    );
    (0..=LINKED_CHANGES).for_each(|_| put(&mut kv, "b", 1));
    let counts = batches(&states(&kv), &WatchRange::new(b"b", b""), first);
    assert_eq!(counts.iter().sum::<usize>(), LINKED_CHANGES + 2);
}

#[test]
fn synced_readers_read_compacted_changes() {
    let mut kv = Kv::default();
    (0..5).for_each(|_| put(&mut kv, "k", 1));
    let before = Arc::new(kv.clone());
    let location = before.seek(Revision::NONE);
    apply(&mut kv, KvOperation::Compact(Compact { revision: 6 }));
    put(&mut kv, "k", 1);
    let mut states = states(&kv);
    let span = WatchRange::new(b"k", b"");
    let touched = PendingChanges {
        revision: Revision(2),
        first: location,
        more: Vec::new(),
        rest: false,
    };
    assert!(states.at_locations(&touched, false).is_err());
    states.older.push(before);
    let (batch, _) = states.at_locations(&touched, false).expect("in a state");
    assert_eq!(batch.events.len(), 1);
    assert_eq!(batches(&states, &span, Revision(2)), [5, 1]);
    let mut from = Some(ResumePoint::at_revision(Revision(2), None));
    let range = RangeToRead {
        span: &span,
        until: Revision(7),
        prev_kv: false,
        synced: false,
    };
    let lost = next_batch(&states, range, &mut from).batch;
    assert_eq!(
        lost.expect_err("the reader is unsynced"),
        Compacted(Revision(6))
    );
}
