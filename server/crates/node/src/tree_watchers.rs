//! The v2 watchers of this process. The node only wakes them: each watcher reads a view's history with its own cursor (I7).

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use tokio::sync::Notify;
use witan_base::sync::Mutex;
use witan_replica::watch::{WatchHub, WatcherId};
use witan_tree::{Tree, Watch};

use super::NodeError;

/// The registered watchers and their wakers. The lock is held only for look-ups, never across an await.
#[derive(Clone, Debug, Default)]
pub(super) struct TreeWatchers(Arc<Mutex<TreeWatchState>>);

#[derive(Debug, Default)]
struct TreeWatchState {
    hub: WatchHub,
    wakers: HashMap<WatcherId, Arc<Notify>>,
}

/// Number of watchers visited before the lock is released.
const VISITED_AT_ONCE: usize = 1024;

impl TreeWatchers {
    /// Registers a watcher, or fails with `TooMany` if there are too many.
    pub(super) fn register(&self, watch: Watch) -> Result<TreeWatcher, NodeError> {
        let notify = Arc::new(Notify::new());
        let mut watch_state = self.0.lock();
        let id = watch_state
            .hub
            .register(&watch)
            .map_err(|_| NodeError::TooMany)?;
        watch_state.wakers.insert(id, notify.clone());
        Ok(TreeWatcher { id, notify, watchers: self.clone() })
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().hub.len()
    }

    /// Wakes the watchers that may match events of `tree` after index `since`, or all if the history lacks these events.
    pub(super) fn wake(&self, tree: &Tree, since: u64) {
        let watch_state = self.0.lock();
        if watch_state.hub.is_empty() {
            return;
        }
        let ring = |id: WatcherId| {
            watch_state
                .wakers
                .get(&id)
                .into_iter()
                .for_each(|waker| waker.notify_one())
        };
        match tree.events_since(since) {
            Some(events) => {
                events.for_each(|e| watch_state.hub.affected_by(e).into_iter().for_each(ring))
            }
            None => watch_state.hub.all().for_each(ring),
        }
    }

    /// Calls `visit` with the path of each watcher. Does not hold the lock while `visit` runs.
    pub(super) fn visit(&self, mut visit: impl FnMut(&[u8])) {
        let mut last = None;
        loop {
            let watch_state = self.0.lock();
            let some: Vec<(WatcherId, Bytes)> = watch_state
                .hub
                .after(last)
                .take(VISITED_AT_ONCE)
                .map(|(id, path)| (id, path.clone()))
                .collect();
            drop(watch_state);
            let Some((id, _)) = some.last() else {
                return;
            };
            last = Some(*id);
            some.iter().for_each(|(_, path)| visit(path));
        }
    }
}

/// A registered watcher. Dropping it ends the registration.
#[derive(Debug)]
pub struct TreeWatcher {
    id: WatcherId,
    notify: Arc<Notify>,
    watchers: TreeWatchers,
}

impl TreeWatcher {
    /// Completes after a change that the watch may match, or immediately if one occurred since the last call.
    pub async fn woken(&mut self) {
        self.notify.notified().await;
    }
}

impl Drop for TreeWatcher {
    fn drop(&mut self) {
        let mut watch_state = self.watchers.0.lock();
        watch_state.hub.unregister(self.id);
        watch_state.wakers.remove(&self.id);
    }
}
