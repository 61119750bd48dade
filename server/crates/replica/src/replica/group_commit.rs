//! Group commit of proposals: a `RequestGroup` holds this member's proposals, and on a leader the forwarded proposals, until
//! they are due.

use bytes::Bytes;
use raft::StateRole;

use super::{Replica, Role, Status, admission::NotAppended};
use crate::{
    batches_in_flight::Batch,
    fair_share::Waiting,
    forward::ForwardedProposals,
    host::{Answer, Connection, ProposalRejected, Ticket, Unanswered},
    limits::{FORWARDED_COST_BYTES, INBOX_MAX, forward_again_bytes},
    request_group::Source,
};
use witan_machine::{command::Entry, member::MemberId};

/// A proposal, or a message with proposals, that the group holds.
#[derive(Debug)]
pub(super) enum HeldProposal {
    /// A proposal of this process.
    Own(Ticket),
    /// Another member's message with proposals.
    Forwarded {
        from: u64,
        message: ForwardedProposals,
    },
}

impl Replica {
    /// Records the monotonic time after a turn, and the duration of the last log sync as a batch's cost, both in nanoseconds.
    pub(crate) fn turned(&mut self, monotonic_ns: u64, sync_ns: u64) {
        self.monotonic_ns = self.monotonic_ns.max(monotonic_ns);
        self.sync_cost_ns = sync_ns;
        self.follow_batches();
    }

    /// Holds a client's proposal with an entry of `bytes` bytes until it is due. If clients then have more than [`INBOX_MAX`]
    /// held proposals, rejects about a quarter of their bytes, first from the clients with the most bytes.
    pub(super) fn hold_own(&mut self, connection: Connection, ticket: Ticket, bytes: usize) {
        let held = HeldProposal::Own(ticket);
        self.group.push(Source::Client(connection), held, bytes);
        for excess in self.group.remove_excess(INBOX_MAX) {
            if let HeldProposal::Own(ticket) = excess {
                self.refuse(ticket, ProposalRejected::TooMany);
            }
        }
    }

    /// Holds another member's message of `bytes` bytes until it is due; a small message is charged with
    /// [`FORWARDED_COST_BYTES`]. Processes it immediately if this member does not lead other voters. Refuses the message's
    /// proposals, which the sender resends later, if the sender's held messages would exceed their bound.
    pub(super) fn hold_forwarded(&mut self, from: u64, message: ForwardedProposals, bytes: usize) {
        let bytes = bytes.max(FORWARDED_COST_BYTES);
        let held = self.forwarded_bytes.get(&from).copied().unwrap_or_default();
        let within_bound = held + bytes <= forward_again_bytes(self.config.tuning.memory_bytes);
        if self.is_leader_of_others() && within_bound {
            self.forwarded_bytes.insert(from, held + bytes);
            let held = HeldProposal::Forwarded { from, message };
            self.group.push(Source::Member(from), held, bytes);
        } else {
            self.take_forwarded(from, message, within_bound);
        }
    }

    /// Drops held proposals of this process that have expired, because their memory is no longer charged to a client.
    pub(super) fn drop_expired(&mut self) {
        let proposals = &self.proposals;
        self.group.remove(|held| match held {
            HeldProposal::Own(ticket) => !proposals.waits(*ticket),
            HeldProposal::Forwarded { .. } => false,
        });
    }

    /// Returns the size of the held proposals of this process in bytes.
    pub fn held_bytes(&self) -> u64 {
        self.group.bytes_of_clients() as u64
    }

    /// Submits the proposals that are due: a leader appends them, a follower forwards them. A leader with other entries to
    /// sync, a sole voter and a member without a known leader submit all held proposals. Submits only as many bytes as the
    /// limit for batches in flight still allows.
    pub(super) fn hand_in_due(&mut self) {
        let Status { role, leader, .. } = self.status();
        let holds = match role {
            Role::Leader => self.is_leader_of_others() && !self.has_unpersisted(),
            Role::Follower => leader != MemberId::NONE,
            Role::Candidate | Role::PreCandidate => false,
        };
        // Record the arrival even if no bytes are left now, so that the proposals are due as soon as bytes are freed.
        self.group.record_waiting_since(self.monotonic_ns);
        let bytes_left = self.batches.bytes_left();
        if bytes_left == 0 {
            return;
        }
        let due = match holds {
            true => self
                .group
                .take_due(self.sync_cost_ns, self.monotonic_ns, bytes_left),
            false => self.group.take(bytes_left),
        };
        self.hand_in_batch(due);
    }

    /// Submits all held proposals before this member gives up leadership.
    pub(super) fn hand_in_all(&mut self) {
        let all = self.group.take(usize::MAX);
        self.hand_in_batch(all);
    }

    /// Submits these requests, which become the newest batch in flight.
    fn hand_in_batch(&mut self, due: Vec<Waiting<Source, HeldProposal>>) {
        if due.is_empty() {
            return;
        }
        let mut batch = Batch::default();
        for held in due {
            batch.bytes = batch.bytes.saturating_add(held.cost());
            batch.ticket = self.hand_in_held(held.request, held.bytes).or(batch.ticket);
        }
        self.batches.push(batch);
    }

    /// Submits a request that was held with `bytes` bytes. Returns its ticket if it is a proposal of this process that is still
    /// waiting, otherwise `None`. Drops proposals from removed members, which answer their clients themselves.
    fn hand_in_held(&mut self, held: HeldProposal, bytes: usize) -> Option<Ticket> {
        match held {
            HeldProposal::Own(ticket) => self.hand_in_own(ticket, bytes).then_some(ticket),
            HeldProposal::Forwarded { from, message } => {
                if let Some(held) = self.forwarded_bytes.get_mut(&from) {
                    *held -= bytes;
                }
                if !self.is_removed(from) {
                    self.take_forwarded(from, message, true);
                }
                None
            }
        }
    }

    /// Submits a held proposal of this process: appends it on a leader, otherwise queues it to be forwarded in this turn.
    /// Returns whether the proposal is still waiting.
    fn hand_in_own(&mut self, ticket: Ticket, bytes: usize) -> bool {
        let Some((entry, data)) = self.proposals.encode(ticket, bytes) else {
            return false;
        };
        if self.raft.raft.state == StateRole::Leader {
            return self.append_own(ticket, &entry, data);
        }
        self.proposals.defer_to_turn(ticket);
        true
    }

    /// Appends a proposal of this process to the leader's log. Defers the proposal to the next tick if the log does not accept
    /// it now. Answers the proposal if the log rejects it. Returns whether the proposal is still waiting.
    pub(super) fn append_own(&mut self, ticket: Ticket, entry: &Entry, data: Bytes) -> bool {
        match self.append_entry(self.config.id, entry, data) {
            Ok(()) => self.proposals.record_submission(ticket, self.own_term()),
            Err(NotAppended::NotNow) => self.proposals.defer_to_tick(ticket),
            Err(NotAppended::Refused(refusal)) => {
                self.refuse(ticket, refusal);
                return false;
            }
        }
        true
    }

    /// Removes a proposal of this process and answers it with the rejection.
    pub(super) fn refuse(&mut self, ticket: Ticket, refusal: ProposalRejected) {
        self.proposals.forget(ticket);
        let refused = Unanswered::Refused(refusal);
        self.answers.push((ticket, Answer::Unanswered(refused)));
    }

    /// Drops answered batches. Once the newest batch is answered, the group may submit the next batch.
    pub(super) fn follow_batches(&mut self) {
        let (status, last) = (self.status(), self.last_index());
        let proposals = &self.proposals;
        let waits = |batch: &Batch| batch.waits(&status, last, |ticket| proposals.waits(ticket));
        if !self.batches.drop_answered(waits) {
            self.group.answered(self.monotonic_ns);
        }
    }

    /// Returns the monotonic time in nanoseconds at which held proposals are due. Returns `None` if no proposals are held, or
    /// while the batches in flight have their maximum size.
    pub(super) fn proposals_due_ns(&self) -> Option<u64> {
        let due = self.group.deadline(self.sync_cost_ns);
        due.filter(|_| self.batches.bytes_left() > 0)
    }
}
