//! Proposals that are held while other proposals are in flight.

use super::*;
use witan_machine::command::ChangeMembers;

/// Duration of a sync in nanoseconds, with which a leader holds proposals for up to 10 ms.
const SYNC_NS: u64 = 5_000_000;

/// Returns a cluster whose leader holds proposals, with the leader's id.
fn holding() -> (Cluster, u64) {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    let now_ns = cluster.now_ns;
    cluster
        .replica(leader)
        .take(Input::Turned { monotonic_ns: now_ns, sync_ns: SYNC_NS });
    (cluster, leader)
}

fn large(bytes: usize) -> kv::KvOperation {
    kv::KvOperation::Put(kv::Put {
        key: Bytes::from_static(b"large"),
        value: vec![0; bytes].into(),
        ..kv::Put::default()
    })
}

#[test]
fn a_proposal_waits_for_the_batch_in_flight_until_its_deadline() {
    let (mut cluster, leader) = holding();
    for other in [1, 2, 3].into_iter().filter(|id| *id != leader) {
        cluster.stop(other);
    }
    cluster.propose(leader, put("first"));
    cluster.settle();
    let before = cluster.replica(leader).last_index();
    cluster.propose(leader, put("second"));
    cluster.settle();
    assert_eq!(
        cluster.replica(leader).last_index(),
        before,
        "the proposal is held"
    );
    let wake_at_ns = cluster
        .replica(leader)
        .wake_at_ns()
        .expect("the proposal has a deadline");
    cluster.pass(wake_at_ns - cluster.now_ns);
    assert_eq!(cluster.replica(leader).last_index(), before + 1);
}

#[test]
fn a_removed_member_refuses_the_proposals_that_it_holds() {
    let (mut cluster, leader) = holding();
    cluster.propose(leader, put("first"));
    cluster.turn(leader);
    let held = cluster.propose(leader, put("second"));
    cluster.turn(leader);
    for other in [1, 2, 3].into_iter().filter(|id| *id != leader) {
        cluster.event(leader, other, PeerEvent::RemovedHere);
    }
    let (replica, world) = cluster.members.get_mut(&leader).expect("running");
    assert_eq!(replica.turn(world), Err(Halt::Removed));
    assert_eq!(world.unanswered, [(Ticket(held), Unanswered::Removed)]);
}

/// After the entry that removes a member, the log contains no entry that this member proposed.
#[test]
fn a_member_that_applies_its_removal_refuses_its_forwarded_proposals() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (leader, removed) = (cluster.leader().expect("a leader"), cluster.follower());
    let waiting = cluster.propose(removed, put("k"));
    let lost = cluster.turn(removed);
    assert!(!lost.is_empty(), "the proposal is forwarded");
    cluster.stop(removed);
    let remove = ChangeMembers { remove: removed, voters: true, ..ChangeMembers::default() };
    cluster.propose(leader, Command::Members(remove));
    cluster.settle();
    let told = cluster
        .stopped
        .remove(&removed)
        .expect("the member is stopped");
    let (replica, world) = cluster.members.get_mut(&removed).expect("running");
    for message in told {
        replica.take(Input::Message(message));
    }
    assert_eq!(replica.turn(world), Err(Halt::Removed));
    assert_eq!(world.unanswered, [(Ticket(waiting), Unanswered::Removed)]);
}

/// The removed member rejects its clients' requests, and the clients can then use another member.
#[test]
fn forwarded_proposals_are_not_executed_after_the_removal_of_their_member() {
    let (mut cluster, leader) = holding();
    let removed = cluster.follower();
    let third = 6 - leader - removed;
    cluster.propose(removed, put("k"));
    let forwarded = cluster.turn(removed);
    cluster.stop(removed);
    cluster.stop(third);
    let remove = ChangeMembers { remove: removed, voters: true, ..ChangeMembers::default() };
    cluster.propose(leader, Command::Members(remove));
    cluster.settle();
    for message in forwarded {
        cluster.deliver(message);
    }
    cluster.settle();
    cluster.go_on(third);
    assert_eq!(cluster.replica(leader).view().position.voters.len(), 2);
    cluster.pass(SYNC_NS);
    cluster.ticks(3);
    assert_eq!(cluster.count(leader, "k"), 0);
    cluster.propose(leader, put("after"));
    cluster.ticks(3);
    assert_eq!(cluster.count(leader, "after"), 1);
}

#[test]
fn an_expired_proposal_is_no_longer_held() {
    let (mut cluster, leader) = holding();
    for other in [1, 2, 3].into_iter().filter(|id| *id != leader) {
        cluster.replica(other).take(Input::LogRoom { bytes: 0 });
    }
    cluster.propose(leader, large(5 << 20));
    cluster.settle();
    let held = cluster.propose(leader, large(5 << 20));
    cluster.settle();
    assert!(cluster.replica(leader).held_bytes() > 5 << 20);
    cluster.ticks(80);
    assert_eq!(cluster.leader(), Some(leader), "the leader did not change");
    let expired = (Ticket(held), Unanswered::Expired);
    assert!(cluster.world(leader).unanswered.contains(&expired));
    assert_eq!(cluster.replica(leader).held_bytes(), 0);
}
