//! The format of a recording's files: [`MAGIC`], then frames. A frame consists of the payload's length and CRC-32 (four bytes
//! each, little-endian) and the payload, an encoded [`Frame`]. A released field number never changes.

#![expect(missing_docs, reason = "some names need no description")]

use bytes::Bytes;
use witan_replica::{
    message_head::MessageHead,
    replica::{PeerEvent, Role},
};

/// The first bytes of each file.
pub const MAGIC: &[u8; 8] = b"WITANREC";

/// Maximum size of a frame's payload in bytes; a larger turn is not recorded, and a file with a larger frame is treated as
/// damaged. The limit is this high because the start of a recording can contain a member's log.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// The payload of a frame.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Frame {
    #[prost(oneof = "Part", tags = "1, 2, 3, 4")]
    pub part: Option<Part>,
}

/// The kinds of frames.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Part {
    /// The first frame of each file.
    #[prost(message, tag = "1")]
    Head(Head),
    /// The second frame of the first file of a process: the settings and the state with which its replica started.
    #[prost(message, tag = "2")]
    Start(Start),
    #[prost(message, tag = "3")]
    Turn(Turn),
    /// Turns that were not recorded.
    #[prost(message, tag = "4")]
    Gap(Gap),
}

/// The process that wrote a file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Head {
    /// Unix time in nanoseconds at which the process started to record. It also identifies the process.
    #[prost(sfixed64, tag = "1")]
    pub began_ns: i64,
    #[prost(fixed64, tag = "2")]
    pub member: u64,
    #[prost(string, tag = "3")]
    pub version: String,
    #[prost(bool, tag = "4")]
    pub values_in_clear: bool,
}

/// The settings and the state with which a replica started.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Start {
    #[prost(message, optional, tag = "1")]
    pub settings: Option<Settings>,
    /// The checkpoint, without keys and nodes.
    #[prost(message, optional, tag = "2")]
    pub state: Option<State>,
    /// Raft's hard state, encoded as on disk.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub hard_state: Option<Bytes>,
    /// The log on disk.
    #[prost(message, repeated, tag = "4")]
    pub log: Vec<LogEntry>,
}

/// A replica's settings, with the field names of its `Config`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Settings {
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub election_ticks: u64,
    #[prost(uint64, tag = "3")]
    pub heartbeat_ticks: u64,
    #[prost(uint64, tag = "4")]
    pub election_ns: u64,
    #[prost(fixed64, tag = "5")]
    pub seed: u64,
    #[prost(bool, tag = "6")]
    pub pre_vote: bool,
    #[prost(message, optional, tag = "7")]
    pub compaction: Option<Compaction>,
    #[prost(uint64, tag = "8")]
    pub request_ticks: u64,
    #[prost(bool, tag = "9")]
    pub copied: bool,
    #[prost(uint64, tag = "10")]
    pub long_command_keys: u64,
    #[prost(uint64, tag = "11")]
    pub catch_up_entries: u64,
    #[prost(int64, optional, tag = "12")]
    pub lease_checkpoint_s: Option<i64>,
    /// The feature level of the release, or 0 for the first level.
    #[prost(uint32, tag = "13")]
    pub level: u32,
    /// The memory budget in bytes, or 0 if it is unlimited.
    #[prost(uint64, tag = "14")]
    pub memory_bytes: u64,
}

/// Automatic compaction: periodic if `period` is set, otherwise by revision.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Compaction {
    /// The period in ticks.
    #[prost(uint64, tag = "1")]
    pub period: u64,
    /// An hour in ticks.
    #[prost(uint64, tag = "2")]
    pub hour: u64,
    /// Number of revisions to keep.
    #[prost(int64, tag = "3")]
    pub keep: i64,
    #[prost(uint64, tag = "4")]
    pub check_interval_ticks: u64,
}

/// A state without v3 keys and v2 nodes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct State {
    /// The records of the state's checkpoint.
    #[prost(message, repeated, tag = "1")]
    pub records: Vec<Record>,
    /// The v3 revision.
    #[prost(int64, tag = "2")]
    pub revision: i64,
    #[prost(uint64, tag = "3")]
    pub tree_index: u64,
    /// Whether the state had neither keys nor nodes, so that nothing is missing.
    #[prost(bool, tag = "4")]
    pub whole: bool,
}

/// A record of a checkpoint.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// An entry of the log on disk.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogEntry {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The entry's redacted payload.
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
}

/// One turn: the inputs since the previous turn, and their effects.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Turn {
    /// The turn number, counted from 1 since the process started.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// End of the turn as Unix time in nanoseconds.
    #[prost(sfixed64, tag = "2")]
    pub at_ns: i64,
    /// The inputs in their order.
    #[prost(message, repeated, tag = "3")]
    pub inputs: Vec<Input>,
    /// The effects in their order.
    #[prost(message, repeated, tag = "4")]
    pub effects: Vec<Effect>,
}

/// One effect. [`Effect::text`] describes it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Effect {
    #[prost(oneof = "EffectKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
    pub kind: Option<EffectKind>,
}

/// The kinds of effects: calls to `Host`, and the status at the end of a turn.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum EffectKind {
    #[prost(message, tag = "1")]
    Install(Place),
    #[prost(message, tag = "2")]
    Persist(Persisted),
    #[prost(message, tag = "3")]
    Send(Sent),
    /// The replica's thread executes the command at this index.
    #[prost(uint64, tag = "4")]
    ExecuteHere(u64),
    /// Another thread executes the command at this index.
    #[prost(uint64, tag = "5")]
    ExecuteElsewhere(u64),
    #[prost(message, tag = "6")]
    Apply(AppliedEntry),
    #[prost(message, tag = "7")]
    Readable(ReleasedRead),
    #[prost(message, tag = "8")]
    Answer(AnswerText),
    /// The status after the first turn, and after each turn that changes the role, term or leader.
    #[prost(message, tag = "9")]
    Now(Now),
    /// The reason why the member must stop.
    #[prost(string, tag = "10")]
    End(String),
    /// Entries below this index may be removed from the log.
    #[prost(uint64, tag = "11")]
    CutLog(u64),
    /// The reason why a message was dropped.
    #[prost(string, tag = "12")]
    Dropped(String),
}

/// A position in the log.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Place {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(uint64, tag = "2")]
    pub term: u64,
}

/// Entries and a hard state that were written to disk.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Persisted {
    /// Index of the first entry, or 0 without entries.
    #[prost(uint64, tag = "1")]
    pub first: u64,
    #[prost(uint64, tag = "2")]
    pub entries: u64,
    /// The term of the last entry, or 0 without entries.
    #[prost(uint64, tag = "3")]
    pub term: u64,
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
    /// The hard state, encoded as on disk.
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub hard_state: Option<Bytes>,
    /// Whether raft requires a sync.
    #[prost(bool, tag = "6")]
    pub synced: bool,
}

/// A message to another member.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Sent {
    #[prost(fixed64, tag = "1")]
    pub to: u64,
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// The main fields of a raft message.
    #[prost(message, optional, tag = "3")]
    pub head: Option<MessageHead>,
    /// A description of any other message.
    #[prost(string, tag = "4")]
    pub other: String,
    /// The position of the snapshot that is sent with the message.
    #[prost(message, optional, tag = "5")]
    pub state: Option<Place>,
}

/// An applied entry.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AppliedEntry {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Ticket of the request that waits for the entry.
    #[prost(uint64, optional, tag = "2")]
    pub ticket: Option<u64>,
    /// The outcome of the command, which depends on keys and nodes that the start of the recording may lack.
    #[prost(message, optional, tag = "3")]
    pub outcome: Option<Outcome>,
}

/// The outcome of a command.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Outcome {
    /// Index of the reply's kind in `effects::REPLIES`.
    #[prost(uint32, tag = "1")]
    pub reply: u32,
    /// The v3 revision after the command.
    #[prost(int64, tag = "2")]
    pub revision: i64,
    /// Whether members hash their state after the command.
    #[prost(bool, tag = "3")]
    pub hashed: bool,
}

/// A linearizable read that can be answered.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ReleasedRead {
    /// Ticket of the request.
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AnswerText {
    /// Ticket of the request.
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    /// The answer, or the reason why there is no answer.
    #[prost(string, tag = "2")]
    pub text: String,
}

/// The raft state at the end of a turn.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Now {
    #[prost(enumeration = "Role", tag = "1")]
    pub role: i32,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Id of the leader, or 0 if no leader is known.
    #[prost(fixed64, tag = "3")]
    pub leader: u64,
    #[prost(uint64, tag = "4")]
    pub committed: u64,
    #[prost(uint64, tag = "5")]
    pub applied: u64,
}

/// One input.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Input {
    #[prost(
        oneof = "InputKind",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17"
    )]
    pub kind: Option<InputKind>,
}

/// Inputs, as in `witan_replica::input::Input`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum InputKind {
    /// The wall clock in Unix nanoseconds.
    #[prost(sfixed64, tag = "1")]
    Tick(i64),
    /// The monotonic clock in nanoseconds.
    #[prost(uint64, tag = "2")]
    Clock(u64),
    #[prost(message, tag = "3")]
    Message(Received),
    #[prost(message, tag = "4")]
    Peer(PeerReport),
    #[prost(uint64, tag = "5")]
    Durable(u64),
    /// Raft index of the command that was executed.
    #[prost(uint64, tag = "6")]
    Executed(u64),
    #[prost(uint64, tag = "7")]
    LogRoom(u64),
    #[prost(message, tag = "8")]
    Turned(Turned),
    #[prost(bool, tag = "9")]
    Rebuild(bool),
    #[prost(message, tag = "10")]
    Transfer(TransferRequest),
    #[prost(message, tag = "11")]
    Propose(Proposal),
    #[prost(message, tag = "12")]
    Decide(Decision),
    #[prost(uint64, tag = "13")]
    Read(u64),
    #[prost(message, tag = "14")]
    Lease(LeaseRequest),
    /// Size in bytes of a turn that was too large to record, or of its inputs.
    #[prost(uint64, tag = "15")]
    Omitted(u64),
    #[prost(bool, tag = "16")]
    MemoryExhausted(bool),
    #[prost(bool, tag = "17")]
    ValuesOnDisk(bool),
}

/// A message from another member.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Received {
    #[prost(fixed64, tag = "1")]
    pub from: u64,
    #[prost(fixed64, tag = "2")]
    pub to: u64,
    /// The redacted message, empty if it cannot be decoded.
    #[prost(bytes = "bytes", tag = "3")]
    pub message: Bytes,
    /// The state of a snapshot message.
    #[prost(message, optional, tag = "4")]
    pub snapshot: Option<State>,
}

/// An event that the transport reports.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct PeerReport {
    #[prost(fixed64, tag = "1")]
    pub member: u64,
    #[prost(enumeration = "PeerEvent", tag = "2")]
    pub event: i32,
}

/// The end of a turn.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Turned {
    /// The monotonic clock in nanoseconds.
    #[prost(uint64, tag = "1")]
    pub monotonic_ns: u64,
    #[prost(uint64, tag = "2")]
    pub sync_ns: u64,
}

/// A client's command.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Proposal {
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    /// ID of the client's connection.
    #[prost(fixed64, tag = "2")]
    pub connection: u64,
    /// The wall clock in Unix nanoseconds.
    #[prost(sfixed64, tag = "3")]
    pub now_ns: i64,
    /// The encoded and redacted command.
    #[prost(bytes = "bytes", tag = "4")]
    pub entry: Bytes,
}

/// A decision of the leader.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Decision {
    /// Ticket of the request.
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    /// A state with the members from which the leader derived its decision.
    #[prost(message, optional, tag = "2")]
    pub members: Option<State>,
    /// The wall clock in Unix nanoseconds.
    #[prost(sfixed64, tag = "3")]
    pub now_ns: i64,
    /// The encoded and redacted command.
    #[prost(bytes = "bytes", tag = "4")]
    pub entry: Bytes,
}

/// A request to transfer leadership.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct TransferRequest {
    /// Ticket of the request.
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    /// The next leader, or 0 for any voter.
    #[prost(fixed64, tag = "2")]
    pub to: u64,
}

/// A request about a lease.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct LeaseRequest {
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    #[prost(sfixed64, tag = "2")]
    pub lease: i64,
    /// Whether the request renews the lease instead of querying its remaining time.
    #[prost(bool, tag = "3")]
    pub renews: bool,
}

/// A series of turns that were not recorded because the writing thread was too slow or the disk was almost full.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Gap {
    #[prost(uint64, tag = "1")]
    pub from: u64,
    #[prost(uint64, tag = "2")]
    pub to: u64,
}
