//! Members that start from different states: restored from different snapshots, or only some of them restored.

use std::process::Command;

use witan_e2e::{Cluster, Kind, Launch, Server, tool};

/// Saves a snapshot in which the key `k` has this value. Returns its path.
fn saved(source: &Server, value: &str) -> String {
    source.etcdctl(&["put", "k", value]);
    let path = source.dir().join(value).display().to_string();
    source.etcdctl(&["snapshot", "save", &path]);
    path
}

fn restore(cluster: &Cluster, at: usize, snapshot: &str) {
    let members = cluster.members().iter().enumerate();
    let initial: Vec<String> = members
        .map(|(at, member)| format!("m{at}={}", member.peer_url()))
        .collect();
    let data = cluster.member(at).dir().join("data");
    let (name, initial) = (format!("m{at}"), initial.join(","));
    let member = [name.as_str(), &initial];
    let program = Command::new(Kind::Witan.binary());
    tool::restore(program, snapshot, &data, member, &[]).succeeded();
}

#[test]
fn a_member_that_was_restored_from_another_snapshot_exits() {
    let source = Launch::witan().start();
    let snapshots = [saved(&source, "first"), saved(&source, "second")];
    // The other members are restored from another snapshot, or start without data.
    for of_others in [Some(&snapshots[1]), None] {
        let mut cluster = Cluster::prepare(3, &[]);
        restore(&cluster, 0, &snapshots[0]);
        for at in [1, 2] {
            if let Some(snapshot) = of_others {
                restore(&cluster, at, snapshot);
            }
            cluster.member_mut(at).start_unready_again();
        }
        for at in [1, 2] {
            cluster.member_mut(at).wait_ready();
        }
        cluster.member_mut(0).start_unready_again();
        assert_eq!(cluster.member_mut(0).wait_exit().code(), Some(40));
        cluster.member(0).wait_log(0, "Restore all members");
        let found = cluster
            .member(1)
            .etcdctl(&["get", "k", "--print-value-only"]);
        assert_eq!(found.trim(), of_others.map_or("", |_| "second"));
    }
}
