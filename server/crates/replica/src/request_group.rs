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
const HOLD_NS_MAX: u64 = 10_000_000;

/// The longest wait, after the answers, for the next requests of those that got them.
const GATHER_NS_MAX: u64 = 1_000_000;

/// Requests of so many bytes do not wait: to write them costs more than one more sync, and what is held is
/// bounded.
const HOLD_BYTES_MAX: usize = 1 << 20;

/// The most batches that do not wait for the return of the answered after waits that brought none.
const SKIPPED_GATHERS_MAX: u32 = 256;

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
#[derive(Debug, Default)]
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
#[derive(Debug)]
pub(crate) struct RequestGroup<R> {
    held: Vec<Waiting<Source, R>>,
    /// Whether some were left for want of room when the last ones were taken.
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
        self.skip = (2 * self.skip).clamp(1, SKIPPED_GATHERS_MAX);
        self.to_skip = self.skip;
    }

    fn batch_passes(&mut self) {
        self.to_skip = self.to_skip.saturating_sub(1);
    }

    /// Notes that all but these were taken.
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

    /// The bytes of the held messages of members.
    pub(crate) fn bytes_of_members(&self) -> usize {
        self.members.bytes
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
        let kept = fair_share::take(&mut excess, all / 4 * 3);
        self.clients.held = kept.len();
        self.clients.bytes = bytes(&kept);
        self.held.extend(kept);
        excess.into_iter().map(|waiting| waiting.request).collect()
    }

    /// Removes the requests of clients for which `is_old` holds, from the first one to the first that stays.
    pub(crate) fn remove_old(&mut self, is_old: impl Fn(&R) -> bool) -> Vec<R> {
        let old = self.held.iter().take_while(|held| is_old(&held.request));
        let old = old.count();
        let removed: Vec<_> = self.held.drain(..old).collect();
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
            (cost * HOLD_COSTS).min(HOLD_NS_MAX)
        } else if self.gathers(since) {
            cost.min(GATHER_NS_MAX)
        } else {
            0
        };
        Some(since.max(self.answered) + wait)
    }

    /// Takes the held requests if they are due, else nothing; at most as many as [`Self::take`].
    pub(crate) fn take_due(&mut self, cost: u64, now: u64, room: usize) -> Batch<R> {
        if self.held.is_empty() {
            return Vec::new();
        }
        if self.left {
            return self.take(room);
        }
        let since = *self.since.get_or_insert(now);
        for arrivals in [&mut self.clients, &mut self.members] {
            let present = arrivals.held + arrivals.in_flight;
            arrivals.expected = arrivals.expected.max(present);
        }
        let complete = !self.is_in_flight() && self.clients.is_complete() && !self.awaits_return();
        let late = self.deadline(cost).is_some_and(|deadline| now >= deadline);
        if !complete && !late && self.clients.bytes + self.members.bytes < HOLD_BYTES_MAX {
            return Vec::new();
        }
        self.learn(since, late, now);
        self.take(room)
    }

    /// Takes the held requests, which are the last batch from now on; without any, the last batch stays what
    /// it was. If they count for more than `room`, their senders share it, and the rest stays held.
    pub(crate) fn take(&mut self, room: usize) -> Batch<R> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let batch =
            match fair_share::cost_of_all(self.held.len(), self.clients.bytes + self.members.bytes)
                <= room
            {
                true => std::mem::take(&mut self.held),
                false => fair_share::take(&mut self.held, room),
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
        let soon = !self.is_in_flight() && since < self.answered + GATHER_NS_MAX;
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

    /// Whether requests that wait `since` then wait for those that were answered.
    fn gathers(&self, since: u64) -> bool {
        self.awaits_return() && since < self.answered + GATHER_NS_MAX
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
mod tests {
    use super::*;

    const HELD_MAX: usize = 100;
    const SYNC: u64 = 500_000;

    fn client(connection: u128) -> Source {
        Source::Client(Connection(connection))
    }

    fn numbers(batch: &[Waiting<Source, u32>]) -> Vec<u32> {
        batch.iter().map(|taken| taken.request).collect()
    }

    /// A group, and the time, which each step moves on.
    struct Scene {
        group: RequestGroup<u32>,
        now: u64,
        pushed: u32,
    }

    impl Scene {
        fn new() -> Self {
            Self { group: RequestGroup::default(), now: 0, pushed: 0 }
        }

        /// Lets microseconds pass.
        fn after(&mut self, micros: u64) -> &mut Self {
            self.now += micros * 1000;
            self
        }

        /// Holds so many more proposals of clients, of one byte each; returns how many are due now.
        fn push(&mut self, proposals: u32) -> usize {
            for _ in 0..proposals {
                self.hold(1);
            }
            self.due(SYNC)
        }

        /// Holds a proposal of a client.
        fn hold(&mut self, bytes: usize) {
            self.group.push(client(1), self.pushed, bytes);
            self.pushed += 1;
        }

        /// Holds a message of another member; returns how many are due now.
        fn forward(&mut self) -> usize {
            self.group.push(Source::Member(7), self.pushed, 1);
            self.pushed += 1;
            self.due(SYNC)
        }

        fn due(&mut self, sync: u64) -> usize {
            self.group.take_due(sync, self.now, usize::MAX).len()
        }

        /// The last batch is answered.
        fn answer(&mut self) -> &mut Self {
            self.group.answered(self.now);
            self
        }
    }

    #[test]
    fn a_proposal_without_others_does_not_wait() {
        let mut scene = Scene::new();
        assert_eq!(scene.group.deadline(SYNC), None);
        assert_eq!(scene.push(1), 1);
        assert_eq!(scene.after(300).answer().push(1), 1);
    }

    #[test]
    fn two_groups_of_clients_become_one() {
        let mut scene = Scene::new();
        assert_eq!(scene.push(32), 32);
        // The other half comes while the first one is in flight, which comes back after the answers.
        assert_eq!(scene.after(100).push(32), 0);
        assert_eq!(scene.after(300).answer().push(31), 0);
        scene.hold(1);
        let batch = scene.group.take_due(SYNC, scene.now, usize::MAX);
        assert_eq!(numbers(&batch), (32..96).collect::<Vec<_>>(), "in order");
        // From now on all of them come together.
        scene.pushed = 0;
        assert_eq!(scene.after(500).answer().after(100).push(63), 0);
        assert_eq!(scene.after(100).push(1), 64);
    }

    #[test]
    fn a_proposal_waits_for_the_answers_as_long_as_some_syncs_take_within_the_bound() {
        for (sync, bound) in [(SYNC, HOLD_COSTS * SYNC), (3_000_000_000, HOLD_NS_MAX)] {
            let mut scene = Scene::new();
            assert_eq!(scene.push(1), 1);
            assert_eq!(scene.after(100).push(1), 0);
            assert_eq!(scene.group.deadline(sync), Some(scene.now + bound));
            scene.now += bound;
            assert_eq!(scene.due(sync), 1);
        }
    }

    #[test]
    fn the_wait_for_returning_clients_begins_with_the_answers() {
        for (sync, bound) in [(SYNC, SYNC), (3_000_000_000, GATHER_NS_MAX)] {
            let mut scene = Scene::new();
            assert_eq!(scene.push(3), 3);
            assert_eq!(scene.after(100).push(1), 0);
            scene.after(300).answer();
            let deadline = scene.now + bound;
            assert_eq!(scene.group.deadline(sync), Some(deadline));
            // a turn that answers nothing changes nothing
            scene.after(100).answer();
            assert_eq!(scene.group.deadline(sync), Some(deadline));
            scene.now = deadline;
            assert_eq!(scene.due(sync), 1);
        }
    }

    #[test]
    fn clients_that_do_not_come_back_are_waited_for_ever_more_rarely() {
        let mut scene = Scene::new();
        assert_eq!(scene.push(1), 1);
        let mut waits = 0;
        // In each round a proposal comes while the one before is in flight, and no client comes back.
        for _ in 0..1000 {
            assert_eq!(scene.after(100).push(1), 0);
            if scene.after(300).answer().due(SYNC) == 0 {
                waits += 1;
                assert_eq!(scene.after(500).due(SYNC), 1);
            }
        }
        assert_eq!(waits, 11, "after 1, 2, 4 ... 256, 256 batches");
        // Those that come back once more are waited for again.
        assert_eq!(scene.after(100).push(1), 0);
        assert_eq!(scene.after(300).answer().push(1), 2);
        assert_eq!(
            (scene.group.clients.skip, scene.group.clients.to_skip),
            (0, 0)
        );
    }

    #[test]
    fn single_proposals_in_between_do_not_bring_waits_in_vain_back() {
        let mut scene = Scene::new();
        let mut waits = 0;
        for _ in 0..1000 {
            // one alone, then one that comes while it is in flight, and no client that comes back
            assert_eq!(scene.after(5000).answer().push(1), 1);
            assert_eq!(scene.after(100).push(1), 0);
            if scene.after(300).answer().due(SYNC) == 0 {
                waits += 1;
                assert_eq!(scene.after(500).due(SYNC), 1);
            }
        }
        assert!(waits < 20, "{waits}");
    }

    #[test]
    fn a_batch_is_in_flight_though_nothing_more_was_held() {
        let mut scene = Scene::new();
        assert_eq!(scene.push(3), 3);
        assert!(scene.group.take(usize::MAX).is_empty());
        assert_eq!(scene.push(1), 0);
    }

    #[test]
    fn a_batch_that_was_late_counts_with_the_one_before() {
        let mut scene = Scene::new();
        assert_eq!(scene.push(2), 2);
        assert_eq!(scene.after(100).push(3), 0);
        assert_eq!(scene.after(1500).due(SYNC), 3);
        assert_eq!(scene.after(100).answer().after(100).push(4), 0);
        assert_eq!(scene.push(1), 5, "as many as were in flight");
    }

    #[test]
    fn a_proposal_that_comes_long_after_the_answers_does_not_wait() {
        let mut scene = Scene::new();
        assert_eq!(scene.push(3), 3);
        assert_eq!(scene.answer().after(1000).push(1), 1);
    }

    #[test]
    fn a_large_batch_does_not_wait() {
        let mut scene = Scene::new();
        assert_eq!(scene.push(1), 1);
        scene.hold(HOLD_BYTES_MAX - 1);
        assert_eq!(scene.due(SYNC), 0);
        assert_eq!(scene.push(1), 2);
        assert_eq!(scene.push(1), 0, "the bytes are of one batch");
    }

    #[test]
    fn messages_of_near_members_and_clients_are_one_group() {
        let mut scene = Scene::new();
        assert_eq!(scene.push(20), 20);
        assert_eq!(scene.after(100).forward(), 0);
        assert_eq!(scene.forward(), 0);
        assert_eq!(scene.after(300).answer().push(20), 22);
        for _ in 0..10 {
            assert_eq!(scene.after(300).answer().push(20), 0);
            assert_eq!(scene.after(100).forward(), 0);
            assert_eq!(scene.after(100).forward(), 22);
        }
    }

    #[test]
    fn members_that_come_back_in_time_are_awaited_again() {
        let mut scene = Scene::new();
        let miss = |scene: &mut Scene| {
            assert_eq!(scene.after(300).answer().push(20), 0);
            assert_eq!(scene.after(500).due(SYNC), 20);
            assert_eq!(scene.group.members.skip, 1);
            // it comes in the next flight
            assert_eq!(scene.after(100).forward(), 0);
            assert_eq!(scene.after(300).answer().push(20), 21);
        };
        assert_eq!(scene.push(20), 20);
        assert_eq!(scene.after(100).forward(), 0);
        assert_eq!(scene.after(300).answer().push(20), 21);
        miss(&mut scene);
        assert_eq!(scene.after(300).answer().push(20), 0);
        assert_eq!(scene.after(100).forward(), 21, "in time");
        miss(&mut scene);
    }

    #[test]
    fn proposals_that_come_together_long_after_the_answers_show_nobody_who_comes_back() {
        let mut scene = Scene::new();
        let mut waits = 0;
        for _ in 0..1000 {
            assert_eq!(scene.after(5000).push(2), 2);
            assert_eq!(scene.after(100).push(1), 0);
            if scene.after(300).answer().due(SYNC) == 0 {
                waits += 1;
                assert_eq!(scene.after(500).due(SYNC), 1);
            }
            scene.after(300).answer();
        }
        assert!(waits < 20, "{waits}");
    }

    #[test]
    fn clients_wait_ever_more_rarely_for_messages_of_a_far_member() {
        let mut scene = Scene::new();
        assert_eq!(scene.push(60), 60);
        let mut waits = 0;
        // The message comes back while the next batch is in flight, each time.
        for round in 0..1000 {
            assert_eq!(scene.after(500).forward(), 0, "round {round}");
            assert_eq!(
                scene.after(500).answer().due(SYNC),
                0,
                "the clients are back soon"
            );
            assert_eq!(scene.after(100).push(60), 61, "round {round}");
            let next = scene.after(1000).answer().push(60);
            if next == 0 {
                waits += 1;
                assert_eq!(scene.after(500).due(SYNC), 60);
            } else {
                assert_eq!(next, 60, "without it");
            }
        }
        assert!((5..20).contains(&waits), "{waits}");
    }

    #[test]
    fn messages_of_members_wait_for_one_another_without_clients() {
        let mut scene = Scene::new();
        assert_eq!(scene.forward(), 1);
        assert_eq!(scene.after(100).forward(), 0);
        assert_eq!(scene.after(300).answer().forward(), 2);
        assert_eq!(scene.after(300).answer().forward(), 0);
        assert_eq!(scene.after(100).forward(), 2);
    }

    #[test]
    fn what_has_no_room_is_taken_with_the_next_batches_without_a_wait() {
        let mut scene = Scene::new();
        (0..10).for_each(|_| scene.hold(1_000_000));
        let take = |scene: &mut Scene| numbers(&scene.group.take_due(SYNC, scene.now, 4_000_000));
        assert_eq!(take(&mut scene), [0, 1, 2, 3]);
        let due = scene.group.deadline(SYNC);
        assert!(due.is_some_and(|due| due <= scene.now));
        assert_eq!(take(&mut scene), [4, 5, 6, 7]);
        assert_eq!(scene.group.clients.held, 2);
        assert_eq!(numbers(&scene.group.take(4_000_000)), [8, 9]);
        assert_eq!(scene.group.deadline(SYNC), None);
    }

    #[test]
    fn those_give_way_of_whom_most_are_held() {
        let mut scene = Scene::new();
        scene.group.push(Source::Member(7), 0, 1);
        (0..HELD_MAX).for_each(|_| scene.hold(1));
        assert!(scene.group.remove_excess(HELD_MAX).is_empty());
        scene.group.push(client(2), u32::MAX, 1);
        let removed = scene.group.remove_excess(HELD_MAX);
        assert_eq!(removed.len(), (HELD_MAX + 1) / 4);
        assert!(!removed.contains(&u32::MAX));
        assert_eq!(scene.group.clients.held, HELD_MAX + 1 - removed.len());
        assert_eq!(
            scene.group.take(usize::MAX).len(),
            HELD_MAX + 2 - removed.len()
        );
    }
}
