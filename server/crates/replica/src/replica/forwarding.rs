//! Proposals forwarded to the leader: handed in while it leads, refused by it, and proposed again once it is certain that
//! they were lost. Also handles proposals that other members forward to this member.

use bytes::Bytes;
use raft::StateRole;

use super::{Replica, admission::NotAppended, deferred_commits::DeferredCommits};
use crate::{
    forward::{ForwardedProposals, RefusedProposal, RefusedProposals},
    host::{Lane, ProposalRejected, Ticket},
    limits::{FORWARD_AGAIN_BYTES, FORWARD_BYTES},
    proposals::HandedIn,
    wire::{self, PeerMessage},
};
use witan_machine::command::Stamp;

impl Replica {
    /// Hands held proposals to the leader, which may be this member. Does nothing while no leader is known.
    pub(super) fn hand_in_proposals(&mut self) {
        let raft = &self.raft.raft;
        if !self.proposals.has_due() || raft.leader_id == 0 {
            return;
        }
        if raft.state == StateRole::Leader {
            return self.append_due();
        }
        let mut to = HandedIn {
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
            self.proposals.handed_in(ticket, to);
        }
        self.forward(to, entries);
    }

    /// Sends encoded entries to a leader in one message, if there are any.
    fn forward(&mut self, to: HandedIn, entries: Vec<Bytes>) {
        if !entries.is_empty() {
            let message = ForwardedProposals { term: to.term, entries, number: to.number };
            self.post(to.leader, Lane::Bulk, &PeerMessage::Proposals(message));
        }
    }

    /// Resends the messages with proposals that a leader may not have received, up to [`FORWARD_AGAIN_BYTES`]. Requests in
    /// further messages time out. The leader takes each message once, and only in the term that the message names.
    pub(super) fn forward_again(&mut self, leader: u64) {
        let mut bytes = 0;
        for ((term, number), entries) in self.proposals.unanswered_messages(leader) {
            bytes += entries.iter().map(Bytes::len).sum::<usize>();
            if bytes > FORWARD_AGAIN_BYTES {
                break;
            }
            let message = ForwardedProposals { term, entries, number };
            self.post(leader, Lane::Bulk, &PeerMessage::ProposalsAgain(message));
        }
    }

    /// Appends due proposals on the leader.
    fn append_due(&mut self) {
        while let Some((ticket, data)) = self.proposals.take_due() {
            let entry = wire::decode_entry(&data).expect("this process has encoded it");
            self.append_own(ticket, &entry, data);
        }
    }

    /// Appends another member's proposals. Reports to that member which proposals were not appended, with the reasons.
    /// Appends none unless `within_bound`. Ignores the whole message unless this member leads the term that it names, because
    /// a refusal could cause the proposals to be executed twice. Also ignores messages that it has taken before, and entries
    /// that cannot be decoded or have another member's stamp.
    pub(super) fn take_forwarded(
        &mut self,
        from: u64,
        message: ForwardedProposals,
        within_bound: bool,
    ) {
        let raft = &self.raft.raft;
        if raft.state != StateRole::Leader || raft.term != message.term {
            // This member may have taken a copy when it led that term, even before a restart. A refusal would then cause the
            // proposals to be executed twice. Their proposer continues when an entry of the next term is applied.
            return;
        }
        // No request waits for the answer to such an entry, because no member can have encoded it. A leader's own commands
        // have no ticket and are never forwarded.
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

    /// Handles the refusal of proposals forwarded to `from`. Depending on the reason, a proposal is held to be proposed
    /// again, or forgotten and answered with the rejection. Ignores refusals with an unknown reason, for another process of
    /// this member, or for proposals that are no longer handed in to that leader in that term by that message.
    pub(super) fn proposals_refused(&mut self, from: u64, message: &RefusedProposals) {
        let there = HandedIn { term: message.term, leader: from, number: message.number };
        for refused in &message.refused {
            let ticket = Ticket(refused.ticket);
            let waits = self.proposals.incarnation() == refused.incarnation
                && self.proposals.was_handed_in(ticket, there);
            match refused.reason.map(ProposalRejected::try_from) {
                _ if !waits => {}
                None => self.proposals.defer_to_tick(ticket),
                Some(Ok(refusal)) => self.refuse(ticket, refusal),
                Some(Err(_)) => {}
            }
        }
    }

    /// If the term or leader has changed since the last call, hands in deferred proposals and all requests about leases again,
    /// and drops unproven answers about leases.
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
        }
    }
}
