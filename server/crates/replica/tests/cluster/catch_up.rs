//! The part of the log that a leader keeps for a member that receives a snapshot.

use super::*;

/// Number of entries; more than twice the number that a leader keeps for lagging members.
const MANY: usize = 10_500;

/// Writes `count` entries at a member in batches and settles the cluster after each batch.
fn write(cluster: &mut Cluster, at: u64, count: usize) {
    for batch in 0..count.div_ceil(500) {
        for _ in 0..500.min(count - batch * 500) {
            cluster.propose(at, put("k"));
        }
        cluster.settle();
    }
}

#[test]
fn one_snapshot_is_enough_for_a_member_that_the_leader_has_not_heard_of() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let first = cluster.leader().unwrap();
    let lagging = cluster.follower();
    let leader = 6 - first - lagging;
    cluster.cut_off(lagging);
    cluster.hand_over(first, leader);
    cluster.until(|cluster| cluster.leader() == Some(leader));
    write(&mut cluster, leader, MANY);
    cluster.holds_snapshots = true;
    cluster.cut.clear();
    cluster.until(|cluster| !cluster.held_snapshots.is_empty());
    write(&mut cluster, leader, MANY);
    // The snapshot arrives. The member's acknowledgment arrives after the transport's report.
    cluster.holds_snapshots = false;
    cluster.cut.insert((lagging, leader));
    let snapshot = cluster.held_snapshots.remove(0);
    cluster.deliver(snapshot);
    write(&mut cluster, leader, 1);
    cluster.cut.clear();
    let last = cluster.replica(leader).status().applied;
    cluster.until(|cluster| cluster.members[&lagging].0.status().applied >= last);
    assert_eq!(cluster.snapshots_sent, 1);
}

/// The member's rejection contains the end of its log.
#[test]
fn a_member_that_lags_a_little_behind_a_new_leader_needs_no_snapshot() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let first = cluster.leader().unwrap();
    let lagging = cluster.follower();
    let leader = 6 - first - lagging;
    write(&mut cluster, first, MANY);
    cluster.cut_off(lagging);
    write(&mut cluster, first, 10);
    cluster.hand_over(first, leader);
    cluster.until(|cluster| cluster.leader() == Some(leader));
    cluster.cut.clear();
    let last = cluster.replica(leader).status().applied;
    cluster.until(|cluster| cluster.members[&lagging].0.status().applied >= last);
    assert_eq!(cluster.snapshots_sent, 0);
}
