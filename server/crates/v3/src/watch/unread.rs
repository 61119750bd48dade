//! Changes that a stream has taken from the registry but has not read yet, by watcher group.

use std::collections::BTreeMap;

use witan_node::{PendingChanges, WatcherGroupId};

use super::{delivery::ResponseQueue, history_reader::ResumePoint, worker_turn::WorkerTurn};

#[derive(Debug)]
pub(super) enum UnreadChanges {
    /// The changes at recorded locations.
    Locations(PendingChanges),
    /// All changes, starting at a revision.
    FromRevision(ResumePoint),
}

impl From<PendingChanges> for UnreadChanges {
    /// Uses the recorded locations or, if `rest` is set, the entire history, starting at the first revision.
    fn from(pending: PendingChanges) -> Self {
        if pending.rest {
            Self::FromRevision(ResumePoint::at_revision(
                pending.revision,
                Some(pending.first),
            ))
        } else {
            Self::Locations(pending)
        }
    }
}

impl From<ResumePoint> for UnreadChanges {
    fn from(from: ResumePoint) -> Self {
        Self::FromRevision(from)
    }
}

#[derive(Debug, Default)]
pub(super) struct UnreadGroups(BTreeMap<WatcherGroupId, UnreadChanges>);

impl UnreadGroups {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds changes by group. The stream must have read all earlier changes, because unread changes would be replaced.
    pub(super) fn extend(
        &mut self,
        taken: impl IntoIterator<Item = (WatcherGroupId, PendingChanges)>,
    ) {
        let unread = taken.into_iter().map(|(id, pending)| (id, pending.into()));
        self.0.extend(unread);
    }

    /// Takes the next group to read. Returns `None` if no group is unread, `out` has responses to send, or the worker must
    /// yield. A stream can have a million groups without a response, because no watcher receives their changes.
    pub(super) fn take_next(
        &mut self,
        out: &ResponseQueue,
        turn: &WorkerTurn,
    ) -> Option<(WatcherGroupId, UnreadChanges)> {
        if turn.is_over() || !out.is_empty() {
            return None;
        }
        self.0.pop_last()
    }

    /// Puts the remaining changes of a group back. They replace any other unread changes of the group.
    pub(super) fn put_back(&mut self, group_id: WatcherGroupId, rest: impl Into<UnreadChanges>) {
        self.0.insert(group_id, rest.into());
    }

    /// Removes a group, if it is unread.
    pub(super) fn remove(&mut self, group_id: WatcherGroupId) {
        self.0.remove(&group_id);
    }
}

#[cfg(test)]
mod tests {
    use witan_api::v3::etcdserverpb::WatchResponse;
    use witan_machine::{kv::Kv, revision::Revision};
    use witan_node::{WatchRange, WatcherGroups};

    use super::{super::limits::UNWANTED_SCAN_CHANGES, *};

    /// Returns the unread changes of `count` groups, each starting at a revision.
    fn unread(count: usize) -> UnreadGroups {
        let first = Kv::default().seek(Revision::NONE);
        let pending = PendingChanges { revision: Revision(2), first, more: Vec::new(), rest: true };
        let mut registry = WatcherGroups::default();
        let stream = registry.add_stream();
        let mut unread = UnreadGroups::default();
        unread.extend((0..count).map(|at| {
            let span = WatchRange::new(format!("{at:06}").as_bytes(), b"");
            let id = registry.register(stream, &span);
            (id, pending.clone())
        }));
        unread
    }

    #[test]
    fn the_worker_yields_between_groups_whose_changes_no_watcher_receives() {
        let (groups, out) = (4 * UNWANTED_SCAN_CHANGES, ResponseQueue::default());
        for (scanned_changes, turns) in [(0, 4), (1, 4), (UNWANTED_SCAN_CHANGES, groups)] {
            let (mut unread, mut turn) = (unread(groups), WorkerTurn::default());
            let mut yields = 0;
            while !unread.is_empty() {
                while unread.take_next(&out, &turn).is_some() {
                    turn.count(scanned_changes);
                }
                yields += 1;
                turn = WorkerTurn::default();
            }
            assert_eq!(yields, turns, "{scanned_changes} changes of each group");
        }
    }

    #[test]
    fn no_group_is_read_while_a_response_waits() {
        let (mut unread, turn) = (unread(1), WorkerTurn::default());
        let mut out = ResponseQueue::default();
        out.push_response(WatchResponse::default());
        assert!(unread.take_next(&out, &turn).is_none());
        assert!(unread.take_next(&ResponseQueue::default(), &turn).is_some());
        assert!(unread.is_empty());
    }
}
