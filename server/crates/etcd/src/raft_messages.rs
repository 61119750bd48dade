//! The messages of etcd's log and `.snap` files: those of raft's `raft.proto`, etcd's `record.proto`, `snap.proto`, and the
//! metadata record.

#![expect(missing_docs, reason = "where raft's names say all")]

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Frame of the write-ahead log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WalRecord {
    /// See [`RecordKind`].
    #[prost(int64, tag = "1")]
    pub kind: i64,
    /// The checksum of the data of all records up to this one.
    #[prost(uint32, tag = "2")]
    pub crc: u32,
    /// The message.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
}

/// The type of the message in a [`WalRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RecordKind {
    /// [`WalMetadata`], at the beginning of each segment.
    Metadata = 1,
    /// [`RaftEntry`].
    Entry = 2,
    /// [`HardState`].
    State = 3,
    /// The checksum at the end of the previous segment.
    Crc = 4,
    /// [`WalSnapshot`].
    Snapshot = 5,
}

/// Whose log it is.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct WalMetadata {
    #[prost(uint64, tag = "1")]
    pub member_id: u64,
    #[prost(uint64, tag = "2")]
    pub cluster_id: u64,
}

/// Refers to a `.snap` file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WalSnapshot {
    /// Its last entry.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// The term of that entry.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The voters at that entry; since 3.5.
    #[prost(message, optional, tag = "3")]
    pub conf_state: Option<ConfState>,
}

/// Raft's durable state.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HardState {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The member that got the vote in that term, or 0.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    /// The last entry that is known to be committed.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}

/// An entry as raft stores it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RaftEntry {
    /// See [`RaftEntryKind`].
    #[prost(enumeration = "RaftEntryKind", tag = "1")]
    pub kind: i32,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// The request or the change of the configuration.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// The type of the message in the data of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RaftEntryKind {
    /// A request, or nothing.
    Normal = 0,
    /// [`ConfChange`].
    ConfChange = 1,
    /// A change of several members.
    ConfChangeV2 = 2,
}

/// Which members vote. The backend holds it as JSON under the same names.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, prost::Message)]
#[serde(default)]
pub struct ConfState {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub voters: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub learners: Vec<u64>,
    /// The voters of the configuration that a joint one leaves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// The members that become learners when the joint configuration is left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub learners_next: Vec<u64>,
    /// Whether raft leaves the joint configuration on its own.
    #[prost(bool, tag = "5")]
    pub auto_leave: bool,
}

/// A `.snap` file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapFile {
    /// Checksum of the data.
    #[prost(uint32, tag = "1")]
    pub crc: u32,
    /// A [`SnapMessage`].
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

/// Raft's snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapMessage {
    /// The v2 store as JSON.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// Where in the log it was taken.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SnapMetadata>,
}

/// Where in the log a snapshot was taken.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapMetadata {
    #[prost(message, optional, tag = "1")]
    pub conf_state: Option<ConfState>,
    /// Its last entry.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// The term of that entry.
    #[prost(uint64, tag = "3")]
    pub term: u64,
}

/// The kinds of changes of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeKind {
    /// It is added as a voter, or a learner becomes one.
    AddNode = 0,
    /// It is removed.
    RemoveNode = 1,
    /// Its addresses change.
    UpdateNode = 2,
    /// It is added as a learner.
    AddLearnerNode = 3,
}

/// A change of one member.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfChange {
    /// The request that proposed it.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// A number of [`ConfChangeKind`]; `kind()` decodes it.
    #[prost(enumeration = "ConfChangeKind", tag = "2")]
    pub kind: i32,
    #[prost(uint64, tag = "3")]
    pub node_id: u64,
    /// JSON of [`crate::MemberContext`] where a member is added, promoted or updated; empty where it is removed.
    #[prost(bytes = "bytes", tag = "4")]
    pub context: Bytes,
}
