//! Commands that the host executes while the replica goes on.

use super::*;

/// Keys of a command that is long here.
const KEYS: u64 = 3;

fn delete_all() -> kv::KvOperation {
    kv::KvOperation::Delete(kv::DeleteRange {
        key: Bytes::from_static(b"k"),
        range_end: Bytes::from_static(b"l"),
        ..kv::DeleteRange::default()
    })
}

/// Three members with some keys, whose hosts take their time for a command of so many.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    for (replica, world) in cluster.members.values_mut() {
        replica.set_long_command_keys(KEYS);
        world.executes_later = true;
    }
    let leader = cluster.leader().expect("it leads");
    for key in 0..KEYS {
        cluster.propose(leader, put(&format!("k{key}")));
    }
    cluster.settle();
    cluster
}

fn waits(cluster: &Cluster, id: u64) -> bool {
    cluster.world(id).waiting.is_some()
}

/// The host is done.
fn execute(cluster: &mut Cluster, id: u64) {
    let (replica, world) = cluster.members.get_mut(&id).expect("it runs");
    let command = world.waiting.take().expect("a command waits");
    replica.executed(Box::new(command.execute()));
    cluster.settle();
}

#[test]
fn the_leader_leads_on_and_everything_is_applied_in_order() {
    let mut cluster = cluster();
    let leader = cluster.leader().expect("it leads");
    let term = cluster.replica(leader).status().term;
    let deletion = cluster.propose(leader, delete_all());
    let after = cluster.propose(leader, put("k1"));
    let other = cluster.propose(cluster.follower(), put("other"));
    cluster.ticks(ELECTION_TICKS * 5);
    for id in [1, 2, 3] {
        assert!(waits(&cluster, id), "at {id}");
        assert_eq!(cluster.count(id, "k2"), 1, "the state before at {id}");
        let status = cluster.replica(id).status();
        assert_eq!((status.leader, status.term), (leader, term), "at {id}");
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
fn the_next_leader_applies_what_the_one_before_did_not() {
    let mut cluster = cluster();
    let leader = cluster.leader().expect("it leads");
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
fn a_snapshot_replaces_the_state_that_is_worked_on() {
    let mut cluster = cluster();
    let leader = cluster.leader().expect("it leads");
    let follower = cluster.follower();
    cluster.propose(leader, delete_all());
    cluster.settle();
    for id in [1, 2, 3] {
        if id != follower {
            execute(&mut cluster, id);
        }
    }
    cluster.cut_off(follower);
    // the leader keeps no entries for who does not answer
    cluster.ticks(ELECTION_TICKS * 2 + 2);
    // more than is kept for members that lag
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
