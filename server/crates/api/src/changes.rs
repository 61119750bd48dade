//! The changes of a cluster as backups keep them: segments of consecutive revisions, which a restore applies after a snapshot.
//!
//! A segment is a file `FIRST-LAST.events`: a mark, one message, and the SHA-256 of both. Where revisions were compacted before
//! they could be kept, `FIRST-LAST.gap` says so. Not here: who writes segments (`operator/backup`) and who applies them (the
//! server's `offline`).

use prost::Message as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::v3::mvccpb::Event;

/// The first bytes of a segment, with the version of its format.
const MARK: &[u8; 8] = b"WITANCH1";

/// Bytes of a SHA-256.
const DIGEST_BYTES: usize = 32;

/// Name of the file that says up to which revision the segments beside it are applied.
pub const TARGET: &str = "target.json";

/// The revision to which a restore goes, in the file [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The last revision that the restored cluster has.
    pub revision: i64,
    /// Whether it has later ones, too, if the snapshot does.
    #[serde(default)]
    pub at_least: bool,
}

/// Consecutive revisions of a cluster.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Segment {
    /// Id of the cluster.
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    /// The changes in order. A revision is in one group.
    #[prost(message, repeated, tag = "2")]
    pub groups: Vec<ChangeGroup>,
    /// The leases that keys got, as far as members told of them.
    #[prost(message, repeated, tag = "3")]
    pub leases: Vec<GrantedLease>,
}

/// The time for which a lease was granted.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct GrantedLease {
    /// Its id.
    #[prost(sfixed64, tag = "1")]
    pub id: i64,
    /// Seconds.
    #[prost(int64, tag = "2")]
    pub ttl_s: i64,
}

/// Changes that were received at the same time.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChangeGroup {
    /// When they were received, in milliseconds since 1970. It never decreases within a cluster.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// The changes in the order of revisions, and as they were made within one.
    #[prost(message, repeated, tag = "2")]
    pub events: Vec<Event>,
}

impl ChangeGroup {
    /// Returns the last revision; 0 of an empty group.
    pub fn last(&self) -> i64 {
        self.events.last().map_or(0, revision)
    }
}

/// Returns the revision of a change.
pub fn revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |pair| pair.mod_revision)
}

/// Whether revisions are in a segment or missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A segment has them.
    Events,
    /// They were compacted before they could be kept.
    Gap,
}

/// Revisions that a file is about, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first revision.
    pub first: i64,
    /// The last revision.
    pub last: i64,
    /// Whether they are there.
    pub kind: SpanKind,
}

impl Span {
    /// Returns the name of the file; names are in the order of revisions.
    pub fn file_name(self) -> String {
        let ending = match self.kind {
            SpanKind::Events => "events",
            SpanKind::Gap => "gap",
        };
        format!("{:020}-{:020}.{ending}", self.first, self.last)
    }

    /// Parses the name of a file; `None` if it is none of ours.
    pub fn parse(name: &str) -> Option<Self> {
        let (numbers, ending) = name.split_once('.')?;
        let (first, last) = numbers.split_once('-')?;
        let kind = match ending {
            "events" => SpanKind::Events,
            "gap" => SpanKind::Gap,
            _ => return None,
        };
        let span = Self { first: first.parse().ok()?, last: last.parse().ok()?, kind };
        (span.first > 0 && span.first <= span.last && span.file_name() == name).then_some(span)
    }
}

/// Revisions that no segment has, though later ones are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first of them.
    pub first: i64,
    /// The last of them.
    pub last: i64,
    /// Whether it is known that they were never kept; otherwise a segment was lost.
    pub is_gap: bool,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first, last, is_gap } = *self;
        let why = match is_gap {
            true => "they were compacted before they could be kept: begin from a later snapshot",
            false => {
                "a segment is lost: restore to an earlier revision or begin from a later snapshot"
            }
        };
        write!(
            f,
            "the changes of the revisions {first} to {last} are missing: {why}"
        )
    }
}

/// Returns the segments to apply to a state at revision `after`, in order, so that it has the revisions up to `to` if they are
/// there. Segments may overlap: two processes may have kept the same revisions for a moment.
///
/// # Errors
/// Revisions up to `to` are missing before later ones.
pub fn chain(spans: &[Span], after: i64, to: i64) -> Result<Vec<Span>, Missing> {
    let mut sorted: Vec<_> = spans.to_vec();
    sorted.sort_by_key(|span| (span.first, span.last));
    let (gaps, events): (Vec<Span>, Vec<Span>) = sorted
        .into_iter()
        .partition(|span| span.kind == SpanKind::Gap);
    let (mut chain, mut next, mut at) = (Vec::new(), after + 1, 0);
    while next <= to {
        let mut longest: Option<Span> = None;
        while let Some(span) = events.get(at).filter(|span| span.first <= next) {
            longest = longest
                .filter(|known: &Span| known.last >= span.last)
                .or(Some(*span));
            at += 1;
        }
        match longest.filter(|span| span.last >= next) {
            Some(span) => {
                next = span.last + 1;
                chain.push(span);
            }
            // one that lies within those before
            None if longest.is_some() => {}
            None => break,
        }
    }
    match events.get(at) {
        Some(later) if next <= to => {
            let last = (later.first - 1).min(to);
            let is_gap = gaps.iter().any(|gap| gap.first <= next && next <= gap.last);
            Err(Missing { first: next, last, is_gap })
        }
        Some(_) | None => Ok(chain),
    }
}

/// Encodes a segment.
pub fn encode(segment: &Segment) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MARK.len() + segment.encoded_len() + DIGEST_BYTES);
    bytes.extend_from_slice(MARK);
    segment
        .encode(&mut bytes)
        .expect("a vector has room for any message");
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

/// Decodes a segment, which must have exactly the revisions that its name says.
///
/// # Errors
/// What is wrong with it, for people.
pub fn decode(span: Span, bytes: &[u8]) -> Result<Segment, String> {
    let body = bytes
        .len()
        .checked_sub(DIGEST_BYTES)
        .map(|length| bytes.split_at(length));
    let (body, digest) = body.ok_or("it is too short for a segment")?;
    if Sha256::digest(body).as_slice() != digest {
        return Err("it does not fit the digest at its end".to_owned());
    }
    let message = body
        .strip_prefix(MARK)
        .ok_or("it is no segment of this version")?;
    let segment =
        Segment::decode(message).map_err(|error| format!("it cannot be decoded: {error}"))?;
    let mut last = span.first - 1;
    for group in &segment.groups {
        let begins_anew = group
            .events
            .first()
            .is_some_and(|event| revision(event) == last + 1);
        let follows = group.events.iter().all(|event| {
            let step = revision(event) - last;
            last = revision(event);
            (0..=1).contains(&step)
        });
        if !(begins_anew && follows) {
            return Err("its revisions do not follow one another".to_owned());
        }
    }
    match last == span.last && !segment.groups.is_empty() {
        true => Ok(segment),
        false => Err(format!(
            "it ends with revision {last}, which is not that of its name"
        )),
    }
}

#[cfg(test)]
mod tests;
