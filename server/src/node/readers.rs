//! The streams of this process that watch v3 keys. They are woken, never fed: each reads the
//! history of a state by cursors of its own (I7).
//!
//! Two revisions are kept apart. What is published may be known to clients already, so a watch that
//! begins now begins behind it. What is told has been noted for every reader that it concerns; it
//! follows within the same turn.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use witan_replica::{
    limits::COMPACTED_STATES_MAX,
    machine::kv::{Kv, Place},
    watch::{
        keys::{InterestId, Interests, ReaderId, Touched},
        span::Span,
    },
};

use super::{
    Fault,
    desk::{Desk, Outbox},
};

/// Looks for abandoned requests after which a state from before a compaction is let go: readers
/// that keep up have long read it, and it holds what the compaction was to free.
const OLDER_SWEEPS: u32 = 2;

/// The interests, and whom to wake. The lock is held for look-ups only, never across a wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Readers(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    interests: Interests,
    bells: HashMap<ReaderId, Bell>,
    published: i64,
    told: i64,
    /// Behind the last change that was told.
    end: Option<Place>,
    /// The state after the last turn that concerned a reader, for as long as it is fresh.
    current: Option<Arc<Kv>>,
    /// States from before the last compactions, the oldest first.
    older: Vec<Arc<Kv>>,
    older_sweeps: u32,
    /// Readers that want to know when more was told.
    waiting: Vec<ReaderId>,
}

#[derive(Clone, Debug)]
struct Bell {
    desk: Arc<Desk>,
    notify: Arc<Notify>,
}

impl Readers {
    /// A recovered state begins here.
    pub(super) fn begin(&self, kv: &Kv) {
        let mut board = self.board();
        (board.published, board.told) = (kv.revision(), kv.revision());
        board.end = Some(kv.end());
    }

    pub(super) fn enter(&self) -> Reader {
        let notify = Arc::new(Notify::new());
        let mut board = self.board();
        let id = board.interests.enter();
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

    /// To be called before anybody can learn of this revision.
    pub(super) fn publish(&self, revision: i64) {
        self.board().published = revision;
    }

    /// Notes for each reader what concerns it of all that happened since the last call, and wakes
    /// it. `kv` is as the round left it: states before its compactions are still in it.
    pub(super) fn tell(&self, kv: &Kv, outbox: &mut Outbox) {
        let mut board = self.board();
        let board = &mut *board;
        let mut woken = std::mem::take(&mut board.waiting);
        let mut concerned = false;
        if !board.interests.is_empty() && kv.revision() > board.told {
            concerned = note(board, kv, &mut woken);
        }
        board.told = kv.revision();
        board.end = Some(kv.end());
        board.current = concerned.then(|| bare(kv));
        if board.interests.is_empty() {
            board.older = Vec::new();
        } else if !kv.compacted_states().is_empty() {
            board.older.extend(kv.compacted_states().iter().map(bare));
            let excess = board.older.len().saturating_sub(COMPACTED_STATES_MAX);
            board.older.drain(..excess);
            board.older_sweeps = 0;
        }
        for bell in woken.iter().filter_map(|id| board.bells.get(id)) {
            outbox.ring(bell.desk.clone(), bell.notify.clone());
        }
    }

    /// Wakes all, whatever concerns them.
    pub(super) fn ring_all(&self, outbox: &mut Outbox) {
        for bell in self.board().bells.values() {
            outbox.ring(bell.desk.clone(), bell.notify.clone());
        }
    }

    /// To be called from time to time.
    pub(super) fn sweep(&self) {
        let mut board = self.board();
        board.older_sweeps += 1;
        if board.older_sweeps >= OLDER_SWEEPS {
            board.older = Vec::new();
        }
    }

    /// A panic of another thread while it held the board leaves at worst a reader too many.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether anybody was concerned.
fn note(board: &mut Board, kv: &Kv, woken: &mut Vec<ReaderId>) -> bool {
    let mut concerned = false;
    let mut from = board.end.unwrap_or_else(|| kv.seek(board.told + 1));
    let states = kv.compacted_states();
    if states.first().unwrap_or(kv).compacted() > board.told {
        let first = kv.seek(board.told + 1);
        board
            .interests
            .touch_all(first, board.told + 1, |id| woken.push(id));
        return true;
    }
    for state in states.iter().chain([kv]) {
        for (place, written) in state.written_from(from) {
            concerned |= board
                .interests
                .touch(written.key(), place, written.revision(), |id| {
                    woken.push(id)
                });
        }
        from = state.end();
    }
    concerned
}

fn bare(kv: &Kv) -> Arc<Kv> {
    let mut kv = kv.clone();
    kv.forget_compacted_states();
    Arc::new(kv)
}

/// What a reader finds.
#[derive(Debug)]
pub struct Taken {
    /// Up to this revision, everything that concerns the reader was noted.
    pub told: i64,
    /// What it has to read, in no order.
    pub touched: Vec<(InterestId, Touched)>,
}

/// A registered reader; dropping it forgets it. Its interests must be gone by then
/// ([`Reader::unregister`]).
#[derive(Debug)]
pub struct Reader {
    id: ReaderId,
    notify: Arc<Notify>,
    readers: Readers,
}

impl Reader {
    /// Enters an interest. Returns it with the revision that clients may know already.
    pub fn register(&self, span: &Span) -> Result<(InterestId, i64), Fault> {
        let mut board = self.readers.board();
        let id = board
            .interests
            .register(self.id, span)
            .map_err(|_| Fault::TooMany)?;
        Ok((id, board.published))
    }

    /// Forgets interests.
    pub fn unregister<'a>(&self, gone: impl Iterator<Item = (InterestId, &'a Span)>) {
        let mut board = self.readers.board();
        gone.for_each(|(id, span)| board.interests.unregister(id, span));
    }

    /// The revision that clients may know already.
    pub fn published(&self) -> i64 {
        self.readers.board().published
    }

    /// What is to be read. If less was told than `wanted`, the reader is woken when more is.
    pub fn take(&self, wanted: i64) -> Taken {
        let mut board = self.readers.board();
        if board.told < wanted && !board.waiting.contains(&self.id) {
            board.waiting.push(self.id);
        }
        Taken {
            told: board.told,
            touched: board.interests.take(self.id),
        }
    }

    /// A state that holds what was told up to a revision, if one is at hand, and the states from
    /// before the last compactions, the oldest first. Not to be kept: they keep memory.
    pub fn states(&self, revision: i64) -> (Option<Arc<Kv>>, Vec<Arc<Kv>>) {
        let board = self.readers.board();
        let fresh = board.current.as_ref();
        let current = fresh.filter(|kv| kv.revision() >= revision).cloned();
        (current, board.older.clone())
    }

    /// Resolves when there is something to take, at once if there was since the last call. It may
    /// resolve for nothing.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut board = self.readers.board();
        board.interests.leave(self.id);
        board.bells.remove(&self.id);
        board.waiting.retain(|id| *id != self.id);
    }
}
