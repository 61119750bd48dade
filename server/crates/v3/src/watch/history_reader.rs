//! From the history to events: at noted locations of a group, or everything from a revision on. A
//! revision is always read completely.

use std::{cell::OnceCell, sync::Arc};

use witan_api::v3::mvccpb;
use witan_machine::kv::{KeyChange, Kv, Location};
use witan_replica::watch::{
    keys::PendingChanges,
    range::{RangeEnd, WatchRange},
};

use super::{
    super::kv::key_value,
    answer::EncodedEvent,
    limits::{BATCH_BYTES, BATCH_REVISIONS, LINKED_CHANGES, SCAN_CHANGES, UNWANTED_SCAN_CHANGES},
};

/// One event, with the fields that filters need.
#[derive(Clone, Debug)]
pub(super) struct WatchEvent {
    pub(super) revision: i64,
    pub(super) deletes: bool,
    /// The message, with the previous pair if a watcher wants it and there was one. It shares its bytes with the state.
    message: mvccpb::Event,
    /// The encoding without the previous pair and the one with it. Each is made for the first watcher that gets it: until
    /// then the event takes no memory of its own.
    encoded: [OnceCell<EncodedEvent>; 2],
}

impl WatchEvent {
    /// Returns the encoded event, with the previous pair if `prev_kv` is set and there was one.
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

/// Events of one span, in order.
#[derive(Debug, Default)]
pub(super) struct EventBatch {
    pub(super) events: Vec<WatchEvent>,
    revisions: usize,
    bytes: usize,
}

/// The changes were compacted; with the compacted revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compacted(pub(super) i64);

/// Where reading continues.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResumePoint {
    pub(super) revision: i64,
    /// The location of that revision, if it is known.
    pub(super) location: Option<Location>,
}

impl EventBatch {
    /// Whether the batch has reached a bound, so that a further revision has to wait for the next
    /// batch.
    fn is_full(&self) -> bool {
        self.revisions >= BATCH_REVISIONS || self.bytes >= BATCH_BYTES
    }

    /// Whether a change of this revision may be added: the batch is not full, or it has begun the
    /// revision.
    fn accepts(&self, revision: i64) -> bool {
        !self.is_full()
            || self
                .events
                .last()
                .is_some_and(|last| last.revision == revision)
    }

    /// Appends a change as an event, with the pair before it if `prev_kv` is set and there was one.
    fn push(&mut self, kv: &Kv, written: &KeyChange<'_>, prev_kv: bool) {
        let revision = written.revision();
        let new = self
            .events
            .last()
            .is_none_or(|last| last.revision != revision);
        self.revisions += usize::from(new);
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

/// The states that a reading may need.
#[derive(Debug)]
pub(super) struct HistoryStates {
    pub(super) current: Arc<Kv>,
    /// States from before the last compactions, the oldest first.
    pub(super) older: Vec<Arc<Kv>>,
}

impl HistoryStates {
    /// Reads the changes at noted locations into batches; an error if one was compacted and no older
    /// state holds it.
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

    /// Reads one batch of changes of a range from `from` up to revision `until`. Advances `from`, or
    /// sets it to `None` at the end. `synced` allows reading what a recent compaction removed.
    pub(super) fn changes_since(
        &self,
        span: &WatchRange,
        from: &mut Option<ResumePoint>,
        until: i64,
        prev_kv: bool,
        synced: bool,
    ) -> Result<EventBatch, Compacted> {
        let mut batch = EventBatch::default();
        let Some(at) = *from else {
            return Ok(batch);
        };
        let (kv, end) = self.state_for(at.revision, until, synced)?;
        let rest = match span.end {
            RangeEnd::One => kv.changes_of_key(&span.key, at.revision, LINKED_CHANGES),
            RangeEnd::At(_) | RangeEnd::Never => None,
        };
        let stopped = match rest {
            Some(locations) => {
                let all = locations
                    .into_iter()
                    .filter_map(|location| Some((location, kv.change_at(location)?)));
                read(kv, span, (at.revision, end), all, &mut batch, prev_kv)
            }
            None => {
                let all = kv.changes_from(at.location.unwrap_or_else(|| kv.seek(at.revision)));
                read(kv, span, (at.revision, end), all, &mut batch, prev_kv)
            }
        };
        *from = match stopped {
            Some(next) => Some(next),
            None if end < until => Some(ResumePoint { revision: end + 1, location: None }),
            None => None,
        };
        Ok(batch)
    }

    /// Returns a state that holds a revision, and the last revision to read in it. Older states, from
    /// before a compaction, serve `synced` readers alone.
    fn state_for(&self, revision: i64, until: i64, synced: bool) -> Result<(&Kv, i64), Compacted> {
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

/// Reads changes into a batch, whole revisions only. Returns where it stopped before the end, at a full
/// batch or a bound on changes read; `None` at the end.
fn read<'a>(
    kv: &Kv,
    span: &WatchRange,
    (first, last): (i64, i64),
    changes: impl Iterator<Item = (Location, KeyChange<'a>)>,
    batch: &mut EventBatch,
    prev_kv: bool,
) -> Option<ResumePoint> {
    let mut seen = 0;
    let mut begun = i64::MIN;
    for (location, written) in changes {
        let revision = written.revision();
        if revision < first {
            continue;
        }
        if revision > last {
            return None;
        }
        let wanted = span.contains(written.key());
        let scan_max = if batch.events.is_empty() {
            UNWANTED_SCAN_CHANGES
        } else {
            SCAN_CHANGES
        };
        if revision != begun && (seen >= scan_max || (wanted && !batch.accepts(revision))) {
            return Some(ResumePoint { revision, location: Some(location) });
        }
        begun = revision;
        seen += 1;
        if wanted {
            batch.push(kv, &written, prev_kv);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use witan_machine::kv::{Compact, KvCommand, KvOperation, Put};

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

    /// Reads to the end; how many events each batch has.
    fn batches(states: &HistoryStates, span: &WatchRange, from: i64) -> Vec<usize> {
        let until = states.current.revision();
        let mut from = Some(ResumePoint { revision: from, location: None });
        let (mut counts, mut next) = (Vec::new(), None);
        while from.is_some() {
            let batch = states
                .changes_since(span, &mut from, until, true, true)
                .expect("not lost");
            for event in &batch.events {
                assert!(next.is_none_or(|next| event.revision == next), "{next:?}");
                next = Some(event.revision + 1);
            }
            counts.push(batch.events.len());
        }
        counts
    }

    #[test]
    fn a_batch_is_bounded_by_revisions_and_by_bytes() {
        let mut kv = Kv::default();
        (0..2500).for_each(|_| put(&mut kv, "k", 1));
        for span in [WatchRange::new(b"k", b""), WatchRange::new(b"a", b"z")] {
            assert_eq!(batches(&states(&kv), &span, 1), [1000, 1000, 500]);
            assert_eq!(batches(&states(&kv), &span, 1502), [1000]);
            assert_eq!(batches(&states(&kv), &span, 2502), [0]);
        }
        let mut kv = Kv::default();
        (0..10).for_each(|_| put(&mut kv, "k", BATCH_BYTES / 4));
        // each event has the previous pair, except the first
        assert_eq!(
            batches(&states(&kv), &WatchRange::new(b"k", b""), 1),
            [3, 2, 2, 2, 1]
        );
    }

    /// A stream that does not read may have 1,024 events of a megabyte each before it.
    #[test]
    fn an_event_takes_no_memory_of_its_own_until_it_is_sent() {
        let mut kv = Kv::default();
        put(&mut kv, "k", 1 << 20);
        let first = kv.seek(2);
        let touched = PendingChanges { revision: 2, first, more: Vec::new(), rest: false };
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
            batches(&states(&kv), &WatchRange::new(b"a", b"c"), 1),
            [0, 0, 1]
        );
        // the batch also takes changes of neighboring revisions
        others(&mut kv, SCAN_CHANGES - 2);
        put(&mut kv, "b", 1);
        let span = WatchRange::new(b"a", b"c");
        let mut from = Some(ResumePoint {
            revision: 2 * UNWANTED_SCAN_CHANGES as i64 + 2,
            location: None,
        });
        let batch = states(&kv).changes_since(&span, &mut from, kv.revision(), false, true);
        assert_eq!(batch.expect("not lost").events.len(), 2);
        assert!(from.is_none());
        // changes of one key are found by its links
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
        let location = before.seek(0);
        apply(&mut kv, KvOperation::Compact(Compact { revision: 6 }));
        put(&mut kv, "k", 1);
        let mut states = states(&kv);
        let span = WatchRange::new(b"k", b"");
        let touched =
            PendingChanges { revision: 2, first: location, more: Vec::new(), rest: false };
        assert!(states.at_locations(&touched, false).is_err());
        states.older.push(before);
        assert_eq!(
            states.at_locations(&touched, false).expect("held")[0]
                .events
                .len(),
            1
        );
        assert_eq!(batches(&states, &span, 2), [5, 1]);
        let mut from = Some(ResumePoint { revision: 2, location: None });
        let lost = states.changes_since(&span, &mut from, 7, false, false);
        assert_eq!(lost.expect_err("it does not keep up"), Compacted(6));
    }
}
