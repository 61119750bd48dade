//! Tests which requests the group holds, and for how long.

use super::*;

const HELD: usize = 100;
const SYNC: u64 = 500_000;

fn client(connection: u64) -> Source {
    Source::Client(Connection(connection))
}

fn numbers(batch: &[Waiting<Source, u32>]) -> Vec<u32> {
    batch.iter().map(|taken| taken.request).collect()
}

struct Scene {
    group: RequestGroup<u32>,
    now: u64,
    pushed: u32,
}

impl Scene {
    fn new() -> Self {
        Self { group: RequestGroup::default(), now: 0, pushed: 0 }
    }

    fn after(&mut self, micros: u64) -> &mut Self {
        self.now += micros * 1000;
        self
    }

    /// Adds `proposals` proposals of clients, of one byte each. Returns the number of requests that are due now.
    fn push(&mut self, proposals: u32) -> usize {
        for _ in 0..proposals {
            self.hold(1);
        }
        self.due(SYNC)
    }

    fn hold(&mut self, bytes: usize) {
        self.group.push(client(1), self.pushed, bytes);
        self.pushed += 1;
    }

    /// Adds another member's message. Returns the number of requests that are due now.
    fn forward(&mut self) -> usize {
        self.group.push(Source::Member(7), self.pushed, 1);
        self.pushed += 1;
        self.due(SYNC)
    }

    fn due(&mut self, sync: u64) -> usize {
        self.group.take_due(sync, self.now, usize::MAX).len()
    }

    fn answer(&mut self) -> &mut Self {
        self.group.answered(self.now);
        self
    }
}

#[test]
fn a_single_proposal_does_not_wait() {
    let mut scene = Scene::new();
    assert_eq!(scene.group.deadline(SYNC), None);
    assert_eq!(scene.push(1), 1);
    assert_eq!(scene.after(300).answer().push(1), 1);
}

#[test]
fn two_groups_of_clients_become_one() {
    let mut scene = Scene::new();
    assert_eq!(scene.push(32), 32);
    // The second half arrives while the first half is in flight, and the first half returns after the answers.
    assert_eq!(scene.after(100).push(32), 0);
    assert_eq!(scene.after(300).answer().push(31), 0);
    scene.hold(1);
    let batch = scene.group.take_due(SYNC, scene.now, usize::MAX);
    assert_eq!(
        numbers(&batch),
        (32..96).collect::<Vec<_>>(),
        "requests stay in order"
    );
    // From now on, all requests arrive together.
    scene.pushed = 0;
    assert_eq!(scene.after(500).answer().after(100).push(63), 0);
    assert_eq!(scene.after(100).push(1), 64);
}

#[test]
fn the_wait_for_answers_is_bounded_by_the_cost_of_some_syncs() {
    for (sync, bound) in [(SYNC, HOLD_COSTS * SYNC), (3_000_000_000, LONGEST_HOLD_NS)] {
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
    for (sync, bound) in [(SYNC, SYNC), (3_000_000_000, LONGEST_GATHER_NS)] {
        let mut scene = Scene::new();
        assert_eq!(scene.push(3), 3);
        assert_eq!(scene.after(100).push(1), 0);
        scene.after(300).answer();
        let deadline = scene.now + bound;
        assert_eq!(scene.group.deadline(sync), Some(deadline));
        // A turn without answers changes nothing.
        scene.after(100).answer();
        assert_eq!(scene.group.deadline(sync), Some(deadline));
        scene.now = deadline;
        assert_eq!(scene.due(sync), 1);
    }
}

#[test]
fn the_group_waits_less_often_for_clients_that_do_not_return() {
    let mut scene = Scene::new();
    assert_eq!(scene.push(1), 1);
    let mut waits = 0;
    // In each round, a proposal arrives while the previous proposal is in flight, and no client returns.
    for _ in 0..1000 {
        assert_eq!(scene.after(100).push(1), 0);
        if scene.after(300).answer().due(SYNC) == 0 {
            waits += 1;
            assert_eq!(scene.after(500).due(SYNC), 1);
        }
    }
    assert_eq!(waits, 11, "after 1, 2, 4 ... 256, 256 batches");
    // After clients have returned, the group waits for them again.
    assert_eq!(scene.after(100).push(1), 0);
    assert_eq!(scene.after(300).answer().push(1), 2);
    assert_eq!(
        (scene.group.clients.skip, scene.group.clients.to_skip),
        (0, 0)
    );
}

#[test]
fn single_proposals_do_not_cause_useless_waits_again() {
    let mut scene = Scene::new();
    let mut waits = 0;
    for _ in 0..1000 {
        // A proposal arrives while another proposal is in flight, and no client returns.
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
fn a_batch_stays_in_flight_if_no_requests_are_held() {
    let mut scene = Scene::new();
    assert_eq!(scene.push(3), 3);
    assert!(scene.group.take(usize::MAX).is_empty());
    assert_eq!(scene.push(1), 0);
}

#[test]
fn expected_requests_include_the_batch_in_flight() {
    let mut scene = Scene::new();
    assert_eq!(scene.push(2), 2);
    assert_eq!(scene.after(100).push(3), 0);
    assert_eq!(scene.after(1500).due(SYNC), 3);
    assert_eq!(scene.after(100).answer().after(100).push(4), 0);
    assert_eq!(scene.push(1), 5, "five requests are expected");
}

#[test]
fn a_proposal_that_arrives_long_after_the_answers_does_not_wait() {
    let mut scene = Scene::new();
    assert_eq!(scene.push(3), 3);
    assert_eq!(scene.answer().after(1000).push(1), 1);
}

#[test]
fn a_large_batch_does_not_wait() {
    let mut scene = Scene::new();
    assert_eq!(scene.push(1), 1);
    scene.hold(UNHELD_BYTES - 1);
    assert_eq!(scene.due(SYNC), 0);
    assert_eq!(scene.push(1), 2);
    assert_eq!(
        scene.push(1),
        0,
        "the bytes of earlier batches do not count"
    );
}

#[test]
fn messages_of_near_members_and_clients_share_a_batch() {
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
fn members_that_return_in_time_are_awaited_again() {
    let mut scene = Scene::new();
    let miss = |scene: &mut Scene| {
        assert_eq!(scene.after(300).answer().push(20), 0);
        assert_eq!(scene.after(500).due(SYNC), 20);
        assert_eq!(scene.group.members.skip, 1);
        // The message arrives while the next batch is in flight.
        assert_eq!(scene.after(100).forward(), 0);
        assert_eq!(scene.after(300).answer().push(20), 21);
    };
    assert_eq!(scene.push(20), 20);
    assert_eq!(scene.after(100).forward(), 0);
    assert_eq!(scene.after(300).answer().push(20), 21);
    miss(&mut scene);
    assert_eq!(scene.after(300).answer().push(20), 0);
    assert_eq!(
        scene.after(100).forward(),
        21,
        "the message arrives in time"
    );
    miss(&mut scene);
}

#[test]
fn proposals_long_after_the_answers_do_not_count_as_returned_clients() {
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
fn clients_wait_less_often_for_messages_of_a_distant_member() {
    let mut scene = Scene::new();
    assert_eq!(scene.push(60), 60);
    let mut waits = 0;
    // In each round, the message arrives while the next batch is in flight.
    for round in 0..1000 {
        assert_eq!(scene.after(500).forward(), 0, "round {round}");
        assert_eq!(
            scene.after(500).answer().due(SYNC),
            0,
            "the clients return soon"
        );
        assert_eq!(scene.after(100).push(60), 61, "round {round}");
        let next = scene.after(1000).answer().push(60);
        if next == 0 {
            waits += 1;
            assert_eq!(scene.after(500).due(SYNC), 60);
        } else {
            assert_eq!(next, 60, "the batch does not wait for the member");
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
fn requests_that_do_not_fit_enter_the_next_batches_without_a_wait() {
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
fn requests_that_arrive_without_room_are_due_when_there_is_room() {
    let mut scene = Scene::new();
    assert_eq!(scene.push(1), 1);
    scene.after(100).hold(1);
    assert_eq!(
        scene.group.deadline(SYNC),
        None,
        "the arrival is not recorded"
    );
    scene.group.record_waiting_since(scene.now);
    scene.after(300).answer();
    assert!(scene.group.deadline(SYNC).is_some());
}

#[test]
fn small_requests_are_removed_even_if_one_request_is_large() {
    let mut scene = Scene::new();
    scene.hold(1 << 30);
    (0..HELD).for_each(|_| scene.hold(1));
    scene.group.remove_excess(HELD);
    assert!(scene.group.clients.held <= HELD / 8 * 7);
    let bytes = scene.group.bytes_of_clients();
    let taken = scene.group.take(usize::MAX);
    assert_eq!(taken.iter().map(|taken| taken.bytes).sum::<usize>(), bytes);
}

#[test]
fn clients_with_the_most_requests_lose_some() {
    let mut scene = Scene::new();
    scene.group.push(Source::Member(7), 0, 1);
    (0..HELD).for_each(|_| scene.hold(1));
    assert!(scene.group.remove_excess(HELD).is_empty());
    scene.group.push(client(2), u32::MAX, 1);
    let removed = scene.group.remove_excess(HELD);
    assert_eq!(removed.len(), (HELD + 1) / 4);
    assert!(!removed.contains(&u32::MAX));
    assert_eq!(scene.group.clients.held, HELD + 1 - removed.len());
    assert_eq!(scene.group.take(usize::MAX).len(), HELD + 2 - removed.len());
}

#[test]
fn remaining_requests_count_for_their_senders() {
    let mut scene = Scene::new();
    for _ in 0..4 {
        scene.hold(1000);
        scene.group.push(Source::Member(7), 0, 500);
    }
    let taken = scene.group.take(5000).len();
    let group = &scene.group;
    assert!(taken > 0 && group.len() == 8 - taken, "{taken} were taken");
    let of_clients = |it: &&Waiting<Source, u32>| it.bytes == 1000;
    let clients = group.held.iter().filter(of_clients).count();
    let members = group.len() - clients;
    assert!(
        clients > 0 && members > 0,
        "{clients} and {members} are left"
    );
    let arrivals = [&group.clients, &group.members].map(|it| (it.held, it.bytes, it.in_flight));
    let expected = [
        (clients, clients * 1000, 4 - clients),
        (members, members * 500, 4 - members),
    ];
    assert_eq!(arrivals, expected);
}
