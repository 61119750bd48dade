//! The v2 watchers of this process. They are woken, never fed: each reads events from the history
//! of a view by its own cursor (I7).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use witan_replica::{
    machine::tree::{Tree, Watch},
    watch::{WatchHub, WatcherId},
};

use super::Fault;

/// The hub, and how to wake its watchers. The lock is held for look-ups only, never across an
/// await.
#[derive(Clone, Debug, Default)]
pub(super) struct Watchers(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    hub: WatchHub,
    bells: HashMap<WatcherId, Arc<Notify>>,
}

impl Watchers {
    pub(super) fn register(&self, watch: Watch) -> Result<Waiter, Fault> {
        let bell = Arc::new(Notify::new());
        let mut board = self.board();
        let id = board.hub.register(&watch).map_err(|_| Fault::TooMany)?;
        board.bells.insert(id, bell.clone());
        Ok(Waiter {
            id,
            bell,
            watchers: self.clone(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.board().hub.len()
    }

    /// Wakes the watchers that events of `tree` after index `since` may concern.
    pub(super) fn wake(&self, tree: &Tree, since: u64) {
        let board = self.board();
        if board.hub.is_empty() {
            return;
        }
        let ring = |id: WatcherId| {
            board
                .bells
                .get(&id)
                .into_iter()
                .for_each(|b| b.notify_one())
        };
        match tree.events_since(since) {
            Some(events) => {
                events.for_each(|e| board.hub.affected_by(e).into_iter().for_each(ring))
            }
            None => board.hub.all().for_each(ring),
        }
    }

    /// After a panic of another thread at worst a watcher remains registered.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A registered watcher; dropping it unregisters.
#[derive(Debug)]
pub struct Waiter {
    id: WatcherId,
    bell: Arc<Notify>,
    watchers: Watchers,
}

impl Waiter {
    /// Resolves after a change that the watch may match (spurious wake-ups are possible), at once if
    /// one happened since the last call.
    pub async fn woken(&mut self) {
        self.bell.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut board = self.watchers.board();
        board.hub.unregister(self.id);
        board.bells.remove(&self.id);
    }
}
