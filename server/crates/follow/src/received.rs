//! Collects the source's revisions from watch messages. A large revision arrives in parts. A revision that does not fit into a
//! log entry is refused before the entire revision is in memory.

use witan_api::v3::mvccpb::{Event, KeyValue, event::EventType};
use witan_machine::follow::{FollowedRevision, FollowedWrite};
use witan_replica::limits::COMMAND_BYTES_MAX;

use super::error::CopyError;

/// Maximum size in bytes of keys and values in one entry, unless a single revision is larger.
pub(super) const ENTRY_BYTES: usize = 1 << 20;

/// Maximum number of writes in one entry, unless a single revision has more. The maximum is small because a member applies an
/// entry without yielding.
pub(super) const ENTRY_WRITES: usize = 1024;

/// Minimum encoded size in bytes of a write, without its key and value.
const WRITE_BYTES: usize = 8;

/// Revisions in ascending order. The last revision may be incomplete.
#[derive(Debug, Default)]
pub(super) struct ReceivedRevisions {
    revisions: Vec<FollowedRevision>,
    /// Whether the next message may continue the last revision.
    continues: bool,
    /// Size in bytes and number of writes of all revisions except the last one.
    before: (usize, usize),
    /// Encoded size of the last revision in bytes.
    last_bytes: usize,
}

impl ReceivedRevisions {
    /// Adds the events of a message. If `continues` is set, the next message may contain more events of the last revision.
    /// Fails as soon as a revision does not fit into a log entry.
    pub(super) fn add(&mut self, events: Vec<Event>, continues: bool) -> Result<(), CopyError> {
        for event in events {
            let revisions = self.revisions.len();
            add_event(&mut self.revisions, event);
            if self.revisions.len() > revisions {
                let before = self.revisions.iter().rev().nth(1).map_or((0, 0), weight);
                self.before = (self.before.0 + before.0, self.before.1 + before.1);
                self.last_bytes = 0;
            }
            let Some(last) = self.revisions.last() else {
                continue;
            };
            if let Some(write) = last.writes.last() {
                self.last_bytes += write.key.len() + write.value.len() + WRITE_BYTES;
            }
            if self.last_bytes > COMMAND_BYTES_MAX {
                let (revision, writes) = (last.revision, last.writes.len());
                return Err(CopyError::TooLarge { revision, writes });
            }
        }
        self.continues = continues;
        Ok(())
    }

    /// Returns whether the last revision is complete.
    pub(super) fn is_whole(&self) -> bool {
        !self.continues
    }

    /// Returns whether the complete revisions fill a log entry.
    pub(super) fn is_full(&self) -> bool {
        let (mut bytes, mut writes) = self.before;
        if let (false, Some(last)) = (self.continues, self.revisions.last()) {
            let last = weight(last);
            (bytes, writes) = (bytes + last.0, writes + last.1);
        }
        bytes >= ENTRY_BYTES || writes >= ENTRY_WRITES
    }

    /// Takes the complete revisions and keeps an incomplete last one.
    pub(super) fn take(&mut self) -> Vec<FollowedRevision> {
        let whole =
            self.revisions.len() - usize::from(self.continues && !self.revisions.is_empty());
        let rest = self.revisions.split_off(whole);
        self.before = (0, 0);
        std::mem::replace(&mut self.revisions, rest)
    }
}

/// Returns the size in bytes of a revision's keys and values and the number of its writes.
fn weight(revision: &FollowedRevision) -> (usize, usize) {
    (size(revision), revision.writes.len())
}

/// Returns the size in bytes of a revision's keys and values.
pub(super) fn size(revision: &FollowedRevision) -> usize {
    let writes = revision.writes.iter();
    writes
        .map(|write| write.key.len() + write.value.len())
        .sum()
}

/// Adds an event to its revision. Events must arrive in order of their revisions. Ignores an event without a key.
pub fn add_event(revisions: &mut Vec<FollowedRevision>, event: Event) {
    let deletes = event.r#type() == EventType::Delete;
    let Some(KeyValue { key, value, version, lease, mod_revision, .. }) = event.kv else {
        return;
    };
    let write = match deletes {
        true => FollowedWrite { key, ..FollowedWrite::default() },
        false => FollowedWrite { key, value, version, lease },
    };
    match revisions.last_mut() {
        Some(last) if last.revision == mod_revision => last.writes.push(write),
        Some(_) | None => {
            revisions.push(FollowedRevision { revision: mod_revision, writes: vec![write] });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns puts of one key in this revision: one for each value size in bytes.
    fn events(revision: i64, values: &[usize]) -> Vec<Event> {
        let event = |bytes: &usize| Event {
            kv: Some(KeyValue {
                key: b"k".as_slice().into(),
                value: vec![0; *bytes].into(),
                version: 1,
                mod_revision: revision,
                ..KeyValue::default()
            }),
            ..Event::default()
        };
        values.iter().map(event).collect()
    }

    #[test]
    fn complete_revisions_are_taken_and_an_incomplete_one_stays() {
        let mut received = ReceivedRevisions::default();
        let both = [events(2, &[1]), events(3, &[1])].concat();
        received.add(both, true).unwrap();
        assert!(!received.is_whole() && !received.is_full());
        let revisions = |taken: Vec<FollowedRevision>| -> Vec<(i64, usize)> {
            let taken = taken.iter();
            taken.map(|it| (it.revision, it.writes.len())).collect()
        };
        assert_eq!(revisions(received.take()), [(2, 1)]);
        received.add(events(3, &[1]), true).unwrap();
        assert_eq!(revisions(received.take()), []);
        received.add(events(3, &[1]), false).unwrap();
        assert!(received.is_whole());
        assert_eq!(revisions(received.take()), [(3, 3)]);
    }

    /// Without the limit, the member would keep all parts of a message in memory.
    #[test]
    fn a_message_without_an_end_does_not_fill_the_memory() {
        let mut received = ReceivedRevisions::default();
        let kept = |received: &ReceivedRevisions| {
            let revisions = received.revisions.iter();
            revisions.map(size).sum::<usize>()
        };
        for revision in 2..100 {
            received.add(events(revision, &[1 << 20]), true).unwrap();
            if received.is_full() {
                received.take();
            }
            assert!(kept(&received) <= 3 * ENTRY_BYTES);
        }
        let parts = 0..COMMAND_BYTES_MAX;
        let refused = parts
            .map(|_| received.add(events(100, &[1 << 20]), true))
            .find_map(Result::err);
        assert!(matches!(
            refused,
            Some(CopyError::TooLarge { revision: 100, writes: 11 })
        ));
        assert!(kept(&received) <= COMMAND_BYTES_MAX + 3 * ENTRY_BYTES);
    }
}
