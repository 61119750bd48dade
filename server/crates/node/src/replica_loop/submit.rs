//! Requests on their way to the replica, each under a ticket of its own.

use std::sync::Arc;

use witan_machine::{command::Command, lease::LeaseId, view::View};
use witan_replica::{
    host::{LeaseAnswer, LeaseQuestion, Ticket},
    replica::ProposalRejected,
};

use super::ReplicaLoop;
use crate::{NodeError, completions::CompletionSender, host::PendingRequest, requests::Proposal};

impl ReplicaLoop {
    /// Proposes a command; refuses it with [`NodeError::NoSpace`] if the disk has no space for it and no start
    /// needs it.
    pub(super) fn propose(&mut self, proposal: Proposal) {
        let Proposal { entry, now_ns, bytes, grows, to, connection } = proposal;
        let has_space = self.space.take(bytes as u64, grows);
        let is_required = |command: &Command| command.is_required_at_start();
        if !has_space && !entry.command.as_ref().is_some_and(is_required) {
            return to.refuse(NodeError::NoSpace);
        }
        let ticket = self.ticket();
        let taken = self.replica.propose(ticket, connection, now_ns, entry);
        self.proposed |= taken.is_ok();
        self.wait(ticket, PendingRequest::Write(to), taken);
    }

    /// Asks for a linearizable read.
    pub(super) fn read(&mut self, to: CompletionSender<Arc<View>>) {
        let ticket = self.ticket();
        let taken = self.replica.read(ticket);
        self.reads_asked |= taken.is_ok();
        self.wait(ticket, PendingRequest::Read(to), taken);
    }

    /// Asks the leader about a lease.
    pub(super) fn ask_about_lease(
        &mut self,
        lease: LeaseId,
        question: LeaseQuestion,
        to: CompletionSender<LeaseAnswer>,
    ) {
        let ticket = self.ticket();
        let taken = self.replica.ask_about_lease(ticket, lease, question);
        self.wait(ticket, PendingRequest::Lease(to), taken);
    }

    /// Has a request wait for its answer if the replica has taken it, else refuses it.
    fn wait(
        &mut self,
        ticket: Ticket,
        request: PendingRequest,
        taken: Result<(), ProposalRejected>,
    ) {
        self.host.pending.insert(ticket, request);
        if let Err(refusal) = taken {
            self.host.refuse(ticket, refusal.into());
        }
    }

    /// Returns a ticket above all earlier ones.
    fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }
}
