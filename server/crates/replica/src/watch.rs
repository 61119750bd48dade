//! Decides which watchers to wake. This module matches v2 watchers against events; `keys` handles watchers of v3 keys, with
//! `interval_tree` and `range`.
//!
//! The hub stores neither queues nor events. A woken watcher reads the history of a view from its own cursor
//! ([`witan_tree::Tree::next_event`]). Wake-ups may be spurious, but none are missing.

mod interval_tree;
pub mod keys;
pub mod range;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use bytes::Bytes;

use crate::limits::WATCHERS_MAX;
use witan_tree::{Event, Watch};

/// Identifies a registered watcher. Ids are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(u64);

/// `limits::WATCHERS_MAX` watchers are already registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many watchers")]
pub struct TooManyWatchers;

/// The registered watchers, indexed by path.
#[derive(Debug, Default)]
pub struct WatchHub {
    last: u64,
    watched: BTreeMap<WatcherId, (Bytes, bool)>,
    /// The non-recursive watchers. They are separate, so that events below a path do not visit them.
    exact: BTreeMap<Bytes, BTreeSet<WatcherId>>,
    recursive: BTreeMap<Bytes, BTreeSet<WatcherId>>,
}

impl WatchHub {
    /// Registers a watcher, which is woken for the next event and all later events. Fails if `WATCHERS_MAX` watchers are
    /// registered.
    pub fn register(&mut self, watch: &Watch) -> Result<WatcherId, TooManyWatchers> {
        if self.watched.len() >= WATCHERS_MAX {
            return Err(TooManyWatchers);
        }
        self.last += 1;
        let id = WatcherId(self.last);
        let path = Bytes::copy_from_slice(&watch.path);
        self.index_mut(watch.recursive)
            .entry(path.clone())
            .or_default()
            .insert(id);
        self.watched.insert(id, (path, watch.recursive));
        Ok(id)
    }

    /// Unregisters a watcher. Ignores unknown ids.
    pub fn unregister(&mut self, id: WatcherId) {
        let Some((path, recursive)) = self.watched.remove(&id) else {
            return;
        };
        let side = self.index_mut(recursive);
        if let Some(ids) = side.get_mut(&path) {
            ids.remove(&id);
            if ids.is_empty() {
                side.remove(&path);
            }
        }
    }

    /// Returns the number of registered watchers.
    pub fn len(&self) -> usize {
        self.watched.len()
    }

    /// Returns whether no watcher is registered.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Returns all watchers, which must be woken after a snapshot has been installed or if the history lacks recent events.
    pub fn all(&self) -> impl Iterator<Item = WatcherId> {
        self.watched.keys().copied()
    }

    /// Iterates over the watchers registered after `id` (all watchers for `None`) in registration order, each with its path.
    pub fn after(&self, id: Option<WatcherId>) -> impl Iterator<Item = (WatcherId, &Bytes)> {
        let first = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.watched
            .range((first, Bound::Unbounded))
            .map(|(id, (path, _))| (*id, path))
    }

    /// Returns, without duplicates, the watchers that `event` may concern: the watchers of its node and the recursive watchers
    /// of the directories above the node. If the node is a directory, also returns the watchers of everything below it, because
    /// the event may be its removal. A refresh concerns no watcher.
    pub fn affected_by(&self, event: &Event) -> Vec<WatcherId> {
        let mut woken = Vec::new();
        if event.refresh {
            return woken;
        }
        let path = &event.node.path;
        woken.extend(self.exact.get(path).into_iter().flatten());
        for dir in ancestors(path) {
            woken.extend(self.recursive.get(dir).into_iter().flatten());
        }
        if event.node.dir {
            // The byte `0` follows `/`, so the range has exactly the paths below `path`.
            let (first, end) = ([path, &b"/"[..]].concat(), [path, &b"0"[..]].concat());
            for side in [&self.exact, &self.recursive] {
                let below = side.range(Bytes::from(first.clone())..Bytes::from(end.clone()));
                woken.extend(below.flat_map(|(_, ids)| ids));
            }
        }
        woken
    }

    /// Returns the watchers by path: the recursive ones if `recursive`, otherwise the others.
    fn index_mut(&mut self, recursive: bool) -> &mut BTreeMap<Bytes, BTreeSet<WatcherId>> {
        if recursive {
            &mut self.recursive
        } else {
            &mut self.exact
        }
    }
}

/// Iterates over the path itself and every directory above it, ending with the root.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = (1..path.len()).rev().filter(|end| path[*end] == b'/');
    std::iter::once(path)
        .chain(ends.map(|end| &path[..end]))
        .chain(std::iter::once(&b"/"[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use witan_tree::{Action, Node};

    fn watch(path: &'static str, recursive: bool) -> Watch {
        Watch {
            path: Bytes::from_static(path.as_bytes()),
            recursive,
            registered: 0,
        }
    }

    fn event(action: Action, path: &'static str, dir: bool) -> Event {
        let node = Node {
            path: Bytes::from_static(path.as_bytes()),
            dir,
            ..Node::default()
        };
        Event { action, node, prev: None, index: 1, refresh: false }
    }

    #[test]
    fn wakes_watchers_of_the_node_its_ancestors_and_a_removed_directory() {
        let mut hub = WatchHub::default();
        let mut enter = |path, recursive| hub.register(&watch(path, recursive)).unwrap();
        let root = enter("/", true);
        let above = enter("/a", true);
        let above_exact = enter("/a", false);
        let exact = enter("/a/b", false);
        let below = enter("/a/b/c", false);
        let deep = enter("/a/b/c/d", true);
        let beside = enter("/a/b!", true);
        let set = hub.affected_by(&event(Action::Set, "/a/b", false));
        assert_eq!(set, [exact, above, root]);
        let gone = hub.affected_by(&event(Action::Delete, "/a/b", true));
        assert_eq!(gone, [exact, above, root, below, deep]);
        assert!(!gone.contains(&above_exact) && !gone.contains(&beside));
        hub.unregister(exact);
        hub.unregister(root);
        hub.unregister(root);
        assert_eq!(hub.affected_by(&event(Action::Set, "/a/b", false)), [above]);
        assert_eq!(hub.len(), 5);
        assert_eq!(hub.all().count(), 5);
        assert_eq!(hub.after(None).count(), 5);
        let after: Vec<_> = hub.after(Some(below)).collect();
        let (deep_path, beside_path) = (Bytes::from("/a/b/c/d"), Bytes::from("/a/b!"));
        assert_eq!(after, [(deep, &deep_path), (beside, &beside_path)]);
    }

    #[test]
    fn refuses_above_the_limit() {
        let mut hub = WatchHub::default();
        for _ in 0..WATCHERS_MAX {
            hub.register(&watch("/same", false)).unwrap();
        }
        assert_eq!(hub.register(&watch("/same", false)), Err(TooManyWatchers));
    }
}
