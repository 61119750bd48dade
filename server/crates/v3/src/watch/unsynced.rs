//! A stream's unsynced watchers, which read the history in round-robin order.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use super::history_reader::ResumePoint;
use witan_machine::revision::Revision;

#[derive(Debug, Default)]
pub(super) struct UnsyncedWatchers {
    /// The point at which each watcher continues, by ID.
    pub(super) resume: BTreeMap<i64, ResumePoint>,
    /// The watcher that was read last.
    last: i64,
    /// The highest header revision in the creation responses of these watchers.
    created: Revision,
}

impl UnsyncedWatchers {
    /// Adds a watcher that starts to read at `from`. `created` is the header revision of its creation response.
    pub(super) fn add(&mut self, id: i64, from: ResumePoint, created: Revision) {
        self.resume.insert(id, from);
        self.created = self.created.max(created);
    }

    /// Returns the next watcher to read, or `None` if there are no watchers. The watcher stays in the set, because the stream
    /// can end during the read.
    pub(super) fn next_in_turn(&mut self) -> Option<(i64, ResumePoint)> {
        let later = self.resume.range((Excluded(self.last), Unbounded)).next();
        let (&id, &from) = later.or_else(|| self.resume.first_key_value())?;
        self.last = id;
        Some((id, from))
    }

    /// Lowers the revision to wait for to at most `published`, because a state that replaced a corrupt one can have an earlier
    /// revision.
    pub(super) fn lower_created(&mut self, published: Revision) {
        self.created = self.created.min(published);
    }

    /// Returns whether any watcher can be read up to `notified_revision`. While this revision is below `created`, no watcher
    /// can be read, because header revisions must not decrease.
    pub(super) fn is_ready(&self, notified_revision: Revision) -> bool {
        !self.resume.is_empty() && notified_revision >= self.created
    }

    /// Returns the revision to wait for before any watcher is read, or 0 if there are no watchers.
    pub(super) fn wanted(&self) -> Revision {
        if self.resume.is_empty() {
            Revision::NONE
        } else {
            self.created
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(revision: i64) -> ResumePoint {
        ResumePoint::at_revision(Revision(revision), None)
    }

    /// Responses to writes are sent before the streams are notified.
    #[test]
    fn no_watcher_is_read_before_the_revisions_of_all_creations_are_notified() {
        let mut unsynced = UnsyncedWatchers::default();
        assert_eq!(unsynced.wanted(), Revision::NONE);
        unsynced.add(7, from(1), Revision(1201));
        assert_eq!(unsynced.wanted(), Revision(1201));
        assert!(!unsynced.is_ready(Revision(1200)));
        unsynced.lower_created(Revision(1200));
        assert!(
            unsynced.is_ready(Revision(1200)),
            "the state that replaced a corrupt one has an earlier revision"
        );
        unsynced.add(7, from(1), Revision(1201));
        assert!(unsynced.is_ready(Revision(1201)));
        let next = unsynced.next_in_turn();
        assert_eq!(
            next.map(|(id, from)| (id, from.revision)),
            Some((7, Revision(1)))
        );
        assert_eq!(
            unsynced.resume.len(),
            1,
            "the watcher stays in the set while it is read"
        );
        unsynced.resume.remove(&7);
        assert!(unsynced.resume.is_empty());
        assert_eq!(unsynced.wanted(), Revision::NONE);
    }

    #[test]
    fn watchers_take_turns() {
        let mut unsynced = UnsyncedWatchers::default();
        for id in [0, 1, 5] {
            unsynced.add(id, from(1), Revision(1));
        }
        let turns: Vec<i64> = (0..5)
            .map(|_| {
                let (id, from) = unsynced.next_in_turn().expect("a watcher");
                unsynced.resume.insert(id, from);
                id
            })
            .collect();
        assert_eq!(turns, [1, 5, 0, 1, 5]);
    }
}
