//! Proposals on their way to the replica: those of this member's clients, and those that others forward to
//! a leader. They are held in a [`crate::node::request_group`] until they are due.

use std::time::Instant;

use witan_replica::{
    host::Ticket,
    machine::command::Stamp,
    replica::{Role, Status},
};

use super::ReplicaLoop;
use crate::node::{
    NodeError, Proposal, admission::grows, raft_inbox::ReceivedMessage, request_group::Source,
};

/// What waits for the proposals in flight.
pub(super) enum HeldProposal {
    /// A proposal of a client of this member.
    Own(Proposal),
    /// A message with proposals of another member.
    Forwarded(ReceivedMessage),
}

/// The last batch of proposals that was passed to the replica.
#[derive(Debug, Default)]
pub(super) struct LastBatch {
    /// Ticket of the last of them that the replica took from a client of this member.
    ticket: Option<Ticket>,
    /// Whether no turn has followed.
    is_new: bool,
    /// The end of this member's log after the turn that followed.
    end: u64,
}

impl LastBatch {
    /// Whether the batch waits for its answers. That of a leader holds what others have forwarded, and waits
    /// until the log up to its end is applied; that of another member until its last proposal is answered.
    fn waits(&self, status: &Status, is_waiting: impl Fn(Ticket) -> bool) -> bool {
        match status.role {
            Role::Leader => status.applied < self.end,
            Role::Follower | Role::Candidate | Role::PreCandidate => {
                self.ticket.is_some_and(is_waiting)
            }
        }
    }
}

impl ReplicaLoop {
    /// Holds a proposal until it is due.
    pub(super) fn hold_proposal(&mut self, held: HeldProposal) {
        let (source, bytes) = match &held {
            HeldProposal::Own(proposal) => (Source::Clients, proposal.bytes),
            HeldProposal::Forwarded(message) => (Source::Members, message.envelope.message.len()),
        };
        self.proposals.push(source, held, bytes);
    }

    /// Proposes what is held if it is due. A leader does not hold it if it has other entries to append, with
    /// which it shares their sync; a sole voter and a member without a leader never do.
    pub(super) fn propose_due(&mut self, now: Instant) {
        let Status { role, leader, .. } = self.replica.status();
        let holds = match role {
            Role::Leader => self.replica.is_leader_of_others() && !self.replica.has_unpersisted(),
            Role::Follower => leader != 0,
            Role::Candidate | Role::PreCandidate => false,
        };
        let due = match holds {
            true => self.proposals.take_due(self.host.last_sync, now),
            false => self.proposals.take(),
        };
        self.propose_all(due);
    }

    /// Passes proposals to the replica, which appends them in its next turn or forwards them.
    pub(super) fn propose_all(&mut self, batch: Vec<HeldProposal>) {
        if batch.is_empty() {
            return;
        }
        self.last_batch = LastBatch { is_new: true, ..LastBatch::default() };
        for held in batch {
            match held {
                HeldProposal::Own(proposal) => self.propose(proposal),
                HeldProposal::Forwarded(message) => self.receive(message.envelope),
            }
        }
    }

    /// Notes after a turn whether the last batch still waits for its answers.
    pub(super) fn follow_last_batch(&mut self, status: &Status, now: Instant) {
        if std::mem::take(&mut self.last_batch.is_new) {
            self.last_batch.end = self.replica.last_index();
        }
        let writes = &self.host.writes;
        let waits = { &self.last_batch }.waits(status, |ticket| writes.is_waiting(ticket));
        self.proposals.turned(waits, now);
    }

    /// Proposes a command; refuses it with [`NodeError::NoSpace`] if the disk has no room and no start needs
    /// it.
    fn propose(&mut self, proposal: Proposal) {
        let Proposal { command, caller, now_ns, bytes, to } = proposal;
        let room = self.space.take(bytes as u64, grows(&command));
        if !room && !command.is_required_at_start() {
            to.refuse(NodeError::NoSpace);
            return;
        }
        // a published state would be copied on write
        self.shared.latest.clear();
        let ticket = self.ticket();
        let stamp = Stamp { now_ns, ..Stamp::default() };
        match self.replica.propose_for(ticket, stamp, *command, caller) {
            Ok(()) => {
                self.last_batch.ticket = Some(ticket);
                self.host.writes.insert(ticket, self.ticks, to);
            }
            Err(refusal) => to.refuse(refusal.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_waits_for_its_log_and_a_follower_for_its_own_proposals() {
        let batch = LastBatch { ticket: Some(Ticket(7)), is_new: false, end: 100 };
        let waits = |role, applied, waiting: &[u64]| {
            let status = Status { role, applied, ..Status::default() };
            batch.waits(&status, |ticket| waiting.contains(&ticket.0))
        };
        assert!(
            waits(Role::Leader, 99, &[]),
            "what others forward has no ticket"
        );
        assert!(!waits(Role::Leader, 100, &[7]));
        assert!(waits(Role::Follower, 100, &[6, 7]));
        assert!(!waits(Role::Follower, 99, &[6]));
        let refused = LastBatch { ticket: None, ..batch };
        let status = Status { role: Role::Follower, ..Status::default() };
        assert!(!refused.waits(&status, |_| true));
    }
}
