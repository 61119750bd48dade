//! The watchers of one range in a stream. Usually, a range has only one watcher, which needs no set.

use std::{collections::BTreeSet, ops::Bound};

use witan_node::WatchRange;

#[derive(Debug)]
pub(super) struct WatcherGroup {
    pub(super) span: WatchRange,
    members: WatcherIds,
    /// Number of watchers that requested previous pairs.
    pub(super) prev_kv_count: usize,
}

#[derive(Debug)]
enum WatcherIds {
    One(i64),
    Many(BTreeSet<i64>),
}

impl WatcherGroup {
    /// Creates a group with one watcher. The caller must count the watcher in `prev_kv_count`.
    pub(super) fn of_one(span: WatchRange, id: i64) -> Self {
        Self { span, members: WatcherIds::One(id), prev_kv_count: 0 }
    }

    /// Returns the watcher with the next higher ID, or the first watcher for `None`. Returns `None` after the last watcher.
    pub(super) fn after(&self, id: Option<i64>) -> Option<i64> {
        match &self.members {
            WatcherIds::One(one) => Some(*one).filter(|one| id.is_none_or(|id| *one > id)),
            WatcherIds::Many(many) => {
                let from = id.map_or(Bound::Unbounded, Bound::Excluded);
                many.range((from, Bound::Unbounded)).next().copied()
            }
        }
    }

    /// Appends the IDs of the group's watchers to `ids`.
    pub(super) fn add_to(&self, ids: &mut Vec<i64>) {
        match &self.members {
            WatcherIds::One(one) => ids.push(*one),
            WatcherIds::Many(many) => ids.extend(many),
        }
    }

    pub(super) fn insert(&mut self, id: i64) {
        match &mut self.members {
            WatcherIds::One(one) => self.members = WatcherIds::Many(BTreeSet::from([*one, id])),
            WatcherIds::Many(many) => drop(many.insert(id)),
        }
    }

    /// Removes a watcher. Returns whether the group is now empty; the caller must then drop the group, which still contains the
    /// ID.
    pub(super) fn remove(&mut self, id: i64) -> bool {
        match &mut self.members {
            WatcherIds::One(_) => true,
            WatcherIds::Many(many) => {
                many.remove(&id);
                many.is_empty()
            }
        }
    }
}
