//! The last events of the store, and the rules that decide which watchers see an event.
//!
//! Events are stored by index. Changes of cluster data and refreshes also use an index and evict an older event. These changes
//! are not stored, because watchers do not see them.

use imbl::OrdMap;

use super::limits::{TREE_HISTORY_EVENTS, TREE_REMOVED_EVENTS};
use super::{
    Action, Event, Tree, TreeError, TreeErrorKind, Watch,
    identity_arc::IdentityArc,
    inode::{NodeRef, below, find, is_hidden},
    size::of_event,
};

/// An event and the data that decides which watchers match the event.
#[derive(Debug)]
pub(crate) struct HistoryEntry {
    pub(crate) event: Event,
    /// The directory that the event removed, if the directory is small and the event is recent. Checkpoints do not contain the
    /// directory.
    pub(crate) removed: Option<NodeRef>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct EventHistory {
    pub(crate) events: OrdMap<u64, IdentityArc<HistoryEntry>>,
    pub(crate) bytes: u64,
}

/// Returns the oldest index in the history of a store whose index is `index`; at least 1.
pub(crate) fn oldest(index: u64) -> u64 {
    index.saturating_sub(TREE_HISTORY_EVENTS as u64) + 1
}

impl EventHistory {
    /// Adds an event. `removed` is the directory that the event removed, if watchers need it.
    pub(crate) fn push(&mut self, event: Event, removed: Option<NodeRef>) {
        self.bytes += of_event(&event);
        self.events.insert(
            event.index,
            IdentityArc::new(HistoryEntry { event, removed }),
        );
    }

    /// Makes room for `index`, which the store has reached with or without an event. Evicts the event whose index is
    /// `TREE_HISTORY_EVENTS` lower and drops the removed directory of the event whose index is `TREE_REMOVED_EVENTS` lower.
    pub(crate) fn advance(&mut self, index: u64) {
        let outdated = oldest(index) - 1;
        if self.events.contains_key(&outdated)
            && let Some(kept) = self.events.remove(&outdated)
        {
            self.bytes -= of_event(&kept.event);
        }
        let aged = index.saturating_sub(TREE_REMOVED_EVENTS);
        if self
            .events
            .get(&aged)
            .is_some_and(|kept| kept.removed.is_some())
            && let Some(kept) = self.events.get_mut(&aged)
        {
            *kept = IdentityArc::new(HistoryEntry { event: kept.event.clone(), removed: None });
        }
    }
}

impl Tree {
    /// Returns the first event at or after index `from` that `watch` matches, or `None` if no event matches. Fails with
    /// `HistoryCleared` if `from` is before the oldest index in the history.
    pub fn next_event(&self, watch: &Watch, from: u64) -> Result<Option<Event>, TreeError> {
        let oldest = oldest(self.index);
        if from < oldest {
            let cause = format!("the requested history has been cleared [{oldest}/{from}]");
            return Err(self.error(TreeErrorKind::HistoryCleared, cause));
        }
        let mut later = self.history.events.range(from..);
        let first = later.find(|(_, kept)| kept.matches(watch));
        Ok(first.map(|(_, kept)| kept.event.clone()))
    }

    /// Iterates over the events after index `after` that may wake watchers. Returns `None` if the history no longer contains
    /// all of these events; the caller must then wake all watchers.
    pub fn events_since(&self, after: u64) -> Option<impl Iterator<Item = &Event>> {
        if after + 1 < oldest(self.index) {
            return None;
        }
        Some(
            self.history
                .events
                .range(after + 1..)
                .map(|(_, kept)| &kept.event),
        )
    }
}

impl HistoryEntry {
    /// Returns whether a watcher sees the event. A watcher sees events at its path and the removal of a directory above that
    /// path. A recursive watcher also sees events below its path, unless a component below its path is hidden.
    fn matches(&self, watch: &Watch) -> bool {
        let path = &self.event.node.path;
        if *path == watch.path {
            return true;
        }
        if let Some(rest) = below(&watch.path, path) {
            return watch.recursive && !rest.split(|byte| *byte == b'/').any(is_hidden);
        }
        self.removes_dir() && self.is_removal_visible_to(watch)
    }

    /// Returns whether the event deletes or expires a directory.
    fn removes_dir(&self) -> bool {
        let removes = match self.event.action {
            Action::Delete | Action::Expire => true,
            Action::Get
            | Action::Set
            | Action::Create
            | Action::Update
            | Action::CompareAndSwap
            | Action::CompareAndDelete => false,
        };
        removes && self.event.node.dir
    }

    /// Returns whether a watcher on a path below a removed directory sees the removal. A watcher that was registered after the
    /// event always sees it. A watcher that was registered earlier sees the removal if the watcher's path existed in the
    /// directory, or if the directory is not kept. Returns `false` for a watcher on any other path.
    fn is_removal_visible_to(&self, watch: &Watch) -> bool {
        let Some(rest) = below(&self.event.node.path, &watch.path) else {
            return false;
        };
        match &self.removed {
            Some(dir) if self.event.index > watch.registered => {
                find(dir, &[b"/", rest].concat()).is_ok()
            }
            Some(_) | None => true,
        }
    }
}
