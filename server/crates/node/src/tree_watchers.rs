//! The v2 watchers of this process. The node only wakes watchers: each watcher reads a view's history with its own cursor (I7).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use tokio::sync::Notify;
use witan_base::{account::Charge, sync::Mutex};
use witan_replica::watch::{WatchHub, WatcherId};
use witan_tree::{Tree, Watch};

use super::NodeError;

/// The registered watchers and their wakers. The lock is held only for look-ups, never across an await.
#[derive(Clone, Debug, Default)]
pub(super) struct TreeWatchers(Arc<Mutex<TreeWatchState>>);

#[derive(Debug, Default)]
struct TreeWatchState {
    hub: WatchHub,
    wakers: HashMap<WatcherId, Arc<TreeWaker>>,
}

/// Wakes one watcher.
#[derive(Debug, Default)]
struct TreeWaker {
    notify: Notify,
    /// Index of the first change since the last wake-up that the watch may match; 0 if there is no such change.
    first: AtomicU64,
}

impl TreeWaker {
    /// Wakes the watcher for a change at `index`. If the watcher has not yet taken an earlier index, keeps the earlier index.
    fn ring(&self, index: u64) {
        let _ = self.first.compare_exchange(0, index, Relaxed, Relaxed);
        self.notify.notify_one();
    }
}

/// Maximum number of watchers that are listed before the lock is released.
const VISITED_AT_ONCE: usize = 1024;

/// Size in bytes of a watcher in memory, without its path.
const WATCHER_BYTES: usize = 1 << 10;

/// Number of copies of a watcher's path in memory: one for wake-ups and two in the waiting request.
const PATH_COPIES: usize = 3;

/// Returns the size in bytes of a watcher in memory, for its charge.
pub(super) fn watcher_bytes(watch: &Watch) -> usize {
    WATCHER_BYTES + PATH_COPIES * watch.path.len()
}

impl TreeWatchers {
    /// Registers a watcher with the charge for its memory, or fails with `TooMany` if there are too many watchers.
    pub(super) fn register(&self, watch: Watch, charge: Charge) -> Result<TreeWatcher, NodeError> {
        let waker = Arc::new(TreeWaker::default());
        let mut watch_state = self.0.lock();
        let id = watch_state
            .hub
            .register(&watch)
            .map_err(|_| NodeError::TooMany)?;
        watch_state.wakers.insert(id, waker.clone());
        Ok(TreeWatcher { id, waker, watchers: self.clone(), _charge: charge })
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().hub.len()
    }

    /// Wakes the watchers that may match events of `tree` after index `since`, or all watchers if the history lacks these
    /// events.
    pub(super) fn wake(&self, tree: &Tree, since: u64) {
        let watch_state = self.0.lock();
        if watch_state.hub.is_empty() {
            return;
        }
        let ring = |id: WatcherId, index: u64| {
            if let Some(waker) = watch_state.wakers.get(&id) {
                waker.ring(index);
            }
        };
        match tree.events_since(since) {
            Some(events) => {
                for event in events {
                    let affected = watch_state.hub.affected_by(event).into_iter();
                    affected.for_each(|id| ring(id, event.index));
                }
            }
            // Every watcher may have missed an event.
            None => watch_state.hub.all().for_each(|id| ring(id, since + 1)),
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
    waker: Arc<TreeWaker>,
    watchers: TreeWatchers,
    _charge: Charge,
}

impl TreeWatcher {
    /// Completes after a change that the watch may match, or immediately if such a change occurred since the last call. Returns
    /// the index of the first such change, or 0 if the last call has already returned it.
    pub async fn woken(&mut self) -> u64 {
        self.waker.notify.notified().await;
        self.waker.first.swap(0, Relaxed)
    }
}

impl Drop for TreeWatcher {
    fn drop(&mut self) {
        let mut watch_state = self.watchers.0.lock();
        watch_state.hub.unregister(self.id);
        watch_state.wakers.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use witan_base::{
        account::{Resource, Totals},
        metrics::Register,
    };
    use witan_machine::member::MemberId;
    use witan_tree::{Set, TreeCommand, TreeOperation, limits::TREE_HISTORY_EVENTS};

    use super::*;
    use crate::testing::without_replica;

    fn watch(path: &str) -> Watch {
        Watch {
            path: Bytes::copy_from_slice(path.as_bytes()),
            recursive: false,
            registered: 0,
        }
    }

    #[test]
    fn a_watcher_with_a_long_path_is_refused_if_memory_is_short() {
        let what = Resource::Watchers;
        let totals = Totals::register(&Register::default(), u64::MAX);
        let [other, account] = [(); 2].map(|()| totals.open());
        let left = 20 * WATCHER_BYTES;
        let _held = other.hold(what, what.limit() - left);
        let node = without_replica(MemberId(1), 1).of_connection(&account);
        let long = watch(&format!("/{}", "l".repeat(left / PATH_COPIES)));
        assert_eq!(node.watch(long).err(), Some(NodeError::TooMany));
        let short = node.watch(watch("/s")).expect("there is room");
        drop(short);
        assert!(account.hold(what, left).is_some(), "no charge is left");
    }

    #[test]
    fn a_watcher_gets_the_index_of_the_first_change_that_it_may_match() {
        let watchers = TreeWatchers::default();
        let account = Totals::register(&Register::default(), u64::MAX).open();
        let register = |path| {
            let charge = account.hold_later(Resource::Watchers);
            let watcher = watchers.register(watch(path), charge);
            watcher.expect("there is room")
        };
        let [mut watched, mut quiet] = ["/watched", "/quiet"].map(register);
        let mut tree = Tree::default();
        let mut set = |path: &'static str| {
            let set = Set { path: path.into(), ..Set::default() };
            let command = TreeCommand { operation: Some(TreeOperation::Set(set)) };
            tree.apply(&command, 0).expect("a file can be replaced");
            tree.clone()
        };
        for path in ["/noise", "/watched", "/watched"] {
            let tree = set(path);
            watchers.wake(&tree, tree.index() - 1);
        }
        assert_eq!(watched.woken().now_or_never(), Some(2));
        assert_eq!(watched.woken().now_or_never(), None);
        assert_eq!(quiet.woken().now_or_never(), None);
        // The history does not contain all of these changes.
        for _ in 0..TREE_HISTORY_EVENTS {
            set("/noise");
        }
        watchers.wake(&set("/noise"), 3);
        assert_eq!(watched.woken().now_or_never(), Some(4));
        assert_eq!(quiet.woken().now_or_never(), Some(4));
    }
}
