//! Too few members run: writes fail, but serializable reads are served.

use serde_json::json;
use witan_e2e::{Cluster, rows, wait};

#[test]
fn a_member_without_a_quorum_serves_serializable_reads() {
    let mut cluster = Cluster::start(3);
    cluster
        .member(0)
        .answers(201, "PUT", "/v2/keys/a", "value=1");
    let key = json!({"key": "YWFh", "value": "YQ=="}).to_string();
    cluster.member(0).v3("kv/put", &key);
    cluster.wait_equal();
    for at in [1, 2] {
        cluster.member_mut(at).kill9();
    }
    let alone = cluster.member(0);
    wait::until_true("the member has no leader", || {
        alone.http("GET", "/health", "").status == 503
    });
    // These requests wait for a leader.
    let writes = [
        ("POST", "/v3/kv/put", key.as_str()),
        ("PUT", "/v2/keys/a", "value=2"),
        ("POST", "/v3/kv/range", "{\"key\":\"YWFh\"}"),
    ];
    let waiting = writes.map(|(method, target, body)| (method, alone.send(method, target, body)));
    // These requests need no leader.
    let body = json!({"key": "YWFh", "serializable": true}).to_string();
    let read = alone.http("POST", "/v3/kv/range", &body);
    assert_eq!(read.json()["kvs"][0]["value"], "YQ==", "{}", read.text());
    let read = alone.http("GET", "/v2/keys/a", "").json();
    assert_eq!(read["node"]["value"], "1");
    let health = alone.http("GET", "/health", "");
    assert_eq!(health.json()["health"], "false", "{}", health.text());
    assert_eq!(alone.metric("etcd_server_has_leader"), Some(0.0));
    for (method, mut connection) in waiting {
        let refused = connection.response(method).unwrap();
        assert!(refused.status >= 500, "{}", refused.status);
        assert!(refused.text().contains("timed out"), "{}", refused.text());
    }
    cluster.start_all();
    cluster
        .member(0)
        .answers(200, "PUT", "/v2/keys/a", "value=3");
}

/// The access to a change of the cluster is checked against the latest state, which only a quorum knows. Reads need no quorum.
#[test]
fn a_member_without_a_quorum_authorizes_no_change_of_the_cluster() {
    let mut cluster = Cluster::start_with(3, &["--bcrypt-cost=4"]);
    cluster.member(0).require_users(&["root:r", "alice:a"]);
    for at in [1, 2] {
        cluster.member_mut(at).kill9();
    }
    let alone = cluster.member(0);
    wait::until_true("the member has no leader", || {
        alone.http("GET", "/health", "").status == 503
    });
    let ask = |by, method, target, body| alone.http_as(Some(by), method, target, body).status;
    let (root, alice) = ("Basic cm9vdDpy", "Basic YWxpY2U6YQ==");
    let changes = r#"
        POST /v2/members {"peerURLs":["http://127.0.0.1:1"]}
        PUT /v2/auth/users/bob {"user":"bob","password":"b"}
    "#;
    for [method, target, body] in rows(changes) {
        assert_eq!(ask(alice, method, target, body), 401, "{method} {target}");
        assert_eq!(ask(root, method, target, body), 503, "{method} {target}");
    }
    for target in ["/v2/members", "/v2/auth/users", "/debug/vars", "/metrics"] {
        assert_eq!(ask(root, "GET", target, ""), 200, "{target}");
    }
}

/// SIGTERM quickly stops a member that waits for a quorum.
#[test]
fn a_member_that_waits_for_the_others_ends_with_sigterm() {
    let mut cluster = Cluster::prepare(3, &[]);
    let alone = cluster.member_mut(0);
    alone.start_unready_again();
    alone.wait_log(0, "failed to reach a peer");
    assert_eq!(alone.terminate().code(), Some(0));
    // This also holds for a member that serves clients without a leader, and for a member that still waits to serve them.
    let mut patient = Cluster::prepare(3, &["--wait-cluster-ready-timeout", "1h"]);
    patient.member_mut(0).start_unready_again();
    alone.add_args(["--wait-cluster-ready-timeout", "100ms"]);
    alone.start_unready_again();
    alone.wait_log(0, "serving client traffic");
    patient.member(0).wait_log(0, "failed to reach a peer");
    let log = patient.member(0).log().join("\n");
    assert!(!log.contains("serving client traffic"), "{log}");
    assert_eq!(patient.member_mut(0).terminate().code(), Some(0));
    alone.answers(200, "GET", "/version", "");
    assert_eq!(alone.terminate().code(), Some(0));
    cluster.start_all();
    cluster.leader();
}
