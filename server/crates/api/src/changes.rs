//! The format of stored changes: segments that a restore applies after a snapshot.
//!
//! Segments form a log. A generation is a sequence of consecutive revisions of one history. A new generation begins if
//! revisions were compacted before they were stored, or if the cluster returned to an earlier revision.
//!
//! A segment is a file `GENERATION-FIRST-NUMBER.events`: magic bytes, the version, one message, and the SHA-256 digest of all
//! these bytes. The previous segment determines the name, so each name identifies one position in the log. A segment also
//! contains the digest of the previous segment.
//!
//! Not here: writing segments (`operator/backup`) and applying them (the server's `offline`).

use bytes::Bytes;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::v3::mvccpb::{Event, event::EventType};

/// The first bytes of a segment, in all versions of the format.
const MAGIC: &[u8; 7] = b"WITANCH";

/// The version of the format, in the byte after [`MAGIC`].
const VERSION: u8 = b'1';

const DIGEST_BYTES: usize = 32;

/// Name of the file with a restore's target revision, in the directory of the segments.
pub const TARGET: &str = "target.json";

/// The target revision of a restore, the content of the file [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The last revision of the restored cluster.
    pub revision: i64,
    /// Whether the snapshot's revision may exceed `revision`.
    #[serde(default)]
    pub at_least: bool,
}

/// Consecutive revisions of a cluster; empty if nothing has changed for a while.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Segment {
    /// Id of the cluster.
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    /// The changes in order. No revision spans two groups.
    #[prost(message, repeated, tag = "2")]
    pub groups: Vec<ChangeGroup>,
    /// The known leases of the changed keys.
    #[prost(message, repeated, tag = "3")]
    pub leases: Vec<GrantedLease>,
    /// The digest of the previous segment; empty in the first segment of a generation.
    #[prost(bytes = "bytes", tag = "4")]
    pub previous: Bytes,
    /// Time in Unix milliseconds. All changes before this time are in this or an earlier segment. 0 if unknown.
    #[prost(int64, tag = "5")]
    pub covered_ms: i64,
}

/// A lease and its granted TTL.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct GrantedLease {
    /// Id of the lease.
    #[prost(sfixed64, tag = "1")]
    pub id: i64,
    /// TTL in seconds.
    #[prost(int64, tag = "2")]
    pub ttl_s: i64,
}

/// Changes that were received together.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChangeGroup {
    /// The time in Unix milliseconds at which the changes were received. It never decreases within a generation.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// The changes, in the order in which they were made.
    #[prost(message, repeated, tag = "2")]
    pub events: Vec<Event>,
}

impl ChangeGroup {
    /// Returns the last revision, or 0 for an empty group.
    pub fn last(&self) -> i64 {
        self.events.last().map_or(0, revision)
    }
}

/// Returns a change's revision, or 0 if the change has no key-value pair.
pub fn revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |pair| pair.mod_revision)
}

/// The position of a segment in the log, encoded in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId {
    /// The time in Unix milliseconds at which the generation began.
    pub generation: i64,
    /// The first revision that the segment can contain.
    pub first: i64,
    /// The number of preceding empty segments with the same `first`.
    pub number: u32,
}

impl SegmentId {
    /// Returns the file name. Names sort in log order.
    pub fn file_name(self) -> String {
        let Self { generation, first, number } = self;
        format!("{generation:015}-{first:020}-{number:06}.events")
    }

    /// Parses the file name of a segment. Returns `None` for any other name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut numbers = name.strip_suffix(".events")?.split('-');
        let mut next = || numbers.next()?.parse::<i64>().ok();
        let (generation, first, number) = (next()?, next()?, next()?);
        let id = Self { generation, first, number: u32::try_from(number).ok()? };
        (generation > 0 && first > 0 && id.file_name() == name).then_some(id)
    }

    /// Returns the last revision of `segment` at this position, or the revision before `first` if the segment is empty.
    pub fn last(self, segment: &Segment) -> i64 {
        segment
            .groups
            .last()
            .map_or(self.first - 1, ChangeGroup::last)
    }

    /// Returns the position after `segment`, which is at this position.
    #[must_use]
    pub fn next(self, segment: &Segment) -> Self {
        match segment.groups.is_empty() {
            true => Self { number: self.number.saturating_add(1), ..self },
            false => Self {
                first: self.last(segment).saturating_add(1),
                number: 0,
                ..self
            },
        }
    }
}

/// Returns the generation that a snapshot from `time_ms` probably belongs to: the latest one that had begun, or else the first
/// one. Returns `None` if there are no segments. Only the digest of the snapshot's revision can confirm the result.
pub fn generation_at(ids: &[SegmentId], time_ms: i64) -> Option<i64> {
    let generations = || ids.iter().map(|id| id.generation);
    let begun = generations().filter(|generation| *generation <= time_ms);
    begun.max().or_else(|| generations().min())
}

/// The reason why a file cannot be decoded as a segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The segment has this format version, which this release does not know.
    #[error("its format version is {0:?}; read it with the release that wrote it")]
    Foreign(char),
    /// The segment has a field or a kind of change that a later release added.
    #[error(
        "a later release wrote it and added data that this release does not know; read it with that release"
    )]
    Later,
    /// The segment is damaged or belongs to another log.
    #[error("it is broken: {0}")]
    Broken(String),
    /// The segments that contain these revisions are missing.
    #[error(
        "the changes of the revisions {first} to {last} are missing: an earlier segment is lost; restore to an \
         earlier revision or begin from a later snapshot"
    )]
    Missing {
        /// The first missing revision.
        first: i64,
        /// The last missing revision.
        last: i64,
    },
}

/// Decodes the segments of a generation in order and checks that each follows the previous one. Reading can begin at any
/// segment.
#[derive(Clone, Debug, Default)]
pub struct LogReader {
    /// The expected position of the next segment and the digest of the previous one.
    next: Option<(SegmentId, Bytes)>,
}

impl LogReader {
    /// Decodes the segment at position `id`.
    ///
    /// # Errors
    /// `Missing` if `id` is not the next position. Otherwise, the errors of [`decode`], and `Broken` if the segment does not
    /// contain the digest of the previous one.
    pub fn read(&mut self, id: SegmentId, bytes: &[u8]) -> Result<Segment, Unreadable> {
        if let Some((next, _)) = &self.next
            && *next != id
        {
            let last = (id.first - 1).max(next.first);
            return Err(Unreadable::Missing { first: next.first, last });
        }
        let segment = decode(id, bytes)?;
        if let Some((_, digest)) = &self.next
            && *digest != segment.previous
        {
            let why = "it does not follow the previous stored segment".to_owned();
            return Err(Unreadable::Broken(why));
        }
        self.next = Some((id.next(&segment), digest(bytes)));
        Ok(segment)
    }
}

/// Returns the digest at the end of an encoded segment, without checking it. Returns all bytes if there are fewer than 32.
pub fn digest(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&bytes[bytes.len().saturating_sub(DIGEST_BYTES)..])
}

/// Encodes a segment: the magic bytes, the version, the message, and the SHA-256 digest of all these bytes.
pub fn encode(segment: &Segment) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + 1 + segment.encoded_len() + DIGEST_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    segment
        .encode(&mut bytes)
        .expect("encoding into a vector cannot fail");
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

/// Decodes a segment. Its revisions, if any, must be consecutive and begin with `id.first`. Does not check the digest of the
/// previous segment.
///
/// # Errors
/// `Foreign` for another format version, `Later` if the content has an unknown part, and `Broken` if the content is invalid.
pub fn decode(id: SegmentId, bytes: &[u8]) -> Result<Segment, Unreadable> {
    let broken = |why: &str| Unreadable::Broken(why.to_owned());
    let is_other = |version: &&u8| **version != VERSION;
    if let Some(version) = bytes
        .strip_prefix(MAGIC)
        .and_then(<[u8]>::first)
        .filter(is_other)
    {
        return Err(Unreadable::Foreign(char::from(*version)));
    }
    let body = bytes
        .len()
        .checked_sub(DIGEST_BYTES)
        .map(|length| bytes.split_at(length));
    let (body, digest) = body.ok_or_else(|| broken("it is too short"))?;
    if Sha256::digest(body).as_slice() != digest {
        return Err(broken("its contents do not match the digest at its end"));
    }
    let message = body.strip_prefix(MAGIC).and_then(|rest| rest.get(1..));
    let message = message.ok_or_else(|| broken("it is not a segment"))?;
    let segment = Segment::decode(message)
        .map_err(|error| Unreadable::Broken(format!("it cannot be decoded: {error}")))?;
    let mut events = segment.groups.iter().flat_map(|group| &group.events);
    // Decoding skips unknown fields at any depth, so encoding the segment again would yield fewer bytes.
    if segment.encoded_len() != message.len()
        || events.any(|event| EventType::try_from(event.r#type).is_err())
    {
        return Err(Unreadable::Later);
    }
    match are_consecutive(id.first - 1, &segment.groups) {
        true => Ok(segment),
        false => Err(broken("its revisions are not consecutive")),
    }
}

/// Returns whether the revisions of all groups follow `last` consecutively, no group is empty, and no revision spans two
/// groups. Several changes in a group can have the same revision.
fn are_consecutive(mut last: i64, groups: &[ChangeGroup]) -> bool {
    groups.iter().all(|group| {
        let begins = group.events.first();
        let begins_anew = begins.is_some_and(|event| revision(event) == last.saturating_add(1));
        begins_anew
            && group.events.iter().all(|event| {
                let follows = [last, last.saturating_add(1)].contains(&revision(event));
                last = revision(event);
                follows
            })
    })
}

#[cfg(test)]
mod tests;
