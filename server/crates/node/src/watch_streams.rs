//! The v3 watch streams of this process. The node only wakes streams: each stream reads a state's history with its own cursors
//! (I7).
//!
//! Clients may already know the published revision, so a new watch starts after that revision. Changes up to the notified
//! revision are recorded for all streams that they match. The notified revision reaches the published revision within the same
//! turn.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::Notify;
use witan_base::sync::Mutex;
use witan_machine::{
    kv::{HistoryLocation, Kv},
    limits::STATES_BEFORE_COMPACTION_MAX,
    revision::Revision,
};
use witan_replica::watch::{
    keys::{PendingChanges, WatchStreamId, WatcherGroupId, WatcherGroups},
    range::WatchRange,
};

use super::completions::{CompletionBatch, CompletionQueue};

/// Number of periodic checks after which pre-compaction states are dropped. Synced streams have read these states by then, and
/// the states hold memory that the compaction should free.
const OLDER_STATE_CHECKS: u32 = 2;

/// Maximum number of matches of changes and watcher groups in one turn; when it is exceeded, streams read further changes from
/// the history. Without this bound, deleting many keys under many overlapping ranges would occupy the replica's thread for
/// minutes.
const MATCHES_PER_TURN_MAX: usize = 1 << 19;

/// Maximum number of watcher groups that are unregistered or listed before the lock is released.
const GROUPS_AT_ONCE: usize = 1024;

/// The watcher groups and the wakers of their streams. The lock is held only for look-ups, never across an await.
#[derive(Clone, Debug, Default)]
pub(super) struct WatchStreams(Arc<Mutex<WatchState>>);

#[derive(Debug, Default)]
struct WatchState {
    groups: WatcherGroups,
    wakers: HashMap<WatchStreamId, StreamWaker>,
    published: Revision,
    notified_revision: Revision,
    /// Location after the last recorded change.
    end: Option<HistoryLocation>,
    /// The state after the last turn that woke streams, while no later state exists.
    current: Option<Arc<Kv>>,
    /// Pre-compaction states, oldest first.
    older: Vec<Arc<Kv>>,
    /// Number of periodic checks since the newest state was added to `older`.
    older_checks: u32,
    /// Streams that wait for a higher notified revision.
    waiting: Vec<WatchStreamId>,
}

#[derive(Clone, Debug)]
struct StreamWaker {
    completion_queue: Arc<CompletionQueue>,
    notify: Arc<Notify>,
}

impl WatchStreams {
    /// Sets the published and the notified revision to the revision of the recovered state.
    pub(super) fn begin(&self, kv: &Kv) {
        let mut watch_state = self.0.lock();
        (watch_state.published, watch_state.notified_revision) = (kv.revision(), kv.revision());
        watch_state.end = Some(kv.end());
    }

    /// Registers a stream without watchers. Wake-ups of the stream run on the calling worker.
    pub(super) fn add_stream(&self) -> WatchStream {
        let notify = Arc::new(Notify::new());
        let mut watch_state = self.0.lock();
        let id = watch_state.groups.add_stream();
        let waker = StreamWaker {
            completion_queue: CompletionQueue::current(),
            notify: notify.clone(),
        };
        watch_state.wakers.insert(id, waker);
        WatchStream { id, notify, streams: self.clone() }
    }

    /// Sets the published revision. Call this before any answer reveals the revision.
    pub(super) fn publish(&self, revision: Revision) {
        self.0.lock().published = revision;
    }

    /// Records all matching changes since the last call for each stream, and keeps the pre-compaction states of `kv`. Adds the
    /// wake-ups of these streams, and of streams that wait for a higher revision, to `completions`, which the caller must
    /// flush.
    pub(super) fn notify(&self, kv: &Kv, completions: &mut CompletionBatch) {
        let mut watch_state = self.0.lock();
        let watch_state = &mut *watch_state;
        let mut woken = std::mem::take(&mut watch_state.waiting);
        let mut matched = false;
        if !watch_state.groups.is_empty() && kv.revision() > watch_state.notified_revision {
            matched = record_changes(watch_state, kv, &mut woken);
        }
        watch_state.notified_revision = kv.revision();
        watch_state.end = Some(kv.end());
        watch_state.current = matched.then(|| without_compacted_states(kv));
        if watch_state.groups.is_empty() {
            watch_state.older = Vec::new();
        } else if !kv.compacted_states().is_empty() {
            watch_state
                .older
                .extend(kv.compacted_states().iter().map(without_compacted_states));
            let excess = watch_state
                .older
                .len()
                .saturating_sub(STATES_BEFORE_COMPACTION_MAX);
            watch_state.older.drain(..excess);
            watch_state.older_checks = 0;
        }
        for waker in woken.iter().filter_map(|id| watch_state.wakers.get(id)) {
            completions.wake(waker.completion_queue.clone(), waker.notify.clone());
        }
    }

    /// Keeps the state `before`, which a received snapshot has replaced, for streams that have not read its changes. Streams
    /// then look up changes by revision, because the locations of changes differ in the new state. Afterward, call
    /// [`WatchStreams::publish`] and [`WatchStreams::notify`] with the new state.
    pub(super) fn replace_state(&self, before: &Kv) {
        let mut watch_state = self.0.lock();
        watch_state.groups.forget_locations();
        if !watch_state.groups.is_empty() {
            watch_state.older.push(without_compacted_states(before));
            watch_state.older_checks = 0;
        }
    }

    /// Adds a wake-up of each stream to `completions`, which the caller must flush.
    pub(super) fn wake_all(&self, completions: &mut CompletionBatch) {
        for waker in self.0.lock().wakers.values() {
            completions.wake(waker.completion_queue.clone(), waker.notify.clone());
        }
    }

    /// Calls `each` with the first key of each watched range and the number of one stream's watchers of the range. Releases the
    /// lock while `each` runs, because the replica's thread needs the lock. Groups can therefore change between the calls.
    pub(super) fn visit(&self, mut each: impl FnMut(&[u8], u32)) {
        let mut from = 0;
        loop {
            let watch_state = self.0.lock();
            let some: Vec<(Arc<[u8]>, u32)> = watch_state
                .groups
                .in_slots(from..from + GROUPS_AT_ONCE)
                .map(|(key, _, watchers)| (key.clone(), watchers))
                .collect();
            from += GROUPS_AT_ONCE;
            let is_last = from >= watch_state.groups.slots();
            drop(watch_state);
            some.iter().for_each(|(key, watchers)| each(key, *watchers));
            if is_last {
                return;
            }
        }
    }

    /// Drops all pre-compaction states at the [`OLDER_STATE_CHECKS`]th call after the newest was added. Call this periodically.
    pub(super) fn expire_old_states(&self) {
        let mut watch_state = self.0.lock();
        watch_state.older_checks += 1;
        if watch_state.older_checks >= OLDER_STATE_CHECKS {
            watch_state.older = Vec::new();
        }
    }
}

/// Records the changes since the notified revision for each matching stream and adds these streams to `woken`. Returns whether
/// any stream may have unread changes.
fn record_changes(watch_state: &mut WatchState, kv: &Kv, woken: &mut Vec<WatchStreamId>) -> bool {
    let mut matched = 0;
    let mut from = watch_state.end;
    let states = kv.compacted_states();
    if states.first().unwrap_or(kv).compacted() > watch_state.notified_revision {
        let first = kv.seek(watch_state.notified_revision.next());
        watch_state
            .groups
            .notify_all(first, watch_state.notified_revision.next(), |id| {
                woken.push(id)
            });
        return true;
    }
    for state in states.iter().chain([kv]) {
        for (place, written) in state.changes_from(watch_state.notified_revision.next(), from) {
            let (groups, revision) = (&mut watch_state.groups, written.revision());
            // Changes of older revisions may come first.
            if revision <= watch_state.notified_revision {
                continue;
            }
            if matched > MATCHES_PER_TURN_MAX {
                groups.notify_all(place, revision, |id| woken.push(id));
                return true;
            }
            matched += groups.notify(written.key(), place, revision, |id| woken.push(id));
        }
        from = Some(state.end());
    }
    matched > 0
}

/// Copies the key space without its pre-compaction states, which hold memory.
fn without_compacted_states(kv: &Kv) -> Arc<Kv> {
    let mut kv = kv.clone();
    kv.clear_states_before_compaction();
    Arc::new(kv)
}

/// The unread changes of a stream.
#[derive(Debug)]
pub struct StreamChanges {
    /// Revision up to which all matching changes are recorded.
    pub notified_revision: Revision,
    /// Revision that clients may know.
    pub published: Revision,
    /// The watcher groups that the stream must read, in no particular order.
    pub touched: Vec<(WatcherGroupId, PendingChanges)>,
}

/// A registered watch stream. Remove its groups with [`WatchStream::unregister`] before dropping it.
#[derive(Debug)]
pub struct WatchStream {
    id: WatchStreamId,
    notify: Arc<Notify>,
    streams: WatchStreams,
}

impl WatchStream {
    /// Registers a group with one watcher. Returns the group's id and the published revision.
    pub fn register(&self, span: &WatchRange) -> (WatcherGroupId, Revision) {
        let mut watch_state = self.streams.0.lock();
        let id = watch_state.groups.register(self.id, span);
        (id, watch_state.published)
    }

    /// Adds a watcher to a group. Returns the published revision.
    pub fn join(&self, id: WatcherGroupId) -> Revision {
        let mut watch_state = self.streams.0.lock();
        watch_state.groups.join(id);
        watch_state.published
    }

    /// Removes a watcher from a group that has other watchers.
    pub fn leave(&self, id: WatcherGroupId) {
        self.streams.0.lock().groups.leave(id);
    }

    /// Removes watcher groups in batches, because the replica's thread needs the lock.
    pub fn unregister<'a>(&self, ended: impl Iterator<Item = (WatcherGroupId, &'a WatchRange)>) {
        let mut ended = ended.peekable();
        while ended.peek().is_some() {
            let mut watch_state = self.streams.0.lock();
            let some = ended.by_ref().take(GROUPS_AT_ONCE);
            some.for_each(|(id, span)| watch_state.groups.unregister(id, span));
            drop(watch_state);
            if ended.peek().is_some() {
                // Without this yield, a thread that was just woken to take the lock would find it locked again.
                std::thread::yield_now();
            }
        }
    }

    /// Returns the revision that clients may know.
    pub fn published(&self) -> Revision {
        self.streams.0.lock().published
    }

    /// Takes the unread changes. If the notified revision is below `wanted`, wakes the stream when that revision rises.
    pub fn take(&self, wanted: Revision) -> StreamChanges {
        let mut watch_state = self.streams.0.lock();
        if watch_state.notified_revision < wanted && !watch_state.waiting.contains(&self.id) {
            watch_state.waiting.push(self.id);
        }
        StreamChanges {
            notified_revision: watch_state.notified_revision,
            published: watch_state.published,
            touched: watch_state.groups.take(self.id),
        }
    }

    /// Returns a state with all changes up to `revision`, if one is available, and the pre-compaction states, oldest first.
    pub fn states(&self, revision: Revision) -> (Option<Arc<Kv>>, Vec<Arc<Kv>>) {
        let watch_state = self.streams.0.lock();
        let fresh = watch_state.current.as_ref();
        let current = fresh.filter(|kv| kv.revision() >= revision).cloned();
        (current, watch_state.older.clone())
    }

    /// Completes when unread changes may exist, or immediately if such changes arose since the last call.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        let mut watch_state = self.streams.0.lock();
        watch_state.groups.remove_stream(self.id);
        watch_state.wakers.remove(&self.id);
        watch_state.waiting.retain(|id| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use witan_machine::kv::{KvCommand, KvOperation, Put};

    use super::*;

    fn put(kv: &mut Kv) -> Revision {
        let put = Put { key: "key".into(), value: "value".into(), ..Put::default() };
        let operation = Some(KvOperation::Put(put));
        kv.apply(&KvCommand { operation }).expect("a valid command");
        kv.revision()
    }

    /// Locations in a replaced state mean nothing in the new state, so new changes are found by revision.
    #[test]
    fn a_snapshot_records_only_changes_that_were_not_recorded_before() {
        actix_rt::System::new().block_on(async {
            let mut kv = Kv::default();
            let streams = WatchStreams::default();
            streams.begin(&kv);
            let stream = streams.add_stream();
            let span = WatchRange::new(b"key", b"");
            let (group, _) = stream.register(&span);
            let mut completions = CompletionBatch::default();
            let first = put(&mut kv);
            streams.notify(&kv, &mut completions);
            let recorded = |changes: StreamChanges| {
                let all = changes.touched.into_iter();
                let all = all.map(|(id, pending)| (id, pending.revision, pending.more.len()));
                all.collect::<Vec<_>>()
            };
            assert_eq!(recorded(stream.take(Revision::NONE)), [(group, first, 0)]);
            streams.replace_state(&kv);
            let second = put(&mut kv);
            streams.notify(&kv, &mut completions);
            assert_eq!(recorded(stream.take(Revision::NONE)), [(group, second, 0)]);
            stream.unregister([(group, &span)].into_iter());
        });
    }

    /// There are more watchers than are visited under one lock, and some of them have ended.
    #[test]
    fn all_watchers_are_visited() {
        const MANY: usize = 2 * GROUPS_AT_ONCE + 1;
        actix_rt::System::new().block_on(async {
            let streams = WatchStreams::default();
            let (one, two) = (streams.add_stream(), streams.add_stream());
            let span = |at: usize| WatchRange::new(format!("{at:04}").as_bytes(), b"");
            let register = |at| one.register(&span(at)).0;
            let groups: Vec<_> = (0..MANY).map(register).collect();
            for at in (0..MANY).step_by(2) {
                one.unregister([(groups[at], &span(at))].into_iter());
            }
            let (other, _) = two.register(&span(MANY));
            two.join(other);
            two.join(other);
            two.leave(other);
            let mut found = Vec::new();
            streams.visit(|key, watchers| {
                found.push((String::from_utf8_lossy(key).into_owned(), watchers));
            });
            found.sort();
            let expect = |at: usize| (format!("{at:04}"), 1);
            let mut expect: Vec<_> = (1..MANY).step_by(2).map(expect).collect();
            expect.push((format!("{MANY:04}"), 2));
            assert_eq!(found, expect);
        });
    }
}
