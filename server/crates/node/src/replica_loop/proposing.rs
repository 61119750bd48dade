//! Proposals on their way to the replica: those of this member's clients, and those that others forward to
//! a leader. They are held in a [`crate::request_group`] until they are due.

use std::{collections::VecDeque, time::Instant};

use witan_replica::{
    host::Ticket,
    replica::{Role, Status},
};

use super::ReplicaLoop;
use crate::{
    NodeError, Proposal, fair_share::Waiting, raft_inbox::ReceivedMessage, request_group::Source,
};

/// Bytes of proposals, with what each counts for beside them, that are on their way at once: some tens of
/// milliseconds of writing, for which those that come next wait. More wait where their senders share
/// (`fair_share`), not in the log, whose order is final.
const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;

/// A request that waits for the proposals in flight.
pub(super) enum HeldProposal {
    /// A proposal of a client of this member.
    Own(Proposal),
    /// A message with proposals of another member.
    Forwarded(ReceivedMessage),
}

impl HeldProposal {
    fn sender(&self) -> Source {
        match self {
            Self::Own(proposal) => Source::Client(proposal.connection),
            Self::Forwarded(message) => Source::Member(message.envelope.from),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Own(proposal) => proposal.bytes,
            Self::Forwarded(message) => message.envelope.message.len(),
        }
    }
}

/// The batches that wait for their answers, in their order.
#[derive(Debug, Default)]
pub(super) struct BatchesInFlight {
    batches: VecDeque<Batch>,
    /// Bytes for which their proposals count.
    bytes: usize,
}

impl BatchesInFlight {
    /// Returns the bytes for which the proposals of the next batch may count; 0 if there must be none now.
    pub(super) fn room(&self) -> usize {
        IN_FLIGHT_BYTES_MAX.saturating_sub(self.bytes)
    }

    fn push(&mut self, batch: Batch) {
        self.bytes += batch.bytes;
        self.batches.push_back(batch);
    }

    /// Notes where the log ends after the turn that followed the new ones.
    fn appended(&mut self, end: u64) {
        let new = self
            .batches
            .iter_mut()
            .rev()
            .take_while(|batch| batch.is_new);
        new.for_each(|batch| (batch.is_new, batch.end) = (false, end));
    }

    /// Forgets the oldest ones that do not wait any more.
    fn forget(&mut self, waits: impl Fn(&Batch) -> bool) {
        while let Some(first) = self.batches.pop_front_if(|first| !waits(first)) {
            self.bytes -= first.bytes;
        }
    }
}

/// A batch of proposals that was passed to the replica.
#[derive(Debug, Default)]
struct Batch {
    /// Ticket of the last of them that the replica took from a client of this member.
    ticket: Option<Ticket>,
    /// Whether no turn has followed.
    is_new: bool,
    /// The end of this member's log after the turn that followed.
    end: u64,
    /// Bytes for which its proposals count.
    bytes: usize,
}

impl Batch {
    /// Whether the batch waits for its answers. That of a leader holds what others have forwarded, and waits
    /// until the log up to its end is applied, or up to `last` if it ends before since; that of another member
    /// until its last proposal is answered.
    fn waits(&self, status: &Status, last: u64, is_waiting: impl Fn(Ticket) -> bool) -> bool {
        match status.role {
            Role::Leader => status.applied < self.end.min(last),
            Role::Follower | Role::Candidate | Role::PreCandidate => {
                self.ticket.is_some_and(is_waiting)
            }
        }
    }
}

impl ReplicaLoop {
    /// Holds a proposal until it is due.
    pub(super) fn hold_proposal(&mut self, held: HeldProposal) {
        let (sender, bytes) = (held.sender(), held.bytes());
        self.proposals.push(sender, held, bytes);
        for excess in self.proposals.remove_excess() {
            if let HeldProposal::Own(proposal) = excess {
                proposal.to.refuse(NodeError::TooMany);
            }
        }
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
        let room = self.batches.room();
        if room == 0 {
            return;
        }
        let due = match holds {
            true => self.proposals.take_due(self.host.last_sync, now, room),
            false => self.proposals.take(room),
        };
        self.propose_all(due);
    }

    /// Passes proposals to the replica, which appends them in its next turn or forwards them.
    pub(super) fn propose_all(&mut self, batch: Vec<Waiting<Source, HeldProposal>>) {
        if batch.is_empty() {
            return;
        }
        let (mut ticket, mut bytes) = (None, 0_usize);
        for held in batch {
            bytes = bytes.saturating_add(held.cost());
            match held.request {
                HeldProposal::Own(proposal) => ticket = self.propose(proposal).or(ticket),
                HeldProposal::Forwarded(message) => self.receive(message.envelope),
            }
        }
        self.batches
            .push(Batch { ticket, is_new: true, end: 0, bytes });
    }

    /// Notes after a turn which batches still wait for their answers.
    pub(super) fn follow_batches(&mut self, status: &Status, now: Instant) {
        let last = self.replica.last_index();
        self.batches.appended(last);
        let writes = &self.host.writes;
        let waits = |batch: &Batch| batch.waits(status, last, |ticket| writes.is_waiting(ticket));
        let newest_waits = self.batches.batches.back().is_some_and(waits);
        self.batches.forget(waits);
        self.proposals.turned(newest_waits, now);
    }

    /// Proposes a command and returns its ticket; refuses it with [`NodeError::NoSpace`] if the disk has no
    /// space for it and no start needs it.
    fn propose(&mut self, proposal: Proposal) -> Option<Ticket> {
        let Proposal { command, caller, now_ns, bytes, to, connection: _ } = proposal;
        let has_space = self.space.take(bytes as u64, command.growth() > 0);
        if !has_space && !command.is_required_at_start() {
            to.refuse(NodeError::NoSpace);
            return None;
        }
        // a published state would be copied on write
        self.shared.latest.clear();
        let ticket = self.ticket();
        match self.replica.propose(ticket, now_ns, *command, caller) {
            Ok(()) => {
                self.host.writes.insert(ticket, self.ticks, to);
                Some(ticket)
            }
            Err(refusal) => {
                to.refuse(refusal.into());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_waits_for_its_log_and_a_follower_for_its_own_proposals() {
        let batch = Batch { ticket: Some(Ticket(7)), end: 100, ..Batch::default() };
        let waits = |role, applied, waiting: &[u64]| {
            let status = Status { role, applied, ..Status::default() };
            batch.waits(&status, 100, |ticket| waiting.contains(&ticket.0))
        };
        assert!(
            waits(Role::Leader, 99, &[]),
            "what others forward has no ticket"
        );
        assert!(!waits(Role::Leader, 100, &[7]));
        assert!(waits(Role::Follower, 100, &[6, 7]));
        assert!(!waits(Role::Follower, 99, &[6]));
        let cut_off = Status { role: Role::Leader, applied: 90, ..Status::default() };
        assert!(
            !batch.waits(&cut_off, 90, |_| true),
            "its log ends before since"
        );
        let refused = Batch { ticket: None, ..batch };
        let status = Status { role: Role::Follower, ..Status::default() };
        assert!(!refused.waits(&status, 100, |_| true));
    }

    #[test]
    fn what_waits_in_flight_leaves_less_room() {
        let mut batches = BatchesInFlight::default();
        for bytes in [1 << 20, 2 << 20, 8 << 20] {
            batches.push(Batch { bytes, is_new: true, ..Batch::default() });
            batches.appended(bytes as u64);
        }
        assert_eq!(batches.room(), 0);
        batches.forget(|batch| batch.end > 1 << 20);
        assert_eq!(batches.room(), 0);
        batches.forget(|_| false);
        assert_eq!(batches.room(), IN_FLIGHT_BYTES_MAX);
    }
}
