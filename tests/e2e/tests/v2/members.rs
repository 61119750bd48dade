//! Membership changes of a cluster. `pairs` compares the responses of a single member with etcd's.

use witan_e2e::{Cluster, Launch, Tool, assert_contains, http, wait};

const SIZE: usize = 3;

/// Tests changes that need several members, and the cluster's statistics.
#[test]
fn members_of_a_cluster_are_counted_changed_removed_and_added() {
    let mut cluster = Cluster::start(SIZE);
    let ids = ids(&cluster);
    let leader = cluster.leader();
    statistics(&cluster, leader, &ids);
    let at = (leader + 1) % SIZE;
    let (url, peer_url) = (cluster.member(leader).url(), cluster.member(at).peer_url());
    let etcdctl = |args: &[&str]| Tool::Etcdctl34V2.run(&url, args);
    let listed = |line: &str| {
        wait::until(line, || {
            let said = etcdctl(&["member", "list"]).stdout;
            said.contains(line).then(|| said.lines().count())
        })
    };
    // Retry while the members have not been connected for long enough.
    let healthy = |args: &[&str]| {
        wait::until("the cluster is healthy", || {
            let said = etcdctl(args);
            (said.code == Some(0)).then_some(said.stdout)
        })
    };
    let line = format!(
        "{}: name=m{leader} peerURLs={} clientURLs={url} isLeader=true",
        ids[leader],
        cluster.member(leader).peer_url(),
    );
    assert_eq!(listed(&line), SIZE);
    let health = etcdctl(&["cluster-health"]);
    assert_contains(&health.stdout, "cluster is healthy");
    for change in ["http://127.0.0.1:2380", &peer_url] {
        healthy(&["member", "update", &ids[at], change]);
        listed(&format!("name=m{at} peerURLs={change} clientURLs="));
    }
    let removed = healthy(&["member", "remove", &ids[at]]);
    let expected = format!("Removed member {} from cluster\n", ids[at]);
    assert_eq!(removed, expected);
    cluster.member_mut(at).wait_exit();
    let said = "this member was removed from the cluster";
    cluster.member(at).wait_log(0, said);
    let name = format!("m{at}");
    let added = healthy(&["member", "add", &name, &peer_url]);
    let expected = format!("Added member named {name} with ID ");
    assert!(added.starts_with(&expected), "{added}");
    assert_eq!(listed(&format!("[unstarted]: peerURLs={peer_url}")), SIZE);
}

#[test]
fn the_response_to_an_added_member_ends_with_a_newline() {
    let server = Launch::witan().start();
    let body = r#"{"peerURLs":["http://127.0.0.1:1"]}"#;
    let added = wait::until("the member has published its name", || {
        let added = server.http_with(&http::JSON, "POST", "/v2/members", body);
        (added.status == 201).then_some(added)
    });
    let id = added.json()["id"].clone();
    let rest = r#""name":"","peerURLs":["http://127.0.0.1:1"],"clientURLs":[]"#;
    assert_eq!(added.text(), format!("{{\"id\":{id},{rest}}}\n"));
}

fn ids(cluster: &Cluster) -> Vec<String> {
    let members = cluster.members().iter();
    members
        .map(|member| format!("{:x}", member.status().id))
        .collect()
}

/// Checks that the leader counts messages to its followers. The leader counts only sent messages, and a follower only received
/// ones.
fn statistics(cluster: &Cluster, leader: usize, ids: &[String]) {
    let member = cluster.member(leader);
    let said = member.http("GET", "/v2/stats/leader", "").json();
    assert_eq!(said["leader"], *ids[leader]);
    let followers = said["followers"].as_object().expect("fields");
    assert_eq!(followers.len(), SIZE - 1);
    for (id, follower) in followers {
        assert!(ids.contains(id) && *id != ids[leader]);
        assert!(follower["counts"]["success"].as_u64() > Some(0), "{said}");
    }
    for (at, member) in cluster.members().iter().enumerate() {
        let said = member.http("GET", "/v2/stats/self", "").json();
        let [sent, received] = ["sendAppendRequestCnt", "recvAppendRequestCnt"].map(|of| &said[of]);
        let counted = [sent, received].map(|count| count.as_u64() > Some(0));
        assert_eq!(counted, [at == leader, at != leader], "{said}");
    }
}
