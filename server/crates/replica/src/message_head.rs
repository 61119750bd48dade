//! Decodes the main fields of a raft message for display, without its entries.

use std::fmt;

use bytes::Bytes;
use prost::Message as _;

use crate::wire;

/// The main fields of a raft message.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MessageHead {
    /// Raft's message type.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// The term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The index of the entry before the message's entries. Some message types use this field differently.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// The term of the entry at `index`.
    #[prost(uint64, tag = "4")]
    pub log_term: u64,
    /// The commit index.
    #[prost(uint64, tag = "5")]
    pub commit: u64,
    /// Number of entries.
    #[prost(uint64, tag = "6")]
    pub entries: u64,
    /// Whether the message is a rejection.
    #[prost(bool, tag = "7")]
    pub reject: bool,
}

/// The raft message fields that a head contains.
#[derive(Clone, PartialEq, prost::Message)]
struct RaftFields {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint64, tag = "4")]
    term: u64,
    #[prost(uint64, tag = "5")]
    log_term: u64,
    #[prost(uint64, tag = "6")]
    index: u64,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    entries: Vec<Bytes>,
    #[prost(uint64, tag = "8")]
    commit: u64,
    #[prost(bool, tag = "10")]
    reject: bool,
}

impl MessageHead {
    /// Decodes the head of an encoded peer message. Returns `None` if the bytes are not a raft message or cannot be decoded.
    pub fn of(message: &Bytes) -> Option<Self> {
        if message.first() != Some(&wire::MESSAGE_RAFT) {
            return None;
        }
        let fields = RaftFields::decode(message.slice(1..)).ok()?;
        Some(Self {
            kind: fields.kind,
            term: fields.term,
            index: fields.index,
            log_term: fields.log_term,
            commit: fields.commit,
            entries: fields.entries.len() as u64,
            reject: fields.reject,
        })
    }
}

/// Writes `KIND term=_ log=INDEX/TERM commit=_ entries=COUNT reject=_`, without sender and receiver. An unknown kind is written
/// as `message of kind NUMBER`.
impl fmt::Display for MessageHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { term, index, log_term, commit, entries, reject, .. } = self;
        match wire::kind_of_message(self.kind) {
            Some(kind) => write!(f, "{kind:?}")?,
            None => write!(f, "message of kind {}", self.kind)?,
        }
        write!(
            f,
            " term={term} log={index}/{log_term} commit={commit} entries={entries} reject={reject}"
        )
    }
}
