//! Requests that come while earlier ones are in flight wait for their answers, and are taken together. Group
//! commit for proposals, where others vote; for linearizable reads, one ReadIndex round for all.
//!
//! Each batch has a cost, whatever its size: proposals a sync on every member and a round of messages, reads
//! a round. Without the wait, concurrent clients fall into two groups, each of which waits for the costs of
//! the other. Measured with three members and 64 clients of the leader: batches of 63 instead of 27
//! proposals. A follower groups what it forwards, or its clients fall into groups on their way; a leader
//! groups the messages that others forward with the proposals of its own clients.
//!
//! A request waits for the answers as long as [`HOLD_COSTS`] times the cost at most, and then as long as the
//! cost once for the next requests of those that were answered, both within bounds; a proposal of a
//! follower's client may wait so on the follower and again on the leader. What the wait saves is its measure:
//! where members are far from one another, the answer to a proposal takes much longer than a sync, and
//! nothing waits for it that long. Where the answered do not come back in time, the second wait brings
//! nothing, and is not repeated with every batch.
//!
//! The caller takes at once what saves nothing by waiting: on a sole voter, which answers with its own sync
//! and reads without a round, on a leader that is about to sync other entries, and the proposals of a
//! member without a leader.
//!
//! A batch has a bound. Beyond it, senders share it (`fair_share`), and the rest waits for the next one.
//!
//! Times are nanoseconds of the monotonic clock, durations nanoseconds.

use crate::{
    fair_share::{self, Waiting},
    host::Connection,
};

/// A request waits for the answers to a batch so many times its cost at most. More than once, because the
/// answer to a proposal takes the sync of another member too, and the way there and back.
const HOLD_COSTS: u64 = 3;

/// The longest that a request waits for the answers to a batch, however slow disk and network are.
const LONGEST_HOLD_NS: u64 = 10_000_000;

/// The longest wait, after the answers, for the next requests of those that got them.
const LONGEST_GATHER_NS: u64 = 1_000_000;

/// Requests of so many bytes do not wait: to write them costs more than one more sync, and what is held is
/// bounded.
const UNHELD_BYTES: usize = 1 << 20;

/// The most batches that do not wait for the return of the answered after waits that brought none.
const SKIPPED_GATHERS: u32 = 256;

/// The sender of a request to this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A client of its own, on this connection.
    Client(Connection),
    /// Another member, a message with proposals.
    Member(u64),
}

/// Requests that are taken together.
type Batch<R> = Vec<Waiting<Source, R>>;

/// The requests that one kind of source has sent, and those that are expected from it.
#[derive(Clone, Debug, Default)]
struct Arrivals {
    held: usize,
    /// The bytes of those that are held.
    bytes: usize,
    /// How many of the last batch are on their way, 0 once it is answered.
    in_flight: usize,
    /// How many were held when the last batch was answered.
    held_at_answer: usize,
    /// The most that were held or in flight at once since the last batch, taken for the number of those that
    /// send requests.
    expected: usize,
    /// How many of the next batches do not wait for their return.
    to_skip: u32,
    /// How many batches the last wait that brought nothing has excluded from waiting.
    skip: u32,
}

/// The requests that wait to be taken together.
#[derive(Clone, Debug)]
pub(crate) struct RequestGroup<R> {
    held: Vec<Waiting<Source, R>>,
    /// Whether some were left because they were too many when the last ones were taken.
    left: bool,
    /// When the first of them was seen to wait; `None` before.
    since: Option<u64>,
    /// When the last batch was answered.
    answered: u64,
    clients: Arrivals,
    members: Arrivals,
}

impl Arrivals {
    fn is_complete(&self) -> bool {
        self.held >= self.expected
    }

    /// Whether to wait for those of them that are not back.
    fn are_awaited(&self) -> bool {
        !self.is_complete() && self.to_skip == 0
    }

    /// Whether all that may come are here, and some of them came after the answer.
    fn are_back(&self) -> bool {
        self.is_complete() && self.held > self.held_at_answer
    }

    /// They came back soon after the answer.
    fn came_back(&mut self) {
        self.skip = 0;
        self.to_skip = 0;
    }

    /// They were awaited after the answer, and did not come back.
    fn stayed_away(&mut self) {
        self.skip = (2 * self.skip).clamp(1, SKIPPED_GATHERS);
        self.to_skip = self.skip;
    }

    fn batch_passes(&mut self) {
        self.to_skip = self.to_skip.saturating_sub(1);
    }

    /// Notes that all held requests were taken but `held`, of `bytes`.
    fn left(&mut self, held: usize, bytes: usize) {
        self.expected = self.held + self.in_flight;
        self.in_flight = self.held - held;
        (self.held, self.bytes) = (held, bytes);
    }

    fn answered(&mut self) {
        self.in_flight = 0;
        self.held_at_answer = self.held;
    }
}

impl<R> Default for RequestGroup<R> {
    fn default() -> Self {
        Self {
            held: Vec::new(),
            left: false,
            since: None,
            answered: 0,
            clients: Arrivals::default(),
            members: Arrivals::default(),
        }
    }
}

impl<R> RequestGroup<R> {
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// The bytes of the held requests of clients.
    pub(crate) fn bytes_of_clients(&self) -> usize {
        self.clients.bytes
    }

    /// Notes that the held requests wait from `now_ns` on, if they were not seen before.
    pub(crate) fn see(&mut self, now_ns: u64) {
        if !self.held.is_empty() {
            self.since.get_or_insert(now_ns);
        }
    }

    /// Adds a request of so many bytes.
    pub(crate) fn push(&mut self, sender: Source, request: R, bytes: usize) {
        self.held.push(Waiting { sender, bytes, request });
        let arrivals = match sender {
            Source::Client(_) => &mut self.clients,
            Source::Member(_) => &mut self.members,
        };
        arrivals.held += 1;
        arrivals.bytes += bytes;
    }

    /// Removes requests of clients if there are more than `max`, those of clients that have most of them.
    pub(crate) fn remove_excess(&mut self, max: usize) -> Vec<R> {
        if self.clients.held <= max {
            return Vec::new();
        }
        let is_client =
            |waiting: &mut Waiting<Source, R>| matches!(waiting.sender, Source::Client(_));
        let mut excess: Vec<_> = self.held.extract_if(.., is_client).collect();
        let all: usize = excess.iter().map(Waiting::cost).sum();
        let mut kept = fair_share::take(&mut excess, all / 4 * 3);
        // a few large ones may be most of the bytes
        if kept.len() > max / 8 * 7 {
            excess.extend(kept.split_off(max / 8 * 7));
        }
        self.clients.held = kept.len();
        self.clients.bytes = bytes(&kept);
        self.held.extend(kept);
        excess.into_iter().map(|waiting| waiting.request).collect()
    }

    /// Removes and returns the requests of clients that `goes` names.
    pub(crate) fn remove(&mut self, goes: impl Fn(&R) -> bool) -> Vec<R> {
        let of_client = |held: &Waiting<Source, R>| matches!(held.sender, Source::Client(_));
        let removed = self
            .held
            .extract_if(.., |held| of_client(held) && goes(&held.request));
        let removed: Vec<_> = removed.collect();
        self.clients.held -= removed.len();
        self.clients.bytes -= bytes(&removed);
        removed.into_iter().map(|waiting| waiting.request).collect()
    }

    /// Notes that the last batch does not wait for its answers any more.
    pub(crate) fn answered(&mut self, now: u64) {
        if self.is_in_flight() {
            self.clients.answered();
            self.members.answered();
            self.answered = now;
        }
    }

    /// Returns when the held requests are due, if nothing changes before; `None` without any, or before
    /// [`Self::take_due`] has seen them. `cost` is how long what a batch costs took last: a sync, or a round.
    pub(crate) fn deadline(&self, cost: u64) -> Option<u64> {
        if self.held.is_empty() {
            return None;
        }
        if self.left {
            return Some(self.answered);
        }
        let since = self.since?;
        let wait = if self.is_in_flight() {
            (cost * HOLD_COSTS).min(LONGEST_HOLD_NS)
        } else if self.waits_for_returns(since) {
            cost.min(LONGEST_GATHER_NS)
        } else {
            0
        };
        Some(since.max(self.answered) + wait)
    }

    /// Takes the held requests if they are due, else nothing; at most as many as [`Self::take`].
    pub(crate) fn take_due(&mut self, cost: u64, now: u64, budget: usize) -> Batch<R> {
        if self.held.is_empty() {
            return Vec::new();
        }
        if self.left {
            return self.take(budget);
        }
        let since = *self.since.get_or_insert(now);
        for arrivals in [&mut self.clients, &mut self.members] {
            let present = arrivals.held + arrivals.in_flight;
            arrivals.expected = arrivals.expected.max(present);
        }
        let complete = !self.is_in_flight() && self.clients.is_complete() && !self.awaits_return();
        let late = self.deadline(cost).is_some_and(|deadline| now >= deadline);
        if !complete && !late && self.clients.bytes + self.members.bytes < UNHELD_BYTES {
            return Vec::new();
        }
        self.learn(since, late, now);
        self.take(budget)
    }

    /// Takes the held requests, which are the last batch from now on; without any, the last batch stays what
    /// it was. If they count for more than `budget`, their senders share it, and the rest stays held.
    pub(crate) fn take(&mut self, budget: usize) -> Batch<R> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let batch =
            match fair_share::cost_of_all(self.held.len(), self.clients.bytes + self.members.bytes)
                <= budget
            {
                true => std::mem::take(&mut self.held),
                false => fair_share::take(&mut self.held, budget),
            };
        let of_members = |rest: &&Waiting<Source, R>| matches!(rest.sender, Source::Member(_));
        let (mut members, mut member_bytes) = (0, 0);
        for rest in self.held.iter().filter(of_members) {
            members += 1;
            member_bytes += rest.bytes;
        }
        let client_bytes = bytes(&self.held) - member_bytes;
        self.members.left(members, member_bytes);
        self.clients.left(self.held.len() - members, client_bytes);
        self.left = !self.held.is_empty();
        self.since = None;
        batch
    }

    /// Learns from a batch that is due who comes back soon after an answer.
    fn learn(&mut self, since: u64, late: bool, now: u64) {
        let soon = !self.is_in_flight() && since < self.answered + LONGEST_GATHER_NS;
        let fruitless = late && now > since && soon && self.awaits_return();
        let clients_awaited = self.clients.are_awaited();
        // a client alone is complete without a wait
        if soon && self.clients.are_back() && self.clients.expected > 1 {
            self.clients.came_back();
        } else if fruitless && clients_awaited {
            self.clients.stayed_away();
        } else {
            self.clients.batch_passes();
        }
        // Messages of far members come while the next batch is in flight, and are not awaited after an answer.
        if soon && self.members.are_back() {
            self.members.came_back();
        } else if fruitless && !clients_awaited {
            self.members.stayed_away();
        } else {
            self.members.batch_passes();
        }
    }

    fn is_in_flight(&self) -> bool {
        self.clients.in_flight + self.members.in_flight > 0
    }

    /// Whether requests held since then wait for the next ones of the clients that were answered just before.
    fn waits_for_returns(&self, since: u64) -> bool {
        self.awaits_return() && since < self.answered + LONGEST_GATHER_NS
    }

    fn awaits_return(&self) -> bool {
        self.clients.are_awaited() || self.members.are_awaited()
    }
}

/// The bytes of all of them.
fn bytes<R>(waiting: &[Waiting<Source, R>]) -> usize {
    waiting.iter().map(|waiting| waiting.bytes).sum()
}

#[cfg(test)]
mod tests;
