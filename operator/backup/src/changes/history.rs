//! Computes digests of revisions. They show whether a member, a snapshot and segments share the same history.
//!
//! A cluster can return to an earlier revision under the same id. That happens after a recovery from a member that was behind,
//! or after a restore under the same name. Its later revisions then differ from the stored revisions with the same numbers.

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use witan_api::{
    changes::{ChangeGroup, revision},
    v3::mvccpb::Event,
};

use super::{feed::Feed, pending::Pending};
use crate::{
    members::{CALL_TIMEOUT, Members},
    reason::{BackupError, Reason},
};

/// Number of revisions at the end of the log that are compared with a member. A single revision can be equal in two
/// histories.
const COMPARED_REVISIONS: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevisionDigest {
    pub(crate) revision: i64,
    pub(crate) digest: String,
}

/// Returns the digests of the last [`COMPARED_REVISIONS`] revisions up to `last`, in ascending order.
pub(super) fn digests(groups: &[ChangeGroup], last: i64) -> Vec<RevisionDigest> {
    let events = groups.iter().flat_map(|group| &group.events);
    let events: Vec<&Event> = events.filter(|event| revision(event) <= last).collect();
    let revisions = events.chunk_by(|a, b| revision(a) == revision(b));
    let mut digests: Vec<_> = revisions
        .rev()
        .take(COMPARED_REVISIONS)
        .map(digest)
        .collect();
    digests.reverse();
    digests
}

/// Returns the digest of the revision `wanted`; `None` if the groups do not contain it.
pub(crate) fn digest_of(groups: &[ChangeGroup], wanted: i64) -> Option<RevisionDigest> {
    let events = groups.iter().flat_map(|group| &group.events);
    let events: Vec<_> = events.filter(|event| revision(event) == wanted).collect();
    (!events.is_empty()).then(|| digest(&events))
}

/// Returns the SHA-256 of the events of one revision, each encoded with its length.
fn digest(events: &[&Event]) -> RevisionDigest {
    let mut digest = Sha256::new();
    for event in events {
        digest.update(event.encode_length_delimited_to_vec());
    }
    let revision = events.first().map_or(0, |event| revision(event));
    RevisionDigest { revision, digest: format!("{:x}", digest.finalize()) }
}

/// Returns whether two histories match: all digests in `read` up to the last known revision are known, and `read` contains
/// that revision.
pub(super) fn is_same(known: &[RevisionDigest], read: &[RevisionDigest]) -> bool {
    let last = known.last().map_or(0, |one| one.revision);
    let both = read.iter().filter(|one| one.revision <= last);
    let mut compared = both.map(|one| known.contains(one)).peekable();
    compared.peek().is_some()
        && compared.all(|same| same)
        && read.iter().any(|one| one.revision == last)
}

/// Reads the digests of the revisions `first` to `last` from a member. Omits compacted revisions and all but the last
/// [`COMPARED_REVISIONS`]. Returns `None` if all revisions were compacted, or if a later revision is missing. Fails after
/// [`CALL_TIMEOUT`].
pub(super) async fn read(
    members: &Members,
    endpoint: &str,
    (first, last): (i64, i64),
) -> Result<Option<Vec<RevisionDigest>>, BackupError> {
    let received = receive(members, endpoint, first, last);
    let late = |_| {
        let message = format!("{endpoint}: timed out waiting for the changes of revision {last}");
        BackupError::new(Reason::SourceUnreachable, message)
    };
    timeout(CALL_TIMEOUT, received).await.map_err(late)?
}

/// Reads the digest of one revision from a member; `None` if the revision was compacted.
pub(crate) async fn read_one(
    members: &Members,
    endpoint: &str,
    revision: i64,
) -> Result<Option<String>, BackupError> {
    let read = read(members, endpoint, (revision, revision)).await?;
    let read = read.and_then(|digests| digests.into_iter().next());
    let found = read.filter(|found| found.revision == revision);
    Ok(found.map(|found| found.digest))
}

/// Watches the revisions `first` to `last` and computes their digests. Returns `None` if `last` is compacted or a revision is
/// missing.
async fn receive(
    members: &Members,
    endpoint: &str,
    mut first: i64,
    last: i64,
) -> Result<Option<Vec<RevisionDigest>>, BackupError> {
    'watch: loop {
        let mut feed = Feed::open(members, endpoint, first).await?;
        let (mut pending, mut groups) = (Pending::after(first - 1, 0), Vec::new());
        loop {
            let message = feed.next().await?;
            match message.compact_revision {
                ..=0 => {}
                from if from > first && from <= last => {
                    first = from;
                    continue 'watch;
                }
                _ => return Ok(None),
            }
            // The changes of a compacted revision can be missing.
            if pending.add(message.events, message.fragment, 0).is_err() {
                return Ok(None);
            }
            groups.extend(pending.take_complete());
            if groups.last().is_some_and(|group| group.last() >= last) {
                return Ok(Some(digests(&groups, last)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::changes::segment;

    fn digests_of(revisions: &[i64], value: &'static str) -> Vec<RevisionDigest> {
        let mut groups = segment(7, &[(5, revisions)]).groups;
        for event in &mut groups[0].events {
            event.kv.as_mut().unwrap().value = value.into();
        }
        digests(&groups, 1000)
    }

    #[test]
    fn a_history_is_known_by_its_changes() {
        let known = digests_of(&[5, 6, 7], "old");
        for (read, same) in [
            (digests_of(&[5, 6, 7], "old"), true),
            // The earlier revisions were compacted.
            (digests_of(&[7], "old"), true),
            // The cluster has grown.
            (digests_of(&[6, 7, 8], "old"), true),
            (digests_of(&[5, 6, 7], "new"), false),
            (
                [digests_of(&[6], "old"), digests_of(&[7], "new")].concat(),
                false,
            ),
            // The two histories share a change.
            (
                [digests_of(&[6], "new"), digests_of(&[7], "old")].concat(),
                false,
            ),
            // The last known revision is missing.
            (digests_of(&[8, 9], "old"), false),
            (digests_of(&[5, 6], "old"), false),
            (Vec::new(), false),
        ] {
            assert_eq!(is_same(&known, &read), same, "{read:?}");
        }
    }

    #[test]
    fn a_digest_covers_all_changes_of_a_revision() {
        let two = segment(7, &[(5, &[5, 6, 6])]).groups;
        let one = segment(7, &[(5, &[5, 6])]).groups;
        assert_eq!(digest_of(&two, 5), digest_of(&one, 5));
        assert_ne!(digest_of(&two, 6), digest_of(&one, 6));
        assert_eq!(digest_of(&two, 7), None);
        assert_eq!(digests(&two, 6).last(), digest_of(&two, 6).as_ref());
        assert_eq!(digests(&two, 5), digests(&one, 5));
        // A member sends more than was requested.
        let revisions: Vec<_> = (1..=900).collect();
        let read = digests(&segment(7, &[(5, &revisions)]).groups, 250);
        assert_eq!((read.len(), read[0].revision), (COMPARED_REVISIONS, 151));
    }
}
