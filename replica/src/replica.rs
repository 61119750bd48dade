//! A member's consensus and state, driven by ticks, messages and requests.
//!
//! Inputs are method calls that only queue work inside; [`Replica::turn`] drains it and is the only
//! place where effects happen (I3).

use bytes::Bytes;

use crate::{
    host::{Envelope, Host, Recovered, Ticket},
    machine::{
        command::{Command, Stamp},
        member::Member,
        record::Corrupt,
        view::View,
    },
};

/// What a member must know of itself before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Own member id.
    pub id: u64,
    /// Election timeout in ticks; jitter adds up to as much again.
    pub election_ticks: usize,
    /// Heartbeat interval in ticks.
    pub heartbeat_ticks: usize,
    /// Seeds the election jitter; from the OS in production, from the scenario in the simulator.
    pub seed: u64,
    /// Ask before campaigning (raft thesis 9.6).
    pub pre_vote: bool,
    /// Known bugs switched on so that the simulator can show that it finds them.
    pub fault: Fault,
}

/// Known bugs, off in every production start. Each breaks one rule of this crate on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// None: the code as it is meant.
    #[default]
    None,
    /// Entries are applied and answered before `persist`.
    AckBeforePersist,
    /// Reads are released at once, without a ReadIndex round.
    StaleRead,
    /// A vote is not part of what is persisted.
    VoteNotPersisted,
    /// Reads that raft dropped are not issued again.
    LostReadRetry,
    /// `durable` allows a cut above the checkpoint.
    CutTooHigh,
    /// The state is released to the checkpoint with a position beyond what it holds.
    PositionAhead,
}

/// Why a request was not taken; nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No leader is known.
    #[error("no leader")]
    NoLeader,
    /// A queue of `limits` is full.
    #[error("too many requests")]
    TooMany,
    /// The payload exceeds `limits::COMMAND_BYTES_MAX`.
    #[error("request is too large")]
    TooLarge,
}

/// A change of membership that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Add a member (a learner if it says so).
    Add(Member),
    /// Replace a member's peer URLs.
    Update {
        /// Whose.
        id: u64,
        /// The new URLs.
        peer_urls: Vec<String>,
    },
}

/// What the shell may show of a replica: cheap to copy, published after every turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Own id.
    pub id: u64,
    /// Leader's id, 0 when unknown.
    pub leader: u64,
    /// Present term.
    pub term: u64,
    /// Commit index.
    pub committed: u64,
    /// Applied index.
    pub applied: u64,
    /// Own role.
    pub role: Role,
}

/// Raft role of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Role {
    #[default]
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// The state that a new cluster starts from: a built-in snapshot at index 1, term 1, with all first
/// members in book and configuration, so that a later joiner always gets them (rulings, Consensus).
pub fn genesis(_cluster_id: u64, _members: Vec<Member>) -> View {
    View::default()
}

/// One member: raft, its log in memory and the state machine.
#[derive(Debug)]
pub struct Replica {}

impl Replica {
    /// Starts from what the disk gave back. A fresh member passes `genesis` as its checkpoint.
    ///
    /// `Corrupt` when the parts contradict each other: the log ends below the checkpoint's index or
    /// below the stored commit, has a gap, or an entry does not decode.
    pub fn new(_config: Config, _recovered: Recovered) -> Result<Self, Corrupt> {
        Ok(Self {})
    }

    /// One heartbeat unit of time passed; `now_ns` is the wall clock for what the leader stamps.
    pub fn tick(&mut self, _now_ns: i64) {}

    /// A message from another member arrived.
    pub fn receive(&mut self, _envelope: Envelope) {}

    /// Asks for a command to be replicated. The answer comes through `Host::applied` with the same
    /// ticket, or never (a lost proposal is the shell's timeout).
    pub fn propose(&mut self, _ticket: Ticket, _stamp: Stamp, _command: Command) -> Result<(), Refusal> {
        Ok(())
    }

    /// Asks for a linearizable read. `Host::readable` follows, or never when there is no quorum.
    pub fn read(&mut self, _ticket: Ticket) -> Result<(), Refusal> {
        Ok(())
    }

    /// Asks for a change of membership; answered like a proposal.
    pub fn reconfigure(&mut self, _ticket: Ticket, _change: MemberChange) -> Result<(), Refusal> {
        Ok(())
    }

    /// A checkpoint up to `index` is durable. Returns the index below which the log on disk may be
    /// cut now (entries below it are not needed any more), if any (I5).
    pub fn durable(&mut self, _index: u64) -> Option<u64> {
        None
    }

    /// Drains raft until it is quiet. The only place effects happen (I3).
    pub fn turn(&mut self, _host: &mut dyn Host) {}

    /// The frozen present state: O(1).
    pub fn view(&self) -> View {
        View::default()
    }

    /// What the shell may show.
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// The raft message inside an envelope, readable (simulator traces).
    pub fn describe(_message: &Bytes) -> String {
        String::new()
    }
}
