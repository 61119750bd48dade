//! Lease requests, which members send to the leader. The leader computes the answer from its lease timers and delivers it once
//! a ReadIndex round has proved that no other leader tracks leases. If the leader's state was older than the round's index, the
//! leader recomputes the answer after applying that index. The entries in between may grant or revoke the lease.

use raft::StateRole;
use witan_machine::{lease::LeaseId, member::MemberId};

use super::Replica;
use crate::{
    forward::{ForwardedLeaseAnswer, ForwardedLeaseRequest, ForwardedLeaseRequests, LeaseResult},
    host::{Answer, Envelope, Lane, LeaseAnswer, LeaseQuestion, ProposalRejected, Ticket},
    lease_requests::{LeaseRequester, UnprovenAnswer},
    wire::PeerMessage,
};

impl Replica {
    /// Queues a renewal of a lease or a query for its remaining time, to be sent to the leader. Fails with `TooMany` if the
    /// queue is full.
    pub(crate) fn ask_about_lease(
        &mut self,
        ticket: Ticket,
        lease: LeaseId,
        question: LeaseQuestion,
    ) -> Result<(), ProposalRejected> {
        if self.lease_requests.is_full() {
            return Err(ProposalRejected::TooMany);
        }
        self.lease_requests.add(ticket, lease, question, self.ticks);
        Ok(())
    }

    /// Sends this process's unsent lease requests to the leader, which may be this member. Does nothing while no leader is
    /// known.
    pub(super) fn hand_in_lease_requests(&mut self) {
        let raft = &self.raft.raft;
        if !self.lease_requests.has_unsent() || raft.leader_id == 0 {
            return;
        }
        let (leader, term) = (raft.leader_id, raft.term);
        let requests = self.lease_requests.take_unsent(self.ticks);
        if raft.state == StateRole::Leader {
            for (ticket, lease, question) in requests {
                // If this leader cannot answer yet, the request is resent after some ticks.
                self.answer_lease_request(LeaseRequester::Own(ticket), lease, question);
            }
            return;
        }
        let incarnation = self.proposals.incarnation();
        let forwarded = |(ticket, lease, question): (Ticket, LeaseId, LeaseQuestion)| {
            let question = question as i32;
            ForwardedLeaseRequest { ticket: ticket.0, incarnation, lease: lease.0, question }
        };
        let requests = requests.into_iter().map(forwarded).collect();
        let message = ForwardedLeaseRequests { term, requests };
        self.post(leader, Lane::Control, &PeerMessage::LeaseRequests(message));
    }

    /// Answers another member's lease requests. Sends an answer without a result if this member cannot answer a request in the
    /// message's term.
    pub(super) fn take_lease_requests(&mut self, from: u64, message: &ForwardedLeaseRequests) {
        for request in &message.requests {
            let asker = LeaseRequester::Member {
                member: from,
                incarnation: request.incarnation,
                ticket: request.ticket,
            };
            let taken = message.term == self.raft.raft.term
                && LeaseQuestion::try_from(request.question).is_ok_and(|question| {
                    self.answer_lease_request(asker, request.lease_id(), question)
                });
            if !taken {
                self.deliver(asker, None);
            }
        }
    }

    /// Delivers the leader's answer to the waiting request of this process. Ignores answers for an earlier process, and answers
    /// without a result; the request is then resent after some ticks.
    pub(super) fn lease_answer_received(&mut self, message: &ForwardedLeaseAnswer) {
        let answer = LeaseResult::try_from(message.result)
            .ok()
            .and_then(|result| result.answer(message.value));
        let is_own = self.proposals.incarnation() == message.incarnation;
        if let Some(answer) = answer.filter(|_| is_own) {
            self.deliver(LeaseRequester::Own(Ticket(message.ticket)), Some(answer));
        }
    }

    /// Computes the answer to a lease request and delivers it once this member has proved that it leads. A sole voter that has
    /// applied all committed entries needs no proof. A renewal restarts the lease's timer immediately. Returns `false` if this
    /// member cannot answer now or has too many waiting reads and lease answers.
    fn answer_lease_request(
        &mut self,
        asker: LeaseRequester,
        lease: LeaseId,
        question: LeaseQuestion,
    ) -> bool {
        let term = self.raft.raft.term;
        if !self.counts_leases(term) || self.read_index.is_full() {
            return false;
        }
        // The renewed timer starts now, not at the end of the round.
        let answer = self.answer_about(lease, question);
        let applied = self.raft.store().position().index;
        if self.is_sole_voter() && applied >= self.raft.raft.raft_log.committed {
            self.deliver(asker, Some(answer));
        } else {
            let unproven = UnprovenAnswer { term, asker, lease, question, answer, applied };
            self.read_index.prove(unproven);
        }
        true
    }

    /// Returns whether this member leads `term`, has applied all entries of earlier terms, and tracks leases.
    fn counts_leases(&self, term: u64) -> bool {
        self.leads_with_all_applied()
            && self.raft.raft.term == term
            && self.leader_tasks.lessor.term() == Some(term)
    }

    /// Renews a lease or returns its remaining time, according to the leader's timers.
    fn answer_about(&mut self, lease: LeaseId, question: LeaseQuestion) -> LeaseAnswer {
        match question {
            LeaseQuestion::Renew => {
                let leases = self.machine.kv.leases();
                let applied = self.raft.store().position().index;
                LeaseAnswer::Renewal(self.leader_tasks.lessor.renew(lease, leases, applied))
            }
            LeaseQuestion::Remaining => {
                let leases = self.machine.kv.leases();
                LeaseAnswer::Remaining(self.leader_tasks.lessor.left_ns(lease, leases))
            }
        }
    }

    /// Recomputes and delivers answers that were computed before the round's index was applied. Delivers `None` for a term that
    /// this member no longer leads. No other round is needed, because a later leader started to track leases after these
    /// requests.
    pub(super) fn recompute_answers(&mut self, questions: Vec<UnprovenAnswer>) {
        for UnprovenAnswer { term, asker, lease, question, .. } in questions {
            let counts = self.counts_leases(term);
            let answer = counts.then(|| self.answer_about(lease, question));
            self.deliver(asker, answer);
        }
    }

    /// Delivers the answers of a confirmed ReadIndex round, but `None` for answers of a term that this member no longer leads.
    pub(super) fn deliver_proven(&mut self, answers: Vec<UnprovenAnswer>) {
        let raft = &self.raft.raft;
        let leads = (raft.state == StateRole::Leader).then_some(raft.term);
        for unproven in answers {
            let holds = leads == Some(unproven.term);
            self.deliver(unproven.asker, holds.then_some(unproven.answer));
        }
    }

    /// Delivers a lease answer to its requester: a request of this process or another member. `None` means that this member
    /// cannot answer; a request of this process then keeps waiting.
    fn deliver(&mut self, asker: LeaseRequester, answer: Option<LeaseAnswer>) {
        match asker {
            LeaseRequester::Own(ticket) => {
                if let Some(answer) = answer.filter(|_| self.lease_requests.answered(ticket)) {
                    self.answers.push((ticket, Answer::Lease(answer)));
                }
            }
            LeaseRequester::Member { member, incarnation, ticket } => {
                let (result, value) = LeaseResult::of(answer);
                let message =
                    ForwardedLeaseAnswer { ticket, incarnation, result: result as i32, value };
                self.post(member, Lane::Control, &PeerMessage::LeaseAnswer(message));
            }
        }
    }

    /// Queues a message for the next turn to send.
    pub(super) fn post(&mut self, to: u64, lane: Lane, message: &PeerMessage) {
        self.outbox.push(Envelope {
            to: MemberId(to),
            from: MemberId(self.config.id),
            lane,
            message: message.encode(),
            snapshot: None,
        });
    }
}
