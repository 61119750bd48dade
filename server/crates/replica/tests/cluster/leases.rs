//! Lease requests at any member, and old leaders that do not know of the next leader.

use witan_machine::lease::{LeaseGrant, LeaseId, LeaseOperation};
use witan_replica::lessor::Renewal;

use super::*;

const TTL_S: i64 = 5;
const LEASE: LeaseId = LeaseId(7);

fn granted(ids: &[u64]) -> Cluster {
    let mut cluster = Cluster::new(ids);
    let leader = cluster.leader().expect("it leads");
    let grant = LeaseGrant { id: LEASE.0, ttl_s: TTL_S };
    cluster.propose(leader, LeaseOperation::Grant(grant));
    cluster.ticks(2);
    cluster
}

fn exists(cluster: &mut Cluster, at: u64) -> bool {
    let view = cluster.replica(at).view();
    view.machine.kv.leases().get(LEASE).is_some()
}

#[test]
fn any_member_renews_a_lease_and_knows_what_it_has_left() {
    let mut cluster = granted(&[1, 2, 3]);
    cluster.ticks(20);
    for at in [1, 2, 3] {
        let renewed = cluster.ask_lease(at, LEASE, LeaseQuestion::Renew);
        cluster.ticks(1);
        let remaining = cluster.ask_lease(at, LEASE, LeaseQuestion::Remaining);
        cluster.ticks(1);
        let renewal = LeaseAnswer::Renewal(Renewal::Renewed { ttl_s: TTL_S });
        assert_eq!(cluster.world(at).leases.get(&renewed), Some(&renewal));
        let Some(LeaseAnswer::Remaining(Some(left_ns))) = cluster.world(at).leases.get(&remaining)
        else {
            panic!("m{at} does not know: {:?}", cluster.world(at).leases)
        };
        assert!(*left_ns > (TTL_S - 1) * 1_000_000_000, "{left_ns}");
    }
    let unknown = cluster.ask_lease(1, LeaseId(8), LeaseQuestion::Renew);
    cluster.ticks(1);
    let answer = LeaseAnswer::Renewal(Renewal::Unknown);
    assert_eq!(cluster.world(1).leases.get(&unknown), Some(&answer));
}

#[test]
fn a_leader_that_was_stopped_does_not_end_what_its_successor_keeps_alive() {
    let mut cluster = granted(&[1, 2, 3]);
    let old = cluster.leader().expect("it leads");
    cluster.stop(old);
    cluster.until(|cluster| cluster.leader().is_some());
    let new = cluster.leader().expect("it leads");
    // Wait much longer than the old leader tracks the lease.
    for _ in 0..TTL_S * 3 {
        cluster.ask_lease(new, LEASE, LeaseQuestion::Renew);
        cluster.ticks(10);
    }
    cluster.go_on(old);
    cluster.ticks(10);
    assert!(exists(&mut cluster, new));
    assert!(exists(&mut cluster, old));
}

#[test]
fn a_keep_alive_at_a_leader_of_the_past_counts_at_the_present_one() {
    let mut cluster = granted(&[1, 2, 3]);
    let old = cluster.leader().expect("it leads");
    cluster.stop(old);
    cluster.until(|cluster| cluster.leader().is_some());
    let new = cluster.leader().expect("it leads");
    cluster.ticks(20);
    // The old leader resumes. Its client renews the lease before it receives any message.
    let queue = cluster.stopped.remove(&old).expect("it was stopped");
    let asked = cluster.ask_lease(old, LEASE, LeaseQuestion::Renew);
    let (replica, world) = cluster.members.get_mut(&old).expect("it runs");
    replica.turn(world).expect("no halt");
    for envelope in queue {
        cluster.deliver(envelope);
    }
    let before = cluster.replica(new).deadlines().expect("it leads");
    cluster.until(|cluster| cluster.world(old).leases.contains_key(&asked));
    let after = cluster.replica(new).deadlines().expect("it leads");
    let left = |deadlines: &witan_replica::lessor::LeaseDeadlines| deadlines.left_ns(LEASE, 0);
    assert!(left(&after) > left(&before), "{before:?} {after:?}");
}

/// The member's thread is busy, for example with a sync, while the lease expires. Then it updates its clock, takes the messages
/// that have arrived, and ticks.
fn held_up_beyond_the_end(cluster: &mut Cluster, asks: impl Fn(&mut Cluster) -> u64) -> u64 {
    let at = cluster.leader().expect("it leads");
    let deadlines = cluster.replica(at).deadlines().expect("it leads");
    let left = deadlines.left_ns(LEASE, cluster.now_ns).expect("it lives");
    cluster.now_ns += left.unsigned_abs() - 1;
    let before = cluster.now_ns;
    cluster
        .replica(at)
        .take(Input::Clock { monotonic_ns: before });
    cluster.stop(at);
    cluster.now_ns += 2 * TICK_NS;
    let asked = asks(cluster);
    cluster.go_on(at);
    asked
}

const RENEWED: LeaseAnswer = LeaseAnswer::Renewal(Renewal::Renewed { ttl_s: TTL_S });

#[test]
fn a_keep_alive_that_waited_behind_a_long_sync_counts_from_its_arrival() {
    for ids in [&[1][..], &[1, 2, 3]] {
        let mut cluster = granted(ids);
        let leader = cluster.leader().expect("it leads");
        cluster.ticks(10);
        let asked = held_up_beyond_the_end(&mut cluster, |cluster| {
            cluster.ask_lease(leader, LEASE, LeaseQuestion::Renew)
        });
        cluster.ticks(3);
        assert_eq!(cluster.world(leader).leases.get(&asked), Some(&RENEWED));
        cluster.ticks(20);
        assert!(exists(&mut cluster, leader), "{ids:?}");
    }
}

#[test]
fn a_keep_alive_at_another_member_counts_though_the_leader_syncs() {
    let mut cluster = granted(&[1, 2, 3]);
    let (leader, follower) = (cluster.leader().expect("it leads"), cluster.follower());
    cluster.ticks(10);
    let asked = held_up_beyond_the_end(&mut cluster, |cluster| {
        let asked = cluster.ask_lease(follower, LEASE, LeaseQuestion::Renew);
        cluster.settle();
        asked
    });
    cluster.ticks(3);
    assert_eq!(cluster.world(follower).leases.get(&asked), Some(&RENEWED));
    cluster.ticks(20);
    assert!(exists(&mut cluster, leader));
}

#[test]
fn a_keep_alive_that_arrived_after_the_end_of_its_lease_is_refused() {
    let mut cluster = granted(&[1]);
    cluster.pass(TICK_NS * 10 * (TTL_S as u64 + 1));
    cluster.pass(1);
    let asked = cluster.ask_lease(1, LEASE, LeaseQuestion::Renew);
    cluster.ticks(1);
    let refused = LeaseAnswer::Renewal(Renewal::Expiring);
    assert_eq!(cluster.world(1).leases.get(&asked), Some(&refused));
    assert!(!exists(&mut cluster, 1));
}
