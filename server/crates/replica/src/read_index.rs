//! The linearizable read barrier (raft thesis 6.4): reads join the open batch, one ReadIndex round
//! serves a batch, and a batch is released once its index is applied.
//!
//! raft-rs silently drops a ReadIndex when the leader has not committed in its term, when no leader
//! is known and when the role changes, so this file retries.

use crate::{
    host::Ticket,
    limits::{READ_INDEX_REQUESTS_MAX, READ_INDEX_RETRY_TICKS, TICKET_TICKS_MAX},
};

/// Length of a request context on the wire: member, seed and number, 8 bytes each.
const CONTEXT_LEN: usize = 24;

#[derive(Debug)]
struct ReadIndexRound {
    number: u64,
    tickets: Vec<Ticket>,
    /// Tick of the first issue; the round is dropped after a timeout.
    first_issued: u64,
    /// Tick of the last issue.
    last_issued: u64,
    /// Term and leader at the last issue; if they change, raft has dropped the round.
    term_and_leader: (u64, u64),
    /// The index to wait for, once known.
    index: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct ReadIndexQueue {
    member: u64,
    seed: u64,
    open: Vec<Ticket>,
    round: Option<ReadIndexRound>,
    rounds: u64,
}

impl ReadIndexQueue {
    /// `seed` must differ between two lives of a member: a late answer to an earlier life's round
    /// must not release a read of this one.
    pub(crate) fn new(member: u64, seed: u64) -> Self {
        Self {
            member,
            seed,
            open: Vec::new(),
            round: None,
            rounds: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= READ_INDEX_REQUESTS_MAX
    }

    /// Whether a round has begun that was not released.
    pub(crate) fn is_asking(&self) -> bool {
        self.round.is_some()
    }

    pub(crate) fn enqueue(&mut self, ticket: Ticket) {
        self.open.push(ticket);
    }

    /// The context of the round to issue (again) now, if one is due.
    pub(crate) fn due(&mut self, tick: u64, term_and_leader: (u64, u64)) -> Option<Vec<u8>> {
        if let Some(round) = &mut self.round {
            let stale = round.term_and_leader != term_and_leader
                || tick >= round.last_issued + READ_INDEX_RETRY_TICKS;
            if round.index.is_some() || !stale {
                return None;
            }
            (round.last_issued, round.term_and_leader) = (tick, term_and_leader);
            return Some(request_context(self.member, self.seed, round.number));
        }
        if self.open.is_empty() {
            return None;
        }
        self.rounds += 1;
        let tickets = std::mem::take(&mut self.open);
        let number = self.rounds;
        self.round = Some(ReadIndexRound {
            number,
            tickets,
            first_issued: tick,
            last_issued: tick,
            term_and_leader,
            index: None,
        });
        Some(request_context(self.member, self.seed, number))
    }

    /// Raft confirmed the round called `context` at `index`.
    pub(crate) fn confirmed(&mut self, context: &[u8], index: u64) {
        if let Some(round) = &mut self.round
            && round.index.is_none()
            && context.len() == CONTEXT_LEN
            && context == request_context(self.member, self.seed, round.number)
        {
            round.index = Some(index);
        }
    }

    /// The reads whose barrier `applied` has passed.
    pub(crate) fn release(&mut self, applied: u64) -> Vec<Ticket> {
        match &self.round {
            Some(ReadIndexRound {
                index: Some(index), ..
            }) if *index <= applied => self
                .round
                .take()
                .map(|round| round.tickets)
                .unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// All waiting reads, without a barrier: a known bug.
    pub(crate) fn release_unchecked(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.open)
    }

    pub(crate) fn expire(&mut self, tick: u64) {
        if self
            .round
            .as_ref()
            .is_some_and(|r| tick.saturating_sub(r.first_issued) > TICKET_TICKS_MAX)
        {
            self.round = None;
        }
    }
}

/// The context of a ReadIndex request: unique across members, restarts (`seed`) and rounds (`number`).
fn request_context(member: u64, seed: u64, number: u64) -> Vec<u8> {
    [member, seed, number]
        .iter()
        .flat_map(|part| part.to_be_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_serves_all_that_joined_before_it() {
        let mut reads = ReadIndexQueue::new(1, 9);
        reads.enqueue(Ticket(1));
        reads.enqueue(Ticket(2));
        let round = reads.due(0, (2, 1)).expect("reads wait");
        reads.enqueue(Ticket(3));
        assert_eq!(reads.due(1, (2, 1)), None, "one round at a time");
        reads.confirmed(&round, 7);
        assert!(reads.release(6).is_empty());
        assert_eq!(reads.release(7), vec![Ticket(1), Ticket(2)]);
        assert!(reads.due(1, (2, 1)).is_some_and(|next| next != round));
    }

    #[test]
    fn a_dropped_round_is_issued_again_under_the_same_name() {
        let mut reads = ReadIndexQueue::new(1, 9);
        reads.enqueue(Ticket(1));
        let round = reads.due(0, (2, 1)).expect("reads wait");
        assert_eq!(
            reads.due(READ_INDEX_RETRY_TICKS, (2, 1)),
            Some(round.clone())
        );
        assert_eq!(
            reads.due(READ_INDEX_RETRY_TICKS, (3, 2)),
            Some(round),
            "a new leader knows nothing"
        );
    }
}
