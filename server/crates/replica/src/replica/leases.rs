//! Requests about leases: the leader examines its timers, and answers once a ReadIndex round of the same
//! term has proven that no other leader counted meanwhile. Other members ask the leader.

use raft::StateRole;

use super::Replica;
use crate::{
    faults::InjectedBug,
    forward::{ForwardedLeaseAnswer, ForwardedLeaseRequests, LeaseResult},
    host::{Envelope, Lane, LeaseAnswer, LeaseQuestion, ProposalRejected, Ticket},
    lease_requests::{LeaseAsker, UnprovenAnswer},
    lessor::Renewal,
    wire::PeerMessage,
};

impl Replica {
    /// Asks the leader about a lease, or to keep it alive, without a log entry.
    /// `Host::lease_answered` follows, or never if there is no quorum.
    pub fn ask_about_lease(
        &mut self,
        ticket: Ticket,
        lease: i64,
        question: LeaseQuestion,
    ) -> Result<(), ProposalRejected> {
        if self.lease_requests.is_full() {
            return Err(ProposalRejected::TooMany);
        }
        self.lease_requests.add(ticket, lease, question, self.ticks);
        Ok(())
    }

    /// Hands requests of this process to the leader, which may be itself.
    pub(super) fn hand_in_lease_requests(&mut self) {
        let raft = &self.raft.raft;
        if !self.lease_requests.has_unsent() || raft.leader_id == 0 {
            return;
        }
        let (leader, term) = (raft.leader_id, raft.term);
        let requests = self.lease_requests.take_unsent(self.ticks);
        if raft.state == StateRole::Leader {
            for (ticket, lease, question) in requests {
                // one that this leader cannot answer yet is asked again after some ticks
                self.examine(LeaseAsker::Own(ticket), lease, question);
            }
            return;
        }
        let requests = requests
            .into_iter()
            .map(|request| self.lease_requests.forwarded(request))
            .collect();
        let message = ForwardedLeaseRequests { term, requests };
        self.post(leader, Lane::Control, &PeerMessage::LeaseRequests(message));
    }

    pub(super) fn take_lease_requests(&mut self, from: u64, message: &ForwardedLeaseRequests) {
        for request in &message.requests {
            let asker = LeaseAsker::Member {
                member: from,
                incarnation: request.incarnation,
                ticket: request.ticket,
            };
            let taken = message.term == self.raft.raft.term
                && LeaseQuestion::try_from(request.question)
                    .is_ok_and(|question| self.examine(asker, request.lease, question));
            if !taken {
                self.deliver(asker, None);
            }
        }
    }

    pub(super) fn lease_answer_received(&mut self, message: &ForwardedLeaseAnswer) {
        let answer = LeaseResult::try_from(message.result)
            .ok()
            .and_then(|result| result.answer(message.value));
        // without one it is asked again after some ticks
        if let Some(answer) = answer.filter(|_| self.lease_requests.is_own(message.incarnation)) {
            self.deliver(LeaseAsker::Own(Ticket(message.ticket)), Some(answer));
        }
    }

    /// Looks at a lease; whether this member leads and will answer.
    fn examine(&mut self, asker: LeaseAsker, lease: i64, question: LeaseQuestion) -> bool {
        let term = self.raft.raft.term;
        let counts = self.leads_with_all_applied() && self.leader_tasks.lessor.term() == Some(term);
        if !counts || self.read_index.is_full() {
            return false;
        }
        let answer = match question {
            LeaseQuestion::Renew => LeaseAnswer::Renewal(self.renew(lease)),
            LeaseQuestion::Remaining => {
                LeaseAnswer::Remaining(self.leader_tasks.lessor.left_ns(lease))
            }
        };
        if self.is_sole_voter() {
            self.deliver(asker, Some(answer));
        } else {
            self.read_index.prove(UnprovenAnswer {
                term,
                asker,
                answer,
            });
        }
        true
    }

    fn renew(&mut self, lease: i64) -> Renewal {
        let leases = self.machine.kv.leases();
        match leases.get(lease) {
            Some(lease) if self.faults.has(InjectedBug::RenewalLost) => {
                Renewal::Renewed { ttl_s: lease.ttl_s }
            }
            Some(_) if self.faults.has(InjectedBug::RenewalUnrecorded) => {
                self.leader_tasks.lessor.renew_unrecorded(lease, leases)
            }
            _ => self.leader_tasks.lessor.renew(lease, leases),
        }
    }

    /// A ReadIndex round was confirmed: answers that were made in this term are proven.
    pub(super) fn proven(&mut self, answers: Vec<UnprovenAnswer>) {
        let raft = &self.raft.raft;
        let leads = (raft.state == StateRole::Leader).then_some(raft.term);
        for unproven in answers {
            let holds = leads == Some(unproven.term);
            self.deliver(unproven.asker, holds.then_some(unproven.answer));
        }
    }

    fn deliver(&mut self, asker: LeaseAsker, answer: Option<LeaseAnswer>) {
        match asker {
            LeaseAsker::Own(ticket) => {
                if let Some(answer) = answer.filter(|_| self.lease_requests.answered(ticket)) {
                    self.lease_answers.push((ticket, answer));
                }
            }
            LeaseAsker::Member {
                member,
                incarnation,
                ticket,
            } => {
                let (result, value) = LeaseResult::of(answer);
                let message = ForwardedLeaseAnswer {
                    ticket,
                    incarnation,
                    result: result as i32,
                    value,
                };
                self.post(member, Lane::Control, &PeerMessage::LeaseAnswer(message));
            }
        }
    }

    /// Puts a message of the core's own into the next turn.
    pub(super) fn post(&mut self, to: u64, lane: Lane, message: &PeerMessage) {
        self.outbox.push(Envelope {
            to,
            from: self.config.id,
            lane,
            message: message.encode(),
            snapshot: None,
        });
    }
}
