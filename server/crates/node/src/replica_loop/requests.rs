//! Requests from handles to the replica's thread. Each request that waits for an answer gets its own ticket.

use std::{iter, sync::Arc};

use tokio::sync::mpsc::Receiver;
use witan_machine::{
    command::{Command, UnstampedEntry},
    lease::LeaseId,
    member::{MemberId, MemberRegistry},
    view::View,
};
use witan_replica::{
    host::{Connection, LeaseAnswer, LeaseQuestion, Ticket},
    input::Input,
    lessor::LeaseDeadlines,
    limits::INBOX_MAX,
    replica::TransferRefused,
};
use witan_storage::{OnDurable, SpaceLevel};

use super::ReplicaLoop;
use crate::{
    AppliedCommand, NodeError,
    completions::{CompletionSender, Waiter},
    now_ns,
};

/// Maximum number of requests that a turn takes from the inbox. With fewer requests, the replica could not choose proposals
/// fairly among all clients.
const TURN_REQUESTS: usize = INBOX_MAX / 2;

/// Requests to the replica's thread, in order of arrival.
pub(crate) enum LoopRequest {
    Propose(Proposal),
    Read {
        to: CompletionSender<Arc<View>>,
    },
    View {
        to: CompletionSender<Arc<View>>,
    },
    /// Rewrite the checkpoint and report completion. `is_second` is set for the second of two rewrites, which is the last.
    Rewrite {
        done: OnDurable,
        is_second: bool,
    },
    /// Renew a lease, or return its remaining time.
    Lease {
        lease: LeaseId,
        question: LeaseQuestion,
        to: CompletionSender<LeaseAnswer>,
    },
    /// Return the deadline of each lease.
    Deadlines {
        to: CompletionSender<LeaseDeadlines>,
    },
    /// Transfer leadership to `member`, or for `None` to the recently active voter that lags least.
    Transfer {
        member: Option<MemberId>,
        to: CompletionSender<Result<MemberId, TransferRefused>>,
    },
    /// Propose a command that this leader has derived from `members`. Drop it if the members, the cluster version, the feature
    /// level or the downgrade target have changed since.
    Decide {
        command: Box<Command>,
        members: Arc<MemberRegistry>,
        to: CompletionSender<bool>,
    },
    /// Replace the state with the leader's state.
    Rebuild,
}

pub(crate) struct Proposal {
    pub(crate) entry: UnstampedEntry,
    pub(crate) connection: Connection,
    pub(crate) now_ns: i64,
    /// Whether the command can increase the size that is charged against the quota.
    pub(crate) grows: bool,
    pub(crate) to: CompletionSender<AppliedCommand>,
}

impl ReplicaLoop {
    /// Takes the queued requests, up to [`TURN_REQUESTS`].
    pub(super) fn drain(&mut self, requests: &mut Receiver<LoopRequest>) {
        let queued = iter::from_fn(|| requests.try_recv().ok());
        for inbound in queued.take(TURN_REQUESTS) {
            self.take(inbound);
        }
    }

    /// Passes a request to the replica, where it waits under a ticket, or answers it immediately.
    pub(super) fn take(&mut self, inbound: LoopRequest) {
        match inbound {
            LoopRequest::Propose(proposal) => self.propose(proposal),
            LoopRequest::Read { to } => {
                let ticket = self.add_waiter(to.waiter);
                self.replica.take(Input::Read { ticket });
                self.read_requested = true;
            }
            LoopRequest::View { to } => {
                let view = self.latest();
                self.host.completions.push(to, view);
            }
            LoopRequest::Rewrite { done, is_second } => self.rewrite(done, is_second),
            LoopRequest::Lease { lease, question, to } => {
                let ticket = self.add_waiter(to.waiter);
                self.replica.take(Input::Lease { ticket, lease, question });
            }
            LoopRequest::Deadlines { to } => match self.replica.deadlines() {
                Some(deadlines) => self.host.completions.push(to, deadlines),
                None => to.waiter.refuse(NodeError::NoLeader),
            },
            LoopRequest::Transfer { member, to } => {
                let ticket = self.add_waiter(to.waiter);
                self.replica.take(Input::Transfer { ticket, to: member });
            }
            LoopRequest::Decide { command, members, to } => self.decide(command, members, to),
            LoopRequest::Rebuild => self.replica.take(Input::Rebuild),
        }
    }

    /// Proposes a command. Fails with [`NodeError::NoSpace`] if disk space is short, or if memory is short and the command adds
    /// data. A command that members need at startup is proposed regardless.
    fn propose(&mut self, proposal: Proposal) {
        let Proposal { entry, now_ns, grows, to, connection } = proposal;
        let has_memory = !grows || !self.shared.memory.refuses_growth();
        let has_space = has_memory && self.space.take(entry.command_bytes() as u64, grows);
        let command = entry.entry().command.as_ref();
        if !has_space && !command.is_some_and(Command::is_required_at_start) {
            return to.waiter.refuse(NodeError::NoSpace);
        }
        let ticket = self.add_waiter(to.waiter);
        let input = Input::Propose { ticket, connection, now_ns, entry };
        self.replica.take(input);
        self.proposed = true;
    }

    /// Proposes a decision of this leader. If the disk is full, proposes only decisions that members need at startup, and
    /// answers any other decision with `false`.
    fn decide(
        &mut self,
        command: Box<Command>,
        members: Arc<MemberRegistry>,
        to: CompletionSender<bool>,
    ) {
        if self.space.level() == SpaceLevel::None && !command.is_required_at_start() {
            return self.host.completions.push(to, false);
        }
        let ticket = self.add_waiter(to.waiter);
        let input = Input::Decide { ticket, members, now_ns: now_ns(), command };
        self.replica.take(input);
    }

    /// Stores a task that waits for an answer. Returns its ticket, which is greater than all earlier tickets.
    fn add_waiter(&mut self, waiter: Waiter) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.host.waiters.insert(ticket, waiter);
        ticket
    }

    /// Queues the current state to be written as a new base. Calls `done` when the base is durable. If the disk is almost full,
    /// writes a second base before it calls `done`, because only the second base lets the previous checkpoint be removed.
    /// `is_second` means that this call is for the second base.
    fn rewrite(&mut self, mut done: OnDurable, is_second: bool) {
        // The last measurement may be a tick old.
        self.update_room();
        if !is_second && self.space.level() != SpaceLevel::Enough {
            let shared = self.shared.clone();
            done = Box::new(move || {
                // If sending fails, the requester gets an error and can retry.
                let second = LoopRequest::Rewrite { done, is_second: true };
                let _ = shared.inbox.try_send(second);
                shared.waker.wake();
            });
        }
        self.host.checkpoints.rewrite(self.replica.view(), done);
    }
}
