//! Too few members run: nothing is written, and what can be answered is.

use serde_json::json;
use witan_e2e::{Cluster, Server, cluster::status, http, wait};

#[test]
fn a_member_without_a_quorum_answers_what_it_can() {
    let mut cluster = Cluster::start(3);
    let put = cluster.member(0).http("PUT", "/v2/keys/a", "value=1");
    assert_eq!(put.status, 201, "{}", put.text());
    let key = json!({"key": "YWFh", "value": "YQ=="}).to_string();
    assert_eq!(
        cluster.member(0).http("POST", "/v3/kv/put", &key).status,
        200
    );
    cluster.wait_equal();
    for at in [1, 2] {
        cluster.member_mut(at).kill9();
    }
    let alone = cluster.member(0);
    wait::until_true("the loss of the leader is seen", || {
        alone.http("GET", "/health", "").status == 503
    });
    // while these wait for a leader …
    let writes = [
        ("POST", "/v3/kv/put", key.as_str()),
        ("PUT", "/v2/keys/a", "value=2"),
        ("POST", "/v3/kv/range", "{\"key\":\"YWFh\"}"),
    ];
    let waiting: Vec<_> = writes
        .map(|(method, target, body)| {
            let mut connection = http::Connection::open(&alone.address()).unwrap();
            connection
                .send(method, target, &[], body.as_bytes())
                .unwrap();
            (method, connection)
        })
        .into_iter()
        .collect();
    // … these are answered
    let body = json!({"key": "YWFh", "serializable": true}).to_string();
    let read = alone.http("POST", "/v3/kv/range", &body);
    assert_eq!(read.json()["kvs"][0]["value"], "YQ==", "{}", read.text());
    assert_eq!(
        alone.http("GET", "/v2/keys/a", "").json()["node"]["value"],
        "1"
    );
    let health = alone.http("GET", "/health", "");
    assert_eq!(health.json()["health"], "false", "{}", health.text());
    let metrics = alone.http("GET", "/metrics", "").text();
    assert!(
        metrics.contains("\netcd_server_has_leader 0\n"),
        "{metrics}"
    );
    for (method, mut connection) in waiting {
        let refused = connection.response(method).unwrap();
        assert!(
            refused.status >= 500,
            "{} {}",
            refused.status,
            refused.text()
        );
        assert!(refused.text().contains("timed out"), "{}", refused.text());
    }
    cluster.start_all();
    let put = cluster.member(0).http("PUT", "/v2/keys/a", "value=3");
    assert_eq!(put.status, 200, "{}", put.text());
}

/// A member that waits for a quorum can be stopped all the same, quickly.
#[test]
fn a_member_that_waits_for_the_others_ends_with_sigterm() {
    let mut cluster = Cluster::prepare(3, &[]);
    let alone = cluster.member_mut(0);
    alone.start_unready_again();
    alone.wait_log(0, "failed to reach a peer");
    assert_eq!(alone.terminate().code(), Some(0));
    // and after it began to serve clients without a leader
    alone.start_unready_again();
    alone.wait_log(0, "serving client traffic");
    let version = alone.http("GET", "/version", "");
    assert_eq!(version.status, 200);
    assert_eq!(alone.terminate().code(), Some(0));
    cluster.start_all();
    cluster.leader();
}

/// What a member says of dead ones: a line of the probe, and a series.
fn named_dead(member: &Server, id: u64) -> (bool, bool) {
    let probe = member.http("GET", "/readyz?verbose", "");
    let line = format!("[!]member {id:x} (m2) is unreachable for ");
    let page = member.http("GET", "/metrics", "").text();
    let series = format!("witan_dead_members{{member=\"{id:x}\"}} 1");
    (
        probe.status == 200 && probe.text().lines().any(|l| l.starts_with(&line)),
        page.lines().any(|line| line == series),
    )
}

#[test]
fn a_dead_member_is_named() {
    let mut cluster = Cluster::prepare(3, &[]);
    for at in [0, 2] {
        let member = cluster.member_mut(at);
        member.add_args(["--dead-member-time", "500ms"]);
    }
    cluster.start_all();
    let id = status(cluster.member(2)).expect("it runs").id;
    let named = |cluster: &Cluster, by: usize| named_dead(cluster.member(by), id);
    wait::until_true("all are connected", || named(&cluster, 0) == (false, false));
    cluster.member_mut(2).kill9();
    wait::until_true("it is named", || named(&cluster, 0) == (true, true));
    let quiet = cluster.member(0).http("GET", "/readyz", "");
    assert_eq!(quiet.text(), "ok\n");
    assert_eq!(named(&cluster, 1), (false, false), "without the flag");
    cluster.member_mut(2).start_again();
    wait::until_true("it is back", || named(&cluster, 0) == (false, false));
}
