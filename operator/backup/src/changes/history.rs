//! Marks of revisions, which show that a member, a snapshot and segments are of one history.
//!
//! A cluster can go back to an earlier revision and keep its id: a lost quorum that is recovered from a member that was behind,
//! a restore under the same name. Its later revisions are others than those that were stored under the same numbers.

use std::fmt::Write as _;

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use witan_api::{
    changes::{ChangeGroup, revision},
    v3::mvccpb::Event,
};

use super::{
    feed::{Feed, FeedEnd},
    pending::Pending,
};
use crate::{
    members::{CALL_TIMEOUT, Members},
    reason::{BackupError, Reason},
};

/// Marks of the end of the log that are compared with a member: more than one, as two histories may have a change in common.
const MARKS_MAX: usize = 100;

/// A revision, and the digest of all its changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The revision.
    pub(crate) revision: i64,
    /// SHA-256 in hex.
    pub(crate) digest: String,
}

/// Returns the marks of the last revisions up to `last`.
pub(super) fn marks(groups: &[ChangeGroup], last: i64) -> Vec<Mark> {
    let events = groups.iter().flat_map(|group| &group.events);
    let events: Vec<&Event> = events.filter(|event| revision(event) <= last).collect();
    let revisions = events.chunk_by(|a, b| revision(a) == revision(b));
    let mut marks: Vec<_> = revisions.rev().take(MARKS_MAX).map(mark).collect();
    marks.reverse();
    marks
}

/// Returns the mark of one revision in groups.
pub(crate) fn mark_of(groups: &[ChangeGroup], wanted: i64) -> Option<Mark> {
    let events = groups.iter().flat_map(|group| &group.events);
    let events: Vec<_> = events.filter(|event| revision(event) == wanted).collect();
    (!events.is_empty()).then(|| mark(&events))
}

fn mark(events: &[&Event]) -> Mark {
    let mut digest = Sha256::new();
    for event in events {
        digest.update(event.encode_length_delimited_to_vec());
    }
    let mut hex = String::new();
    for byte in digest.finalize() {
        // a string takes any text
        let _ = write!(hex, "{byte:02x}");
    }
    let revision = events.first().map_or(0, |event| revision(event));
    Mark { revision, digest: hex }
}

/// Whether the marks that were read from a member equal the known ones at every common revision, and include the last known
/// revision.
pub(super) fn is_same(known: &[Mark], read: &[Mark]) -> bool {
    let last = known.last().map_or(0, |mark| mark.revision);
    let both = read.iter().filter(|mark| mark.revision <= last);
    let mut compared = both.map(|mark| known.contains(mark)).peekable();
    compared.peek().is_some()
        && compared.all(|same| same)
        && read.iter().any(|mark| mark.revision == last)
}

/// Reads the marks of the revisions `first` to `last` of a member, or of the later ones of them if the others were compacted;
/// `None` if all were.
pub(crate) async fn read(
    members: &Members,
    endpoint: &str,
    (first, last): (i64, i64),
) -> Result<Option<Vec<Mark>>, BackupError> {
    let received = receive(members, endpoint, first, last);
    let late = |_| {
        let message = format!("{endpoint}: the changes of revision {last} are not sent in time");
        BackupError::new(Reason::SourceUnreachable, message)
    };
    timeout(CALL_TIMEOUT, received).await.map_err(late)?
}

async fn receive(
    members: &Members,
    endpoint: &str,
    mut first: i64,
    last: i64,
) -> Result<Option<Vec<Mark>>, BackupError> {
    'watch: loop {
        let mut feed = Feed::open(members, endpoint, first).await?;
        let (mut pending, mut groups) = (Pending::after(first - 1, 0), Vec::new());
        loop {
            let message = match feed.next().await {
                Ok(message) => message,
                Err(FeedEnd::Compacted(from)) if from > first && from <= last => {
                    first = from;
                    continue 'watch;
                }
                Err(FeedEnd::Compacted(_)) => return Ok(None),
                Err(FeedEnd::Failed(error)) => return Err(error),
            };
            // the changes of a compacted revision may be gone, too
            if pending.add(message.events, message.fragment, 0).is_err() {
                return Ok(None);
            }
            groups.extend(pending.take_whole());
            if groups.last().is_some_and(|group| group.last() >= last) {
                return Ok(Some(marks(&groups, last)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::changes::segment;

    fn marks_of(revisions: &[i64], value: &'static str) -> Vec<Mark> {
        let mut groups = segment(7, &[(5, revisions)]).groups;
        for event in &mut groups[0].events {
            event.kv.as_mut().unwrap().value = value.into();
        }
        marks(&groups, 1000)
    }

    #[test]
    fn a_history_is_known_by_its_changes() {
        let known = marks_of(&[5, 6, 7], "old");
        for (read, same) in [
            (marks_of(&[5, 6, 7], "old"), true),
            // the first ones are compacted
            (marks_of(&[7], "old"), true),
            // it has grown since
            (marks_of(&[6, 7, 8], "old"), true),
            (marks_of(&[5, 6, 7], "new"), false),
            (
                [marks_of(&[6], "old"), marks_of(&[7], "new")].concat(),
                false,
            ),
            // two histories have a change in common
            (
                [marks_of(&[6], "new"), marks_of(&[7], "old")].concat(),
                false,
            ),
            // what would show it is not there
            (marks_of(&[8, 9], "old"), false),
            (marks_of(&[5, 6], "old"), false),
            (Vec::new(), false),
        ] {
            assert_eq!(is_same(&known, &read), same, "{read:?}");
        }
    }

    #[test]
    fn a_mark_is_of_all_changes_of_a_revision() {
        let two = segment(7, &[(5, &[5, 6, 6])]).groups;
        let one = segment(7, &[(5, &[5, 6])]).groups;
        assert_eq!(mark_of(&two, 5), mark_of(&one, 5));
        assert_ne!(mark_of(&two, 6), mark_of(&one, 6));
        assert_eq!(mark_of(&two, 7), None);
        assert_eq!(marks(&two, 6).last(), mark_of(&two, 6).as_ref());
        assert_eq!(marks(&two, 5), marks(&one, 5));
        // a member sends more than it was asked for
        let revisions: Vec<_> = (1..=900).collect();
        let read = marks(&segment(7, &[(5, &revisions)]).groups, 250);
        assert_eq!((read.len(), read[0].revision), (MARKS_MAX, 151));
    }
}
