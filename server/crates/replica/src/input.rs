//! The inputs of a member: one closed enum, and [`Replica::take`], the only function that accepts them.
//!
//! An input only queues work. The next [`Replica::turn`] does the work and answers through [`crate::host::Host`].

use std::sync::Arc;

use witan_machine::{
    command::{Command, UnstampedEntry},
    kv::ValueSource,
    lease::LeaseId,
    member::{MemberId, MemberRegistry},
};

use crate::{
    host::{Answer, Connection, Envelope, LeaseQuestion, ProposalRejected, Ticket, Unanswered},
    long_command::ExecutedCommand,
    replica::{PeerEvent, Replica},
};

/// A request or an event that a member's replica processes.
#[derive(Debug)]
pub enum Input {
    /// A tick of raft's clock, which expires old requests and runs the leader's tasks.
    Tick {
        /// The wall clock as Unix time in nanoseconds, for entries that the leader stamps.
        now_ns: i64,
    },
    /// The monotonic clock advanced. Take this input before the requests of a turn; otherwise lease timers run late.
    Clock {
        /// The time in nanoseconds.
        monotonic_ns: u64,
    },
    /// A message from another member arrived.
    Message(Envelope),
    /// The transport reports an event about another member.
    Peer {
        /// The other member.
        member: MemberId,
        /// The event.
        event: PeerEvent,
    },
    /// A checkpoint became durable.
    Durable {
        /// Raft index of the last entry in the checkpoint.
        index: u64,
    },
    /// The host executed a long command.
    Executed(Box<ExecutedCommand>),
    /// The disk was measured.
    LogRoom {
        /// Number of bytes by which the log may grow until the next measurement. 0 means that the disk is full.
        bytes: u64,
    },
    /// The process has used up its memory budget or has free memory again.
    Memory {
        /// Whether the memory is used up. If so, the member accepts no entries that add data.
        exhausted: bool,
    },
    /// Some values may now be only on disk, or all values are in memory again.
    Values {
        /// Where commands may find the values that they read. Initially, all values are in memory.
        source: ValueSource,
    },
    /// A turn has ended.
    Turned {
        /// The monotonic clock after the turn, in nanoseconds.
        monotonic_ns: u64,
        /// Duration in nanoseconds of the last sync of the log. A batch of proposals costs about this much time.
        sync_ns: u64,
    },
    /// The leader's state must replace this member's state, which differs from it or is damaged on disk.
    Rebuild,
    /// Requests a leadership transfer. `Host::answered` follows with [`Answer::Transfer`].
    Transfer {
        /// Ticket of the request.
        ticket: Ticket,
        /// The next leader. `None` selects the active voter with the longest log.
        to: Option<MemberId>,
    },
    /// A client proposes a command. `Host::applied` reports the outcome, or `Host::answered` the reason for the failure.
    /// Without a leader, the proposal waits.
    Propose {
        /// Ticket of the request. Tickets must increase.
        ticket: Ticket,
        /// Connection of the client.
        connection: Connection,
        /// The wall clock as Unix time in nanoseconds.
        now_ns: i64,
        /// The command. The permissions of its caller are checked when it is applied.
        entry: UnstampedEntry,
    },
    /// The leader proposes a command that it derived from `members`. `Host::answered` follows with [`Answer::Decided`].
    Decide {
        /// Ticket of the request.
        ticket: Ticket,
        /// The registry from which the command was derived. If its members or versions have changed since, nothing is proposed.
        members: Arc<MemberRegistry>,
        /// The wall clock as Unix time in nanoseconds.
        now_ns: i64,
        /// The command.
        command: Box<Command>,
    },
    /// A client requests a linearizable read. `Host::readable` releases it, or `Host::answered` explains the failure.
    Read {
        /// Ticket of the request.
        ticket: Ticket,
    },
    /// A client renews a lease or queries its remaining time, without a log entry. `Host::answered` follows.
    Lease {
        /// Ticket of the request.
        ticket: Ticket,
        /// The lease.
        lease: LeaseId,
        /// The operation.
        question: LeaseQuestion,
    },
}

impl Replica {
    /// Queues the work of an input for the next turn.
    pub fn take(&mut self, input: Input) {
        match input {
            Input::Tick { now_ns } => self.tick(now_ns),
            Input::Clock { monotonic_ns } => self.advance_clock(monotonic_ns),
            Input::Message(envelope) => self.receive(envelope),
            Input::Peer { member, event } => self.peer_event(member, event),
            Input::Durable { index } => self.checkpoint_durable(index),
            Input::Executed(command) => self.take_executed(command),
            Input::LogRoom { bytes } => self.set_log_room(bytes),
            Input::Memory { exhausted } => self.set_lacks_memory(exhausted),
            Input::Values { source } => self.set_value_source(source),
            Input::Turned { monotonic_ns, sync_ns } => self.turned(monotonic_ns, sync_ns),
            Input::Rebuild => self.rebuild(),
            Input::Transfer { ticket, to } => {
                let taken = self.transfer_leadership(to);
                self.answers.push((ticket, Answer::Transfer(taken)));
            }
            Input::Propose { ticket, connection, now_ns, entry } => {
                let taken = self.propose(ticket, connection, now_ns, entry);
                self.answer_refusal(ticket, taken);
            }
            Input::Decide { ticket, members, now_ns, command } => {
                let proposed = self.propose_decision(&members, now_ns, *command);
                self.answers.push((ticket, Answer::Decided(proposed)));
            }
            Input::Read { ticket } => {
                let taken = self.read(ticket);
                self.answer_refusal(ticket, taken);
            }
            Input::Lease { ticket, lease, question } => {
                let taken = self.ask_about_lease(ticket, lease, question);
                self.answer_refusal(ticket, taken);
            }
        }
    }

    /// Queues the rejection in `taken`, if any, as the answer to the request.
    fn answer_refusal(&mut self, ticket: Ticket, taken: Result<(), ProposalRejected>) {
        if let Err(refusal) = taken {
            let refused = Unanswered::Refused(refusal);
            self.answers.push((ticket, Answer::Unanswered(refused)));
        }
    }
}
