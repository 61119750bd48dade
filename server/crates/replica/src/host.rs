//! The environment of a replica: the trait [`Host`] and its arguments.

use bytes::Bytes;

use crate::{
    lessor::Renewal,
    long_command::{ExecutedCommand, LongCommand},
    replica::{MessageFault, TransferRefused},
};
use witan_machine::{
    Outcome, StateMachine,
    member::{MemberId, MemberRegistry},
    view::View,
};

/// Identifies a waiting request of this process. The shell assigns increasing numbers and never reuses a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A client connection. Connections get equal shares of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection(pub u64);

/// A raft entry as stored on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Raft index. Appending at or below an existing index replaces that entry and all later entries.
    pub index: u64,
    /// Raft term.
    pub term: u64,
    /// The entry, encoded by `wire`; the disk does not interpret it.
    pub payload: Bytes,
}

/// The records of one turn, made durable with one fsync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogBatch {
    /// New entries in ascending order without gaps.
    pub records: Vec<LogRecord>,
    /// Encoded term, vote and commit index; `None` if they did not change.
    pub hard_state: Option<Bytes>,
    /// Whether raft requires an fsync. A batch that changes only the commit index does not.
    pub must_sync: bool,
}

/// The contents of the disk at startup.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The newest durable checkpoint.
    pub checkpoint: Option<View>,
    /// The newest durable hard state.
    pub hard_state: Option<Bytes>,
    /// The log above the last cut, in ascending order without gaps. It may begin below the checkpoint.
    pub records: Vec<LogRecord>,
}

/// The stream that carries a message to another member. Small messages have their own stream, so that heartbeats never wait
/// behind entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Small urgent messages: heartbeats, votes, ReadIndex requests and responses.
    Control,
    /// Entries, snapshots and forwarded proposals.
    Bulk,
}

/// A message to another member.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The receiving member.
    pub to: MemberId,
    /// The sending member.
    pub from: MemberId,
    /// The stream for the message.
    pub lane: Lane,
    /// The encoded message, which starts with a byte for its kind.
    pub message: Bytes,
    /// The frozen state that accompanies a snapshot message.
    pub snapshot: Option<Box<View>>,
}

/// An entry that a turn applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Raft index of the entry.
    pub index: u64,
    /// Ticket of the request that proposed the entry. `None` if another process proposed it or the request no longer waits.
    pub ticket: Option<Ticket>,
    /// The outcome of the command.
    pub outcome: Outcome,
    /// The member registry after the entry, if the entry changed it.
    pub members: Option<MemberRegistry>,
    /// A view of the state after the entry, for members that compare the hashes of their states. Set after a compaction, or if
    /// a member requested the comparison.
    pub hashed: Option<Box<View>>,
}

/// The reason why a request was rejected; nothing was written. Members send each other the numeric values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, prost::Enumeration)]
pub enum ProposalRejected {
    /// A queue with a limit in `limits` is full.
    #[error("too many requests")]
    TooMany = 1,
    /// The payload exceeds `limits::COMMAND_BYTES_MAX`.
    #[error("request is too large")]
    TooLarge = 2,
    /// The learner to promote has not received enough of the log.
    #[error("learner is not in sync with leader")]
    LearnerNotReady = 3,
    /// The cluster version is too low: some members might not support the command.
    #[error("the version of the cluster is too low for this command")]
    ClusterVersion = 4,
    /// The cluster follows another cluster, and the command would change copied data.
    #[error("the cluster follows another one and takes no writes before the cut-over")]
    Follows = 5,
}

/// The reason why a request gets no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The request was refused, and nothing was written.
    Refused(ProposalRejected),
    /// The request waited too long, and its client got a timeout.
    Expired,
    /// This member was removed from the cluster. The request was not applied and never will be.
    Removed,
    /// The leader changed, and a snapshot replaced the entries that would show the result. The request may have been applied.
    LeaderChanged,
}

/// A lease request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
pub enum LeaseQuestion {
    /// Renew the lease with its full TTL.
    Renew = 0,
    /// Return the remaining time of the lease.
    Remaining = 1,
}

/// The leader's answer about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// The answer to a keep-alive.
    Renewal(Renewal),
    /// Remaining nanoseconds of the lease, negative if the lease is overdue; `None` if the lease is unknown.
    Remaining(Option<i64>),
}

/// The answer to a request, except the outcome of a proposal and the release of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The answer to a lease request.
    Lease(LeaseAnswer),
    /// The member to which leadership is transferred, or the reason why the transfer was refused. The status shows when that
    /// member leads.
    Transfer(Result<MemberId, TransferRefused>),
    /// Whether the leader's decision was appended to the log.
    Decided(bool),
    /// The request gets no reply, for this reason.
    Unanswered(Unanswered),
}

/// Operations that the replica requires from its environment. Only `persist` and `install` may block.
pub trait Host {
    /// Replaces the state on disk with a received snapshot. The new state is durable when this returns.
    fn install(&mut self, snapshot: &View);
    /// Appends a batch to the log on disk. With `must_sync`, the batch is durable on return; a failed fsync ends the process.
    fn persist(&mut self, batch: &LogBatch);
    /// Allows the log on disk to drop its entries below an index (I5).
    fn cut_log(&mut self, below: u64);
    /// Reports a dropped message that no correct member would send, so that an operator sees it.
    fn message_dropped(&mut self, from: MemberId, fault: MessageFault);
    /// Sends messages to other members. The host may drop, delay, reorder or duplicate them.
    fn send(&mut self, envelopes: Vec<Envelope>);
    /// Executes a long command and returns the result. Returns `None` if another thread executes the command. Nothing else is
    /// then applied until [`crate::input::Input::Executed`] delivers the result.
    fn execute(&mut self, command: Box<LongCommand>) -> Option<Box<ExecutedCommand>> {
        Some(Box::new(command.execute()))
    }
    /// Drops the state that a long command replaced. Dropping a large state can take a long time.
    fn discard(&mut self, _machine: StateMachine) {}
    /// Processes the entries that a turn applied: answers their tickets, wakes watchers and tracks membership. Clone the view
    /// only if necessary, because a live clone makes the next writes copy data.
    fn applied(&mut self, applied: Vec<Applied>, view: &View);
    /// Releases linearizable reads. `view` contains everything that was committed before these reads arrived.
    fn readable(&mut self, tickets: &[Ticket], view: &View);
    /// Delivers the answers to requests, or the reasons why requests get no reply.
    fn answered(&mut self, answers: Vec<(Ticket, Answer)>);
}
