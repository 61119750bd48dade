//! Commit indexes that wait for the next append.

use super::*;

/// Half of the maximum time in nanoseconds for which a commit index is deferred.
const HALF_NS: u64 = 500_000;

/// Creates a cluster with frequent appends. Returns the cluster, its leader and its two followers.
fn busy() -> (Cluster, u64, [u64; 2]) {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    cluster.pass(HALF_NS);
    put_at(&mut cluster, leader);
    cluster.pass(2 * HALF_NS);
    let followers = match leader {
        1 => [2, 3],
        2 => [1, 3],
        _ => [1, 2],
    };
    (cluster, leader, followers)
}

/// Sends a write to a member and checks that the write is answered without a tick.
fn put_at(cluster: &mut Cluster, at: u64) {
    let ticket = cluster.propose(at, put("k"));
    cluster.settle();
    assert!(
        cluster.answer(at, ticket).is_some(),
        "the client gets its answer"
    );
}

#[test]
fn the_next_append_carries_the_commit_index() {
    let (mut cluster, leader, followers) = busy();
    put_at(&mut cluster, leader);
    assert_eq!(followers.map(|id| cluster.count(id, "k")), [1, 1]);
    cluster.pass(HALF_NS);
    put_at(&mut cluster, leader);
    assert_eq!(followers.map(|id| cluster.count(id, "k")), [2, 2]);
    assert_eq!(cluster.count(leader, "k"), 3);
}

#[test]
fn a_commit_index_without_another_append_is_sent_after_the_deferral() {
    let (mut cluster, leader, followers) = busy();
    put_at(&mut cluster, leader);
    let due_ns = cluster
        .replica(leader)
        .wake_at_ns()
        .expect("a commit index is deferred");
    cluster.pass(due_ns - cluster.now_ns - 1);
    assert_eq!(followers.map(|id| cluster.count(id, "k")), [1, 1]);
    cluster.pass(1);
    assert_eq!(followers.map(|id| cluster.count(id, "k")), [2, 2]);
    assert_eq!(cluster.replica(leader).wake_at_ns(), None);
}

#[test]
fn a_commit_index_is_sent_at_once_to_the_member_whose_client_waits() {
    let (mut cluster, _, [asked, other]) = busy();
    for writes in 2..5 {
        put_at(&mut cluster, asked);
        assert_eq!(cluster.count(asked, "k"), writes);
        assert!(
            cluster.count(other, "k") < writes,
            "the commit index waits for the next append"
        );
        cluster.pass(HALF_NS);
    }
}

#[test]
fn a_commit_index_is_sent_at_once_to_the_member_that_reads() {
    let (mut cluster, leader, [asked, _]) = busy();
    put_at(&mut cluster, leader);
    let ticket = cluster.read(asked);
    cluster.settle();
    assert_eq!(cluster.world(asked).read, [ticket]);
    assert_eq!(cluster.count(asked, "k"), 2);
}

#[test]
fn a_commit_index_does_not_wait_where_appends_are_rare() {
    let (mut cluster, leader, followers) = busy();
    cluster.pass(4 * HALF_NS);
    put_at(&mut cluster, leader);
    assert_eq!(followers.map(|id| cluster.count(id, "k")), [2, 2]);
}
