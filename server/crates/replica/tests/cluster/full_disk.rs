//! Members whose disk has no room for entries of the log.

use super::*;

#[test]
fn a_follower_with_a_full_disk_takes_no_entries_until_there_is_room() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (leader, full) = (cluster.leader().unwrap(), cluster.follower());
    cluster.replica(full).set_disk_full(true);
    let before = cluster.replica(full).last_index();
    let term = cluster.replica(leader).status().term;
    for _ in 0..30 {
        let ticket = cluster.propose(leader, put("k"));
        cluster.tick();
        assert!(cluster.answer(leader, ticket).is_some());
    }
    assert_eq!(cluster.replica(full).last_index(), before);
    cluster.ticks(3 * ELECTION_TICKS);
    cluster.replica(full).set_disk_full(false);
    cluster.ticks(3);
    assert_eq!(cluster.count(full, "k"), 30);
    assert_eq!(cluster.replica(full).status().leader, leader);
    assert_eq!(cluster.replica(full).status().term, term);
    assert_eq!(cluster.snapshots_sent, 0);
}

#[test]
fn a_leader_with_a_full_disk_hands_over() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let full = cluster.leader().unwrap();
    cluster.replica(full).set_disk_full(true);
    cluster.ticks(2);
    let leader = cluster.leader().unwrap();
    assert_ne!(leader, full);
    let ticket = cluster.propose(leader, put("k"));
    cluster.tick();
    assert!(cluster.answer(leader, ticket).is_some());
}

/// Each would hand over to the next.
#[test]
fn members_whose_disks_are_all_full_keep_their_leader() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    let term = cluster.replica(leader).status().term;
    for id in [1, 2, 3] {
        cluster.replica(id).set_disk_full(true);
    }
    cluster.ticks(20 * ELECTION_TICKS);
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(cluster.replica(leader).status().term, term);
    for id in [1, 2, 3] {
        cluster.replica(id).set_disk_full(false);
    }
    cluster.ticks(2 * ELECTION_TICKS);
    let ticket = cluster.propose(leader, put("k"));
    cluster.ticks(2);
    assert!(cluster.answer(leader, ticket).is_some());
}

#[test]
fn a_sole_voter_with_a_full_disk_leads_on() {
    let mut cluster = Cluster::new(&[1]);
    cluster.replica(1).set_disk_full(true);
    cluster.ticks(5 * ELECTION_TICKS);
    assert_eq!(cluster.leader(), Some(1));
}
