//! Reads events from the history, at the recorded locations of a group's changes or starting at a revision. A batch contains
//! all events of a revision or none. If the history layout has changed since the locations were recorded, events are looked up
//! by revision.
//!
//! A worker reads only values in memory. A read stops before an event whose value is only on disk, and the next read continues
//! on another thread.

use std::{cell::OnceCell, sync::Arc};

use witan_api::v3::mvccpb;
use witan_base::account::{Account, Resource};
use witan_dialect::jobs::read_from_disk;
use witan_machine::kv::{HistoryLocation, KeyChange, Kv, ValueSource};
use witan_node::{PendingChanges, RangeEnd, WatchRange};

use super::{
    super::kv::key_value,
    answer::EncodedEvent,
    limits::{BATCH_BYTES, BATCH_REVISIONS, LINKED_CHANGES, SCAN_CHANGES, UNWANTED_SCAN_CHANGES},
    worker_turn::WorkerTurn,
};
use crate::{RpcResult, error::RpcError};
use witan_machine::revision::Revision;

/// An event, with the fields that filters need.
#[derive(Clone, Debug)]
pub(super) struct WatchEvent {
    pub(super) revision: Revision,
    pub(super) deletes: bool,
    /// The message, with the previous pair if it exists and a watcher requested it. Shares memory with the state.
    message: mvccpb::Event,
    /// The encodings without and with the previous pair. Each encoding is created for the first watcher that needs it.
    encoded: [OnceCell<EncodedEvent>; 2],
}

impl WatchEvent {
    /// Returns the encoded event, including the previous pair if it exists and `prev_kv` is set.
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

/// The reason why changes were not read at their recorded locations.
#[derive(Clone, Copy, Debug)]
pub(super) enum UnreadLocations {
    Compacted(Compacted),
    /// A value is only on disk, or the events of one revision exceed a batch. The changes must be read by revision, starting at
    /// this point.
    ByRevision(ResumePoint),
}

/// The first unread change, where the next read continues.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResumePoint {
    pub(super) revision: Revision,
    /// Index of the change within its revision.
    sub: u64,
    /// The location of this change or an earlier one, if known.
    location: Option<HistoryLocation>,
    /// The source of the next read's values. A read from `Disk` runs on another thread.
    source: ValueSource,
}

impl ResumePoint {
    /// Returns the resume point at the first change of a revision. This change is at or after `location`.
    pub(super) fn at_revision(revision: Revision, location: Option<HistoryLocation>) -> Self {
        Self { revision, sub: 0, location, source: ValueSource::Memory }
    }
}

impl EventBatch {
    /// Returns whether the batch contains events of this revision and must therefore receive all events of it.
    fn has_begun(&self, revision: Revision) -> bool {
        let last = self.events.last();
        last.is_some_and(|last| last.revision == revision)
    }

    /// Returns whether the batch has not reached a limit or contains events of this revision.
    fn accepts(&self, revision: Revision) -> bool {
        let is_full = self.revisions >= BATCH_REVISIONS || self.bytes >= BATCH_BYTES;
        !is_full || self.has_begun(revision)
    }

    /// Appends a change as an event, including the previous pair if it exists and `prev_kv` is set.
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

/// Returns whether a worker can read the event of a change, with its previous pair if `prev_kv` is set, without disk access.
fn is_resident(kv: &Kv, written: &KeyChange<'_>, prev_kv: bool) -> bool {
    let prev = prev_kv && !written.creates();
    written.is_resident() && (!prev || kv.previous_is_resident(written))
}

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

    /// Reads the changes at recorded locations until a batch is full, with the previous pairs if `prev_kv` is set. The
    /// locations must have the layout of the current state. Returns the batch and the remaining changes, if any. Fails if a
    /// value is only on disk, or if the events of one revision exceed a batch. Also fails if a change was compacted and no
    /// older state contains it.
    pub(super) fn at_locations(
        &self,
        touched: &PendingChanges,
        prev_kv: bool,
    ) -> Result<(EventBatch, Option<PendingChanges>), UnreadLocations> {
        let mut batch = EventBatch::default();
        let locations = std::iter::once(touched.first).chain(touched.more.iter().copied());
        for (read, location) in locations.enumerate() {
            let states = std::iter::once(&self.current).chain(self.older.iter().rev());
            let mut found = states.filter_map(|kv| Some((kv, kv.change_at(location)?)));
            let compacted = UnreadLocations::Compacted(Compacted(self.current.compacted()));
            let (kv, written) = found.next().ok_or(compacted)?;
            let revision = written.revision();
            if !batch.accepts(revision) {
                let more = touched.more[read..].to_vec();
                let rest = PendingChanges { revision, first: location, more, rest: false };
                return Ok((batch, Some(rest)));
            }
            let by_revision = |source| {
                let from = ResumePoint::at_revision(touched.revision, Some(touched.first));
                Err(UnreadLocations::ByRevision(ResumePoint { source, ..from }))
            };
            if !is_resident(kv, &written, prev_kv) {
                return by_revision(ValueSource::Disk);
            }
            if batch.bytes >= BATCH_BYTES {
                // Only a read by revision charges the events.
                return by_revision(ValueSource::Memory);
            }
            batch.push(kv, &written, prev_kv);
        }
        Ok((batch, None))
    }

    /// Appends changes of a range to the batch, starting at `from`, until the batch is full, a scan limit is reached, or the
    /// range ends. Advances `from`, or sets it to `None` at the end. The batch is incomplete if it contains events of the
    /// revision of `from`. If the source is `Memory`, also stops before a value that is only on disk. With the source `Disk`,
    /// blocks while it reads such values.
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
            // Links would repeat events of a revision that the batch has begun.
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
                read_changes(kv, range, (at, end), all, batch)
            }
            None => {
                let all = kv.changes_from(at.revision, at.location);
                read_changes(kv, range, (at, end), all, batch)
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
    /// Reads one batch of changes, starting at `from`. Advances `from`, or sets it to `None` at the end. As etcd guarantees, a
    /// batch contains all events of a revision or none. Calls `states` again after each yield instead of holding a state.
    /// Charges the events of a revision that exceeds a batch while it reads them. If the first charge is refused, other
    /// responses have used up the memory, and the read fails with `TooManyRequests`. If a later charge is refused, the read
    /// fails with `ResponseTooLarge`; `from` is then at this revision.
    pub(super) async fn next_batch<S>(
        &self,
        from: &mut Option<ResumePoint>,
        turn: &mut WorkerTurn,
        account: &Account,
        states: impl Fn() -> S,
    ) -> RpcResult<Result<EventBatch, Compacted>>
    where
        S: Future<Output = RpcResult<HistoryStates>> + Send + 'static,
    {
        let mut batch = EventBatch::default();
        let (mut encoded, mut charge, mut charged) = (0, None, 0);
        loop {
            let before = batch.scanned_changes;
            let read = match from.map(|from| from.source) {
                Some(ValueSource::Disk) => {
                    let read = self.read_some_from_disk(from, &mut batch, account, states());
                    // The box keeps the future of a read from memory small.
                    match Box::pin(read).await {
                        Err(RpcError::TooManyRequests) if charge.is_some() => {
                            return Err(RpcError::ResponseTooLarge);
                        }
                        read => read?,
                    }
                }
                Some(ValueSource::Memory) | None => {
                    states().await?.read_some(self, from, &mut batch)
                }
            };
            turn.count(batch.scanned_changes - before);
            if let Err(lost) = read {
                return Ok(Err(lost));
            }
            if from.is_none_or(|from| !batch.has_begun(from.revision)) {
                return Ok(Ok(batch));
            }
            if batch.bytes >= BATCH_BYTES {
                let charge = charge.get_or_insert_with(|| account.hold_later(Resource::Answers));
                if !charge.grow(batch.bytes - charged) {
                    return Err(match charged {
                        0 => RpcError::TooManyRequests,
                        _ => RpcError::ResponseTooLarge,
                    });
                }
                charged = batch.bytes;
            }
            // A revision with many events is one response, so encode some events before each yield instead of all at the end.
            for event in &batch.events[encoded..] {
                event.encoded(self.prev_kv);
            }
            encoded = batch.events.len();
            turn.end().await;
        }
    }

    /// Runs [`HistoryStates::read_some`] on another thread. After an outer error, `batch` has lost its events.
    async fn read_some_from_disk(
        &self,
        from: &mut Option<ResumePoint>,
        batch: &mut EventBatch,
        account: &Account,
        states: impl Future<Output = RpcResult<HistoryStates>> + Send + 'static,
    ) -> RpcResult<Result<(), Compacted>> {
        let RangeToRead { until, prev_kv, synced, .. } = *self;
        let before = batch.bytes;
        let (span, mut next, mut filled) = (self.span.clone(), *from, std::mem::take(batch));
        let work = move |states: HistoryStates| {
            let range = RangeToRead { span: &span, until, prev_kv, synced };
            let read = states.read_some(&range, &mut next, &mut filled);
            (read, next, filled)
        };
        let bytes = move |(_, _, filled): &(_, _, EventBatch)| filled.bytes - before;
        let (read, next, filled) = read_from_disk(account, states, work, bytes).await?;
        (*from, *batch) = (next, filled);
        Ok(read)
    }
}

/// Reads changes from `first` up to the revision `last` into a batch. Returns the point at which the read stopped: at a full
/// batch, after [`BATCH_BYTES`], at a scan limit or at a value that is only on disk. Returns `None` at the end.
fn read_changes<'a>(
    kv: &Kv,
    range: &RangeToRead<'_>,
    (first, last): (ResumePoint, Revision),
    changes: impl Iterator<Item = (HistoryLocation, KeyChange<'a>)>,
    batch: &mut EventBatch,
) -> Option<ResumePoint> {
    let from_memory = matches!(first.source, ValueSource::Memory);
    let (events_before, bytes_before) = (batch.events.len(), batch.bytes);
    let mut scanned = 0;
    for (location, written) in changes {
        let (revision, sub) = (written.revision(), written.sub());
        if revision > last {
            break;
        }
        if (revision, sub) < (first.revision, first.sub) {
            // Skip an earlier change in the block, or a change of this revision that was scanned in another layout.
            batch.scanned_changes += 1;
            continue;
        }
        let scan_max = match batch.events.len() == events_before {
            true => UNWANTED_SCAN_CHANGES,
            false => SCAN_CHANGES,
        };
        let wanted = range.span.contains(written.key());
        let stop = |source| Some(ResumePoint { revision, sub, location: Some(location), source });
        let is_full = batch.bytes - bytes_before >= BATCH_BYTES || !batch.accepts(revision);
        if scanned >= scan_max || (wanted && is_full) {
            return stop(ValueSource::Memory);
        }
        if wanted && from_memory && !is_resident(kv, &written, range.prev_kv) {
            return stop(ValueSource::Disk);
        }
        scanned += 1;
        batch.scanned_changes += 1;
        if wanted {
            batch.push(kv, &written, range.prev_kv);
        }
    }
    None
}

#[cfg(test)]
mod tests;
