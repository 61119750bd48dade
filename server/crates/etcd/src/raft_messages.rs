//! The messages in etcd's log and `.snap` files: `raft.proto`, `record.proto`, `snap.proto` and the metadata record.

#![expect(
    missing_docs,
    reason = "some names come from Raft's protocol and need no description"
)]

use bytes::Bytes;
use serde::Serialize;

/// A record of the write-ahead log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WalRecord {
    /// The type of `data`: a [`RecordKind`].
    #[prost(int64, tag = "1")]
    pub kind: i64,
    /// The running checksum over the data of all records up to this one.
    #[prost(uint32, tag = "2")]
    pub crc: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
}

/// The type of the message in a [`WalRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RecordKind {
    /// [`WalMetadata`], at the start of each segment.
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

/// The member that owns a log.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct WalMetadata {
    #[prost(uint64, tag = "1")]
    pub member_id: u64,
    #[prost(uint64, tag = "2")]
    pub cluster_id: u64,
}

/// A reference to a `.snap` file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WalSnapshot {
    /// Index of the snapshot's last entry.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Term of that entry.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The members at that entry; written since etcd 3.5.
    #[prost(message, optional, tag = "3")]
    pub conf_state: Option<ConfState>,
}

/// Raft's durable state.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HardState {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The member that this member voted for in this term, or 0.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    /// Index of the last entry known to be committed.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}

/// A log entry as Raft stores it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RaftEntry {
    /// The type of `data`: a [`RaftEntryKind`].
    #[prost(enumeration = "RaftEntryKind", tag = "1")]
    pub kind: i32,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// The request or configuration change.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// The type of the message in an entry's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RaftEntryKind {
    /// A request, or no data.
    Normal = 0,
    /// [`ConfChange`].
    ConfChange = 1,
    /// A change of several members.
    ConfChangeV2 = 2,
}

/// Raft's configuration. The backend stores it as JSON with the same names.
#[derive(Clone, PartialEq, Eq, Serialize, prost::Message)]
pub struct ConfState {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub voters: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub learners: Vec<u64>,
    /// Outgoing voters of a joint configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// Members that become learners when Raft leaves the joint configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub learners_next: Vec<u64>,
    /// Whether Raft leaves the joint configuration automatically.
    #[prost(bool, tag = "5")]
    pub auto_leave: bool,
}

/// A `.snap` file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapFile {
    #[prost(uint32, tag = "1")]
    pub crc: u32,
    /// A [`SnapMessage`].
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

/// A Raft snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapMessage {
    /// The v2 store as JSON.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// The snapshot's position in the log.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SnapMetadata>,
}

/// The position of a snapshot in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapMetadata {
    #[prost(message, optional, tag = "1")]
    pub conf_state: Option<ConfState>,
    /// Index of the snapshot's last entry.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// Term of that entry.
    #[prost(uint64, tag = "3")]
    pub term: u64,
}

/// The kinds of a single-member change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeKind {
    /// Adds a voter, or promotes a learner.
    AddNode = 0,
    RemoveNode = 1,
    /// Changes the member's addresses.
    UpdateNode = 2,
    AddLearnerNode = 3,
}

/// A single-member change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfChange {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// A [`ConfChangeKind`].
    #[prost(enumeration = "ConfChangeKind", tag = "2")]
    pub kind: i32,
    #[prost(uint64, tag = "3")]
    pub node_id: u64,
    /// JSON of a [`crate::MemberContext`]; empty if the change removes the member.
    #[prost(bytes = "bytes", tag = "4")]
    pub context: Bytes,
}
