//! Who leads when the leader is gone, and how soon.

use super::*;

const MS: u64 = 1_000_000;

/// Milliseconds until a write is answered at one of those who are left.
fn until_written(cluster: &mut Cluster, at: u64) -> u64 {
    let ticket = cluster.propose(at, put("k"));
    let begun = cluster.now_ns;
    for _ in 0..400 {
        if cluster.answer(at, ticket).is_some() {
            return (cluster.now_ns - begun) / MS;
        }
        cluster.pass(5 * MS);
    }
    panic!("no leader in two seconds without a tick");
}

#[test]
fn the_process_of_a_leader_is_gone_and_writes_go_on_within_milliseconds() {
    for ids in [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6, 7]] {
        let mut cluster = Cluster::new(ids);
        let leader = cluster.leader().expect("it leads");
        let others: Vec<u64> = ids.iter().copied().filter(|id| *id != leader).collect();
        cluster.kill(leader, &others);
        let took = until_written(&mut cluster, others[0]);
        assert!(took < 100, "{took} ms with {} members", ids.len());
    }
}

#[test]
fn a_leader_that_others_hear_stays() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("it leads");
    let term = cluster.replica(leader).status().term;
    let follower = cluster.follower();
    // one of the two loses its streams, and gets new ones
    cluster
        .replica(follower)
        .peer_event(leader, PeerEvent::ProcessGone);
    for _ in 0..20 {
        cluster.pass(5 * MS);
    }
    cluster.ticks(20);
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(cluster.replica(follower).status().term, term);
}

#[test]
fn leadership_is_handed_over_at_once() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("it leads");
    let to = cluster
        .replica(leader)
        .transfer_leadership(None)
        .expect("there are others");
    cluster.settle();
    assert_eq!(cluster.leader(), Some(to));
    assert!(until_written(&mut cluster, leader) < 10);
    let refused = cluster.replica(leader).transfer_leadership(None);
    assert!(refused.is_err(), "a follower has nothing to hand over");
}
