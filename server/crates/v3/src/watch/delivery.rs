//! Turns events into responses: selects the watchers, applies their filters, and fragments large responses.

use std::{collections::VecDeque, iter, vec};

use prost::Message as _;
use witan_api::v3::etcdserverpb::{ResponseHeader, WatchResponse};
use witan_machine::revision::Revision;
use witan_node::WatcherGroupId;

use super::{
    answer::WatchAnswer,
    history_reader::{EventBatch, WatchEvent},
    progress::NO_WATCHER,
    watchers::{StreamWatchers, Watcher},
    worker_turn::WorkerTurn,
};

/// One or more responses to send.
#[derive(Debug)]
pub(super) enum ReadyResponse {
    Response(Box<WatchAnswer>),
    /// The same response for up to a million watchers. Each copy is created when it is sent.
    Repeated {
        answer: Box<WatchResponse>,
        recipients: Recipients,
    },
    /// Events for the synced watchers of a group. `next` is the ID of the next watcher to receive the events.
    Synced {
        group_id: WatcherGroupId,
        next: i64,
        events: Vec<WatchEvent>,
    },
    /// Events for one unsynced watcher. `revision` is the revision in the header.
    Unsynced {
        id: i64,
        events: Vec<WatchEvent>,
        revision: Revision,
    },
}

/// Watcher IDs, followed by repetitions of `NO_WATCHER`.
type Recipients = iter::Chain<vec::IntoIter<i64>, iter::RepeatN<i64>>;

impl ReadyResponse {
    /// Returns the number of events. An event for several watchers is counted once.
    fn event_count(&self) -> usize {
        match self {
            Self::Response(answer) => answer.events.len(),
            Self::Repeated { .. } => 0,
            Self::Synced { events, .. } | Self::Unsynced { events, .. } => events.len(),
        }
    }
}

/// Responses in sending order. The queue is bounded, because the session reads changes only while the queue is empty.
#[derive(Debug, Default)]
pub(super) struct ResponseQueue {
    ready: VecDeque<ReadyResponse>,
}

impl ResponseQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    pub(super) fn push_response(&mut self, answer: WatchResponse) {
        let answer = WatchAnswer::from(answer);
        self.ready.push_back(ReadyResponse::Response(answer.into()));
    }

    /// Queues a response without events for each watcher in `ids`, and `times` more responses for `NO_WATCHER`.
    pub(super) fn push_repeated(&mut self, answer: WatchResponse, ids: Vec<i64>, times: u32) {
        let no_watcher = iter::repeat_n(NO_WATCHER, times as usize);
        let recipients = ids.into_iter().chain(no_watcher);
        let answer = answer.into();
        self.ready
            .push_back(ReadyResponse::Repeated { answer, recipients });
    }

    /// Queues a batch of events for the synced watchers of a group, starting with the watcher `first`. Ignores an empty batch.
    pub(super) fn push_synced(
        &mut self,
        (group_id, first): (WatcherGroupId, i64),
        batch: EventBatch,
    ) {
        if !batch.events.is_empty() {
            let events = batch.events;
            self.ready
                .push_back(ReadyResponse::Synced { group_id, next: first, events });
        }
    }

    /// Queues a batch of events for one unsynced watcher, unless the batch is empty. `revision` is the revision in the header.
    pub(super) fn push_unsynced(&mut self, id: i64, batch: EventBatch, revision: Revision) {
        if !batch.events.is_empty() {
            let events = batch.events;
            self.ready
                .push_back(ReadyResponse::Unsynced { id, events, revision });
        }
    }

    /// Drops queued responses with events for removed watchers. `next` skips removed watchers in entries with events that are
    /// not encoded yet. Responses without events are still sent.
    pub(super) fn forget_removed(&mut self, watchers: &StreamWatchers) {
        self.ready.retain(|ready| match ready {
            ReadyResponse::Response(answer) => {
                answer.events.is_empty() || watchers.by_id.contains_key(&answer.head.watch_id)
            }
            ReadyResponse::Repeated { .. }
            | ReadyResponse::Synced { .. }
            | ReadyResponse::Unsynced { .. } => true,
        });
    }

    /// Returns the number of events that were read but not sent to all their watchers.
    pub(super) fn pending(&self) -> usize {
        self.ready.iter().map(ReadyResponse::event_count).sum()
    }

    /// Returns the next response, or `None` if the queue is empty or `turn` is over. The turn bounds the loop, because up to a
    /// million watchers can filter out all events. Splits a response of `fragment_bytes` or more if its watcher requested
    /// fragments. `header_at` builds the header for a revision.
    pub(super) fn next(
        &mut self,
        watchers: &mut StreamWatchers,
        turn: &mut WorkerTurn,
        fragment_bytes: usize,
        header_at: impl Fn(Revision) -> Option<ResponseHeader>,
    ) -> Option<WatchAnswer> {
        while !turn.is_over() {
            let ready = self.ready.pop_front()?;
            let events = ready.event_count();
            let answer = match ready {
                ReadyResponse::Response(answer) => return Some(*answer),
                ReadyResponse::Repeated { answer, mut recipients } => {
                    let Some(watch_id) = recipients.next() else {
                        continue;
                    };
                    let repeated = WatchResponse { watch_id, ..WatchResponse::clone(&answer) };
                    self.ready
                        .push_front(ReadyResponse::Repeated { answer, recipients });
                    return Some(repeated.into());
                }
                ReadyResponse::Unsynced { id, events, revision } => {
                    let header_at = |_| header_at(revision);
                    let watcher = watchers.by_id.get_mut(&id);
                    watcher.and_then(|watcher| events_of(id, watcher, &events, header_at))
                }
                ReadyResponse::Synced { group_id, next: id, events } => {
                    let group = watchers.groups.get(&group_id);
                    let following = group.and_then(|group| group.after(Some(id)));
                    let watcher = watchers.by_id.get_mut(&id);
                    let watcher = watcher.filter(|w| w.group_id == group_id && w.is_synced());
                    let answer =
                        watcher.and_then(|watcher| events_of(id, watcher, &events, &header_at));
                    // Drop the events after the last watcher, because they would stay in memory while the client does not read.
                    if let Some(next) = following {
                        self.ready
                            .push_front(ReadyResponse::Synced { group_id, next, events });
                    }
                    answer
                }
            };
            let Some((answer, fragment)) = answer else {
                turn.count(events);
                continue;
            };
            if !fragment || answer.encoded_len() < fragment_bytes {
                return Some(answer);
            }
            for part in fragments(answer, fragment_bytes).into_iter().rev() {
                self.ready.push_front(ReadyResponse::Response(part.into()));
            }
        }
        None
    }
}

/// Builds the response with the events that pass a watcher's filters and are not earlier than its `next`. Also returns whether
/// the response can be split. Returns `None` if no event passes. Otherwise, marks the watcher as not idle. `header_at` builds
/// the header for the revision of the last event.
fn events_of(
    id: i64,
    watcher: &mut Watcher,
    events: &[WatchEvent],
    header_at: impl FnOnce(Revision) -> Option<ResponseHeader>,
) -> Option<(WatchAnswer, bool)> {
    let flags = &mut watcher.flags;
    let mut wanted = Vec::with_capacity(events.len());
    let mut last_revision = Revision::NONE;
    for event in events {
        let filtered = if event.deletes {
            flags.no_delete
        } else {
            flags.no_put
        };
        if !filtered && event.revision >= watcher.next {
            wanted.push(event.encoded(flags.prev_kv));
            last_revision = event.revision;
        }
    }
    if wanted.is_empty() {
        return None;
    }
    flags.idle = false;
    let head = WatchResponse {
        header: header_at(last_revision),
        watch_id: id,
        ..WatchResponse::default()
    };
    Some((WatchAnswer { head, events: wanted }, flags.fragment))
}

/// Splits a response into parts that are smaller than `bytes` or contain a single event. Marks all parts but the last as
/// fragments.
fn fragments(answer: WatchAnswer, bytes: usize) -> Vec<WatchAnswer> {
    let bare = WatchAnswer::from(WatchResponse { fragment: true, ..answer.head });
    let bare_bytes = bare.encoded_len();
    let (mut parts, mut part, mut part_bytes) = (Vec::new(), bare.clone(), bare_bytes);
    for event in answer.events {
        if !part.events.is_empty() && part_bytes + event.encoded_len() >= bytes {
            parts.push(std::mem::replace(&mut part, bare.clone()));
            part_bytes = bare_bytes;
        }
        part_bytes += event.encoded_len();
        part.events.push(event);
    }
    part.head.fragment = false;
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use witan_api::v3::mvccpb;
    use witan_base::{
        account::{Resource, Totals},
        metrics::Register,
    };
    use witan_machine::kv::Kv;
    use witan_node::PendingChanges;

    use super::{
        super::{
            answer::EncodedEvent, history_reader::HistoryStates, limits::UNWANTED_SCAN_CHANGES,
        },
        *,
    };
    use crate::test_context::put;

    fn event(bytes: usize) -> EncodedEvent {
        EncodedEvent::new(mvccpb::Event {
            kv: Some(mvccpb::KeyValue { value: vec![0; bytes].into(), ..Default::default() }),
            ..Default::default()
        })
    }

    #[test]
    fn each_fragment_is_below_the_limit_or_has_one_event() {
        let answer = WatchAnswer {
            head: WatchResponse { watch_id: 7, ..Default::default() },
            events: [100, 300, 2000, 1, 1, 1].map(event).into(),
        };
        let parts = fragments(answer, 500);
        let counts: Vec<usize> = parts.iter().map(|part| part.events.len()).collect();
        assert_eq!(counts, [2, 1, 3]);
        let more: Vec<bool> = parts.iter().map(|part| part.head.fragment).collect();
        assert_eq!(more, [true, true, false]);
        assert!(parts.iter().all(|part| part.head.watch_id == 7));
        assert!(parts[0].encoded_len() < 500 && parts[2].encoded_len() < 500);
    }

    /// Returns a batch with one event.
    fn batch() -> EventBatch {
        let mut kv = Kv::default();
        put(&mut kv, "k", "");
        let first = kv.seek(Revision(2));
        let touched =
            PendingChanges { revision: Revision(2), first, more: Vec::new(), rest: false };
        let states = HistoryStates { current: kv.into(), older: Vec::new() };
        let (batch, _) = states.at_locations(&touched, false).expect("in memory");
        batch
    }

    /// All watchers of a queued response, up to a million, can filter out its events.
    #[test]
    fn the_worker_yields_while_all_events_are_filtered_out() {
        let account = Totals::register(&Register::default(), u64::MAX).open();
        let mut watchers = StreamWatchers::new(account.hold_later(Resource::Watchers));
        let mut out = ResponseQueue::default();
        (0..3 * UNWANTED_SCAN_CHANGES).for_each(|_| out.push_unsynced(7, batch(), Revision(2)));
        out.push_response(WatchResponse::default());
        let mut yields = 0;
        loop {
            let mut turn = WorkerTurn::default();
            let answer = out.next(&mut watchers, &mut turn, 1, |_| None);
            if answer.is_some() {
                break;
            }
            assert!(turn.is_over(), "the queue has a response");
            yields += 1;
        }
        assert_eq!(yields, 3);
        assert!(out.is_empty());
    }
}
