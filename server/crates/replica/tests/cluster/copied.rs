//! Members that start from copies of their data directories: voting, leading, and the writes that survive.

use super::{
    membership::{add, done, promote, remove},
    *,
};
use witan_replica::wire::hard_state;

impl Cluster {
    pub(super) fn start_copy(&mut self, id: u64, state: View) {
        let config = Config { copied: true, ..config(id) };
        let member = (started(config, state), World::default());
        self.members.insert(id, member);
    }

    fn is_copied(&mut self, id: u64) -> bool {
        self.replica(id).is_copied()
    }

    /// Kills member `id`. Returns its state, without the entries that it does not know to be committed.
    pub(super) fn end(&mut self, id: u64) -> View {
        let state = self.replica(id).view();
        self.kill(id, &[]);
        state
    }

    /// Sends a write to a member, waits for the answer, and ticks twice, so that all reachable members apply the entry.
    fn write(&mut self, at: u64, key: &str) {
        let ticket = self.propose(at, put(key));
        self.until(|cluster| cluster.answer(at, ticket).is_some());
        self.ticks(2);
    }
}

#[test]
fn an_older_copy_elects_no_leader_without_the_acknowledged_entries() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    if cluster.leader() != Some(2) {
        cluster.hand_over(cluster.leader().expect("a leader"), 2);
        cluster.ticks(3);
    }
    let copy = cluster.replica(3).view();
    let (behind, before) = (cluster.replica(1).view(), cluster.replica(1).status().term);
    cluster.kill(1, &[]);
    cluster.write(2, "acknowledged");
    let holder = cluster.end(2);
    cluster.kill(3, &[]);
    cluster
        .members
        .insert(1, (started(config(1), behind), World::default()));
    cluster.start_copy(3, copy);
    cluster.ticks(20 * ELECTION_TICKS);
    assert_eq!(cluster.leader(), None);
    assert!(cluster.is_copied(3));

    cluster
        .members
        .insert(2, (started(config(2), holder), World::default()));
    cluster.until(|cluster| cluster.leader().is_some());
    assert!(cluster.leader() == Some(2) && cluster.replica(2).status().term > before);
    cluster.write(2, "later");
    cluster.until(|cluster| !cluster.members[&3].0.is_copied());
    for id in [1, 2, 3] {
        assert_eq!(
            (
                cluster.count(id, "acknowledged"),
                cluster.count(id, "later")
            ),
            (1, 1)
        );
    }
    cluster.kill(2, &[1, 3]);
    cluster.until(|cluster| cluster.leader().is_some());
}

#[test]
fn members_can_move_one_by_one() {
    for writes in [true, false] {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        for id in [1, 2, 3] {
            let state = cluster.end(id);
            cluster.ticks(2 * ELECTION_TICKS);
            cluster.start_copy(id, state);
            cluster.ticks(2);
            if writes {
                cluster.write(id, "moved");
            }
            cluster.ticks(4 * ELECTION_TICKS);
            // A member publishes its attributes when it starts.
            cluster.write(id, "published");
            cluster.until(|cluster| !cluster.members[&id].0.is_copied());
        }
    }
}

/// Once all voters run, the voter with the longest log leads.
#[test]
fn a_cluster_of_copies_elects_a_leader_when_all_voters_run() {
    for longest in [1, 2, 3] {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        let early: Vec<View> = [1, 2, 3].map(|id| cluster.replica(id).view()).into();
        cluster.write(longest, "late");
        let late = cluster.replica(longest).view();
        let mut states = early;
        states[longest as usize - 1] = late;
        [1, 2, 3].into_iter().for_each(|id| cluster.kill(id, &[]));
        let mut starts = [1, 2, 3].into_iter().zip(states);
        for (id, state) in starts.by_ref().take(2) {
            cluster.start_copy(id, state);
        }
        cluster.ticks(20 * ELECTION_TICKS);
        assert_eq!(
            cluster.leader(),
            None,
            "the last voter may have more entries"
        );
        let (id, state) = starts.next().expect("there are three members");
        cluster.start_copy(id, state);
        cluster.until(|cluster| cluster.leader().is_some());
        assert_eq!(cluster.leader(), Some(longest));
        cluster.write(longest, "more");
        cluster.until(|cluster| cluster.members.values().all(|(it, _)| !it.is_copied()));
        for id in [1, 2, 3] {
            assert_eq!(
                (cluster.count(id, "late"), cluster.count(id, "more")),
                (1, 1)
            );
        }
    }
}

/// The member with the longest log is not a copy and has not seen the last term. Only the copies can report the last term to
/// that member.
#[test]
fn copies_tell_a_candidate_the_term_that_other_voters_have_reported() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let early = [2, 3].map(|id| cluster.replica(id).view());
    cluster.write(1, "acknowledged");
    let (holder, term) = (cluster.replica(1).view(), cluster.replica(1).status().term);
    (1..=3).for_each(|id| cluster.kill(id, &[]));
    cluster
        .members
        .insert(1, (started(config(1), holder), World::default()));
    for (id, state) in [2, 3].into_iter().zip(early) {
        let recovered = Recovered {
            checkpoint: Some(state),
            hard_state: Some(hard_state(term + 1, 2, 0)),
            ..Recovered::default()
        };
        let config = Config { copied: true, ..config(id) };
        let replica = Replica::new(config, recovered).expect("the copy starts");
        cluster.members.insert(id, (replica, World::default()));
    }
    cluster.until(|cluster| cluster.leader().is_some());
    assert_eq!(cluster.leader(), Some(1));
    cluster.write(1, "later");
    cluster.until(|cluster| cluster.members.values().all(|(it, _)| !it.is_copied()));
}

/// The copies are older than the last two added voters. One of these voters lacks an acknowledged entry, and the other is down.
#[test]
fn older_copies_wait_for_the_voters_in_vote_requests() {
    for fourth_is_copy in [false, true] {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        let old = [1, 2, 3].map(|id| cluster.replica(id).view());
        for id in [4, 5] {
            let leader = cluster.leader().expect("a leader");
            assert_eq!(done(&mut cluster, leader, add(id, false)), Ok(()));
            cluster.join(id);
            cluster.until(|cluster| cluster.world(id).installs == 1);
            cluster.ticks(2);
        }
        let behind = cluster.end(4);
        let leader = cluster.leader().expect("a leader");
        cluster.write(leader, "acknowledged");
        let holder = cluster.end(5);
        (1..=3).for_each(|id| cluster.kill(id, &[]));
        for (id, state) in (1..).zip(old) {
            cluster.start_copy(id, state);
        }
        let fourth = Config { copied: fourth_is_copy, ..config(4) };
        let fourth = (started(fourth, behind), World::default());
        cluster.members.insert(4, fourth);
        cluster.ticks(20 * ELECTION_TICKS);
        assert_eq!(
            cluster.leader(),
            None,
            "the fifth voter may have more entries"
        );

        let fifth = (started(config(5), holder), World::default());
        cluster.members.insert(5, fifth);
        cluster.until(|cluster| cluster.leader().is_some());
        assert_eq!(cluster.leader(), Some(5));
        cluster.write(5, "later");
        cluster.until(|cluster| cluster.members.values().all(|(it, _)| !it.is_copied()));
        for id in 1..=5 {
            let counts = ["acknowledged", "later"].map(|key| cluster.count(id, key));
            assert_eq!(counts, [1, 1]);
        }
    }
}

/// The learner has an entry that no voter has.
#[test]
fn copies_do_not_wait_for_the_log_of_a_learner() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    assert_eq!(done(&mut cluster, leader, add(4, true)), Ok(()));
    cluster.join(4);
    cluster.until(|cluster| cluster.world(4).installs == 1);
    cluster.ticks(2);
    let voters = [1, 2, 3].map(|id| cluster.replica(id).view());
    cluster.write(leader, "on no voter");
    let learner = cluster.end(4);
    (1..=3).for_each(|id| cluster.kill(id, &[]));
    for (id, state) in (1..).zip(voters.into_iter().chain([learner])) {
        cluster.start_copy(id, state);
    }
    cluster.until(|cluster| cluster.leader().is_some());
}

/// The second member has not applied the removal of the last member, whose process has ended.
#[test]
fn copies_do_not_wait_for_a_removed_voter() {
    for (last, copied) in [(4, [true, false, true]), (3, [false, true, false])] {
        let ids: Vec<u64> = (1..=last).collect();
        let mut cluster = Cluster::new(&ids);
        let old = cluster.replica(2).view();
        let leader = cluster.leader().expect("a leader");
        if leader != 1 {
            cluster.hand_over(leader, 1);
        }
        assert_eq!(done(&mut cluster, 1, remove(last)), Ok(()));
        cluster.ticks(2);
        let mut states: Vec<View> = (1..last).map(|id| cluster.replica(id).view()).collect();
        states[1] = old;
        (1..last).for_each(|id| cluster.kill(id, &[]));
        for ((id, state), copied) in (1..last).zip(states).zip(copied) {
            let member = started(Config { copied, ..config(id) }, state);
            cluster.members.insert(id, (member, World::default()));
        }
        cluster.until(|cluster| cluster.leader().is_some());
        let leader = cluster.leader().expect("a leader");
        cluster.write(leader, "later");
    }
}

/// The copy is older than the removal of the last member, which still runs. With its vote, the removed member would lead.
#[test]
fn an_older_copy_does_not_vote_for_a_removed_member() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    if leader != 1 {
        cluster.hand_over(leader, 1);
    }
    let old = cluster.replica(2).view();
    let removed = cluster.end(3);
    assert_eq!(done(&mut cluster, 1, remove(3)), Ok(()));
    cluster.write(1, "acknowledged");
    let holder = cluster.end(1);
    cluster.kill(2, &[]);
    let start = |cluster: &mut Cluster, id, state| {
        let member = (started(config(id), state), World::default());
        cluster.members.insert(id, member);
    };
    start(&mut cluster, 1, holder.clone());
    cluster.start_copy(2, old);
    cluster.ticks(2 * ELECTION_TICKS);
    cluster.kill(1, &[]);
    assert!(cluster.is_copied(2));
    start(&mut cluster, 3, removed);
    cluster.ticks(20 * ELECTION_TICKS);
    assert_eq!(cluster.leader(), None);
    start(&mut cluster, 1, holder);
    cluster.until(|cluster| cluster.leader() == Some(1));
    assert_eq!(cluster.count(1, "acknowledged"), 1);
}

/// The first member was the sole voter for a time after the copy was taken. Each message takes two ticks.
#[test]
fn a_copy_that_catches_up_does_not_lead_an_old_configuration() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    if leader != 1 {
        cluster.hand_over(leader, 1);
    }
    // The learner leads later, so its log must begin before the copy.
    let joined = |cluster: &mut Cluster, id, learner| {
        assert_eq!(done(cluster, 1, add(id, learner)), Ok(()));
        cluster.join(id);
        cluster.until(|cluster| cluster.world(id).installs == 1);
        cluster.ticks(2);
    };
    joined(&mut cluster, 4, true);
    let old = cluster.replica(1).view();
    for id in [3, 2] {
        assert_eq!(done(&mut cluster, 1, remove(id)), Ok(()));
        cluster.ticks(2);
    }
    for _ in 0..6 {
        let value = vec![0; 400 << 10].into();
        let put = kv::Put { key: "large".into(), value, ..kv::Put::default() };
        let ticket = cluster.propose(1, kv::KvOperation::Put(put));
        cluster.until(|cluster| cluster.answer(1, ticket).is_some());
    }
    assert_eq!(done(&mut cluster, 1, promote(4)), Ok(()));
    joined(&mut cluster, 5, false);
    cluster.kill(1, &[]);
    cluster.until(|cluster| cluster.leader().is_some());
    if cluster.leader() == Some(5) {
        cluster.hand_over(5, 4);
    }
    cluster.write(4, "acknowledged");
    cluster.start_copy(1, old);
    let mut was_sole = false;
    for _ in 0..10 * ELECTION_TICKS {
        cluster.now_ns += TICK_NS;
        let now_ns = cluster.now_ns;
        for (replica, _) in cluster.members.values_mut() {
            replica.take(Input::Clock { monotonic_ns: now_ns });
            for _ in 0..2 {
                replica.take(Input::Tick { now_ns: now_ns.cast_signed() });
            }
        }
        let sent: Vec<Envelope> = [1, 4, 5]
            .map(|id| cluster.turn(id))
            .into_iter()
            .flatten()
            .collect();
        sent.into_iter()
            .for_each(|envelope| cluster.deliver(envelope));
        was_sole |= cluster.replica(1).is_sole_voter();
        assert_eq!(cluster.leader(), Some(4));
    }
    assert!(was_sole, "the copy passes through the old configuration");
    assert!(!cluster.is_copied(1));
}

/// A leader without followers must not commit with the help of a copy that has forgotten its vote.
#[test]
fn a_copy_acknowledges_nothing_to_an_unconfirmed_leader() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    let copied = cluster.follower();
    let third = 6 - leader - copied;
    let state = cluster.end(copied);
    cluster.cut.extend([(leader, third), (third, leader)]);
    cluster.start_copy(copied, state);
    let ticket = cluster.propose(leader, put("unheard"));
    cluster.ticks(ELECTION_TICKS / 2);
    assert_eq!(
        cluster.answer(leader, ticket).map(|applied| applied.index),
        None
    );
    let last = cluster.replica(copied).last_index();
    assert!(
        last < cluster.replica(leader).last_index(),
        "the copy accepts no entries"
    );
    cluster.cut.clear();
    cluster.until(|cluster| cluster.answer(leader, ticket).is_some());
}

/// With two voters, each election and each acknowledgment needs both.
#[test]
fn one_of_two_voters_and_a_sole_voter_do_not_wait() {
    for ids in [&[1, 2][..], &[1]] {
        let mut cluster = Cluster::new(ids);
        let state = cluster.end(1);
        cluster.start_copy(1, state);
        assert!(!cluster.is_copied(1));
        cluster.until(|cluster| cluster.leader().is_some());
        cluster.write(1, "served");
    }
}
