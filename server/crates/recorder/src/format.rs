//! The files of a recording: [`MAGIC`], then frames. A frame is the length of its payload and a CRC-32 of it, four
//! bytes each, lowest first, and the payload, a [`Frame`]. Field numbers never change.

use bytes::Bytes;
use prost::Message as _;

/// How each file begins.
pub const MAGIC: &[u8; 8] = b"WITANFR1";

/// The largest payload that is read or written: a start may hold the log of a member.
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// Bytes before the payload of a frame.
const HEADER_BYTES: usize = 8;

/// The payload of a frame.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Frame {
    /// Its kind.
    #[prost(oneof = "Part", tags = "1, 2, 3, 4")]
    pub part: Option<Part>,
}

/// The kinds of frames.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Part {
    /// The first frame of each file.
    #[prost(message, tag = "1")]
    Head(Head),
    /// The second one of the file in which the recording of a process begins.
    #[prost(message, tag = "2")]
    Start(Start),
    /// One turn.
    #[prost(message, tag = "3")]
    Turn(Turn),
    /// Turns that were not kept.
    #[prost(message, tag = "4")]
    Gap(Gap),
}

/// Which process wrote a file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Head {
    /// When it began to record: Unix time in nanoseconds, which also tells processes apart.
    #[prost(sfixed64, tag = "1")]
    pub began_ns: i64,
    /// The member.
    #[prost(fixed64, tag = "2")]
    pub member: u64,
    /// The version of the program.
    #[prost(string, tag = "3")]
    pub version: String,
    /// Whether values are in clear.
    #[prost(bool, tag = "4")]
    pub values: bool,
}

/// With what a replica began.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Start {
    /// Its settings.
    #[prost(message, optional, tag = "1")]
    pub settings: Option<Settings>,
    /// The checkpoint, without keys.
    #[prost(message, optional, tag = "2")]
    pub state: Option<State>,
    /// Raft's hard state as on disk.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub hard_state: Option<Bytes>,
    /// The log on disk.
    #[prost(message, repeated, tag = "4")]
    pub log: Vec<LogEntry>,
}

/// The settings of a replica.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Settings {
    /// Ticks of an election timeout.
    #[prost(uint64, tag = "1")]
    pub election_ticks: u64,
    /// Ticks between heartbeats.
    #[prost(uint64, tag = "2")]
    pub heartbeat_ticks: u64,
    /// The election timeout.
    #[prost(uint64, tag = "3")]
    pub election_ns: u64,
    /// Seeds the jitter of elections.
    #[prost(fixed64, tag = "4")]
    pub seed: u64,
    /// Whether members ask before they campaign.
    #[prost(bool, tag = "5")]
    pub pre_vote: bool,
    /// After so many ticks a request is forgotten.
    #[prost(uint64, tag = "6")]
    pub request_ticks: u64,
    /// Automatic compaction: revisions to keep, and ticks between two looks.
    #[prost(int64, repeated, tag = "7")]
    pub compact_revisions: Vec<i64>,
    /// Automatic compaction: the period and an hour in ticks.
    #[prost(uint64, repeated, tag = "8")]
    pub compact_periodic: Vec<u64>,
}

/// A state without v3 keys and v2 nodes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct State {
    /// The records of a checkpoint of it.
    #[prost(message, repeated, tag = "1")]
    pub records: Vec<Record>,
    /// The v3 revision.
    #[prost(int64, tag = "2")]
    pub revision: i64,
    /// The v2 index.
    #[prost(uint64, tag = "3")]
    pub tree_index: u64,
    /// Whether there were no keys and nodes, so that nothing is left out.
    #[prost(bool, tag = "4")]
    pub whole: bool,
}

/// A record of a checkpoint.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    /// Its key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Its value.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// An entry of the log on disk.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogEntry {
    /// Its index.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The record, with hidden values.
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
}

/// One turn: what came in since the one before, and what it brought about.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Turn {
    /// Counted from 1 on since the start of the process.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Unix time in nanoseconds.
    #[prost(sfixed64, tag = "2")]
    pub at_ns: i64,
    /// In their order.
    #[prost(message, repeated, tag = "3")]
    pub inputs: Vec<Input>,
    /// In their order.
    #[prost(message, repeated, tag = "4")]
    pub effects: Vec<Effect>,
}

/// One effect.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Effect {
    /// Kind, terms, indexes, lengths.
    #[prost(string, tag = "1")]
    pub text: String,
    /// The part that depends on keys and nodes, which the start of the recording may lack.
    #[prost(string, tag = "2")]
    pub outcome: String,
}

/// One input.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Input {
    /// Its kind.
    #[prost(
        oneof = "InputKind",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17"
    )]
    pub kind: Option<InputKind>,
}

/// The kinds of inputs: the calls that change a replica.
#[derive(Clone, PartialEq, prost::Oneof)]
#[expect(missing_docs, reason = "each is a call of `Replica`")]
pub enum InputKind {
    /// The wall clock.
    #[prost(sfixed64, tag = "1")]
    Tick(i64),
    /// The monotonic clock.
    #[prost(uint64, tag = "2")]
    AdvanceClock(u64),
    #[prost(message, tag = "3")]
    Receive(Received),
    #[prost(message, tag = "4")]
    PeerEvent(PeerReport),
    #[prost(uint64, tag = "5")]
    Durable(u64),
    /// The index of the command.
    #[prost(uint64, tag = "6")]
    Executed(u64),
    #[prost(uint64, tag = "7")]
    LogRoom(u64),
    #[prost(message, tag = "8")]
    Turned(Turned),
    #[prost(bool, tag = "9")]
    Rebuild(bool),
    /// The member, 0 for any.
    #[prost(fixed64, tag = "10")]
    Transfer(u64),
    #[prost(message, tag = "11")]
    Propose(Proposal),
    #[prost(message, tag = "12")]
    Decide(DecisionTaken),
    #[prost(uint64, tag = "13")]
    Read(u64),
    #[prost(message, tag = "14")]
    AskAboutLease(LeaseAsked),
    #[prost(bool, tag = "15")]
    DropHeld(bool),
    /// Settings of the simulator.
    #[prost(message, tag = "16")]
    Simulated(Simulated),
    /// An input that was too large to keep, in bytes.
    #[prost(uint64, tag = "17")]
    Omitted(u64),
}

/// A message of another member.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Received {
    /// Sender.
    #[prost(fixed64, tag = "1")]
    pub from: u64,
    /// Receiver.
    #[prost(fixed64, tag = "2")]
    pub to: u64,
    /// With hidden values; empty if it does not decode.
    #[prost(bytes = "bytes", tag = "3")]
    pub message: Bytes,
    /// The state beside a snapshot message.
    #[prost(message, optional, tag = "4")]
    pub snapshot: Option<State>,
}

/// A report of the transport.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct PeerReport {
    /// About which member.
    #[prost(fixed64, tag = "1")]
    pub member: u64,
    /// Place of the event in `recorded::EVENTS`.
    #[prost(uint32, tag = "2")]
    pub event: u32,
}

/// How long the last sync took, after a turn.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Turned {
    /// The monotonic clock.
    #[prost(uint64, tag = "1")]
    pub monotonic_ns: u64,
    /// Duration of the sync.
    #[prost(uint64, tag = "2")]
    pub sync_ns: u64,
}

/// A command of a client.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Proposal {
    /// Its ticket.
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    /// The upper half of the number of its connection, and the lower one.
    #[prost(uint64, tag = "2")]
    pub connection_high: u64,
    /// See `connection_high`.
    #[prost(uint64, tag = "3")]
    pub connection_low: u64,
    /// The wall clock.
    #[prost(sfixed64, tag = "4")]
    pub now_ns: i64,
    /// The encoded command, with hidden values.
    #[prost(bytes = "bytes", tag = "5")]
    pub entry: Bytes,
}

/// A command that a leader's task has decided on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DecisionTaken {
    /// A state that holds the members by which it was decided.
    #[prost(message, optional, tag = "1")]
    pub members: Option<State>,
    /// The wall clock.
    #[prost(sfixed64, tag = "2")]
    pub now_ns: i64,
    /// The encoded command, with hidden values.
    #[prost(bytes = "bytes", tag = "3")]
    pub entry: Bytes,
}

/// A question about a lease.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct LeaseAsked {
    /// Its ticket.
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    /// The lease.
    #[prost(sfixed64, tag = "2")]
    pub lease: i64,
    /// Whether it is to be kept alive, or its remaining time is asked for.
    #[prost(bool, tag = "3")]
    pub renews: bool,
}

/// Settings that only the simulator changes.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Simulated {
    /// Keys of a long command.
    #[prost(uint64, optional, tag = "1")]
    pub long_command_keys: Option<u64>,
    /// Entries kept in memory.
    #[prost(uint64, optional, tag = "2")]
    pub keep_entries: Option<u64>,
    /// Seconds between checkpoints of leases.
    #[prost(int64, optional, tag = "3")]
    pub lease_seconds: Option<i64>,
}

/// Turns that were not kept, because the thread that writes was behind.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Gap {
    /// The first of them.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// The last of them.
    #[prost(uint64, tag = "2")]
    pub to: u64,
}

/// Appends a frame; `false`, and nothing, if it is larger than is read.
pub(crate) fn put(into: &mut Vec<u8>, part: Part) -> bool {
    let frame = Frame { part: Some(part) };
    let length = frame.encoded_len();
    if length > FRAME_BYTES_MAX {
        return false;
    }
    let begin = into.len();
    into.extend_from_slice(&[0; HEADER_BYTES]);
    frame.encode_raw(into);
    let crc = crc32fast::hash(&into[begin + HEADER_BYTES..]);
    let length = u32::try_from(length).expect("it is at most FRAME_BYTES_MAX");
    into[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    into[begin + 4..begin + HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    true
}

/// Why no further frame is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// The bytes end within it: the process was killed while it wrote, or the file was cut.
    #[error("ends within a frame")]
    Cut,
    /// The checksum differs, or the length is impossible, or the payload does not decode.
    #[error("is damaged")]
    Damaged,
}

/// Takes the next frame off the front of `bytes`; `None` at their end.
pub(crate) fn take(bytes: &mut Bytes) -> Option<Result<Part, FrameFault>> {
    if bytes.is_empty() {
        return None;
    }
    Some(take_one(bytes))
}

fn take_one(bytes: &mut Bytes) -> Result<Part, FrameFault> {
    let number = |at: usize| {
        let four = bytes.get(at..at + 4).ok_or(FrameFault::Cut)?;
        Ok(u32::from_le_bytes(
            four.try_into().expect("it has four bytes"),
        ))
    };
    let (length, crc) = (number(0)? as usize, number(4)?);
    if length > FRAME_BYTES_MAX {
        return Err(FrameFault::Damaged);
    }
    if bytes.len() < HEADER_BYTES + length {
        return Err(FrameFault::Cut);
    }
    let payload = bytes.slice(HEADER_BYTES..HEADER_BYTES + length);
    if crc32fast::hash(&payload) != crc {
        return Err(FrameFault::Damaged);
    }
    let frame = Frame::decode(payload).map_err(|_| FrameFault::Damaged)?;
    let part = frame.part.ok_or(FrameFault::Damaged)?;
    *bytes = bytes.slice(HEADER_BYTES + length..);
    Ok(part)
}
