//! Members whose disks have no space for log entries.

use super::*;

#[test]
fn a_follower_with_a_full_disk_accepts_no_entries_until_there_is_room() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (leader, full) = (cluster.leader().unwrap(), cluster.follower());
    cluster.replica(full).take(Input::LogRoom { bytes: 0 });
    let before = cluster.replica(full).last_index();
    let term = cluster.replica(leader).status().term;
    for _ in 0..30 {
        let ticket = cluster.propose(leader, put("k"));
        cluster.tick();
        assert!(cluster.answer(leader, ticket).is_some());
    }
    assert_eq!(cluster.replica(full).last_index(), before);
    cluster.ticks(3 * ELECTION_TICKS);
    // Raft resends entries after each heartbeat response, and each read triggers heartbeats.
    let before = cluster.appends_sent[&full];
    for _ in 0..50 {
        cluster.read(leader);
        cluster.settle();
    }
    assert!(cluster.appends_sent[&full] <= before + 1);
    cluster
        .replica(full)
        .take(Input::LogRoom { bytes: u64::MAX });
    cluster.ticks(3);
    assert_eq!(cluster.count(full, "k"), 30);
    assert_eq!(cluster.replica(full).status().leader.0, leader);
    assert_eq!(cluster.replica(full).status().term, term);
    assert_eq!(cluster.snapshots_sent, 0);
}

#[test]
fn a_leader_with_a_full_disk_transfers_leadership() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let full = cluster.leader().unwrap();
    cluster.replica(full).take(Input::LogRoom { bytes: 0 });
    cluster.ticks(2);
    let leader = cluster.leader().unwrap();
    assert_ne!(leader, full);
    let ticket = cluster.propose(leader, put("k"));
    cluster.tick();
    assert!(cluster.answer(leader, ticket).is_some());
}

/// If every disk is full, no other member takes over, because each new leader would transfer leadership again.
#[test]
fn members_whose_disks_are_all_full_keep_their_leader() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    let term = cluster.replica(leader).status().term;
    for id in [1, 2, 3] {
        cluster.replica(id).take(Input::LogRoom { bytes: 0 });
    }
    cluster.ticks(20 * ELECTION_TICKS);
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(cluster.replica(leader).status().term, term);
    for id in [1, 2, 3] {
        cluster.replica(id).take(Input::LogRoom { bytes: u64::MAX });
    }
    cluster.ticks(2 * ELECTION_TICKS);
    let ticket = cluster.propose(leader, put("k"));
    cluster.ticks(2);
    assert!(cluster.answer(leader, ticket).is_some());
}

/// If members without memory also refused deletions, nothing could free memory.
#[test]
fn members_without_memory_delete_and_do_not_put() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (leader, other) = (cluster.leader().unwrap(), cluster.follower());
    let ticket = cluster.propose(leader, put("k"));
    cluster.ticks(2);
    assert!(cluster.answer(leader, ticket).is_some());
    for id in [1, 2, 3] {
        cluster.replica(id).take(Input::Memory { exhausted: true });
    }
    let delete = kv::DeleteRange { key: Bytes::from_static(b"k"), ..kv::DeleteRange::default() };
    let added = cluster.propose(other, put("k"));
    let deleted = cluster.propose(other, kv::KvOperation::Delete(delete));
    // While the leader tries to transfer leadership, it accepts no commands.
    cluster.ticks(2 * ELECTION_TICKS);
    assert_eq!(cluster.leader(), Some(leader));
    assert!(cluster.answer(other, deleted).is_some());
    assert!(cluster.answer(other, added).is_none());
    for id in [1, 2, 3] {
        assert_eq!(cluster.count(id, "k"), 0, "{id}");
        cluster.replica(id).take(Input::Memory { exhausted: false });
    }
    cluster.ticks(ELECTION_TICKS);
    assert!(
        cluster.answer(other, added).is_some(),
        "the proposal was held"
    );
}

#[test]
fn a_follower_without_memory_lags_from_the_first_put_on() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (leader, full) = (cluster.leader().unwrap(), cluster.follower());
    cluster
        .replica(full)
        .take(Input::Memory { exhausted: true });
    let before = cluster.replica(full).last_index();
    for _ in 0..3 {
        let ticket = cluster.propose(leader, put("k"));
        cluster.tick();
        assert!(cluster.answer(leader, ticket).is_some());
    }
    assert_eq!(cluster.replica(full).last_index(), before);
    cluster
        .replica(full)
        .take(Input::Memory { exhausted: false });
    cluster.ticks(3);
    assert_eq!(cluster.count(full, "k"), 3);
}

#[test]
fn a_sole_voter_with_a_full_disk_keeps_leading() {
    let mut cluster = Cluster::new(&[1]);
    cluster.replica(1).take(Input::LogRoom { bytes: 0 });
    cluster.ticks(5 * ELECTION_TICKS);
    assert_eq!(cluster.leader(), Some(1));
}

#[test]
fn a_follower_accepts_the_entries_that_fit() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (leader, low) = (cluster.leader().unwrap(), cluster.follower());
    let before = cluster.replica(low).last_index();
    cluster.replica(low).take(Input::LogRoom { bytes: 300 });
    for _ in 0..20 {
        cluster.propose(leader, put("k"));
        cluster.settle();
    }
    let taken = cluster.replica(low).last_index() - before;
    assert!((1..=4).contains(&taken), "{taken}");
    cluster
        .replica(low)
        .take(Input::LogRoom { bytes: u64::MAX });
    cluster.ticks(3);
    assert_eq!(cluster.count(low, "k"), 20);
}

/// The new leader must commit its first entry before it serves reads and leases.
#[test]
fn a_leader_serves_reads_if_all_other_disks_are_full() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (first, other) = (cluster.leader().unwrap(), cluster.follower());
    cluster.replica(first).take(Input::LogRoom { bytes: 0 });
    cluster.replica(other).take(Input::LogRoom { bytes: 0 });
    let has_room = 6 - first - other;
    cluster.until(|cluster| cluster.leader() == Some(has_room));
    cluster.tick();
    let leader = cluster.replica(has_room);
    assert_eq!(leader.view().position.term, leader.status().term);
    // Members without space do not lead. They get the rejected entries once they have space.
    let ticket = cluster.propose(has_room, put("k"));
    cluster.ticks(5 * ELECTION_TICKS);
    assert_eq!(cluster.leader(), Some(has_room));
    assert!(cluster.answer(has_room, ticket).is_none());
    cluster
        .replica(other)
        .take(Input::LogRoom { bytes: u64::MAX });
    cluster.ticks(3);
    assert!(cluster.answer(has_room, ticket).is_some());
}

#[test]
fn a_leader_without_room_accepts_no_forwarded_proposals() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    for id in [1, 2, 3] {
        cluster.replica(id).take(Input::LogRoom { bytes: 0 });
    }
    let (last, other) = (cluster.replica(leader).last_index(), cluster.follower());
    let ticket = cluster.propose(other, put("k"));
    cluster.ticks(ELECTION_TICKS);
    assert_eq!(cluster.replica(leader).last_index(), last);
    for id in [1, 2, 3] {
        cluster.replica(id).take(Input::LogRoom { bytes: u64::MAX });
    }
    cluster.ticks(2 * ELECTION_TICKS);
    assert!(
        cluster.answer(other, ticket).is_some(),
        "the proposal was held"
    );
}
