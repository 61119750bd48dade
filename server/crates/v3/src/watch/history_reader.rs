//! Reads events from the history, at the recorded locations of a group's changes or from a revision on. A batch contains all
//! events of a revision or none. If the history layout has changed since, events are looked up by revision.

use std::{cell::OnceCell, sync::Arc};

use witan_api::v3::mvccpb;
use witan_machine::kv::{HistoryLocation, KeyChange, Kv};
use witan_node::{PendingChanges, RangeEnd, WatchRange};

use super::{
    super::kv::key_value,
    answer::EncodedEvent,
    limits::{BATCH_BYTES, BATCH_REVISIONS, LINKED_CHANGES, SCAN_CHANGES, UNWANTED_SCAN_CHANGES},
    worker_turn::WorkerTurn,
};
use witan_machine::revision::Revision;

/// An event, with the fields that filters need.
#[derive(Clone, Debug)]
pub(super) struct WatchEvent {
    pub(super) revision: Revision,
    pub(super) deletes: bool,
    /// The message, with the previous pair if it exists and a watcher requested it. Shares memory with the state.
    message: mvccpb::Event,
    /// The encodings without and with the previous pair. Each is created for the first watcher that needs it.
    encoded: [OnceCell<EncodedEvent>; 2],
}

impl WatchEvent {
    /// Returns the encoded event, including the previous pair if `prev_kv` and it exists.
    pub(super) fn encoded(&self, prev_kv: bool) -> EncodedEvent {
        let previous = self.message.prev_kv.as_ref().filter(|_| prev_kv);
        let encode = || {
            let (r#type, kv) = (self.message.r#type, self.message.kv.clone());
            EncodedEvent::new(mvccpb::Event { r#type, kv, prev_kv: previous.cloned() })
        };
        let cell = &self.encoded[usize::from(previous.is_some())];
        cell.get_or_init(encode).clone()
    }
}

/// Events of one key range, in order.
#[derive(Debug, Default)]
pub(super) struct EventBatch {
    pub(super) events: Vec<WatchEvent>,
    revisions: usize,
    bytes: usize,
    /// Number of changes scanned for this batch, including changes outside the range.
    scanned_changes: usize,
}

/// The error for compacted changes, with the compacted revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compacted(pub(super) Revision);

/// The first unread change, where the next read continues.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResumePoint {
    pub(super) revision: Revision,
    /// Index of the change within its revision.
    sub: u64,
    /// The location of this change or an earlier one, if known.
    location: Option<HistoryLocation>,
}

impl ResumePoint {
    /// Returns the resume point at the first change of a revision, which is at or after `location`.
    pub(super) fn at_revision(revision: Revision, location: Option<HistoryLocation>) -> Self {
        Self { revision, sub: 0, location }
    }
}

impl EventBatch {
    /// Returns whether the batch has reached a limit and starts no further revision.
    fn is_full(&self) -> bool {
        self.revisions >= BATCH_REVISIONS || self.bytes >= BATCH_BYTES
    }

    /// Returns whether the batch contains events of this revision, so that it must receive all of them.
    fn has_begun(&self, revision: Revision) -> bool {
        let last = self.events.last();
        last.is_some_and(|last| last.revision == revision)
    }

    /// Returns whether the batch accepts a change of this revision: it is not full, or contains events of the revision.
    fn accepts(&self, revision: Revision) -> bool {
        !self.is_full() || self.has_begun(revision)
    }

    /// Appends a change as an event, including the previous pair if `prev_kv` and it exists.
    fn push(&mut self, kv: &Kv, written: &KeyChange<'_>, prev_kv: bool) {
        let revision = written.revision();
        self.revisions += usize::from(!self.has_begun(revision));
        let prev = prev_kv && !written.creates();
        let prev_kv = prev.then(|| kv.previous(written)).flatten();
        let kind = if written.deletes() {
            mvccpb::event::EventType::Delete
        } else {
            mvccpb::event::EventType::Put
        };
        let message = mvccpb::Event {
            r#type: kind.into(),
            kv: Some(key_value(written.pair())),
            prev_kv: prev_kv.map(key_value),
        };
        self.bytes += prost::Message::encoded_len(&message);
        let deletes = written.deletes();
        self.events
            .push(WatchEvent { revision, deletes, message, encoded: Default::default() });
    }
}

/// The states that a read can use.
#[derive(Debug)]
pub(super) struct HistoryStates {
    pub(super) current: Arc<Kv>,
    /// States from before the last compactions, oldest first.
    pub(super) older: Vec<Arc<Kv>>,
}

impl HistoryStates {
    /// Returns whether the recorded locations refer to the layout of the current state.
    pub(super) fn has_layout_of(&self, touched: &PendingChanges) -> bool {
        self.current.has_layout_of(touched.first)
    }

    /// Reads the changes at recorded locations, which must have the layout of the current state, into batches. Fails if a
    /// change was compacted and no older state contains it.
    pub(super) fn at_locations(
        &self,
        touched: &PendingChanges,
        prev_kv: bool,
    ) -> Result<Vec<EventBatch>, Compacted> {
        let mut batches = vec![EventBatch::default()];
        for location in std::iter::once(touched.first).chain(touched.more.iter().copied()) {
            let states = std::iter::once(&self.current).chain(self.older.iter().rev());
            let mut found = states.filter_map(|kv| Some((kv, kv.change_at(location)?)));
            let (kv, written) = found.next().ok_or(Compacted(self.current.compacted()))?;
            let full = batches
                .last()
                .is_none_or(|last| !last.accepts(written.revision()));
            if full {
                batches.push(EventBatch::default());
            }
            let last = batches.last_mut().expect("one was there or just pushed");
            last.push(kv, &written, prev_kv);
        }
        Ok(batches)
    }

    /// Reads changes of a range from `from` on, until the batch is full, a scan limit is reached, or the range ends. Advances
    /// `from`, or sets it to `None` at the end. The batch is incomplete if it contains events of the revision of `from`.
    fn read_some(
        &self,
        range: &RangeToRead<'_>,
        from: &mut Option<ResumePoint>,
        batch: &mut EventBatch,
    ) -> Result<(), Compacted> {
        let Some(at) = *from else {
            return Ok(());
        };
        let (kv, end) = self.state_for(at.revision, range.until, range.synced)?;
        let rest = match range.span.end {
            // A revision that the batch contains continues after the last event.
            RangeEnd::One if !batch.has_begun(at.revision) => {
                let locations = kv.changes_of_key(&range.span.key, at.revision, LINKED_CHANGES);
                batch.scanned_changes += locations.as_ref().map_or(LINKED_CHANGES, Vec::len);
                locations
            }
            RangeEnd::One | RangeEnd::At(_) | RangeEnd::Never => None,
        };
        let stopped = match rest {
            Some(locations) => {
                let all = locations
                    .into_iter()
                    .filter_map(|location| Some((location, kv.change_at(location)?)));
                read(kv, range, (at, end), all, batch)
            }
            None => {
                let all = kv.changes_from(at.revision, at.location);
                read(kv, range, (at, end), all, batch)
            }
        };
        *from = match stopped {
            Some(next) => Some(next),
            None if end < range.until => Some(ResumePoint::at_revision(end.next(), None)),
            None => None,
        };
        Ok(())
    }

    /// Returns a state that contains `revision`, and the last revision up to `until` to read from it. Only `synced` readers can
    /// use older states. Fails if no usable state contains the revision.
    fn state_for(
        &self,
        revision: Revision,
        until: Revision,
        synced: bool,
    ) -> Result<(&Kv, Revision), Compacted> {
        if revision >= self.current.compacted() {
            return Ok((&self.current, until));
        }
        let older = self.older.iter().filter(|_| synced);
        let mut holding =
            older.filter(|kv| kv.compacted() <= revision && revision <= kv.revision());
        match holding.next_back() {
            Some(kv) => Ok((kv, until.min(kv.revision()))),
            None => Err(Compacted(self.current.compacted())),
        }
    }
}

/// The changes to read for a group or an unsynced watcher.
#[derive(Clone, Copy, Debug)]
pub(super) struct RangeToRead<'a> {
    pub(super) span: &'a WatchRange,
    /// The last revision to read.
    pub(super) until: Revision,
    pub(super) prev_kv: bool,
    /// Whether the reader may read changes that a recent compaction removed.
    pub(super) synced: bool,
}

impl RangeToRead<'_> {
    /// Reads one batch of changes from `from` on. Advances `from`, or sets it to `None` at the end. As etcd guarantees, a batch
    /// contains all events of a revision. Calls `states` again after each yield, because a yield must not hold a state.
    pub(super) async fn next_batch<E, S: Future<Output = Result<HistoryStates, E>>>(
        &self,
        from: &mut Option<ResumePoint>,
        turn: &mut WorkerTurn,
        states: impl Fn() -> S,
    ) -> Result<Result<EventBatch, Compacted>, E> {
        let mut batch = EventBatch::default();
        let mut encoded = 0;
        loop {
            let before = batch.scanned_changes;
            let read = states().await?.read_some(self, from, &mut batch);
            turn.count(batch.scanned_changes - before);
            if let Err(lost) = read {
                return Ok(Err(lost));
            }
            if from.is_none_or(|from| !batch.has_begun(from.revision)) {
                return Ok(Ok(batch));
            }
            // A revision with many events is one response, so encode the events between yields instead of all at once.
            for event in &batch.events[encoded..] {
                event.encoded(self.prev_kv);
            }
            encoded = batch.events.len();
            turn.end().await;
        }
    }
}

/// Reads changes into a batch. Returns where it stopped, at a full batch or a scan limit, or `None` at the end.
fn read<'a>(
    kv: &Kv,
    range: &RangeToRead<'_>,
    (first, last): (ResumePoint, Revision),
    changes: impl Iterator<Item = (HistoryLocation, KeyChange<'a>)>,
    batch: &mut EventBatch,
) -> Option<ResumePoint> {
    let (mut seen, had) = (0, batch.events.len());
    for (location, written) in changes {
        let (revision, sub) = (written.revision(), written.sub());
        if revision > last {
            break;
        }
        if (revision, sub) < (first.revision, first.sub) {
            // An earlier change in the block, or a change of this revision that was scanned in another layout.
            batch.scanned_changes += 1;
            continue;
        }
        let scan_max = if batch.events.len() == had {
            UNWANTED_SCAN_CHANGES
        } else {
            SCAN_CHANGES
        };
        let wanted = range.span.contains(written.key());
        if seen >= scan_max || (wanted && !batch.accepts(revision)) {
            return Some(ResumePoint { revision, sub, location: Some(location) });
        }
        seen += 1;
        batch.scanned_changes += 1;
        if wanted {
            batch.push(kv, &written, range.prev_kv);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        convert::Infallible,
        pin::pin,
        task::{self, Poll, Waker},
    };

    use witan_machine::kv::{Compact, DeleteRange, KvCommand, KvOperation, Put};

    use super::*;

    fn apply(kv: &mut Kv, verb: KvOperation) {
        kv.apply(&KvCommand { operation: Some(verb) })
            .expect("it is sound");
    }

    fn put(kv: &mut Kv, key: &str, bytes: usize) {
        let put = Put {
            key: key.to_owned().into(),
            value: vec![b'v'; bytes].into(),
            ..Put::default()
        };
        apply(kv, KvOperation::Put(put));
    }

    fn states(kv: &Kv) -> HistoryStates {
        HistoryStates { current: Arc::new(kv.clone()), older: Vec::new() }
    }

    /// Deletes all keys at one revision.
    fn delete_all(kv: &mut Kv) {
        let delete = DeleteRange {
            key: "\0".into(),
            range_end: "\0".into(),
            ..Default::default()
        };
        apply(kv, KvOperation::Delete(delete));
    }

    /// The result of a batch, and the number of yields.
    struct BatchRead {
        batch: Result<EventBatch, Compacted>,
        yields: usize,
    }

    fn next_batch(
        states: &HistoryStates,
        range: RangeToRead<'_>,
        from: &mut Option<ResumePoint>,
    ) -> BatchRead {
        let mut turn = WorkerTurn::default();
        let fetched = Cell::new(0);
        let again = || {
            fetched.set(fetched.get() + 1);
            let (current, older) = (states.current.clone(), states.older.clone());
            std::future::ready(Ok::<_, Infallible>(HistoryStates { current, older }))
        };
        let mut yields = 0;
        let read = {
            let mut reading = pin!(range.next_batch(from, &mut turn, again));
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
        assert_eq!(fetched.get(), yields + 1, "no state is kept over a yield");
        BatchRead { batch: read.expect("infallible"), yields }
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
                .expect("not lost");
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
            let batch = read.batch.expect("not lost");
            assert!(
                batch.events.is_empty() && read.yields == 0,
                "the stream yields after it"
            );
            scanned_changes.push(batch.scanned_changes);
        }
        let part = UNWANTED_SCAN_CHANGES;
        assert_eq!(scanned_changes, [part, part, part, 1]);
    }

    /// While a revision is read, yields let other clients run. A revision with an event is still sent as a whole.
    #[test]
    fn a_revision_that_was_begun_stays_whole_and_yields_in_between() {
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
        assert_eq!(read.batch.expect("not lost").events.len(), unwanted + 2);
        assert!(
            read.yields >= unwanted / SCAN_CHANGES,
            "{} yields",
            read.yields
        );
        assert!(from.is_none());
        // One event, and no other event in the rest of the revision.
        let one = WatchRange::new(b"a", b"b");
        let mut from = start();
        let read = next_batch(&states(&kv), range(&one, until.next()), &mut from);
        assert_eq!(read.batch.expect("not lost").events.len(), 1);
        let parts = (unwanted - SCAN_CHANGES) / UNWANTED_SCAN_CHANGES;
        assert!(read.yields >= parts, "{} yields", read.yields);
        assert!(from.is_none_or(|from| from.revision > until), "{from:?}");
    }

    /// Since the first revision, the key has more changes than the reader follows by links; since the second revision, fewer.
    /// Following the links would return the second revision's change again.
    #[test]
    fn no_event_of_a_begun_revision_comes_twice() {
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

    /// A stream whose client does not read can queue 1,024 events of a megabyte each.
    #[test]
    fn an_event_takes_no_memory_of_its_own_until_it_is_sent() {
        let mut kv = Kv::default();
        put(&mut kv, "k", 1 << 20);
        let first = kv.seek(Revision(2));
        let touched =
            PendingChanges { revision: Revision(2), first, more: Vec::new(), rest: false };
        let batches = states(&kv).at_locations(&touched, true).expect("held");
        let [event] = &batches[0].events[..] else {
            panic!("one event was written");
        };
        assert!(event.encoded.iter().all(|cell| cell.get().is_none()));
        let value = &event.message.kv.as_ref().expect("a put").value;
        let stored = kv.change_at(first).expect("it is there").pair().value;
        assert_eq!(value.as_ptr(), stored.as_ptr());
        assert!(event.encoded(true).encoded_len() > value.len());
        assert!(event.encoded[1].get().is_none(), "nothing was before it");
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
        assert_eq!(read.batch.expect("not lost").events.len(), 2);
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
        assert_eq!(
            states.at_locations(&touched, false).expect("held")[0]
                .events
                .len(),
            1
        );
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
            lost.expect_err("it does not keep up"),
            Compacted(Revision(6))
        );
    }
}
