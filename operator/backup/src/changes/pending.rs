//! Buffers received changes that are not stored yet. Only complete revisions can be taken.

use std::mem;

use prost::Message as _;
use witan_api::{
    changes::{ChangeGroup, revision},
    v3::mvccpb::Event,
};

/// Size in bytes at which pending changes are stored immediately and receiving pauses. A single revision can be larger.
pub(super) const SEGMENT_BYTES: usize = 8 << 20;

/// Buffered changes in the order of their revisions.
#[derive(Debug)]
pub(super) struct Pending {
    groups: Vec<ChangeGroup>,
    bytes: usize,
    /// The last received revision, or the revision before the first.
    pub(super) last: i64,
    /// Whether the last revision is complete, so that no later message can continue it.
    is_complete: bool,
    /// The earliest time of later changes, as Unix time in milliseconds.
    pub(super) time_ms: i64,
}

impl Pending {
    /// Creates an empty buffer. The next revision must follow `last`, and its time is `time_ms` or later.
    pub(super) fn after(last: i64, time_ms: i64) -> Self {
        Self {
            groups: Vec::new(),
            bytes: 0,
            last,
            is_complete: true,
            time_ms,
        }
    }

    /// Adds the changes of a message. `may_continue` says whether the next message can continue the last revision. If the clock
    /// is set back, changes keep the last time. Fails if a revision does not follow the previous one; the changes before it
    /// stay.
    pub(super) fn add(
        &mut self,
        events: Vec<Event>,
        may_continue: bool,
        now_ms: i64,
    ) -> Result<(), String> {
        for event in events {
            let found = revision(&event);
            let same = !self.is_complete && found == self.last;
            if !same && found != self.last + 1 {
                let last = self.last;
                return Err(format!(
                    "revision {found} was received after revision {last}"
                ));
            }
            self.bytes += event.encoded_len();
            self.time_ms = self.time_ms.max(now_ms);
            match self.groups.last_mut() {
                Some(group) if same || group.time_ms == self.time_ms => group.events.push(event),
                Some(_) | None => {
                    let (time_ms, events) = (self.time_ms, vec![event]);
                    self.groups.push(ChangeGroup { time_ms, events });
                }
            }
            (self.last, self.is_complete) = (found, false);
        }
        self.is_complete |= !may_continue;
        Ok(())
    }

    /// Takes all complete revisions. An incomplete last revision stays.
    pub(super) fn take_complete(&mut self) -> Vec<ChangeGroup> {
        let part = self.take_incomplete();
        self.bytes = part.iter().map(bytes_of).sum();
        mem::replace(&mut self.groups, part)
    }

    /// Drops an incomplete revision. Sets `last` to the preceding revision, so that the next watch receives the dropped
    /// revision again.
    pub(super) fn drop_incomplete(&mut self) {
        if !self.take_incomplete().is_empty() {
            self.last -= 1;
        }
        self.is_complete = true;
    }

    /// Takes the incomplete last revision as one group; returns nothing if the last revision is complete.
    fn take_incomplete(&mut self) -> Vec<ChangeGroup> {
        let Some(group) = self.groups.last_mut().filter(|_| !self.is_complete) else {
            return Vec::new();
        };
        let whole = group
            .events
            .iter()
            .take_while(|event| revision(event) < self.last)
            .count();
        let events = group.events.split_off(whole);
        let time_ms = group.time_ms;
        if whole == 0 {
            self.groups.pop();
        }
        let part = ChangeGroup { time_ms, events };
        self.bytes -= bytes_of(&part);
        vec![part]
    }

    /// Returns the lease of each change that has one, and whether that change created its key. A lease can occur several times.
    pub(super) fn leases(&self) -> impl Iterator<Item = (i64, bool)> {
        let events = self.groups.iter().flat_map(|group| &group.events);
        let pairs = events.filter_map(|event| event.kv.as_ref());
        let leased = pairs.filter(|pair| pair.lease != 0);
        leased.map(|pair| (pair.lease, pair.create_revision == pair.mod_revision))
    }

    /// Returns whether the changes fill a segment, so that receiving must pause; `false` until the first revision is complete.
    pub(super) fn is_full(&self) -> bool {
        let first = self.groups.first().and_then(|group| group.events.first());
        let has_complete =
            self.is_complete || first.is_some_and(|first| revision(first) < self.last);
        self.bytes >= SEGMENT_BYTES && has_complete
    }
}

/// Returns the encoded size of a group's events in bytes.
fn bytes_of(group: &ChangeGroup) -> usize {
    group.events.iter().map(Event::encoded_len).sum()
}

#[cfg(test)]
mod tests {
    use witan_api::v3::mvccpb::KeyValue;

    use super::*;

    fn events(revisions: &[i64]) -> Vec<Event> {
        let event = |mod_revision: &i64| Event {
            kv: Some(KeyValue { mod_revision: *mod_revision, ..KeyValue::default() }),
            ..Event::default()
        };
        revisions.iter().map(event).collect()
    }

    /// Returns the time and the revisions of each group.
    fn shown(groups: &[ChangeGroup]) -> Vec<(i64, Vec<i64>)> {
        let shown = |group: &ChangeGroup| {
            let revisions = group.events.iter().map(revision);
            (group.time_ms, revisions.collect())
        };
        groups.iter().map(shown).collect()
    }

    #[test]
    fn only_complete_revisions_are_taken() {
        let mut pending = Pending::after(4, 100);
        pending.add(events(&[5, 5, 6]), true, 110).unwrap();
        assert_eq!(shown(&pending.take_complete()), [(110, vec![5, 5])]);
        assert!(pending.take_complete().is_empty());
        // The second part of the revision has the time of the first part.
        pending.add(events(&[6, 7]), false, 120).unwrap();
        assert_eq!(
            shown(&pending.take_complete()),
            [(110, vec![6, 6]), (120, vec![7])]
        );
        assert_eq!(pending.last, 7);
    }

    #[test]
    fn a_part_is_received_again_by_the_next_watch() {
        let mut pending = Pending::after(4, 0);
        pending.add(events(&[5, 6, 6]), true, 1).unwrap();
        pending.drop_incomplete();
        assert_eq!(pending.last, 5);
        pending.add(events(&[6, 6, 6]), false, 2).unwrap();
        pending.drop_incomplete();
        let whole = [(1, vec![5]), (2, vec![6, 6, 6])];
        assert_eq!(shown(&pending.take_complete()), whole);
        // A message without changes, such as a progress notification.
        pending.add(Vec::new(), true, 3).unwrap();
        pending.drop_incomplete();
        assert_eq!(pending.last, 6);
    }

    #[test]
    fn revisions_follow_one_another() {
        for wrong in [[4], [6]] {
            let mut pending = Pending::after(4, 0);
            let error = pending.add(events(&wrong), false, 1).unwrap_err();
            assert!(error.ends_with("after revision 4"), "{error}");
        }
        let mut pending = Pending::after(4, 0);
        pending.add(events(&[5]), false, 1).unwrap();
        assert!(
            pending.add(events(&[5]), false, 1).is_err(),
            "it was complete"
        );
    }

    #[test]
    fn times_stay_monotonic_if_the_clock_goes_back() {
        let mut pending = Pending::after(4, 100);
        pending.add(events(&[5]), false, 50).unwrap();
        pending.time_ms = 200;
        pending.add(events(&[6]), false, 150).unwrap();
        assert_eq!(
            shown(&pending.take_complete()),
            [(100, vec![5]), (200, vec![6])]
        );
    }

    #[test]
    fn a_large_revision_is_received_to_its_end() {
        let mut pending = Pending::after(4, 0);
        let large = |mod_revision| Event {
            kv: Some(KeyValue {
                mod_revision,
                value: vec![0; SEGMENT_BYTES].into(),
                ..KeyValue::default()
            }),
            ..Event::default()
        };
        pending.add(vec![large(5)], true, 1).unwrap();
        assert!(!pending.is_full(), "a later message may continue it");
        pending.add(vec![large(5), large(6)], true, 1).unwrap();
        assert!(pending.is_full(), "the first revision is complete");
        pending.take_complete();
        assert!(!pending.is_full());
        pending.add(Vec::new(), false, 1).unwrap();
        assert!(pending.is_full());
    }
}
