//! Members that start from different states, after a restore from different files or of some members only.

use witan_e2e::{Cluster, Launch, Server, Tool, tool::witan};

/// Saves a snapshot in which the key `k` has this value. Returns its path.
fn saved(source: &Server, value: &str) -> String {
    source.etcdctl(&["put", "k", value]);
    let path = source.dir().join(value).display().to_string();
    let said = Tool::Etcdctl36.run(&source.url(), &["snapshot", "save", &path]);
    assert_eq!(said.code, Some(0), "{}", said.all());
    path
}

/// Restores a snapshot as a member of a prepared cluster.
fn restore(cluster: &Cluster, at: usize, snapshot: &str) {
    let url = |member: &Server| format!("http://127.0.0.1:{}", member.peer_port());
    let members = cluster.members().iter().enumerate();
    let initial: Vec<String> = members
        .map(|(at, member)| format!("m{at}={}", url(member)))
        .collect();
    let member = cluster.member(at);
    let (data, name) = (
        member.dir().join("data").display().to_string(),
        format!("m{at}"),
    );
    let said = witan(&[
        "snapshot",
        "restore",
        snapshot,
        "--data-dir",
        &data,
        "--name",
        &name,
        "--initial-cluster",
        &initial.join(","),
        "--initial-advertise-peer-urls",
        &url(member),
    ]);
    assert_eq!(said.code, Some(0), "{}", said.all());
}

#[test]
fn a_member_that_was_restored_from_another_snapshot_exits() {
    let source = Launch::witan().start();
    let snapshots = [saved(&source, "first"), saved(&source, "second")];
    // The others are restored from another snapshot, or start without data.
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
        cluster
            .member(0)
            .wait_log(0, "Restore all members from the same snapshot");
        let found = cluster
            .member(1)
            .etcdctl(&["get", "k", "--print-value-only"]);
        assert_eq!(found.trim(), of_others.map_or("", |_| "second"));
    }
}
