//! All members hash their state at the same log index. A member whose state differs gets the leader's state.

use witan_machine::{alarm::AlarmCommand, kv::Compact, record::RecordChange};
use witan_tree::{Set, TreeOperation};

use super::*;

/// Creates members 1 to 3. Member `id` starts with a different v2 tree.
fn differing(id: u64) -> Cluster {
    let state = first_state(&[1, 2, 3]);
    let mut other = state.clone();
    other.machine.tree.advance_index();
    let mut cluster = Cluster::default();
    for member in [1, 2, 3] {
        let state = if member == id { &other } else { &state };
        let member_and_world = (
            replica(member, state.clone(), Tuning::default()),
            World::default(),
        );
        cluster.members.insert(member, member_and_world);
    }
    cluster.until(|cluster| cluster.leader().is_some());
    cluster
}

/// Returns the records that are equal on all members at one index, without the v3 keys.
fn records(view: &View) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    view.machine.changes_except_keys(None, &mut |change| {
        if let RecordChange::Put { key, value } = change {
            records.push((key, value));
        }
    });
    records
}

/// Makes all members freeze their state at the same index. Returns the states by member.
fn frozen(cluster: &mut Cluster, by: u64) -> BTreeMap<u64, View> {
    let ticket = cluster.propose(by, Command::Alarm(AlarmCommand::hash_state()));
    cluster.until(|cluster| cluster.answer(by, ticket).is_some());
    let index = cluster.answer(by, ticket).expect("answered").index;
    cluster.until(|cluster| {
        let mut worlds = cluster.members.values().map(|(_, world)| world);
        worlds.all(|world| world.applied.last().is_some_and(|last| last.index >= index))
    });
    let mut states = BTreeMap::new();
    for (id, (_, world)) in &cluster.members {
        let mut applied = world.applied.iter();
        let applied = applied.find(|applied| applied.index == index);
        let state = applied.and_then(|applied| applied.hashed.as_deref());
        let state = state.expect("the member has frozen its state");
        assert_eq!(state.position.index, index);
        states.insert(*id, state.clone());
    }
    states
}

#[test]
fn members_freeze_the_same_state_on_request_and_after_compactions() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let by = cluster.follower();
    for key in ["a", "b"] {
        cluster.propose(by, put(key));
    }
    let set = Set { path: "/a".into(), value: "1".into(), ..Set::default() };
    cluster.propose(by, TreeOperation::Set(set));
    let states = frozen(&mut cluster, by);
    let first = records(&states[&1]);
    assert!(states.values().all(|state| records(state) == first));
    assert!(
        states
            .values()
            .all(|state| state.machine.alarms.list(None).next().is_none())
    );

    let compact = kv::KvOperation::Compact(Compact { revision: 2 });
    let ticket = cluster.propose(by, compact);
    cluster.until(|cluster| cluster.answer(by, ticket).is_some());
    let applied = cluster.answer(by, ticket).expect("answered");
    assert!(applied.hashed.is_some());
    let frozen = cluster
        .world(by)
        .applied
        .iter()
        .filter(|a| a.hashed.is_some());
    assert_eq!(frozen.count(), 2, "no other entry freezes the state");
}

#[test]
fn a_member_with_a_different_state_gets_the_leaders_state() {
    for corrupt in [1, 2, 3] {
        let mut cluster = differing(corrupt);
        let states = frozen(&mut cluster, corrupt);
        let differs = |id: u64| records(&states[&id]) != records(&states[&(id % 3 + 1)]);
        assert!([1, 2, 3].into_iter().filter(|id| differs(*id)).count() == 2);
        if cluster.leader() == Some(corrupt) {
            // A leader does not request its own state.
            cluster.replica(corrupt).take(Input::Rebuild);
            cluster.ticks(3);
            assert_eq!(cluster.world(corrupt).installs, 0);
            cluster.hand_over(corrupt, corrupt % 3 + 1);
        } else {
            cluster.replica(corrupt).take(Input::Rebuild);
        }
        let by = corrupt % 3 + 1;
        let ticket = cluster.propose(by, put("a"));
        cluster.until(|cluster| cluster.answer(by, ticket).is_some());
        cluster.until(|cluster| cluster.world(corrupt).installs == 1);
        cluster.ticks(2);
        let states = frozen(&mut cluster, corrupt);
        let first = records(&states[&1]);
        assert!(states.values().all(|state| records(state) == first));
        assert_eq!(cluster.count(corrupt, "a"), 1);
        assert_eq!(
            cluster.world(corrupt).installs,
            1,
            "the member installs one snapshot"
        );
    }
}

#[test]
fn a_member_requests_the_state_again_from_the_next_leader() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    let corrupt = cluster.follower();
    cluster.cut.insert((leader, corrupt));
    cluster.replica(corrupt).take(Input::Rebuild);
    cluster.ticks(1);
    let rest = [1, 2, 3].into_iter().filter(|id| *id != leader);
    cluster.kill(leader, &rest.collect::<Vec<_>>());
    cluster.until(|cluster| cluster.leader().is_some());
    if cluster.leader() == Some(corrupt) {
        cluster.hand_over(corrupt, 6 - leader - corrupt);
    }
    cluster.until(|cluster| cluster.world(corrupt).installs == 1);
    let ticket = cluster.propose(corrupt, put("a"));
    cluster.until(|cluster| cluster.answer(corrupt, ticket).is_some());
}

/// One voter is down, and the other follower's acknowledgments are lost. The leader commits nothing without these
/// acknowledgments.
#[test]
fn a_member_accepts_entries_until_the_leader_has_committed_its_log() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (member, leader) = (cluster.follower(), cluster.leader().expect("a leader"));
    cluster.kill(6 - member - leader, &[]);
    cluster.cut.insert((member, leader));
    let ticket = cluster.propose(leader, put("a"));
    cluster.settle();
    cluster.replica(member).take(Input::Rebuild);
    cluster.settle();
    cluster.cut.clear();
    cluster.until(|cluster| cluster.answer(leader, ticket).is_some());
    cluster.until(|cluster| cluster.world(member).installs == 1);
    assert_eq!(cluster.count(member, "a"), 1);
}

/// A snapshot that was requested earlier arrives again after later entries have been acknowledged.
#[test]
fn a_state_older_than_the_requested_one_is_not_installed() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let (member, leader) = (cluster.follower(), cluster.leader().expect("a leader"));
    cluster.holds_snapshots = true;
    cluster.replica(member).take(Input::Rebuild);
    cluster.until(|cluster| !cluster.held_snapshots.is_empty());
    let earlier = cluster.held_snapshots.remove(0);
    cluster
        .replica(member)
        .take(Input::Message(earlier.clone()));
    cluster.settle();
    assert_eq!(cluster.world(member).installs, 1);
    cluster.event(leader, member, PeerEvent::SnapshotDelivered);
    cluster.ticks(2);
    let first = cluster.replica(member).last_index();
    let third = 6 - member - leader;
    cluster.cut.extend([(leader, third), (member, leader)]);
    cluster.propose(leader, put("k"));
    cluster.settle();
    let last = cluster.replica(member).last_index();
    assert_eq!(last, first + 1, "the log has the write");
    cluster.replica(member).take(Input::Rebuild);
    cluster.tick();
    cluster.replica(member).take(Input::Message(earlier));
    cluster.settle();
    assert_eq!(cluster.replica(member).last_index(), last);
    cluster.cut.clear();
    cluster.holds_snapshots = false;
    cluster.until(|cluster| cluster.world(member).installs == 2);
}
