//! Group commit on the leader of others: proposals that come while a batch is on its way wait for its
//! answers, and enter the log together.
//!
//! Each batch costs a sync on every member and a round of messages, whatever its size. Without the wait,
//! concurrent clients fall into two groups, each of which waits for the syncs of the other: while the
//! thread syncs the second batch, it cannot answer the first one. Measured with three members and 64
//! clients: batches of 63 instead of 27 proposals.
//!
//! A proposal waits for the answers as long as the last sync took at most, and then as long again at most
//! for the next proposals of the clients that were answered, both within bounds. Where these do not come,
//! the second wait is in vain, and is not repeated with every batch.
//!
//! Nothing waits on a sole voter, which answers with its own sync, on a follower, where to forward costs no
//! sync, and when the thread is about to sync other entries.

use std::time::{Duration, Instant};

/// The longest that a proposal waits for the answers to a batch, however long the disk takes.
const HOLD_MAX: Duration = Duration::from_millis(10);

/// The longest wait, after the answers, for the next proposals of the clients that got them.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// A batch of so many bytes does not wait: to write them costs more than one more sync.
const HOLD_BYTES_MAX: usize = 1 << 20;

/// The most batches that do not wait for returning clients after waits in vain.
const SKIPPED_GATHERS_MAX: u32 = 256;

/// The proposals that wait to enter the log together.
#[derive(Debug)]
pub(super) struct GroupCommit<P> {
    held: Vec<P>,
    bytes: usize,
    /// When the first of them was seen to wait; `None` before.
    since: Option<Instant>,
    /// Proposals of the last batch while it is on its way, else 0.
    in_flight: usize,
    /// When the last batch was answered.
    answered: Instant,
    /// The most proposals that were held or in flight at once since the last batch, taken for the number of
    /// clients that write.
    expected: usize,
    /// How many of the next batches do not wait for returning clients.
    to_skip: u32,
    /// How many batches the last wait in vain has excluded from waiting.
    skip: u32,
}

impl<P> GroupCommit<P> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            held: Vec::new(),
            bytes: 0,
            since: None,
            in_flight: 0,
            answered: now,
            expected: 0,
            to_skip: 0,
            skip: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Adds a proposal of `bytes`.
    pub(super) fn push(&mut self, proposal: P, bytes: usize) {
        self.held.push(proposal);
        self.bytes += bytes;
    }

    /// Notes after a turn whether the last proposal of the last batch waits for its answer.
    pub(super) fn turned(&mut self, waits: bool, now: Instant) {
        if self.in_flight > 0 && !waits {
            self.in_flight = 0;
            self.answered = now;
        }
    }

    /// Returns when the held proposals enter the log, if nothing changes before; `None` without any, or before
    /// [`Self::take_due`] has seen them. `sync` is how long the last sync took.
    pub(super) fn deadline(&self, sync: Duration) -> Option<Instant> {
        let since = self.since?;
        let wait = match self.in_flight {
            0 if self.gathers(since) => sync.min(GATHER_MAX),
            0 => Duration::ZERO,
            _ => sync.min(HOLD_MAX),
        };
        Some(since.max(self.answered) + wait)
    }

    /// Takes the held proposals if they are to enter the log now, else nothing.
    pub(super) fn take_due(&mut self, sync: Duration, now: Instant) -> Vec<P> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let since = *self.since.get_or_insert(now);
        self.expected = self.expected.max(self.held.len() + self.in_flight);
        let complete = self.held.len() >= self.expected;
        let late = self.deadline(sync).is_some_and(|deadline| now >= deadline);
        if !complete && !late && self.bytes < HOLD_BYTES_MAX {
            return Vec::new();
        }
        if complete && self.expected > 1 {
            self.skip = 0;
            self.to_skip = 0;
        } else if late && now > since && self.in_flight == 0 && self.gathers(since) {
            self.skip = (2 * self.skip).clamp(1, SKIPPED_GATHERS_MAX);
            self.to_skip = self.skip;
        } else {
            self.to_skip = self.to_skip.saturating_sub(1);
        }
        self.take()
    }

    /// Takes all held proposals, which are the last batch from now on; without any, the last batch stays what
    /// it was.
    pub(super) fn take(&mut self) -> Vec<P> {
        if self.held.is_empty() {
            return Vec::new();
        }
        self.expected = self.held.len() + self.in_flight;
        self.in_flight = self.held.len();
        self.bytes = 0;
        self.since = None;
        std::mem::take(&mut self.held)
    }

    /// Whether proposals that wait `since` then wait for clients that were answered.
    fn gathers(&self, since: Instant) -> bool {
        self.to_skip == 0 && since < self.answered + GATHER_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(500);

    /// A group, and the time, which each step moves on.
    struct Scene {
        group: GroupCommit<u32>,
        now: Instant,
        pushed: u32,
    }

    impl Scene {
        fn new() -> Self {
            let now = Instant::now();
            Self { group: GroupCommit::new(now), now, pushed: 0 }
        }

        /// Lets microseconds pass.
        fn after(&mut self, micros: u64) -> &mut Self {
            self.now += Duration::from_micros(micros);
            self
        }

        /// Holds so many more proposals, of one byte each; returns how many enter the log now.
        fn push(&mut self, proposals: u32) -> usize {
            for _ in 0..proposals {
                self.group.push(self.pushed, 1);
                self.pushed += 1;
            }
            self.due(SYNC)
        }

        fn due(&mut self, sync: Duration) -> usize {
            self.group.take_due(sync, self.now).len()
        }

        /// The last batch is answered.
        fn answer(&mut self) -> &mut Self {
            self.group.turned(false, self.now);
            self
        }
    }

    #[test]
    fn a_proposal_without_others_does_not_wait() {
        let mut scene = Scene::new();
        assert_eq!(scene.group.deadline(SYNC), None);
        assert_eq!(scene.push(1), 1);
        scene.group.turned(true, scene.now);
        assert_eq!(scene.after(300).answer().push(1), 1);
    }

    #[test]
    fn two_groups_of_clients_become_one() {
        let mut scene = Scene::new();
        assert_eq!(scene.push(32), 32);
        scene.group.turned(true, scene.now);
        // The other half comes while the first one is in flight, which comes back after the answers.
        assert_eq!(scene.after(100).push(32), 0);
        assert_eq!(scene.after(300).answer().push(31), 0);
        scene.group.push(95, 1);
        let batch = scene.group.take_due(SYNC, scene.now);
        assert_eq!(batch, (32..96).collect::<Vec<_>>(), "in their order");
        // From now on all of them come together.
        scene.pushed = 0;
        assert_eq!(scene.after(500).answer().after(100).push(63), 0);
        assert_eq!(scene.after(100).push(1), 64);
    }

    #[test]
    fn a_proposal_waits_for_the_answers_as_long_as_a_sync_takes_within_the_bound() {
        for (sync, bound) in [(SYNC, SYNC), (Duration::from_secs(3), HOLD_MAX)] {
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
        for (sync, bound) in [(SYNC, SYNC), (Duration::from_secs(3), GATHER_MAX)] {
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
        assert_eq!((scene.group.skip, scene.group.to_skip), (0, 0));
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
        assert!(scene.group.take().is_empty());
        assert_eq!(scene.push(1), 0);
    }

    #[test]
    fn a_batch_that_was_late_counts_with_the_one_before() {
        let mut scene = Scene::new();
        assert_eq!(scene.push(2), 2);
        assert_eq!(scene.after(100).push(3), 0);
        assert_eq!(scene.after(500).due(SYNC), 3);
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
        scene.group.push(1, HOLD_BYTES_MAX - 1);
        assert_eq!(scene.due(SYNC), 0);
        assert_eq!(scene.push(1), 2);
        assert_eq!(scene.push(1), 0, "the bytes are of one batch");
    }
}
