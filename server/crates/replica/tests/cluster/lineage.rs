//! Members whose logs agree but whose states differ, as after an adoption from etcd. All members get one leader's state.

use witan_machine::{
    auth::{AuthCommand, AuthOperation, UserAdd},
    command::Entry,
    kv::{Compact, Kv, KvCommand},
    revision::Revision,
    values::test_support::records,
};

use super::*;

/// Returns three states with the same history. The second state has different blocks. The third state has another salt and
/// keeps a deletion that a compaction removed from the other states.
fn states(ids: &[u64]) -> [View; 3] {
    let mut kv = Kv::default();
    let apply = |kv: &mut Kv, operation| {
        let command = KvCommand { operation: Some(operation) };
        kv.apply(&command).expect("the operation succeeds");
    };
    (0..200).for_each(|at| apply(&mut kv, put(&format!("k{}", at % 7))));
    let delete = kv::DeleteRange { key: "k3".into(), ..kv::DeleteRange::default() };
    apply(&mut kv, kv::KvOperation::Delete(delete));
    let revision = kv.revision().0;
    apply(&mut kv, kv::KvOperation::Compact(Compact { revision }));
    kv.clear_states_before_compaction();
    let [packed, with_deletion] = [false, true].map(|deletes| packed(&kv, deletes));
    let mut lineage = 0;
    [
        (kv, "salt"),
        (packed, "salt"),
        (with_deletion, "other salt"),
    ]
    .map(|(kv, password)| {
        let mut state = first_state(ids);
        state.machine.kv = kv;
        let user = UserAdd {
            name: "u".into(),
            password: password.into(),
            no_password: false,
        };
        let operation = Some(AuthOperation::UserAdd(user));
        let command = Command::Auth(AuthCommand { operation, ..AuthCommand::default() });
        state.machine.apply(&Entry::unstamped(command, None));
        lineage += 1;
        state.position.lineage = lineage;
        state
    })
}

/// Copies a key space without the gaps of a compaction. If `deletes` is set, the copy has deletions at the compacted revision.
fn packed(kv: &Kv, deletes: bool) -> Kv {
    let mut copy = Kv::default();
    let written = kv.retained_versions();
    for written in written.filter(|written| deletes || !written.deletes()) {
        copy.import_change(&written)
            .expect("the operation succeeds");
    }
    copy.finish_import(kv.compacted(), Revision::NONE)
        .expect("the operation succeeds");
    copy
}

/// Creates members 1 to 3, whose states differ.
fn adopted() -> Cluster {
    let mut cluster = Cluster::default();
    for (id, state) in (1..).zip(states(&[1, 2, 3])) {
        let member = (replica(id, state, Tuning::default()), World::default());
        cluster.members.insert(id, member);
    }
    cluster
}

impl Cluster {
    /// Sends a write to a follower, waits until all members have applied the write, and checks that all have the same state.
    fn assert_one_state(&mut self) {
        // A request that waits now would fail, because a snapshot may skip its entry.
        self.ticks(30);
        let by = self.follower();
        let ticket = self.propose(by, put("after"));
        self.until(|cluster| cluster.answer(by, ticket).is_some());
        self.ticks(30);
        let ids: Vec<u64> = self.members.keys().copied().collect();
        let all: Vec<_> = ids
            .iter()
            .map(|id| records(&self.replica(*id).view()))
            .collect();
        assert!(all.iter().all(|other| *other == all[0]), "members differ");
    }
}

#[test]
fn all_members_get_the_state_of_the_first_leader() {
    let mut cluster = adopted();
    let [first, second, third] = states(&[1, 2, 3]);
    assert!(records(&first) != records(&second) && records(&second) != records(&third));
    cluster.until(|cluster| cluster.leader().is_some());
    let leader = cluster.leader().expect("a leader");
    cluster.assert_one_state();
    for id in [1, 2, 3] {
        assert_eq!(cluster.world(id).installs, u64::from(id != leader));
        let view = cluster.replica(id).view();
        assert_eq!(
            view.position.lineage, leader,
            "the lineages are in the order of the members"
        );
    }
    let next = cluster.follower();
    cluster.hand_over(leader, next);
    cluster.until(|cluster| cluster.leader() == Some(next));
    cluster.assert_one_state();
    let installs: u64 = (1..=3).map(|id| cluster.world(id).installs).sum();
    assert_eq!(installs, 2, "each other member installs one snapshot");
}

/// To a state that will be replaced, a member applies no entries after the leader's first entry.
#[test]
fn a_member_accepts_no_later_entries_before_it_has_the_leaders_state() {
    let mut cluster = adopted();
    cluster.holds_snapshots = true;
    cluster.until(|cluster| cluster.leader().is_some());
    let leader = cluster.leader().expect("a leader");
    let first = cluster.replica(leader).last_index();
    let ticket = cluster.propose(leader, put("a"));
    cluster.ticks(20);
    for id in [1, 2, 3].into_iter().filter(|id| *id != leader) {
        assert_eq!(cluster.replica(id).last_index(), first);
    }
    assert!(
        cluster.answer(leader, ticket).is_none(),
        "a quorum has to take it"
    );
    cluster.holds_snapshots = false;
    for held in std::mem::take(&mut cluster.held_snapshots) {
        cluster.deliver(held);
    }
    cluster.until(|cluster| cluster.answer(leader, ticket).is_some());
    cluster.assert_one_state();
}

/// The leader stops after one other member, or none, has installed its state. Either of the other members leads next.
#[test]
fn the_next_leaders_state_counts_if_a_leader_ends_before_all_have_its_state() {
    for installed in 0..=1 {
        for next in 0..=1 {
            let mut cluster = adopted();
            cluster.holds_snapshots = true;
            cluster.until(|cluster| cluster.leader().is_some());
            let leader = cluster.leader().expect("a leader");
            cluster.until(|cluster| cluster.held_snapshots.len() == 2);
            let held = std::mem::take(&mut cluster.held_snapshots);
            let others: Vec<u64> = held.iter().map(|held| held.to.0).collect();
            for held in held.into_iter().take(installed) {
                cluster.deliver(held);
            }
            cluster.settle();
            cluster.holds_snapshots = false;
            cluster.kill(leader, &others);
            cluster.until(|cluster| cluster.leader().is_some());
            let leads = cluster.leader().expect("a leader");
            if leads != others[next] {
                cluster.hand_over(leads, others[next]);
                cluster.until(|cluster| cluster.leader() == Some(others[next]));
            }
            cluster.assert_one_state();
        }
    }
}

#[test]
fn equal_states_are_not_replaced() {
    let [state, ..] = states(&[1, 2, 3]);
    let mut cluster = Cluster::begun_with(state, &[1, 2, 3], Tuning::default());
    cluster.assert_one_state();
    assert_eq!(cluster.snapshots_sent, 0);
}

#[test]
fn a_sole_member_keeps_its_state() {
    let [state, ..] = states(&[1]);
    let mut cluster = Cluster::begun_with(state, &[1], Tuning::default());
    let ticket = cluster.propose(1, put("a"));
    cluster.until(|cluster| cluster.answer(1, ticket).is_some());
    assert_eq!(cluster.world(1).installs, 0);
}
