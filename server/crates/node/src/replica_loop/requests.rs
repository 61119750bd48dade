//! The requests of handles to the replica's thread, and their way to the replica, each that waits for an answer under a
//! ticket of its own. Events of other members are in `raft_inbox`.

use std::sync::{Arc, mpsc::Receiver};

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

/// Requests taken from the inbox in one turn. The number is large, so that the clients whose proposals are next are chosen
/// among all that wait.
const TURN_REQUESTS: usize = INBOX_MAX / 2;

/// Requests to the replica's thread, in the order in which they come.
pub(crate) enum LoopRequest {
    Propose(Proposal),
    Read {
        to: CompletionSender<Arc<View>>,
    },
    View {
        to: CompletionSender<Arc<View>>,
    },
    /// Rewrite the checkpoint and report completion.
    Rewrite {
        done: OnDurable,
    },
    /// Rewrite it once more, so that nothing of the previous checkpoint remains on a full disk.
    Shrink {
        done: OnDurable,
    },
    /// A client keeps a lease alive, or asks when it ends.
    Lease {
        lease: LeaseId,
        question: LeaseQuestion,
        to: CompletionSender<LeaseAnswer>,
    },
    /// When does each lease end?
    Deadlines {
        to: CompletionSender<LeaseDeadlines>,
    },
    /// Hand leadership over, to a certain member or to the best.
    Transfer {
        member: Option<MemberId>,
        to: CompletionSender<Result<MemberId, TransferRefused>>,
    },
    /// Propose a command that this leader derived from `members`, unless the membership, the cluster version or the downgrade
    /// target has changed since.
    Decide {
        command: Command,
        members: Arc<MemberRegistry>,
        to: CompletionSender<bool>,
    },
    /// Replace the state by the leader's.
    Rebuild,
}

/// A command that is to be proposed.
pub(crate) struct Proposal {
    pub(crate) entry: UnstampedEntry,
    /// Where it came from.
    pub(crate) connection: Connection,
    pub(crate) now_ns: i64,
    /// Whether the command may increase the usage that counts against the quota.
    pub(crate) grows: bool,
    pub(crate) to: CompletionSender<AppliedCommand>,
}

impl ReplicaLoop {
    /// Takes the requests that are queued already, at most [`TURN_REQUESTS`].
    pub(super) fn drain(&mut self, requests: &Receiver<LoopRequest>) {
        for inbound in requests.try_iter().take(TURN_REQUESTS) {
            self.take(inbound);
        }
    }

    /// Passes a request to the replica, where it waits under a ticket, or answers it at once.
    pub(super) fn take(&mut self, inbound: LoopRequest) {
        match inbound {
            LoopRequest::Propose(proposal) => self.propose(proposal),
            LoopRequest::Read { to } => self.read(to),
            LoopRequest::View { to } => {
                let view = self.latest();
                self.host.completions.push(to, view);
            }
            LoopRequest::Rewrite { done } => {
                // there may have been no tick since startup
                self.check_disk();
                match self.space.room() {
                    SpaceLevel::Enough => self.rewrite(done),
                    SpaceLevel::Low | SpaceLevel::None => self.rewrite_and_shrink(done),
                }
            }
            LoopRequest::Shrink { done } => self.rewrite(done),
            LoopRequest::Lease { lease, question, to } => self.ask_about_lease(lease, question, to),
            LoopRequest::Deadlines { to } => match self.replica.deadlines() {
                Some(deadlines) => self.host.completions.push(to, deadlines),
                None => to.refuse(NodeError::NoLeader),
            },
            LoopRequest::Transfer { member, to } => {
                let ticket = self.wait(to.waiter);
                self.replica.take(Input::Transfer { ticket, to: member });
            }
            LoopRequest::Decide { command, members, to } => self.decide(command, members, to),
            LoopRequest::Rebuild => self.replica.take(Input::Rebuild),
        }
    }

    /// Proposes a command; refuses it with [`NodeError::NoSpace`] if the disk has no space for it and startup does not
    /// require it.
    fn propose(&mut self, proposal: Proposal) {
        let Proposal { entry, now_ns, grows, to, connection } = proposal;
        let has_space = self.space.take(entry.command_bytes() as u64, grows);
        let command = entry.entry().command.as_ref();
        if !has_space && !command.is_some_and(Command::is_required_at_start) {
            return to.refuse(NodeError::NoSpace);
        }
        let ticket = self.wait(to.waiter);
        let input = Input::Propose { ticket, connection, now_ns, entry };
        self.replica.take(input);
        self.proposed = true;
    }

    /// Proposes a decision of the leader, unless the disk has no space for it and startup does not require it.
    fn decide(
        &mut self,
        command: Command,
        members: Arc<MemberRegistry>,
        to: CompletionSender<bool>,
    ) {
        if self.space.room() == SpaceLevel::None && !command.is_required_at_start() {
            return self.host.completions.push(to, false);
        }
        let ticket = self.wait(to.waiter);
        let (now_ns, command) = (now_ns(), Box::new(command));
        let input = Input::Decide { ticket, members, now_ns, command };
        self.replica.take(input);
    }

    /// Asks for a linearizable read.
    fn read(&mut self, to: CompletionSender<Arc<View>>) {
        let ticket = self.wait(to.waiter);
        self.replica.take(Input::Read { ticket });
        self.reads_asked = true;
    }

    /// Asks the leader about a lease.
    fn ask_about_lease(
        &mut self,
        lease: LeaseId,
        question: LeaseQuestion,
        to: CompletionSender<LeaseAnswer>,
    ) {
        let ticket = self.wait(to.waiter);
        self.replica.take(Input::Lease { ticket, lease, question });
    }

    /// Has a task wait for the answer to its request. Returns the ticket, which is above all earlier ones.
    fn wait(&mut self, waiter: Waiter) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.host.waiters.insert(ticket, waiter);
        ticket
    }

    /// Writes the present state as a new base; `done` is called when that is durable.
    fn rewrite(&mut self, done: OnDurable) {
        self.host.checkpoints.rewrite(self.replica.view(), done);
    }

    /// Writes a new base as [`Self::rewrite`] does, and then a second one: the disk has little room, and only
    /// the second removes the checkpoint before.
    fn rewrite_and_shrink(&mut self, done: OnDurable) {
        let shared = self.shared.clone();
        self.rewrite(Box::new(move || {
            // the requester gets an error and may retry
            let _ = shared.inbox.try_send(LoopRequest::Shrink { done });
            shared.waker.wake();
        }));
    }
}
