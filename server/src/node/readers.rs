//! The watch streams of v3 keys in this process. They are woken, never fed: each reads the history
//! of a state by its own cursors (I7).
//!
//! There are two revisions. Clients may know the published one, so a new watch begins after it.
//! Changes up to the notified one have been noted for all streams that they match; it follows
//! within the same turn.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use witan_replica::{
    limits::STATES_BEFORE_COMPACTION_MAX,
    machine::kv::{Kv, Location},
    watch::{
        keys::{PendingChanges, WatchStreamId, WatcherGroupId, WatcherGroups},
        range::WatchRange,
    },
};

use super::{
    Fault,
    desk::{Desk, Outbox},
};

/// Number of periodic checks after which states from before a compaction are dropped: synced
/// streams have read them long before, and they hold memory that the compaction should free.
const OLDER_SWEEPS: u32 = 2;

/// The watcher groups, and how to wake their streams. The lock is held for look-ups only, never
/// across an await.
#[derive(Clone, Debug, Default)]
pub(super) struct Readers(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    interests: WatcherGroups,
    bells: HashMap<WatchStreamId, Bell>,
    published: i64,
    notified_revision: i64,
    /// Location behind the last notified change.
    end: Option<Location>,
    /// The state after the last turn with matching changes, while it is current.
    current: Option<Arc<Kv>>,
    /// States from before the last compactions, the oldest first.
    older: Vec<Arc<Kv>>,
    older_sweeps: u32,
    /// Streams that wait for a later notified revision.
    waiting: Vec<WatchStreamId>,
}

#[derive(Clone, Debug)]
struct Bell {
    desk: Arc<Desk>,
    notify: Arc<Notify>,
}

impl Readers {
    /// Starts from a recovered state.
    pub(super) fn begin(&self, kv: &Kv) {
        let mut board = self.board();
        (board.published, board.notified_revision) = (kv.revision(), kv.revision());
        board.end = Some(kv.end());
    }

    pub(super) fn enter(&self) -> Reader {
        let notify = Arc::new(Notify::new());
        let mut board = self.board();
        let id = board.interests.add_stream();
        let bell = Bell {
            desk: Desk::here(),
            notify: notify.clone(),
        };
        board.bells.insert(id, bell);
        Reader {
            id,
            notify,
            readers: self.clone(),
        }
    }

    /// Call it before anything reveals this revision.
    pub(super) fn publish(&self, revision: i64) {
        self.board().published = revision;
    }

    /// Notes all matching changes since the last call for each stream, and wakes it. `kv` is the
    /// state after the round; it still holds the states before its compactions.
    pub(super) fn tell(&self, kv: &Kv, outbox: &mut Outbox) {
        let mut board = self.board();
        let board = &mut *board;
        let mut woken = std::mem::take(&mut board.waiting);
        let mut concerned = false;
        if !board.interests.is_empty() && kv.revision() > board.notified_revision {
            concerned = note(board, kv, &mut woken);
        }
        board.notified_revision = kv.revision();
        board.end = Some(kv.end());
        board.current = concerned.then(|| bare(kv));
        if board.interests.is_empty() {
            board.older = Vec::new();
        } else if !kv.compacted_states().is_empty() {
            board.older.extend(kv.compacted_states().iter().map(bare));
            let excess = board
                .older
                .len()
                .saturating_sub(STATES_BEFORE_COMPACTION_MAX);
            board.older.drain(..excess);
            board.older_sweeps = 0;
        }
        for bell in woken.iter().filter_map(|id| board.bells.get(id)) {
            outbox.ring(bell.desk.clone(), bell.notify.clone());
        }
    }

    /// Wakes all streams.
    pub(super) fn ring_all(&self, outbox: &mut Outbox) {
        for bell in self.board().bells.values() {
            outbox.ring(bell.desk.clone(), bell.notify.clone());
        }
    }

    /// Call it periodically.
    pub(super) fn sweep(&self) {
        let mut board = self.board();
        board.older_sweeps += 1;
        if board.older_sweeps >= OLDER_SWEEPS {
            board.older = Vec::new();
        }
    }

    /// After a panic of another thread at worst a stream remains registered.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes changes; returns whether any stream matches.
fn note(board: &mut Board, kv: &Kv, woken: &mut Vec<WatchStreamId>) -> bool {
    let mut concerned = false;
    let mut from = board
        .end
        .unwrap_or_else(|| kv.seek(board.notified_revision + 1));
    let states = kv.compacted_states();
    if states.first().unwrap_or(kv).compacted() > board.notified_revision {
        let first = kv.seek(board.notified_revision + 1);
        board
            .interests
            .notify_all(first, board.notified_revision + 1, |id| woken.push(id));
        return true;
    }
    for state in states.iter().chain([kv]) {
        for (place, written) in state.changes_from(from) {
            concerned |= board
                .interests
                .notify(written.key(), place, written.revision(), |id| {
                    woken.push(id)
                });
        }
        from = state.end();
    }
    concerned
}

fn bare(kv: &Kv) -> Arc<Kv> {
    let mut kv = kv.clone();
    kv.clear_states_before_compaction();
    Arc::new(kv)
}

/// Unread changes of a stream.
#[derive(Debug)]
pub struct Taken {
    /// All matching changes up to this revision were noted.
    pub notified_revision: i64,
    /// What it has to read, in no order.
    pub touched: Vec<(WatcherGroupId, PendingChanges)>,
}

/// A registered watch stream; dropping it unregisters it. Its groups must have been removed
/// ([`Reader::unregister`]).
#[derive(Debug)]
pub struct Reader {
    id: WatchStreamId,
    notify: Arc<Notify>,
    readers: Readers,
}

impl Reader {
    /// Registers a watcher group. Returns it with the published revision.
    pub fn register(&self, span: &WatchRange) -> Result<(WatcherGroupId, i64), Fault> {
        let mut board = self.readers.board();
        let id = board
            .interests
            .register(self.id, span)
            .map_err(|_| Fault::TooMany)?;
        Ok((id, board.published))
    }

    /// Forgets interests.
    pub fn unregister<'a>(&self, gone: impl Iterator<Item = (WatcherGroupId, &'a WatchRange)>) {
        let mut board = self.readers.board();
        gone.for_each(|(id, span)| board.interests.unregister(id, span));
    }

    /// The revision that clients may know already.
    pub fn published(&self) -> i64 {
        self.readers.board().published
    }

    /// Takes unread changes. If the notified revision is below `wanted`, the stream is woken when
    /// it advances.
    pub fn take(&self, wanted: i64) -> Taken {
        let mut board = self.readers.board();
        if board.notified_revision < wanted && !board.waiting.contains(&self.id) {
            board.waiting.push(self.id);
        }
        Taken {
            notified_revision: board.notified_revision,
            touched: board.interests.take(self.id),
        }
    }

    /// A state that contains everything up to a notified revision, if available, and the states
    /// from before the last compactions, oldest first. Do not keep them: they hold memory.
    pub fn states(&self, revision: i64) -> (Option<Arc<Kv>>, Vec<Arc<Kv>>) {
        let board = self.readers.board();
        let fresh = board.current.as_ref();
        let current = fresh.filter(|kv| kv.revision() >= revision).cloned();
        (current, board.older.clone())
    }

    /// Resolves when there may be something to take, at once if that was so since the last call.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut board = self.readers.board();
        board.interests.remove_stream(self.id);
        board.bells.remove(&self.id);
        board.waiting.retain(|id| *id != self.id);
    }
}
