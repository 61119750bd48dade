//! The cluster version: a command that some members do not support is not proposed.

use witan_machine::{
    alarm::AlarmCommand,
    command::{ChangeMembers, ClusterVersion},
    member::MemberRegistry,
};

use super::*;

/// Returns a command that exists since release 3.6.
fn hash_state() -> Command {
    Command::Alarm(AlarmCommand::hash_state())
}

fn set_version(cluster: &mut Cluster, by: u64, version: &str) {
    let version = version.to_owned();
    answered(
        cluster,
        by,
        Command::ClusterVersion(ClusterVersion::of(version)),
    );
}

fn answered(cluster: &mut Cluster, by: u64, command: Command) {
    let ticket = cluster.propose(by, command);
    cluster.until(|cluster| cluster.answer(by, ticket).is_some());
}

#[test]
fn a_newer_command_is_refused_until_the_version_of_the_cluster_rises() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let members = [cluster.leader().expect("it leads"), cluster.follower()];
    for lower in ["3.5.0", ""] {
        set_version(&mut cluster, members[1], lower);
        for member in members {
            let ticket = Ticket(cluster.propose(member, hash_state()));
            cluster.turn(member);
            let refused = Unanswered::Refused(ProposalRejected::ClusterVersion);
            let last = cluster.world(member).unanswered.last();
            assert_eq!(last, Some(&(ticket, refused)), "{lower}");
            let ticket = cluster.propose(member, put("a"));
            cluster.until(|cluster| cluster.answer(member, ticket).is_some());
        }
        set_version(&mut cluster, members[1], "3.6.0");
        for member in members {
            answered(&mut cluster, member, hash_state());
        }
    }
}

fn decide(cluster: &mut Cluster, by: u64, members: &MemberRegistry) -> bool {
    let version = ClusterVersion::of("3.7.0");
    let decision = Command::ClusterVersion(version);
    let ticket = cluster.ticket();
    cluster.replica(by).take(Input::Decide {
        ticket,
        members: Arc::new(members.clone()),
        now_ns: 0,
        command: Box::new(decision),
    });
    cluster.turn(by);
    let (_, world) = cluster.members.get_mut(&by).expect("it runs");
    world.decisions.pop().expect("it is answered at once")
}

/// A member that joins after the version was decided may run an older release.
#[test]
fn a_version_is_set_only_before_the_members_change_from_whom_it_was_decided() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (leader, follower) = (cluster.leader().expect("it leads"), cluster.follower());
    let decided_from = cluster.replica(leader).view().machine.members;
    let join = Command::Members(ChangeMembers {
        add: Some(person(4)),
        voters: true,
        ..ChangeMembers::default()
    });
    cluster.cut_off(leader);
    let ticket = cluster.propose(leader, join);
    cluster.settle();
    assert!(
        !decide(&mut cluster, leader, &decided_from),
        "one is joining"
    );
    cluster.cut.clear();
    cluster.until(|cluster| cluster.answer(leader, ticket).is_some());
    assert!(
        !decide(&mut cluster, leader, &decided_from),
        "one has joined"
    );
    let members = cluster.replica(leader).view().machine.members;
    assert!(
        !decide(&mut cluster, follower, &members),
        "it does not lead"
    );
    assert!(decide(&mut cluster, leader, &members));
    cluster.ticks(2);
    for id in [leader, follower] {
        let members = cluster.replica(id).view().machine.members;
        assert_eq!(members.cluster_version, "3.7.0");
    }
}

/// After a downgrade in the log, such a command would halt the members that run an older release.
#[test]
fn a_newer_command_waits_for_a_downgrade_that_is_not_applied_and_is_refused() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("it leads");
    set_version(&mut cluster, leader, "3.6.0");
    cluster.cut_off(leader);
    let version = ClusterVersion::of("3.5.0");
    let lowered = cluster.propose(leader, Command::ClusterVersion(version));
    let newer = cluster.propose(leader, hash_state());
    let other = cluster.propose(leader, put("a"));
    cluster.settle();
    cluster.cut.clear();
    for ticket in [lowered, other] {
        cluster.until(|cluster| cluster.answer(leader, ticket).is_some());
    }
    let refused = Unanswered::Refused(ProposalRejected::ClusterVersion);
    cluster.until(|cluster| cluster.world(leader).unanswered == [(Ticket(newer), refused)]);
    let mut applied = cluster.world(leader).applied.iter();
    assert!(applied.all(|applied| applied.hashed.is_none()));
}

#[test]
fn the_leader_refuses_a_newer_command_of_a_member_that_has_not_heard_of_a_downgrade() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (leader, follower) = (cluster.leader().expect("it leads"), cluster.follower());
    cluster.stop(follower);
    set_version(&mut cluster, leader, "3.5.0");
    let ticket = Ticket(cluster.propose(follower, hash_state()));
    cluster.go_on(follower);
    let refused = Unanswered::Refused(ProposalRejected::ClusterVersion);
    cluster.until(|cluster| cluster.world(follower).unanswered == [(ticket, refused)]);
    let mut applied = cluster.world(leader).applied.iter();
    assert!(applied.all(|applied| applied.hashed.is_none()));
}

/// A member that has just joined has no state yet, so it does not know that the cluster follows another one.
#[test]
fn the_leader_of_a_cluster_that_follows_refuses_the_writes_of_all_members() {
    let ids = [1, 2, 3];
    let mut state = first_state(&ids);
    state.machine.members.follows = true;
    let mut cluster = Cluster::begun_with(state, &ids, Tuning::default());
    let refused = Unanswered::Refused(ProposalRejected::Follows);
    for member in ids {
        let ticket = Ticket(cluster.propose(member, put("a")));
        cluster.until(|cluster| cluster.world(member).unanswered == [(ticket, refused)]);
        assert!(cluster.answer(member, ticket.0).is_none());
    }
}
