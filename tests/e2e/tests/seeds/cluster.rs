//! The pages' transcripts on three members that found one another by our own discovery service, and what
//! the pages do with such a cluster: its registry, its statistics, members that are changed and replaced.

use std::{cell::Cell, fs};

use serde_json::{Value, json};
use witan_e2e::{Cluster, Launch, Server, Tool, cluster::status, http, wait};

use super::{Running, Subject, form, replay};

/// Members of the cluster.
const SIZE: usize = 3;

/// Three members by a token of a service; and the token's URL.
fn begin() -> (Server, String, Cluster) {
    let service = Launch::witan().start();
    let url = service.http("GET", &format!("/new?size={SIZE}"), "").text();
    let mut cluster = Cluster::prepare_by_discovery(&url, SIZE);
    cluster.start_all();
    (service, url, cluster)
}

fn subject(cluster: Cluster, page: form::Page) -> Subject {
    Subject {
        addresses: cluster.addresses(),
        asked: Cell::new(0),
        page,
        watch: None,
        running: Running::Three(cluster),
    }
}

/// The pages whose readers have a cluster, or may have one.
pub(crate) const PAGES: [(&str, form::Page); 2] = [
    ("seed_001.txt", form::Page::SortedOnThree),
    ("seed_002.txt", form::Page::ThreeMembers),
];

pub(crate) fn replay_page(file: &str, page: form::Page) {
    let (_service, _, cluster) = begin();
    replay(subject(cluster, page), file);
}

#[test]
fn registry_statistics_and_members_of_the_pages() {
    let (service, url, mut cluster) = begin();
    registry_and_statistics(&service, &url, &cluster);
    change_members(&mut cluster);
}

/// "Send a GET to the discovery of the cluster to see its members", "send a DELETE to remove one".
fn registry_and_statistics(service: &Server, url: &str, cluster: &Cluster) {
    let path = url.strip_prefix(&service.url()).expect("the service's URL");
    let listed = service.http("GET", path, "").json();
    let registry = format!("/_etcd/registry{path}");
    assert_eq!(listed["node"]["key"], *registry);
    let nodes = listed["node"]["nodes"].as_array().expect("a list");
    let ids: Vec<String> = ids(cluster);
    let mut keys: Vec<String> = ids.iter().map(|id| format!("{registry}/{id}")).collect();
    keys.sort();
    let found: Vec<&Value> = nodes.iter().map(|node| &node["key"]).collect();
    assert_eq!(found, keys.iter().collect::<Vec<_>>());
    for (at, (member, id)) in cluster.members().iter().zip(&ids).enumerate() {
        let node = nodes
            .iter()
            .find(|node| node["key"] == *format!("{registry}/{id}"));
        let value = format!("m{at}={}", member.peer_url());
        assert_eq!(node.expect("listed")["value"], *value);
    }
    let leader = cluster.leader();
    let said = cluster
        .member(leader)
        .http("GET", "/v2/stats/leader", "")
        .json();
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
    let target = format!("{path}/{}", ids[1]);
    service.answers(200, "DELETE", &target, "");
    let left = service.http("GET", path, "").json();
    assert_eq!(
        left["node"]["nodes"].as_array().map(Vec::len),
        Some(SIZE - 1)
    );
}

/// Ids as v2 writes them, in the order of the members.
fn ids(cluster: &Cluster) -> Vec<String> {
    let members = cluster.members().iter();
    members
        .map(|member| format!("{:x}", status(member).expect("it runs").id))
        .collect()
}

/// The last section of the interface page: other peer URLs, a member removed, added and started anew.
fn change_members(cluster: &mut Cluster) {
    let ids = ids(cluster);
    let leader = cluster.leader();
    let at = (leader + 1) % SIZE;
    let (url, peer_url) = (cluster.member(leader).url(), cluster.member(at).peer_url());
    let path = format!("/v2/members/{}", ids[at]);
    let etcdctl = |args: &[&str]| Tool::Etcdctl34V2.run(&url, args);
    let listed = |line: &str| {
        wait::until(line, || {
            let said = etcdctl(&["member", "list"]).stdout;
            said.contains(line).then(|| said.lines().count())
        })
    };
    let line = format!(
        "{}: name=m{leader} peerURLs={} clientURLs={url} isLeader=true",
        ids[leader],
        cluster.member(leader).peer_url(),
    );
    assert_eq!(listed(&line), SIZE);
    // other peer URLs and back
    for change in ["http://127.0.0.1:2380", &peer_url] {
        let body = json!({ "peerURLs": [change] }).to_string();
        let changed = members(cluster.member(leader), "PUT", &path, &body);
        assert_eq!((changed.status, changed.text().as_str()), (204, ""));
        listed(&format!("name=m{at} peerURLs={change} clientURLs="));
    }
    // removed: it ends and says why
    let removed = wait::until("the cluster is healthy", || {
        let said = etcdctl(&["member", "remove", &ids[at]]);
        (said.code == Some(0)).then_some(said.stdout)
    });
    assert_eq!(
        removed,
        format!("Removed member {} from cluster\n", ids[at])
    );
    cluster.member_mut(at).wait_exit();
    let said = "this member was removed from the cluster";
    cluster.member(at).wait_log(0, said);
    let gone = members(cluster.member(leader), "DELETE", &path, "");
    assert_eq!(gone.status, 410, "{}", gone.text());
    // added again under another id, and started with an empty folder
    let name = format!("m{at}");
    let added = etcdctl(&["member", "add", &name, &peer_url]);
    let initial = initial_cluster(&name, &added.stdout);
    assert_eq!(listed(&format!("[unstarted]: peerURLs={peer_url}")), SIZE);
    let member = cluster.member_mut(at);
    fs::remove_dir_all(member.dir().join("data")).expect("it ended");
    // as the page says: of a member that was there before, discovery is not asked again
    member.add_args(["--discovery", "", "--initial-cluster", &initial]);
    member.add_args(["--initial-cluster-state", "existing"]);
    member.start_again();
    listed(&format!("name={name} peerURLs={peer_url} clientURLs="));
    cluster.wait_equal();
}

/// The flag's value in what etcdctl says of an added member, all of which is checked.
fn initial_cluster(name: &str, said: &str) -> String {
    let added = format!("Added member named {name} with ID ");
    assert!(said.starts_with(&added), "{said}");
    let lines: Vec<_> = said.lines().collect();
    let own = format!("ETCD_NAME=\"{name}\"");
    let state = "ETCD_INITIAL_CLUSTER_STATE=\"existing\"";
    assert!(
        lines.contains(&&own[..]) && lines.contains(&state),
        "{said}"
    );
    let mut values = lines
        .iter()
        .filter_map(|line| line.strip_prefix("ETCD_INITIAL_CLUSTER="));
    values
        .next()
        .expect("the cluster")
        .trim_matches('"')
        .to_owned()
}

/// A request of the members API; again while the members have not been connected for long enough.
fn members(through: &Server, method: &str, path: &str, body: &str) -> http::Response {
    wait::until("the cluster is healthy", || {
        let answer = through.http_with(&http::JSON, method, path, body);
        (!answer.text().contains("unhealthy cluster")).then_some(answer)
    })
}
