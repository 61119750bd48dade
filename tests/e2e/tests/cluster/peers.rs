//! The peer port: its HTTP answers, timeouts and limits. `server/crates/peer` tests who may use it.

use serde_json::Value;
use witan_e2e::{Cluster, Launch, http, wait};

/// Tests `--listen-peer-urls`, `--raft-read-timeout` and `--raft-write-timeout`.
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
        wait::until_true("the cluster version is decided", || {
            let version = http::once(&address, "GET", "/version", "").json();
            version["etcdcluster"] == "3.7.0"
        });
        assert_eq!(http::once(&address, "GET", "/health", "").status, 404);
        assert_eq!(http::once(&address, "POST", "/members", "").status, 405);
    }
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let leader = cluster.member(leader);
    let wait_active = |peers: f64| {
        let active = || leader.metric("etcd_network_active_peers") == Some(peers);
        wait::until_true(&format!("{peers} active peers"), active);
    };
    wait_active(2.0);
    cluster.member(follower).signal("STOP");
    wait_active(1.0);
    leader.answers(201, "PUT", "/v2/keys/a", "value=1");
    cluster.member(follower).signal("CONT");
    wait_active(2.0);
    cluster.wait_equal();
}

/// The first state after a write exists only when it is requested, so the peers' thread must be able to wait for it.
#[test]
fn the_peer_port_hashes_a_state_that_no_client_has_read() {
    let member = Launch::witan().start();
    let address = format!("127.0.0.1:{}", member.peer_port());
    for _ in 0..3 {
        member.v3("kv/put", r#"{"key":"YQ==","value":"YQ=="}"#);
        let answer = http::once(&address, "GET", "/members/hashkv", r#"{"revision":0}"#);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
