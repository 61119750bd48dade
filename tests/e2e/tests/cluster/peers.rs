//! The peer port: who may speak there, what it answers over HTTP, what silence costs.

use std::net::TcpStream;

use serde_json::Value;
use witan_e2e::{Cluster, Server, http, wait};

fn active(member: &Server, remote: u64) -> Option<u64> {
    let name = "etcd_network_active_peers";
    let end = format!("Remote=\"{remote:x}\"}} ");
    let page = member.http("GET", "/metrics", "").text();
    let mut lines = page.lines().filter(|line| line.starts_with(name));
    let (_, value) = lines.find_map(|line| line.split_once(&end))?;
    value.parse().ok()
}

/// `--listen-peer-urls`, `--raft-read-timeout` and `--raft-write-timeout`.
#[test]
fn peer_ports_and_their_timeouts() {
    let args = ["--raft-read-timeout", "3s", "--raft-write-timeout", "3s"];
    let cluster = Cluster::start_with(3, &args);
    for member in cluster.members() {
        // --listen-peer-urls
        let address = format!("127.0.0.1:{}", member.peer_port());
        let answer = http::once(&address, "GET", "/members", "");
        assert_eq!(answer.status, 200);
        let members: Vec<Value> = serde_json::from_slice(&answer.body).expect("a list");
        let names: Vec<&str> = members.iter().filter_map(|m| m["name"].as_str()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(members.iter().all(|member| member["id"].is_u64()));
        let version = http::once(&address, "GET", "/version", "").json();
        assert_eq!(version["etcdcluster"], "3.6.0");
        assert_eq!(http::once(&address, "GET", "/health", "").status, 404);
        assert_eq!(http::once(&address, "POST", "/members", "").status, 405);
    }
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let stopped = witan_e2e::cluster::status(cluster.member(follower)).expect("it runs");
    assert_eq!(active(cluster.member(leader), stopped.id), Some(1));
    cluster.member(follower).signal("STOP");
    wait::until_true("its silence is noticed", || {
        active(cluster.member(leader), stopped.id) == Some(0)
    });
    let put = cluster.member(leader).http("PUT", "/v2/keys/a", "value=1");
    assert_eq!(put.status, 201, "{}", put.text());
    cluster.member(follower).signal("CONT");
    wait::until_true("it is connected again", || {
        active(cluster.member(leader), stopped.id) == Some(1)
    });
    cluster.wait_equal();
}

/// A leader that does not run for a while (a paused machine) is followed by another one; when it runs
/// again it learns of that.
#[test]
fn a_leader_that_was_paused_follows() {
    let mut cluster = Cluster::start(3);
    let paused = cluster.leader();
    cluster.member(paused).signal("STOP");
    let others: Vec<usize> = (0..3).filter(|at| *at != paused).collect();
    let id = |at: usize| witan_e2e::cluster::status(cluster.member(at)).map(|s| (s.leader, s.id));
    let before = id(others[0]).map(|(leader, _)| leader);
    wait::until_true("another one leads", || {
        let leader = id(others[0]).map(|(leader, _)| leader);
        leader.is_some_and(|leader| leader != 0) && leader != before
    });
    let put = cluster
        .member(others[0])
        .http("PUT", "/v2/keys/a", "value=1");
    assert_eq!(put.status, 201, "{}", put.text());
    cluster.member(paused).signal("CONT");
    assert_ne!(cluster.leader(), paused);
    cluster.wait_equal();
    cluster.member_mut(paused).kill9();
}

/// Connections that say nothing, or something else, keep no member from coming back.
#[test]
fn strangers_at_the_peer_port_keep_no_member_out() {
    let mut cluster = Cluster::start(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let address = format!("127.0.0.1:{}", cluster.member(leader).peer_port());
    let silent: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(&address).expect("it is accepted"))
        .collect();
    cluster.member_mut(follower).kill9();
    cluster.member_mut(follower).start_again();
    cluster.wait_equal();
    drop(silent);
}
