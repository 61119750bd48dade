//! The cluster version and the feature level: a command that some members do not support is not proposed. A member halts
//! before it applies a level that its release does not support.

use witan_machine::{
    alarm::AlarmCommand,
    command::{ChangeMembers, ClusterVersion, Downgrade},
    levels::{Level, OWN},
    member::MemberRegistry,
};

use super::{
    membership::{add, done},
    *,
};

/// The level of the release after this release.
const NEXT: Level = OWN + 1;

/// Returns a command that requires cluster version 3.6.
fn hash_state() -> Command {
    Command::Alarm(AlarmCommand::hash_state())
}

/// Sets the cluster version at member `by` and waits until this member has applied the change.
fn set_version(cluster: &mut Cluster, by: u64, version: &str) {
    let version = version.to_owned();
    answered(
        cluster,
        by,
        Command::ClusterVersion(ClusterVersion::of(version)),
    );
}

/// Proposes a command at member `by` and waits until this member has applied the command.
fn answered(cluster: &mut Cluster, by: u64, command: Command) {
    let ticket = cluster.propose(by, command);
    cluster.until(|cluster| cluster.answer(by, ticket).is_some());
}

#[test]
fn a_newer_command_is_refused_until_the_cluster_version_rises() {
    for lower in ["3.5.0", ""] {
        let ids = [1, 2, 3];
        let mut state = first_state(&ids);
        state.machine.members.cluster_version = lower.into();
        let mut cluster = Cluster::begun_with(state, &ids, Tuning::default());
        let members = [cluster.leader().expect("a leader"), cluster.follower()];
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

/// Proposes, at member `by`, a decision that was derived from `members`. Returns whether it was appended.
fn decide(
    cluster: &mut Cluster,
    by: u64,
    members: &MemberRegistry,
    decided: ClusterVersion,
) -> bool {
    let decision = Command::ClusterVersion(decided);
    let ticket = cluster.ticket();
    cluster.replica(by).take(Input::Decide {
        ticket,
        members: Arc::new(members.clone()),
        now_ns: 0,
        command: Box::new(decision),
    });
    cluster.turn(by);
    let (_, world) = cluster.members.get_mut(&by).expect("running");
    world
        .decisions
        .pop()
        .expect("the decision is answered at once")
}

/// A member that joins after the version has been decided may run an older release.
#[test]
fn a_version_is_set_only_if_the_members_have_not_changed_since_the_decision() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (leader, follower) = (cluster.leader().expect("a leader"), cluster.follower());
    let decided_from = cluster.replica(leader).view().machine.members;
    let version = || ClusterVersion::of("3.7.0");
    let join = Command::Members(ChangeMembers {
        add: Some(person(4)),
        voters: true,
        ..ChangeMembers::default()
    });
    cluster.cut_off(leader);
    let ticket = cluster.propose(leader, join);
    cluster.settle();
    assert!(
        !decide(&mut cluster, leader, &decided_from, version()),
        "a member is joining"
    );
    cluster.cut.clear();
    cluster.until(|cluster| cluster.answer(leader, ticket).is_some());
    assert!(
        !decide(&mut cluster, leader, &decided_from, version()),
        "a member has joined"
    );
    let members = cluster.replica(leader).view().machine.members;
    assert!(
        !decide(&mut cluster, follower, &members, version()),
        "the member does not lead"
    );
    assert!(decide(&mut cluster, leader, &members, version()));
    cluster.ticks(2);
    for id in [leader, follower] {
        let members = cluster.replica(id).view().machine.members;
        assert_eq!(members.cluster_version, "3.7.0");
    }
}

fn raise(level: Level) -> ClusterVersion {
    ClusterVersion { level, ..ClusterVersion::default() }
}

/// Starts a cluster of members whose releases have these levels.
fn of_levels(members: &[(u64, Level)]) -> Cluster {
    let ids: Vec<u64> = members.iter().map(|(id, _)| *id).collect();
    let mut cluster = Cluster::default();
    for (id, level) in members {
        let replica = started(Config { level: *level, ..config(*id) }, first_state(&ids));
        cluster.members.insert(*id, (replica, World::default()));
    }
    cluster.until(|cluster| cluster.leader().is_some());
    cluster
}

fn level(cluster: &mut Cluster, of: u64) -> Level {
    cluster.replica(of).view().machine.members.level()
}

#[test]
fn a_raise_is_decided_once_and_keeps_the_version() {
    let mut cluster = of_levels(&[(1, NEXT), (2, NEXT), (3, NEXT)]);
    let (leader, follower) = (cluster.leader().expect("a leader"), cluster.follower());
    cluster.ticks(2);
    let members = cluster.replica(leader).view().machine.members;
    assert!(decide(&mut cluster, leader, &members, raise(NEXT)));
    cluster.ticks(2);
    for id in [leader, follower] {
        assert_eq!(level(&mut cluster, id), NEXT);
        let members = cluster.replica(id).view().machine.members;
        assert_eq!(members.cluster_version, "3.6.0");
    }
    let again = decide(&mut cluster, leader, &members, raise(NEXT));
    assert!(!again, "the level has changed since");
    answered(&mut cluster, follower, put("a").into());
}

#[test]
fn a_raise_halts_only_a_member_of_an_earlier_release() {
    let mut cluster = of_levels(&[(1, NEXT), (2, OWN), (3, NEXT)]);
    let leader = cluster.leader().expect("a leader");
    cluster.propose(leader, Command::ClusterVersion(raise(NEXT)));
    cluster.until(|cluster| cluster.ended.contains_key(&2));
    let halt = Halt::LaterLevel { level: NEXT, own: OWN };
    assert_eq!(cluster.ended, BTreeMap::from([(2, halt)]));
    cluster.until(|cluster| cluster.leader().is_some());
    cluster.ticks(2 * ELECTION_TICKS);
    for id in [1, 3] {
        assert_eq!(level(&mut cluster, id), NEXT);
    }
}

/// The state contains the higher level, so no entry shows the level to a member that joins.
#[test]
fn a_member_of_an_earlier_release_does_not_install_a_state_above_its_level() {
    let mut cluster = of_levels(&[(1, NEXT)]);
    answered(&mut cluster, 1, Command::ClusterVersion(raise(NEXT)));
    assert_eq!(done(&mut cluster, 1, add(2, true)), Ok(()));
    cluster.join(2);
    cluster.until(|cluster| cluster.ended.contains_key(&2));
    let halt = Halt::LaterLevel { level: NEXT, own: OWN };
    assert_eq!(cluster.ended, BTreeMap::from([(2, halt)]));
}

/// If the level rose after the downgrade, the members that have returned to the previous release would stop.
#[test]
fn a_raise_waits_for_a_downgrade_that_is_not_applied() {
    let mut cluster = of_levels(&[(1, NEXT), (2, NEXT), (3, NEXT)]);
    let leader = cluster.leader().expect("a leader");
    cluster.ticks(2);
    let members = cluster.replica(leader).view().machine.members;
    cluster.cut_off(leader);
    let target = "0.1.0".to_owned();
    let ticket = cluster.propose(leader, Command::Downgrade(Downgrade { target }));
    cluster.settle();
    assert!(!decide(&mut cluster, leader, &members, raise(NEXT)));
    cluster.cut.clear();
    cluster.until(|cluster| cluster.answer(leader, ticket).is_some());
    assert!(
        !decide(&mut cluster, leader, &members, raise(NEXT)),
        "the downgrade is known"
    );
}

/// A member that has just joined has no state yet, so it does not know that the cluster follows another cluster.
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
