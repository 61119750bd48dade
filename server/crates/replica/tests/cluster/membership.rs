//! Membership changes while other members keep working.

use witan_machine::{Reply, command::ChangeMembers, member::MembershipError};

use super::*;

fn change(change: ChangeMembers) -> Command {
    Command::Members(ChangeMembers { voters: true, learners_max: 1, ..change })
}

pub(super) fn add(id: u64, learner: bool) -> Command {
    change(ChangeMembers {
        add: Some(Member { learner, ..person(id) }),
        ..ChangeMembers::default()
    })
}

pub(super) fn remove(remove: u64) -> Command {
    change(ChangeMembers { remove, ..ChangeMembers::default() })
}

pub(super) fn promote(promote: u64) -> Command {
    change(ChangeMembers { promote, ..ChangeMembers::default() })
}

/// Proposes a change and waits for its result.
pub(super) fn done(
    cluster: &mut Cluster,
    at: u64,
    command: Command,
) -> Result<(), MembershipError> {
    let ticket = cluster.propose(at, command);
    cluster.until(|cluster| cluster.answer(at, ticket).is_some());
    let applied = cluster.answer(at, ticket).expect("answered");
    let Reply::MembershipChanged(done) = &applied.outcome.reply else {
        panic!("{applied:?}")
    };
    *done
}

#[test]
fn one_member_grows_to_three_and_shrinks_again() {
    let mut cluster = Cluster::new(&[1]);
    cluster.propose(1, put("k"));
    for id in [2, 3] {
        assert_eq!(done(&mut cluster, 1, add(id, true)), Ok(()));
        cluster.join(id);
        cluster.until(|cluster| cluster.world(id).installs == 1);
        cluster.ticks(2);
        assert_eq!(done(&mut cluster, id, promote(id)), Ok(()));
    }
    assert_eq!(cluster.replica(3).view().position.voters, [1, 2, 3]);
    assert_eq!(cluster.count(3, "k"), 1);
    for id in [3, 2] {
        assert_eq!(done(&mut cluster, 1, remove(id)), Ok(()));
        cluster.ticks(2);
        assert_eq!(cluster.ended.get(&id), Some(&Halt::Removed));
    }
    assert_eq!(
        done(&mut cluster, 1, remove(1)),
        Err(MembershipError::LastVoter)
    );
    assert!(cluster.ended.len() == 2);
}

#[test]
fn a_removed_leader_transfers_leadership_first() {
    for asks_leader in [true, false] {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        let leader = cluster.leader().expect("a leader");
        let at = if asks_leader {
            leader
        } else {
            cluster.follower()
        };
        let term = cluster.replica(leader).status().term;
        cluster.propose(at, remove(leader));
        cluster.until(|cluster| cluster.ended.contains_key(&leader));
        assert_eq!(cluster.ended[&leader], Halt::Removed);
        let next = cluster.leader().expect("the cluster has a new leader");
        assert_eq!(
            cluster.replica(next).status().term,
            term + 1,
            "there is no further election"
        );
        assert_eq!(cluster.replica(next).view().position.voters.len(), 2);
        let ticket = cluster.propose(next, put("k"));
        cluster.settle();
        assert!(cluster.answer(next, ticket).is_some());
    }
}

/// A removed member does not apply entries after its removal, so it cannot answer them. Its proposal is rejected, and the
/// client retries elsewhere.
#[test]
fn a_leader_appends_no_proposals_of_a_member_that_it_removes() {
    let mut cluster = Cluster::new(&[1, 2]);
    let (leader, removed) = (cluster.leader().expect("a leader"), cluster.follower());
    cluster.propose(removed, put("before"));
    cluster.settle();
    cluster.propose(leader, remove(removed));
    cluster.propose(removed, put("after"));
    cluster.until(|cluster| cluster.ended.contains_key(&removed));
    cluster.ticks(20);
    assert_eq!(cluster.count(leader, "before"), 1);
    assert_eq!(cluster.count(leader, "after"), 0);
}

/// A leader that cannot transfer leadership accepts its own removal and rejects later requests.
#[test]
fn a_leader_appends_no_proposals_after_its_own_removal() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    cluster.tick();
    // Wait until the leader has just checked its quorum and knows of no recent responses.
    cluster
        .cut
        .extend(others.iter().map(|other| (*other, leader)));
    cluster.ticks(ELECTION_TICKS);
    assert_eq!(cluster.leader(), Some(leader));
    cluster.propose(leader, put("before"));
    cluster.propose(leader, remove(leader));
    cluster.settle();
    cluster.propose(leader, put("after"));
    cluster.cut.clear();
    cluster.until(|cluster| cluster.ended.contains_key(&leader));
    cluster.until(|cluster| cluster.leader().is_some());
    cluster.ticks(20);
    for other in others {
        assert_eq!(cluster.count(other, "before"), 1);
        assert_eq!(cluster.count(other, "after"), 0);
    }
}

/// A member that was cut off does not receive the entry of its removal. A single member cannot halt another member.
#[test]
fn a_removed_member_halts_when_most_others_reject_it() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (leader, removed) = (cluster.leader().expect("a leader"), cluster.follower());
    let other = 6 - leader - removed;
    cluster.cut_off(removed);
    assert_eq!(done(&mut cluster, leader, remove(removed)), Ok(()));
    for _ in 0..2 {
        cluster.event(removed, leader, PeerEvent::RemovedHere);
        cluster.settle();
        assert!(
            !cluster.ended.contains_key(&removed),
            "a single rejection does not halt the member"
        );
    }
    cluster.event(removed, other, PeerEvent::RemovedHere);
    cluster.settle();
    assert_eq!(cluster.ended.get(&removed), Some(&Halt::Removed));
}

#[test]
fn a_learner_without_the_log_is_not_promoted() {
    let mut cluster = Cluster::new(&[1]);
    assert_eq!(done(&mut cluster, 1, add(2, true)), Ok(()));
    for joins in [false, true] {
        if joins {
            cluster.join(2);
            cluster.until(|cluster| cluster.world(2).installs == 1);
            cluster.ticks(2);
            cluster.stop(2);
        }
        for _ in 0..30 {
            cluster.propose(1, put("k"));
        }
        cluster.settle();
        let ticket = cluster.propose(1, promote(2));
        cluster.settle();
        let not_ready = Unanswered::Refused(ProposalRejected::LearnerNotReady);
        let refused = cluster.world(1).unanswered.last();
        assert_eq!(refused, Some(&(Ticket(ticket), not_ready)));
        assert_eq!(cluster.replica(1).view().position.voters, [1]);
    }
}
