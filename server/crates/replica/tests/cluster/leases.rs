//! Lease requests to any member, and old leaders that do not know of the next leader.

use witan_machine::lease::{LeaseCheckpoint, LeaseGrant, LeaseId, LeaseOperation, RemainingTtl};
use witan_replica::lessor::Renewal;

use super::*;

const TTL_S: i64 = 5;
const LEASE: LeaseId = LeaseId(7);

/// Creates a cluster in which [`LEASE`] was granted two ticks ago.
fn granted(ids: &[u64]) -> Cluster {
    let mut cluster = Cluster::new(ids);
    let leader = cluster.leader().expect("a leader");
    let grant = LeaseGrant { id: LEASE.0, ttl_s: TTL_S };
    cluster.propose(leader, LeaseOperation::Grant(grant));
    cluster.ticks(2);
    cluster
}

/// Records in the log that the lease has 1 s left. Returns the leader.
fn record_one_second(cluster: &mut Cluster) -> u64 {
    let leader = cluster.leader().expect("a leader");
    let remaining = vec![RemainingTtl { id: LEASE.0, seconds: 1 }];
    let checkpoint = LeaseCheckpoint { remaining };
    cluster.propose(leader, LeaseOperation::Checkpoint(checkpoint));
    cluster.ticks(ELECTION_TICKS);
    leader
}

/// Returns the remaining time of the lease, according to the leader.
fn left_ns(cluster: &mut Cluster) -> i64 {
    let leader = cluster.leader().expect("a leader");
    let asked = cluster.ask_lease(leader, LEASE, LeaseQuestion::Remaining);
    cluster.until(|cluster| cluster.world(leader).leases.contains_key(&asked));
    let Some(LeaseAnswer::Remaining(Some(left_ns))) = cluster.world(leader).leases.get(&asked)
    else {
        panic!(
            "the leader has no answer: {:?}",
            cluster.world(leader).leases
        )
    };
    *left_ns
}

fn exists(cluster: &mut Cluster, at: u64) -> bool {
    let view = cluster.replica(at).view();
    view.machine.kv.leases().get(LEASE).is_some()
}

#[test]
fn any_member_renews_a_lease_and_returns_its_remaining_time() {
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
            panic!("m{at} has no answer: {:?}", cluster.world(at).leases)
        };
        assert!(*left_ns > (TTL_S - 1) * 1_000_000_000, "{left_ns}");
    }
    let unknown = cluster.ask_lease(1, LeaseId(8), LeaseQuestion::Renew);
    cluster.ticks(1);
    let answer = LeaseAnswer::Renewal(Renewal::Unknown);
    assert_eq!(cluster.world(1).leases.get(&unknown), Some(&answer));
}

#[test]
fn after_an_outage_of_all_members_a_lease_has_its_full_ttl() {
    for ids in [&[1][..], &[1, 2, 3]] {
        let mut before = granted(ids);
        let leader = record_one_second(&mut before);
        let state = before.replica(leader).view();
        let mut cluster = Cluster::begun_with(state, ids, Tuning::default());
        let has_no_record = |(replica, _): &(Replica, World)| {
            let view = replica.view();
            let lease = view.machine.kv.leases().get(LEASE);
            lease.is_some_and(|lease| lease.remaining_ttl_s == 0)
        };
        cluster.until(|cluster| cluster.members.values().all(has_no_record));
        let left_ns = left_ns(&mut cluster);
        assert!(left_ns > (TTL_S - 1) * 1_000_000_000, "{ids:?}: {left_ns}");
    }
}

/// The recorded TTL is 1 s, and a new leader adds an election timeout of 1 s.
const RECORDED_NS_MAX: i64 = 2_000_000_000;

#[test]
fn a_follower_that_becomes_the_leader_counts_from_the_recorded_ttl() {
    let mut cluster = granted(&[1, 2, 3]);
    let old = record_one_second(&mut cluster);
    cluster.stop(old);
    cluster.until(|cluster| cluster.leader().is_some());
    let left_ns = left_ns(&mut cluster);
    assert!(left_ns <= RECORDED_NS_MAX, "{left_ns}");
}

#[test]
fn a_restarted_follower_that_becomes_the_leader_counts_from_the_recorded_ttl() {
    let mut cluster = granted(&[1, 2, 3]);
    let old = record_one_second(&mut cluster);
    let new = cluster.follower();
    let state = cluster.replica(new).view();
    let again = Config { seed: 9, ..config(new) };
    let member = (started(again, state), World::default());
    cluster.members.insert(new, member);
    cluster.ticks(3);
    cluster.hand_over(old, new);
    cluster.until(|cluster| cluster.leader() == Some(new));
    let left_ns = left_ns(&mut cluster);
    assert!(left_ns <= RECORDED_NS_MAX, "{left_ns}");
}

#[test]
fn a_stopped_leader_does_not_expire_a_lease_that_its_successor_renews() {
    let mut cluster = granted(&[1, 2, 3]);
    let old = cluster.leader().expect("a leader");
    cluster.stop(old);
    cluster.until(|cluster| cluster.leader().is_some());
    let new = cluster.leader().expect("a leader");
    // Keep the lease alive for much longer than the TTL that the old leader tracks.
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
fn a_keep_alive_at_an_old_leader_counts_at_the_current_leader() {
    let mut cluster = granted(&[1, 2, 3]);
    let old = cluster.leader().expect("a leader");
    cluster.stop(old);
    cluster.until(|cluster| cluster.leader().is_some());
    let new = cluster.leader().expect("a leader");
    cluster.ticks(20);
    // The old leader resumes. Its client renews the lease before the old leader receives any message.
    let queue = cluster
        .stopped
        .remove(&old)
        .expect("the leader was stopped");
    let asked = cluster.ask_lease(old, LEASE, LeaseQuestion::Renew);
    let (replica, world) = cluster.members.get_mut(&old).expect("running");
    replica.turn(world).expect("no halt");
    for envelope in queue {
        cluster.deliver(envelope);
    }
    let before = cluster.replica(new).deadlines().expect("a leader");
    cluster.until(|cluster| cluster.world(old).leases.contains_key(&asked));
    let after = cluster.replica(new).deadlines().expect("a leader");
    let left = |deadlines: &witan_replica::lessor::LeaseDeadlines| deadlines.left_ns(LEASE, 0);
    assert!(left(&after) > left(&before), "{before:?} {after:?}");
}

/// The member's thread is busy, for example with a sync, while the lease expires. Meanwhile, `asks` sends a lease request and
/// returns its ticket. Then the member updates its clock, takes the messages that have arrived, and ticks. Returns the ticket.
fn held_up_beyond_the_end(cluster: &mut Cluster, asks: impl Fn(&mut Cluster) -> u64) -> u64 {
    let at = cluster.leader().expect("a leader");
    let deadlines = cluster.replica(at).deadlines().expect("a leader");
    let left = deadlines
        .left_ns(LEASE, cluster.now_ns)
        .expect("the lease exists");
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
        let leader = cluster.leader().expect("a leader");
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
fn a_keep_alive_at_another_member_counts_while_the_leader_syncs() {
    let mut cluster = granted(&[1, 2, 3]);
    let (leader, follower) = (cluster.leader().expect("a leader"), cluster.follower());
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
