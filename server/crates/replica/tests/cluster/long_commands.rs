//! Commands that the host executes while the replica keeps running.

use witan_machine::{
    Reply,
    lease::{LeaseGrant, LeaseId, LeaseOperation, LeaseRevoke},
};
use witan_replica::lessor::Renewal;

use super::*;

/// Minimum number of keys of a long command in these tests.
const KEYS: u64 = 3;

fn delete_all() -> kv::KvOperation {
    kv::KvOperation::Delete(kv::DeleteRange {
        key: Bytes::from_static(b"k"),
        range_end: Bytes::from_static(b"l"),
        ..kv::DeleteRange::default()
    })
}

/// Creates three members with some keys, whose hosts defer long commands.
fn cluster() -> Cluster {
    let ids = [1, 2, 3];
    let tuning = Tuning { long_command_keys: KEYS, ..Tuning::default() };
    let mut cluster = Cluster::begun_with(first_state(&ids), &ids, tuning);
    for (_, world) in cluster.members.values_mut() {
        world.executes_later = true;
    }
    let leader = cluster.leader().expect("a leader");
    for key in 0..KEYS {
        cluster.propose(leader, put(&format!("k{key}")));
    }
    cluster.settle();
    cluster
}

fn compact(revision: i64) -> kv::KvOperation {
    kv::KvOperation::Compact(kv::Compact { revision })
}

/// Runs compactions and several long commands in one batch on a sole member. If `executes_later` is set, the host defers the
/// long commands. Returns the recording host and the final state.
fn batch(executes_later: bool) -> (World, View) {
    let tuning = Tuning { long_command_keys: KEYS, ..Tuning::default() };
    let mut cluster = Cluster::begun_with(first_state(&[1]), &[1], tuning);
    cluster
        .members
        .get_mut(&1)
        .expect("running")
        .1
        .executes_later = executes_later;
    let mut tickets = Vec::new();
    for round in 0..3 {
        for key in 0..KEYS {
            tickets.push(cluster.propose(1, put(&format!("k{key}"))));
        }
        // Both compactions are at revisions of this round's puts: the first put and the third.
        tickets.push(cluster.propose(1, compact(2 + round * (KEYS as i64 + 1))));
        tickets.push(cluster.propose(1, delete_all()));
        tickets.push(cluster.propose(1, compact(4 + round * (KEYS as i64 + 1))));
    }
    cluster.settle();
    while waits(&cluster, 1) {
        execute(&mut cluster, 1);
    }
    for ticket in tickets {
        let answer = cluster.answer(1, ticket).expect("the command is answered");
        assert!(
            matches!(answer.outcome.reply, Reply::Kv(Ok(_))),
            "{answer:?}"
        );
    }
    let (replica, world) = cluster.members.remove(&1).expect("running");
    (world, replica.view())
}

#[test]
fn watchers_get_all_states_before_compactions_if_the_host_executes_at_once() {
    let [(now, at_once), (later, in_turns)] = [false, true].map(batch);
    assert_eq!(now.before_compactions.len(), 6);
    assert_eq!(now.before_compactions, later.before_compactions);
    let replies = |world: &World| -> Vec<_> {
        let applied = world.applied.iter();
        applied
            .map(|one| (one.index, one.outcome.clone()))
            .collect()
    };
    assert_eq!(replies(&now), replies(&later));
    let records = |view: &View| {
        let mut records = Vec::new();
        view.changes(None, &mut |change| records.push(change));
        records
    };
    assert_eq!(records(&at_once), records(&in_turns));
}

/// Commands that read values from disk must not occupy a turn for long.
#[test]
fn a_turn_reads_a_bounded_number_of_values() {
    let mut cluster = Cluster::begun_with(first_state(&[1]), &[1], Tuning::default());
    cluster
        .members
        .get_mut(&1)
        .expect("running")
        .1
        .executes_later = true;
    let source = kv::ValueSource::Disk;
    cluster.replica(1).take(Input::Values { source });
    cluster.propose(1, put("k"));
    cluster.settle();
    let read = kv::KvOperation::Put(kv::Put {
        key: Bytes::from_static(b"k"),
        prev_kv: true,
        ..kv::Put::default()
    });
    let tickets: Vec<u64> = (0..200).map(|_| cluster.propose(1, read.clone())).collect();
    cluster.settle();
    let answered = |cluster: &Cluster| {
        let answered = tickets
            .iter()
            .filter(|ticket| cluster.answer(1, **ticket).is_some());
        answered.count()
    };
    assert_eq!(answered(&cluster), 63);
    assert!(waits(&cluster, 1));
    execute(&mut cluster, 1);
    assert_eq!(answered(&cluster), 64 + 63);
    while waits(&cluster, 1) {
        execute(&mut cluster, 1);
    }
    assert_eq!(answered(&cluster), tickets.len());
}

fn waits(cluster: &Cluster, id: u64) -> bool {
    cluster.world(id).waiting.is_some()
}

fn execute(cluster: &mut Cluster, id: u64) {
    let (replica, world) = cluster.members.get_mut(&id).expect("running");
    let command = world.waiting.take().expect("a command waits");
    replica.take(Input::Executed(Box::new(command.execute())));
    cluster.settle();
}

#[test]
fn the_leader_keeps_leading_and_all_entries_are_applied_in_order() {
    let mut cluster = cluster();
    let leader = cluster.leader().expect("a leader");
    let term = cluster.replica(leader).status().term;
    let deletion = cluster.propose(leader, delete_all());
    let after = cluster.propose(leader, put("k1"));
    let other = cluster.propose(cluster.follower(), put("other"));
    cluster.ticks(ELECTION_TICKS * 5);
    for id in [1, 2, 3] {
        assert!(waits(&cluster, id), "at {id}");
        assert_eq!(
            cluster.count(id, "k2"),
            1,
            "member {id} has not applied the command"
        );
        let status = cluster.replica(id).status();
        assert_eq!((status.leader.0, status.term), (leader, term), "at {id}");
        assert!(status.committed > status.applied, "at {id}");
    }
    assert!(cluster.answer(leader, deletion).is_none());
    assert!(cluster.answer(leader, after).is_none());
    for id in [1, 2, 3] {
        execute(&mut cluster, id);
        assert_eq!((cluster.count(id, "k1"), cluster.count(id, "k2")), (1, 0));
        assert_eq!(cluster.count(id, "other"), 1, "at {id}");
        let applied = cluster.world(id).applied.iter().map(|one| one.index);
        let applied: Vec<u64> = applied.collect();
        assert!(applied.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    }
    assert!(cluster.answer(leader, deletion).is_some());
    assert!(cluster.answer(leader, after).is_some());
    assert!(cluster.answer(cluster.follower(), other).is_some());
}

#[test]
fn the_next_leader_applies_the_entries_that_the_last_leader_did_not() {
    let mut cluster = cluster();
    let leader = cluster.leader().expect("a leader");
    cluster.propose(leader, delete_all());
    cluster.settle();
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    cluster.kill(leader, &others);
    cluster.until(|cluster| cluster.leader().is_some());
    let ticket = cluster.propose(others[0], put("k1"));
    for id in &others {
        cluster.until(|cluster| waits(cluster, *id));
        execute(&mut cluster, *id);
    }
    cluster.until(|cluster| cluster.answer(others[0], ticket).is_some());
    assert_eq!(cluster.count(others[1], "k1"), 1);
    assert_eq!(cluster.count(others[1], "k2"), 0);
}

#[test]
fn a_snapshot_replaces_the_state_during_a_long_command() {
    let mut cluster = cluster();
    let leader = cluster.leader().expect("a leader");
    let follower = cluster.follower();
    cluster.propose(leader, delete_all());
    cluster.settle();
    for id in [1, 2, 3] {
        if id != follower {
            execute(&mut cluster, id);
        }
    }
    cluster.cut_off(follower);
    // After these ticks, the leader keeps no entries for members that do not answer.
    cluster.ticks(ELECTION_TICKS * 2 + 2);
    // These are more entries than the leader keeps for lagging members.
    for _ in 0..12 {
        for _ in 0..1000 {
            cluster.propose(leader, put("k1"));
        }
        cluster.tick();
    }
    cluster.cut.clear();
    cluster.until(|cluster| cluster.world(follower).installs == 1);
    let replaced = cluster.count(follower, "k1");
    execute(&mut cluster, follower);
    assert_eq!(cluster.count(follower, "k1"), replaced);
    let ticket = cluster.propose(follower, put("k1"));
    cluster.until(|cluster| cluster.answer(follower, ticket).is_some());
    assert_eq!(cluster.count(follower, "k1"), cluster.count(leader, "k1"));
}

const LEASE: LeaseId = LeaseId(7);
const TTL_S: i64 = 60;
const RENEWED: LeaseAnswer = LeaseAnswer::Renewal(Renewal::Renewed { ttl_s: TTL_S });

/// Renews the lease and requests its remaining time at a member. Returns both tickets.
fn ask_both(cluster: &mut Cluster, at: u64) -> [u64; 2] {
    [LeaseQuestion::Renew, LeaseQuestion::Remaining]
        .map(|question| cluster.ask_lease(at, LEASE, question))
}

fn answers(cluster: &Cluster, at: u64, asked: [u64; 2]) -> [Option<LeaseAnswer>; 2] {
    asked.map(|ticket| cluster.world(at).leases.get(&ticket).copied())
}

fn grant() -> LeaseOperation {
    LeaseOperation::Grant(LeaseGrant { id: LEASE.0, ttl_s: TTL_S })
}

#[test]
fn a_lease_that_was_granted_is_not_unknown_while_the_leader_executes_a_long_command() {
    let mut cluster = cluster();
    let leader = cluster.leader().expect("a leader");
    let follower = cluster.follower();
    cluster.propose(leader, delete_all());
    let granted = cluster.propose(follower, grant());
    cluster.settle();
    execute(&mut cluster, follower);
    assert!(cluster.answer(follower, granted).is_some());
    let asked = [follower, leader].map(|at| (at, ask_both(&mut cluster, at)));
    cluster.ticks(ELECTION_TICKS * 2);
    for (at, asked) in asked {
        assert_eq!(answers(&cluster, at, asked), [None; 2], "at {at}");
    }
    execute(&mut cluster, leader);
    cluster.tick();
    for (at, asked) in asked {
        let [renewal, remaining] = answers(&cluster, at, asked);
        assert_eq!(renewal, Some(RENEWED), "at {at}");
        assert!(
            matches!(remaining, Some(LeaseAnswer::Remaining(Some(_)))),
            "at {at}: {remaining:?}"
        );
    }
}

#[test]
fn a_lease_that_was_revoked_is_not_renewed_while_the_leader_executes_a_long_command() {
    let mut cluster = cluster();
    let leader = cluster.leader().expect("a leader");
    let follower = cluster.follower();
    cluster.propose(leader, grant());
    cluster.ticks(2);
    cluster.propose(leader, delete_all());
    let revoke = LeaseOperation::Revoke(LeaseRevoke { id: LEASE.0 });
    let revoked = cluster.propose(follower, revoke);
    cluster.settle();
    execute(&mut cluster, follower);
    assert!(cluster.answer(follower, revoked).is_some());
    let asked = ask_both(&mut cluster, follower);
    cluster.ticks(1);
    assert_eq!(answers(&cluster, follower, asked), [None; 2]);
    execute(&mut cluster, leader);
    cluster.tick();
    let gone = [
        LeaseAnswer::Renewal(Renewal::Unknown),
        LeaseAnswer::Remaining(None),
    ];
    assert_eq!(answers(&cluster, follower, asked), gone.map(Some));
}

/// Keep-alives cannot be answered during the command, but they extend the lease from their arrival.
#[test]
fn a_renewed_lease_does_not_expire_during_a_command_longer_than_its_ttl() {
    let mut cluster = cluster();
    let leader = cluster.leader().expect("a leader");
    cluster.propose(
        leader,
        LeaseOperation::Grant(LeaseGrant { id: LEASE.0, ttl_s: 5 }),
    );
    cluster.ticks(2);
    cluster.propose(leader, delete_all());
    cluster.settle();
    let mut last = [0; 2];
    for _ in 0..8 {
        last = ask_both(&mut cluster, leader);
        cluster.ticks(10);
    }
    for id in [1, 2, 3] {
        execute(&mut cluster, id);
    }
    cluster.ticks(2);
    let [renewal, _] = answers(&cluster, leader, last);
    let renewed = LeaseAnswer::Renewal(Renewal::Renewed { ttl_s: 5 });
    assert_eq!(renewal, Some(renewed));
}
