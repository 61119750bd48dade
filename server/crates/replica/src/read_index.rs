//! The linearizable read barrier, ReadIndex (raft thesis 6.4). Reads wait in a [`RequestGroup`] for the next ReadIndex round.
//! One round serves all waiting reads and releases them once the round's index is applied. The next round need not wait until
//! the index is applied. A round also proves the leader's lease answers. An answer from a state at or after the round's index
//! is final.
//!
//! This module retries, because raft-rs silently drops a ReadIndex request without a known leader, or after a role change. A
//! request is also dropped if the leader has not committed an entry of its term.
//!
//! Each attempt has its own number, and a leader accepts each number once. The leader answers requests in the order of their
//! arrival, and the acknowledgment of a request confirms all earlier requests. If a retry reused its number, late
//! acknowledgments of the first attempt would confirm requests that arrived between the two attempts.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    host::{Connection, Ticket},
    lease_requests::{LeaseRequester, UnprovenAnswer},
    limits::{READ_INDEX_RETRY_TICKS, WAITING_REQUESTS_MAX},
    request_group::{RequestGroup, Source},
};

/// Size in bytes that is counted for a waiting read.
const READ_BYTES: usize = 64;

/// One round serves all reads, so their source does not matter.
const READER: Source = Source::Client(Connection(0));

/// The context of a ReadIndex request: member, seed and number, 8 bytes each.
type Context = [u64; 3];

#[derive(Debug)]
struct ReadIndexRound {
    /// The number of the round's first attempt. A response to any later number also confirms the round, because that request
    /// was sent after the round's reads arrived.
    first_number: u64,
    tickets: Vec<Ticket>,
    /// The answers that a leader delivers if this round proves that it leads.
    unproven: Vec<UnprovenAnswer>,
    /// Tick of the first attempt; the round is dropped after a timeout.
    first_issued: u64,
    /// Tick of the last attempt.
    last_issued: u64,
    /// Term and leader at the last attempt. If they have changed, raft has dropped the round.
    term_and_leader: (u64, u64),
    /// Monotonic time of the first attempt in nanoseconds.
    begun_ns: u64,
}

/// The conditions under which a round may be issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadIndexTry {
    pub(crate) tick: u64,
    pub(crate) term_and_leader: (u64, u64),
    pub(crate) now_ns: u64,
    /// Whether reads may wait briefly, so that later reads share the round.
    pub(crate) holds: bool,
}

/// Requests of a confirmed round that wait until the round's index is applied.
#[derive(Debug)]
struct ConfirmedRound {
    index: u64,
    /// Tick of the round's first attempt.
    issued: u64,
    tickets: Vec<Ticket>,
    /// Lease requests whose first answers came from a state before the index.
    questions: Vec<UnprovenAnswer>,
}

impl ConfirmedRound {
    fn len(&self) -> usize {
        self.tickets.len() + self.questions.len()
    }
}

/// Requests that no longer need to wait.
#[derive(Debug, Default)]
pub(crate) struct Released {
    pub(crate) reads: Vec<Ticket>,
    /// Lease requests, which must be answered again.
    pub(crate) questions: Vec<UnprovenAnswer>,
}

#[derive(Debug)]
pub(crate) struct ReadIndexQueue {
    member: u64,
    seed: u64,
    /// Reads that wait for the next round, with the ticks at which they arrived.
    open: RequestGroup<(u64, Ticket)>,
    open_unproven: Vec<UnprovenAnswer>,
    round: Option<ReadIndexRound>,
    /// Duration of the last round in nanoseconds.
    round_took_ns: u64,
    /// Confirmed rounds that wait for their index, ordered by index.
    confirmed: VecDeque<ConfirmedRound>,
    /// Number of reads and lease requests in all confirmed rounds.
    confirmed_len: usize,
    /// Requesters with a lease request in a confirmed round. A repeated request is not recorded twice.
    askers: BTreeSet<LeaseRequester>,
    /// The number of the last attempt.
    number: u64,
    /// On a leader: seed and number of the last request accepted from each member.
    taken: BTreeMap<u64, (u64, u64)>,
}

impl ReadIndexQueue {
    /// Creates an empty queue. `seed` must differ between a member's processes, so that a late answer to an earlier process
    /// does not release a read of this process.
    pub(crate) fn new(member: u64, seed: u64) -> Self {
        Self {
            member,
            seed,
            open: RequestGroup::default(),
            open_unproven: Vec::new(),
            round: None,
            round_took_ns: 0,
            confirmed: VecDeque::new(),
            confirmed_len: 0,
            askers: BTreeSet::new(),
            number: 0,
            taken: BTreeMap::new(),
        }
    }

    /// Returns whether [`WAITING_REQUESTS_MAX`] reads and unproven answers wait, excluding the round in progress.
    pub(crate) fn is_full(&self) -> bool {
        let waiting = self.open.len() + self.open_unproven.len() + self.confirmed_len;
        waiting >= WAITING_REQUESTS_MAX
    }

    /// Adds a waiting read. `tick` is the current tick.
    pub(crate) fn enqueue(&mut self, ticket: Ticket, tick: u64) {
        self.open.push(READER, (tick, ticket), READ_BYTES);
    }

    /// Returns the monotonic time in nanoseconds at which the next round is due for the waiting reads. Returns `None` if no
    /// reads wait or a round is in progress.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let due = self.open.deadline(self.round_took_ns);
        due.filter(|_| self.round.is_none())
    }

    /// Queues a lease answer until the next round proves that this member leads.
    pub(crate) fn prove(&mut self, answer: UnprovenAnswer) {
        self.open_unproven.push(answer);
    }

    /// Returns the context of the ReadIndex request to issue now, or `None` if nothing is due. The request starts a new round
    /// for all waiting reads. It retries the current round if the leader has changed or the last attempt is
    /// [`READ_INDEX_RETRY_TICKS`] ticks old. Unproven answers start a round immediately; without `now.holds`, so do reads.
    pub(crate) fn due(&mut self, now: &ReadIndexTry) -> Option<Vec<u8>> {
        if let Some(round) = &mut self.round {
            let stale = round.term_and_leader != now.term_and_leader
                || now.tick >= round.last_issued + READ_INDEX_RETRY_TICKS;
            if !stale {
                return None;
            }
            (round.last_issued, round.term_and_leader) = (now.tick, now.term_and_leader);
            return Some(self.next_context());
        }
        let reads = match now.holds && self.open_unproven.is_empty() {
            true => self
                .open
                .take_due(self.round_took_ns, now.now_ns, usize::MAX),
            false => self.open.take(usize::MAX),
        };
        if reads.is_empty() && self.open_unproven.is_empty() {
            return None;
        }
        let tickets = reads.into_iter().map(|read| read.request.1).collect();
        let unproven = std::mem::take(&mut self.open_unproven);
        self.round = Some(ReadIndexRound {
            first_number: self.number + 1,
            tickets,
            unproven,
            first_issued: now.tick,
            last_issued: now.tick,
            term_and_leader: now.term_and_leader,
            begun_ns: now.now_ns,
        });
        Some(self.next_context())
    }

    /// Allocates the next number and returns a request context with it.
    fn next_context(&mut self) -> Vec<u8> {
        self.number += 1;
        encode_context([self.member, self.seed, self.number])
    }

    /// Allocates a ReadIndex request that belongs to no round. Returns its number and context.
    pub(crate) fn question(&mut self) -> (u64, Vec<u8>) {
        let context = self.next_context();
        (self.number, context)
    }

    /// Returns the number of a request of this process, or `None` if the context is invalid or belongs to another process.
    pub(crate) fn own_number(&self, context: &[u8]) -> Option<u64> {
        let own = decode_context(context)
            .filter(|[member, seed, _]| (*member, *seed) == (self.member, self.seed));
        own.map(|[_, _, number]| number)
    }

    /// Accepts and records a ReadIndex request from member `from`. Returns `false` if the request is not newer than the last
    /// accepted request, names another member, or is invalid.
    pub(crate) fn accept(&mut self, from: u64, context: &[u8]) -> bool {
        let Some([member, seed, number]) = decode_context(context) else {
            return false;
        };
        let known = self.taken.get(&from);
        let is_new = known.is_none_or(|last| last.0 != seed || last.1 < number);
        if member == from && is_new {
            self.taken.insert(from, (seed, number));
        }
        member == from && is_new
    }

    /// Confirms the round of `context`. Its reads wait until `index` is applied, and so do lease requests that were answered
    /// from an earlier state. Returns the other lease answers, which are now proved; the caller checks that it led the same
    /// term throughout. Does nothing if that round is not in progress.
    pub(crate) fn confirmed(
        &mut self,
        context: &[u8],
        index: u64,
        now_ns: u64,
    ) -> Vec<UnprovenAnswer> {
        let (own, last) = (self.own_number(context), self.number);
        let asked = |round: &mut ReadIndexRound| {
            own.is_some_and(|number| (round.first_number..=last).contains(&number))
        };
        let Some(round) = self.round.take_if(asked) else {
            return Vec::new();
        };
        self.round_took_ns = now_ns.saturating_sub(round.begun_ns);
        self.open.answered(now_ns);
        let (mut questions, proven): (Vec<_>, Vec<_>) =
            round.unproven.into_iter().partition(|a| a.applied < index);
        questions.retain(|question| self.askers.insert(question.asker));
        let (issued, tickets) = (round.first_issued, round.tickets);
        let waits = ConfirmedRound { index, issued, tickets, questions };
        if waits.len() > 0 {
            self.confirmed_len += waits.len();
            self.confirmed.push_back(waits);
        }
        proven
    }

    /// Removes and returns the requests that wait for an index of at most `applied`.
    pub(crate) fn release(&mut self, applied: u64) -> Released {
        let mut released = Released::default();
        while let Some(round) = self.confirmed.pop_front_if(|round| round.index <= applied) {
            self.forget(&round);
            released.reads.extend(round.tickets);
            released.questions.extend(round.questions);
        }
        released
    }

    /// Subtracts a removed round from the count and the askers.
    fn forget(&mut self, round: &ConfirmedRound) {
        self.confirmed_len -= round.len();
        for question in &round.questions {
            self.askers.remove(&question.asker);
        }
    }

    /// Drops waiting reads and rounds that are older than `patience` ticks, with the rounds' unproven answers and lease
    /// requests. Returns the tickets of the reads. The senders of lease requests retry by themselves.
    pub(crate) fn expire(&mut self, tick: u64, patience: u64) -> Vec<Ticket> {
        let is_old = |since: u64| tick.saturating_sub(since) > patience;
        let mut expired = Vec::new();
        if let Some(round) = self.round.take_if(|round| is_old(round.first_issued)) {
            expired.extend(round.tickets);
        }
        while let Some(round) = self.confirmed.pop_front_if(|round| is_old(round.issued)) {
            self.forget(&round);
            expired.extend(round.tickets);
        }
        let open = self.open.remove(|(since, _)| is_old(*since));
        expired.extend(open.into_iter().map(|(_, ticket)| ticket));
        expired
    }

    /// Drops all unproven answers and lease requests, because the leader has changed and their senders repeat them.
    pub(crate) fn drop_unproven(&mut self) {
        self.open_unproven = Vec::new();
        self.askers = BTreeSet::new();
        for round in &mut self.confirmed {
            self.confirmed_len -= std::mem::take(&mut round.questions).len();
        }
        if let Some(round) = &mut self.round {
            round.unproven = Vec::new();
        }
    }
}

/// Encodes the context of a ReadIndex request. The seed makes it unique across restarts, the number across attempts.
fn encode_context(context: Context) -> Vec<u8> {
    context.iter().flat_map(|part| part.to_be_bytes()).collect()
}

/// Decodes a context. Returns `None` if its length is not 24 bytes.
fn decode_context(bytes: &[u8]) -> Option<Context> {
    let (parts, rest) = bytes.as_chunks::<8>();
    let parts: [[u8; 8]; 3] = parts.try_into().ok().filter(|_| rest.is_empty())?;
    Some(parts.map(u64::from_be_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{LeaseAnswer, LeaseQuestion};
    use witan_machine::lease::LeaseId;

    fn at(tick: u64, term_and_leader: (u64, u64)) -> ReadIndexTry {
        ReadIndexTry { tick, term_and_leader, now_ns: 0, holds: true }
    }

    #[test]
    fn a_round_serves_all_reads_that_arrived_before_it() {
        let mut reads = ReadIndexQueue::new(1, 9);
        reads.enqueue(Ticket(1), 0);
        reads.enqueue(Ticket(2), 0);
        let round = reads.due(&at(0, (2, 1))).expect("reads wait");
        reads.enqueue(Ticket(3), 0);
        assert_eq!(reads.due(&at(1, (2, 1))), None, "one round at a time");
        reads.confirmed(&round, 7, 0);
        let next = reads
            .due(&at(1, (2, 1)))
            .expect("the next round does not wait for the index");
        assert_ne!(next, round);
        reads.confirmed(&round, 6, 0);
        reads.confirmed(&next, 8, 0);
        assert!(reads.release(6).reads.is_empty());
        assert_eq!(reads.release(7).reads, vec![Ticket(1), Ticket(2)]);
        assert_eq!(reads.release(9).reads, vec![Ticket(3)]);
        assert_eq!(reads.confirmed_len, 0);
    }

    #[test]
    fn answers_from_a_state_before_the_index_wait_for_it_once() {
        let mut reads = ReadIndexQueue::new(1, 9);
        let unproven = |ticket, applied| UnprovenAnswer {
            term: 2,
            asker: LeaseRequester::Own(Ticket(ticket)),
            lease: LeaseId(7),
            question: LeaseQuestion::Remaining,
            answer: LeaseAnswer::Remaining(None),
            applied,
        };
        for round in 0..2 {
            // The second round contains repetitions of both requests.
            reads.prove(unproven(1, 7));
            reads.prove(unproven(2, 6));
            let context = reads.due(&at(round, (2, 1))).expect("answers wait");
            let proven = reads.confirmed(&context, 7, 0);
            assert_eq!(proven, [unproven(1, 7)]);
        }
        assert!(reads.release(6).questions.is_empty());
        assert_eq!(reads.release(7).questions, [unproven(2, 6)]);
        assert_eq!((reads.confirmed_len, reads.askers.len()), (0, 0));
        for end in [
            ReadIndexQueue::drop_unproven,
            |reads: &mut ReadIndexQueue| assert_eq!(reads.expire(99, 70), []),
        ] {
            reads.prove(unproven(3, 8));
            let context = reads.due(&at(9, (2, 1))).expect("answers wait");
            assert_eq!(reads.confirmed(&context, 9, 0), []);
            end(&mut reads);
            assert!(reads.release(9).questions.is_empty());
            assert_eq!((reads.confirmed_len, reads.askers.len()), (0, 0));
        }
    }

    #[test]
    fn a_dropped_round_is_retried_with_another_number_and_any_attempt_confirms_it() {
        for answered in 0..3 {
            let mut reads = ReadIndexQueue::new(1, 9);
            reads.enqueue(Ticket(1), 0);
            let before = encode_context([1, 9, 0]);
            let tries = [
                reads.due(&at(0, (2, 1))).expect("reads wait"),
                reads
                    .due(&at(READ_INDEX_RETRY_TICKS, (2, 1)))
                    .expect("late"),
                reads
                    .due(&at(READ_INDEX_RETRY_TICKS, (3, 2)))
                    .expect("a new leader causes a retry"),
            ];
            assert!(tries[0] != tries[1] && tries[1] != tries[2]);
            reads.confirmed(&before, 7, 0);
            assert!(
                reads.release(7).reads.is_empty(),
                "an earlier round has no effect"
            );
            reads.confirmed(&tries[answered], 7, 0);
            assert_eq!(reads.release(7).reads, vec![Ticket(1)]);
            reads.enqueue(Ticket(2), 0);
            assert!(reads.due(&at(9, (3, 2))).is_some());
            reads.confirmed(&tries[2], 8, 0);
            assert!(
                reads.release(8).reads.is_empty(),
                "an attempt of the previous round has no effect"
            );
        }
    }

    #[test]
    fn a_leader_accepts_each_request_once() {
        let mut reads = ReadIndexQueue::new(1, 9);
        let request = |seed, number| encode_context([2, seed, number]);
        assert!(reads.accept(2, &request(5, 1)));
        assert!(!reads.accept(2, &request(5, 1)), "a duplicate is rejected");
        assert!(reads.accept(2, &request(5, 3)));
        assert!(
            !reads.accept(2, &request(5, 2)),
            "an earlier request is rejected"
        );
        assert!(
            reads.accept(2, &request(6, 1)),
            "another process has its own numbers"
        );
        assert!(
            !reads.accept(3, &request(5, 4)),
            "the request names another member"
        );
        assert!(!reads.accept(2, &[1, 2, 3]));
    }

    #[test]
    fn reads_without_a_quorum_are_dropped_after_their_timeout() {
        let mut reads = ReadIndexQueue::new(1, 9);
        for ticket in 0..WAITING_REQUESTS_MAX as u64 {
            reads.enqueue(Ticket(ticket), ticket / 1000);
        }
        assert!(reads.is_full());
        assert_eq!(reads.expire(70, 70), [], "none is older than 70 ticks");
        assert!(reads.is_full());
        assert_eq!(reads.expire(71, 70).len(), 1000);
        assert!(!reads.is_full());
        let rest = reads.expire(1000, 70);
        assert_eq!(rest.len(), WAITING_REQUESTS_MAX - 1000);
        assert_eq!(reads.due(&at(1000, (2, 1))), None);
    }
}
