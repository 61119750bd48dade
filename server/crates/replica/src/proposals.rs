//! Proposals of this process that wait until their entries are applied. An entry names the proposing process and its ticket.
//! Only that process answers the request.
//!
//! The encoded entry is kept with the term in which it was submitted. The entry is submitted again once it is certain that no
//! log contains it. Tickets increase, so ticket order is age order.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::{host::Ticket, limits::WAITING_REQUESTS_MAX, ticket_map::TicketMap, wire};
use witan_machine::command::{Entry, Stamp};

#[derive(Debug)]
pub(crate) struct Proposals {
    member: u64,
    incarnation: u32,
    waiting: TicketMap<WaitingProposal>,
    /// Tickets whose entries are submitted in the next turn.
    due: VecDeque<Ticket>,
    /// Tickets whose entries are submitted at the next tick or to the next leader.
    later: Vec<Ticket>,
    /// The number of the last message with forwarded entries.
    forwarded: u64,
}

#[derive(Debug)]
struct WaitingProposal {
    /// The tick at which the proposal arrived.
    since: u64,
    stage: Stage,
}

/// The state of a waiting proposal, with its entry.
#[derive(Debug)]
enum Stage {
    /// Queued and never submitted, so the entry is in no log.
    Held(Box<Entry>),
    Encoded(EncodedProposal),
}

impl Stage {
    fn encoded(&self) -> Option<&EncodedProposal> {
        match self {
            Self::Encoded(encoded) => Some(encoded),
            Self::Held(_) => None,
        }
    }

    fn encoded_mut(&mut self) -> Option<&mut EncodedProposal> {
        match self {
            Self::Encoded(encoded) => Some(encoded),
            Self::Held(_) => None,
        }
    }

    /// Returns whether the entry was submitted, so that it may be in a log.
    fn may_be_appended(&self) -> bool {
        self.encoded()
            .is_some_and(|encoded| encoded.submitted_to.is_some())
    }
}

#[derive(Debug)]
struct EncodedProposal {
    /// The log to which the entry was submitted, or `None` while the entry is certainly in no log.
    submitted_to: Option<TargetLog>,
    data: Bytes,
}

/// The only log to which an entry may have been appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TargetLog {
    pub(crate) term: u64,
    pub(crate) leader: u64,
    /// The number of the message that carried the entry, or 0 for this member's own log.
    pub(crate) number: u64,
}

impl Proposals {
    /// Creates an empty queue. `seed` distinguishes this process from the member's earlier processes.
    pub(crate) fn new(member: u64, seed: u64) -> Self {
        Self {
            member,
            incarnation: (seed ^ (seed >> 32)) as u32,
            waiting: TicketMap::default(),
            due: VecDeque::new(),
            later: Vec::new(),
            forwarded: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether [`WAITING_REQUESTS_MAX`] tickets wait.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_REQUESTS_MAX
    }

    /// Returns the stamp of a proposal of this process.
    pub(crate) fn stamp(&self, ticket: Ticket, now_ns: i64) -> Stamp {
        Stamp {
            now_ns,
            member: self.member,
            ticket: ticket.0,
            incarnation: self.incarnation,
        }
    }

    /// Adds a proposal that has waited since `tick` and has not been submitted.
    pub(crate) fn add(&mut self, ticket: Ticket, tick: u64, entry: Box<Entry>) {
        let waiting = WaitingProposal { since: tick, stage: Stage::Held(entry) };
        self.waiting.insert(ticket, waiting);
    }

    /// Encodes the entry of a queued proposal into `bytes` bytes and keeps the encoding. Returns the entry and its encoding, or
    /// `None` if the ticket no longer waits or its entry is already encoded.
    pub(crate) fn encode(&mut self, ticket: Ticket, bytes: usize) -> Option<(Box<Entry>, Bytes)> {
        let waiting = self.waiting.get_mut(ticket)?;
        let Stage::Held(entry) = &waiting.stage else {
            return None;
        };
        let data = Bytes::from(wire::encode_entry_of(entry, bytes));
        let encoded = EncodedProposal { submitted_to: None, data: data.clone() };
        match std::mem::replace(&mut waiting.stage, Stage::Encoded(encoded)) {
            Stage::Held(entry) => Some((entry, data)),
            Stage::Encoded(_) => None,
        }
    }

    /// Returns the stamp of the leader's own proposals, for which no request waits.
    pub(crate) fn internal_stamp(&self, now_ns: i64) -> Stamp {
        Stamp { now_ns, member: self.member, ticket: 0, incarnation: 0 }
    }

    /// Defers a ticket's encoded entry to the next turn with a leader.
    pub(crate) fn defer_to_turn(&mut self, ticket: Ticket) {
        self.due.push_back(ticket);
    }

    /// Defers an encoded entry to the next tick or the next leader, because the current leader does not accept it now. Forgets
    /// the leader to which the entry was submitted. Ignores a ticket without an encoded entry.
    pub(crate) fn defer_to_tick(&mut self, ticket: Ticket) {
        if let Some(encoded) = self.encoded(ticket) {
            encoded.submitted_to = None;
            self.later.push(ticket);
        }
    }

    /// Makes the next turn submit all entries that were deferred to a tick.
    pub(crate) fn release_deferred(&mut self) {
        self.due.extend(self.later.drain(..));
    }

    /// Returns whether an entry waits to be submitted.
    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes the next entry to submit, with its ticket. Returns `None` if no entry is due. Skips tickets that no longer wait or
    /// were submitted. The caller must then call [`Self::record_submission`] or [`Self::defer_to_tick`], or answer the request.
    pub(crate) fn take_due(&mut self) -> Option<(Ticket, Bytes)> {
        while let Some(ticket) = self.due.pop_front() {
            if let Some(encoded) = self.encoded(ticket)
                && encoded.submitted_to.is_none()
            {
                return Some((ticket, encoded.data.clone()));
            }
        }
        None
    }

    /// Records where the encoded entry of a ticket was submitted. Ignores a ticket without an encoded entry.
    pub(crate) fn record_submission(&mut self, ticket: Ticket, to: TargetLog) {
        if let Some(encoded) = self.encoded(ticket) {
            encoded.submitted_to = Some(to);
        }
    }

    /// Returns the encoded entry of a ticket. Returns `None` if the entry is not encoded or the ticket does not wait.
    fn encoded(&mut self, ticket: Ticket) -> Option<&mut EncodedProposal> {
        self.waiting.get_mut(ticket)?.stage.encoded_mut()
    }

    /// Allocates the number of the next message with forwarded entries.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.forwarded += 1;
        self.forwarded
    }

    /// Returns whether the ticket waits and its entry was last submitted to `to`.
    pub(crate) fn was_submitted_to(&self, ticket: Ticket, to: TargetLog) -> bool {
        let waiting = self.waiting.get(ticket);
        let encoded = waiting.and_then(|waiting| waiting.stage.encoded());
        encoded.is_some_and(|encoded| encoded.submitted_to == Some(to))
    }

    /// Returns the entries that were sent to member `to` and are still waiting, by the term and the number of their message, in
    /// ticket order.
    pub(crate) fn unanswered_messages(&self, to: u64) -> BTreeMap<(u64, u64), Vec<Bytes>> {
        let mut messages: BTreeMap<_, Vec<Bytes>> = BTreeMap::new();
        let all = self.waiting.values();
        for encoded in all.filter_map(|waiting| waiting.stage.encoded()) {
            if let Some(there) = encoded.submitted_to.filter(|there| there.leader == to) {
                let message = messages.entry((there.term, there.number));
                message.or_default().push(encoded.data.clone());
            }
        }
        messages
    }

    /// Makes waiting entries that were submitted in terms before `term` due again. The caller has applied an entry of `term`,
    /// so these entries are in no log and cannot enter one.
    pub(crate) fn term_begins(&mut self, term: u64) {
        let lost = self.waiting.select(|waiting| {
            let encoded = waiting.stage.encoded_mut();
            let encoded = encoded.filter(|it| it.submitted_to.is_some_and(|at| at.term < term));
            encoded.is_some_and(|encoded| encoded.submitted_to.take().is_some())
        });
        self.due.extend(lost);
    }

    /// Removes and returns the waiting tickets whose entries may be in a log. A snapshot has replaced part of the log, so it is
    /// unknown whether these entries were applied.
    pub(crate) fn entries_skipped(&mut self) -> Vec<Ticket> {
        self.forget_where(|waiting| waiting.stage.may_be_appended())
    }

    /// Removes and returns the waiting tickets whose entries have not been appended to any log.
    pub(crate) fn forget_unappended(&mut self) -> Vec<Ticket> {
        self.forget_where(|waiting| !waiting.stage.may_be_appended())
    }

    /// Removes all waiting proposals. Returns their tickets in order.
    pub(crate) fn forget_all(&mut self) -> Vec<Ticket> {
        self.forget_where(|_| true)
    }

    /// Removes the waiting proposals for which `matches` is true. Returns their tickets in order.
    fn forget_where(&mut self, matches: impl FnMut(&WaitingProposal) -> bool) -> Vec<Ticket> {
        let gone = self.waiting.remove_all(matches).into_iter();
        gone.map(|(ticket, _)| ticket).collect()
    }

    /// Returns the number that distinguishes this process from the member's earlier processes.
    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Returns whether this process created the stamp.
    pub(crate) fn has_stamped(&self, stamp: &Stamp) -> bool {
        stamp.member == self.member && stamp.incarnation == self.incarnation
    }

    /// Returns whether a request waits for an entry with this stamp.
    pub(crate) fn is_waiting(&self, stamp: &Stamp) -> bool {
        self.has_stamped(stamp) && self.waiting.contains(Ticket(stamp.ticket))
    }

    /// Removes and returns the ticket that waits for an applied entry. Returns `None` if another process proposed the entry or
    /// no request waits for it.
    pub(crate) fn take(&mut self, stamp: &Stamp) -> Option<Ticket> {
        if !self.has_stamped(stamp) {
            return None;
        }
        self.forget(Ticket(stamp.ticket))
            .then_some(Ticket(stamp.ticket))
    }

    /// Returns whether a request still waits for the result of its entry.
    pub(crate) fn waits(&self, ticket: Ticket) -> bool {
        self.waiting.contains(ticket)
    }

    /// Removes a waiting ticket and its entry. Returns `false` if the ticket did not wait.
    pub(crate) fn forget(&mut self, ticket: Ticket) -> bool {
        self.waiting.remove(ticket).is_some()
    }

    /// Removes and returns the tickets that have waited for more than `patience` ticks.
    pub(crate) fn expire(&mut self, tick: u64, patience: u64) -> Vec<Ticket> {
        let expired = self.forget_where(|waiting| tick.saturating_sub(waiting.since) > patience);
        // Without a leader, no turn takes these tickets from the queue.
        self.due.retain(|ticket| self.waiting.contains(*ticket));
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_proposal_is_no_longer_due() {
        let mut proposals = Proposals::new(1, 0);
        let entry = Entry::default();
        proposals.add(Ticket(1), 0, Box::new(entry));
        proposals.defer_to_turn(Ticket(1));
        assert_eq!(proposals.expire(2, 1), [Ticket(1)]);
        assert!(!proposals.has_due());
    }
}
