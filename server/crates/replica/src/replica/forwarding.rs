//! Forwarded proposals: submitting this process's proposals to the leader, handling the leader's refusals, and resending lost
//! messages. On the leader, this module appends the proposals that other members forward.

use bytes::Bytes;
use raft::StateRole;

use super::{Replica, admission::NotAppended, deferred_commits::DeferredCommits};
use crate::{
    forward::{ForwardedProposals, RefusedProposal, RefusedProposals},
    host::{Lane, ProposalRejected, Ticket},
    limits::{FORWARD_BYTES, forward_again_bytes},
    proposals::TargetLog,
    wire::{self, PeerMessage},
};
use witan_machine::command::Stamp;

impl Replica {
    /// Submits due proposals to the leader, which may be this member. Does nothing while no leader is known.
    pub(super) fn hand_in_proposals(&mut self) {
        let raft = &self.raft.raft;
        if !self.proposals.has_due() || raft.leader_id == 0 {
            return;
        }
        if raft.state == StateRole::Leader {
            return self.append_due();
        }
        let mut to = TargetLog {
            term: raft.term,
            leader: raft.leader_id,
            number: self.proposals.next_number(),
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        while let Some((ticket, data)) = self.proposals.take_due() {
            if bytes + data.len() > FORWARD_BYTES && !entries.is_empty() {
                self.forward(to, std::mem::take(&mut entries));
                to.number = self.proposals.next_number();
                bytes = 0;
            }
            bytes += data.len();
            entries.push(data);
            self.proposals.record_submission(ticket, to);
        }
        self.forward(to, entries);
    }

    /// Sends encoded entries to a leader in one message. Does nothing if there are no entries.
    fn forward(&mut self, to: TargetLog, entries: Vec<Bytes>) {
        if !entries.is_empty() {
            let message = ForwardedProposals { term: to.term, entries, number: to.number };
            self.post(to.leader, Lane::Bulk, &PeerMessage::Proposals(message));
        }
    }

    /// Resends the messages with proposals that a leader may have missed, up to [`forward_again_bytes`]. The requests in the
    /// remaining messages time out. The leader accepts each message once, and only in the term that the message names.
    pub(super) fn forward_again(&mut self, leader: u64) {
        let (mut bytes, bytes_max) = (0, forward_again_bytes(self.config.tuning.memory_bytes));
        for ((term, number), entries) in self.proposals.unanswered_messages(leader) {
            bytes += entries.iter().map(Bytes::len).sum::<usize>();
            if bytes > bytes_max {
                break;
            }
            let message = ForwardedProposals { term, entries, number };
            self.post(leader, Lane::Bulk, &PeerMessage::ProposalsAgain(message));
        }
    }

    /// If proposals of this process are due, appends them to this leader's log.
    fn append_due(&mut self) {
        while let Some((ticket, data)) = self.proposals.take_due() {
            let entry = wire::decode_entry(&data).expect("this process has encoded the entry");
            self.append_own(ticket, &entry, data);
        }
    }

    /// Appends another member's proposals and reports, with the reasons, the proposals that were not appended. Appends none if
    /// `within_bound` is false. Ignores the entire message if this member does not lead the message's term or has accepted the
    /// message before. Also ignores entries that cannot be decoded or have another member's stamp.
    pub(super) fn take_forwarded(
        &mut self,
        from: u64,
        message: ForwardedProposals,
        within_bound: bool,
    ) {
        let raft = &self.raft.raft;
        if raft.state != StateRole::Leader || raft.term != message.term {
            // This member may have appended a copy of the message when it led that term, even before a restart. A refusal would
            // then cause the proposals to be executed twice. The proposer retries when it applies an entry of the next term.
            return;
        }
        // Ignore entries from other members and entries without a ticket, because a leader never forwards its own commands.
        let stamped = |data: Bytes| {
            let entry = wire::decode_entry(&data).ok()?;
            let of_sender = |stamp: &Stamp| stamp.member == from && stamp.ticket != 0;
            let stamp = entry.stamp.filter(of_sender)?;
            Some((stamp, entry, data))
        };
        let mut proposed = message.entries.into_iter().filter_map(stamped).peekable();
        let Some((first, ..)) = proposed.peek() else {
            return;
        };
        let process = (from, first.incarnation);
        let (term, number) = (message.term, message.number);
        if !self.taken_messages.take(term, process, number) {
            return;
        }
        let mut refused = Vec::new();
        for (stamp, entry, data) in proposed {
            let admitted = self.admit_forwarded(&entry, data.len(), within_bound);
            let appended = admitted.and_then(|()| self.append_entry(from, &entry, data));
            let reason = match appended {
                Ok(()) => {
                    let index = self.last_index();
                    self.deferred_commits.forwarded(from, index);
                    continue;
                }
                Err(NotAppended::NotNow) => None,
                Err(NotAppended::Refused(refusal)) => Some(refusal as i32),
            };
            refused.push(RefusedProposal {
                ticket: stamp.ticket,
                incarnation: stamp.incarnation,
                reason,
            });
        }
        if !refused.is_empty() {
            let message = RefusedProposals { term, refused, number };
            self.post(from, Lane::Control, &PeerMessage::Refused(message));
        }
    }

    /// Handles a refusal by `from`: retries a proposal later or answers its request with the rejection. Ignores unknown
    /// reasons, proposals of another process, and proposals that have since been submitted again.
    pub(super) fn proposals_refused(&mut self, from: u64, message: &RefusedProposals) {
        let there = TargetLog { term: message.term, leader: from, number: message.number };
        for refused in &message.refused {
            let ticket = Ticket(refused.ticket);
            let waits = self.proposals.incarnation() == refused.incarnation
                && self.proposals.was_submitted_to(ticket, there);
            match refused.reason.map(ProposalRejected::try_from) {
                _ if !waits => {}
                None => self.proposals.defer_to_tick(ticket),
                Some(Ok(refusal)) => self.refuse(ticket, refusal),
                Some(Err(_)) => {}
            }
        }
    }

    /// If the term or leader has changed since the last call, resubmits deferred proposals and lease requests. Also drops
    /// unproven lease answers and deferred commit indexes. Restarts the count of handovers. If another member leads now, tells
    /// the lessor.
    pub(super) fn notice_leader(&mut self) {
        let raft = &self.raft.raft;
        let now = (raft.term, raft.leader_id);
        if now != self.term_and_leader {
            self.term_and_leader = now;
            self.handovers = 0;
            self.deferred_commits = DeferredCommits::default();
            self.proposals.release_deferred();
            self.lease_requests.ask_again();
            self.read_index.drop_unproven();
            if now.1 != 0 && now.1 != self.config.id {
                self.leader_tasks.lessor.other_leads();
            }
        }
    }
}
