//! etcdctl of both ages against a cluster.

use serde_json::Value;
use witan_e2e::{Cluster, Tool};

#[test]
fn etcdctl_sees_all_members_and_moves_the_leader() {
    let cluster = Cluster::start(3);
    let urls: Vec<String> = cluster.members().iter().map(|m| m.url()).collect();
    for tool in [Tool::Etcdctl36, Tool::Etcdctl34V3] {
        for member in cluster.members() {
            let said = tool.run(
                &member.url(),
                &["endpoint", "status", "--cluster", "-w", "json"],
            );
            assert_eq!(said.code, Some(0), "{}", said.all());
            let status: Vec<Value> = serde_json::from_str(&said.stdout).expect("JSON");
            assert_eq!(status.len(), 3, "{}", said.all());
            let leaders: Vec<&Value> = status.iter().map(|s| &s["Status"]["leader"]).collect();
            assert!(
                leaders.iter().all(|leader| *leader == leaders[0]),
                "{}",
                said.all()
            );
            let health = tool.run(&member.url(), &["endpoint", "health", "--cluster"]);
            assert_eq!(health.code, Some(0), "{}", health.all());
            let list = tool.run(&member.url(), &["member", "list"]);
            assert_eq!(list.stdout.lines().count(), 3, "{}", list.all());
            for (at, url) in urls.iter().enumerate() {
                let started = format!("started, m{at}, ");
                let line = list.stdout.lines().find(|line| line.contains(&started));
                assert!(
                    line.is_some_and(|line| line.contains(url)),
                    "{}",
                    list.all()
                );
            }
        }
        let all = urls.join(",");
        let put = tool.run(&all, &["put", "a", "1"]);
        assert_eq!(put.stdout, "OK\n", "{}", put.all());
    }
    let health = Tool::Etcdctl34V2.run(&urls.join(","), &["cluster-health"]);
    assert!(
        health.stdout.contains("cluster is healthy"),
        "{}",
        health.all()
    );
    moves_the_leader(&cluster);
}

fn moves_the_leader(cluster: &Cluster) {
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let status = witan_e2e::cluster::status(cluster.member(follower)).expect("it runs");
    let target = format!("{:x}", status.id);
    for tool in [Tool::Etcdctl36, Tool::Etcdctl34V3] {
        let refused = tool.run(&cluster.member(follower).url(), &["move-leader", &target]);
        assert_ne!(refused.code, Some(0), "{}", refused.all());
    }
    cluster.member(leader).etcdctl(&["move-leader", &target]);
    assert_eq!(cluster.leader(), follower);
}
