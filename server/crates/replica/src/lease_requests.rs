//! Lease requests that wait for the leader's answer. They are idempotent and are resent until they are answered or time out.
use std::collections::BTreeMap;

use witan_machine::lease::LeaseId;

use crate::{
    host::{LeaseAnswer, LeaseQuestion, Ticket},
    limits::{READ_INDEX_RETRY_TICKS, WAITING_REQUESTS_MAX},
};

/// The requester that receives the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LeaseRequester {
    Own(Ticket),
    Member {
        member: u64,
        incarnation: u32,
        ticket: u64,
    },
}

/// An answer that is not proved yet. The leader delivers the answer after a ReadIndex round has proved that it still leads the
/// term and that its state was current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnprovenAnswer {
    pub(crate) term: u64,
    pub(crate) asker: LeaseRequester,
    pub(crate) lease: LeaseId,
    pub(crate) question: LeaseQuestion,
    /// The answer, computed from the state at `applied`.
    pub(crate) answer: LeaseAnswer,
    pub(crate) applied: u64,
}

#[derive(Debug)]
struct LeaseRequest {
    lease: LeaseId,
    question: LeaseQuestion,
    since: u64,
    /// The tick at which the request was sent to a leader, or `None` if the request must be sent now.
    asked: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct LeaseRequests {
    waiting: BTreeMap<u64, LeaseRequest>,
    /// Tickets to send in the next turn.
    unsent: Vec<u64>,
}

impl LeaseRequests {
    /// Returns whether [`WAITING_REQUESTS_MAX`] requests wait.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_REQUESTS_MAX
    }

    /// Adds a request that arrived at `tick`. The next turn sends it.
    pub(crate) fn add(
        &mut self,
        ticket: Ticket,
        lease: LeaseId,
        question: LeaseQuestion,
        tick: u64,
    ) {
        let request = LeaseRequest { lease, question, since: tick, asked: None };
        self.waiting.insert(ticket.0, request);
        self.unsent.push(ticket.0);
    }

    /// Takes the requests to send now and marks them as sent at `tick`. Omits requests that no longer wait.
    pub(crate) fn take_unsent(&mut self, tick: u64) -> Vec<(Ticket, LeaseId, LeaseQuestion)> {
        let mut taken = Vec::with_capacity(self.unsent.len());
        for ticket in std::mem::take(&mut self.unsent) {
            if let Some(request) = self.waiting.get_mut(&ticket) {
                request.asked = Some(tick);
                taken.push((Ticket(ticket), request.lease, request.question));
            }
        }
        taken
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Removes an answered request. Returns `false` if it was not waiting.
    pub(crate) fn answered(&mut self, ticket: Ticket) -> bool {
        self.waiting.remove(&ticket.0).is_some()
    }

    /// Makes the next turn resend all waiting requests, because the leader has changed.
    pub(crate) fn ask_again(&mut self) {
        self.resend_where(|_| true);
    }

    /// Drops and returns requests that have waited for more than `patience` ticks. Makes the next turn resend the requests that
    /// were sent [`READ_INDEX_RETRY_TICKS`] or more ticks ago.
    pub(crate) fn tick(&mut self, tick: u64, patience: u64) -> Vec<Ticket> {
        let is_old =
            |_: &u64, request: &mut LeaseRequest| tick.saturating_sub(request.since) > patience;
        let expired = self.waiting.extract_if(.., is_old);
        let expired = expired.map(|(ticket, _)| Ticket(ticket)).collect();
        self.unsent
            .retain(|ticket| self.waiting.contains_key(ticket));
        self.resend_where(|asked| tick >= asked + READ_INDEX_RETRY_TICKS);
        expired
    }

    /// Makes the next turn resend each request whose send tick satisfies `due`.
    fn resend_where(&mut self, due: impl Fn(u64) -> bool) {
        for (ticket, request) in &mut self.waiting {
            if request.asked.is_some_and(&due) {
                request.asked = None;
                self.unsent.push(*ticket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_request_is_not_sent() {
        let mut requests = LeaseRequests::default();
        requests.add(Ticket(1), LeaseId(7), LeaseQuestion::Renew, 0);
        assert_eq!(requests.tick(2, 1), [Ticket(1)]);
        assert!(!requests.has_unsent());
    }
}
