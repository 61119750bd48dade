//! A learner serves its own state and refuses all other calls, like etcd's learners.

use witan_e2e::{Cluster, Kind, Launch, Server, http, wait};

use super::membership::add;

const READ: (&str, &str) = ("kv/range", r#"{"key":"YQ==","serializable":true}"#);

/// Calls of every service. Many of them are also invalid for another reason.
const CALLS: &[(&str, &str)] = &[
    READ,
    ("kv/range", r#"{"key":"YQ=="}"#),
    ("kv/range", "{}"),
    ("kv/put", r#"{"key":"YQ==","value":"YQ=="}"#),
    ("kv/put", "{}"),
    ("kv/deleterange", r#"{"key":"YQ=="}"#),
    (
        "kv/txn",
        r#"{"success":[{"requestRange":{"key":"YQ==","serializable":true}}]}"#,
    ),
    ("kv/compaction", r#"{"revision":1}"#),
    ("watch", r#"{"createRequest":{"key":"YQ=="}}"#),
    ("lease/grant", r#"{"TTL":10}"#),
    ("lease/revoke", r#"{"ID":1}"#),
    ("lease/keepalive", r#"{"ID":1}"#),
    ("lease/timetolive", r#"{"ID":1}"#),
    ("lease/leases", "{}"),
    ("cluster/member/list", r#"{"linearizable":true}"#),
    (
        "cluster/member/add",
        r#"{"peerURLs":["http://127.0.0.1:1"]}"#,
    ),
    ("cluster/member/remove", r#"{"ID":1}"#),
    (
        "cluster/member/update",
        r#"{"ID":1,"peerURLs":["http://127.0.0.1:1"]}"#,
    ),
    ("cluster/member/promote", r#"{"ID":1}"#),
    ("maintenance/status", "{}"),
    ("maintenance/alarm", "{}"),
    (
        "maintenance/alarm",
        r#"{"action":"ACTIVATE","alarm":"NOSPACE"}"#,
    ),
    ("maintenance/snapshot", "{}"),
    ("maintenance/transfer-leadership", r#"{"targetID":1}"#),
    (
        "maintenance/downgrade",
        r#"{"action":"VALIDATE","version":"3.5"}"#,
    ),
    ("auth/enable", "{}"),
    ("auth/disable", "{}"),
    ("auth/status", "{}"),
    ("auth/authenticate", r#"{"name":"a","password":"b"}"#),
    ("auth/user/list", "{}"),
    ("auth/user/add", r#"{"name":"a","password":"b"}"#),
    ("auth/role/list", "{}"),
    ("auth/role/get", r#"{"role":"r"}"#),
    ("lock/lock", r#"{"name":"YQ=="}"#),
    ("lock/unlock", r#"{"key":"YQ=="}"#),
    ("election/leader", r#"{"name":"YQ=="}"#),
    ("election/campaign", r#"{"name":"YQ=="}"#),
    ("election/observe", r#"{"name":"YQ=="}"#),
];

/// Calls about the member's own state, which etcd's learner refuses but Witan's serves.
const MORE: &[(&str, &str)] = &[
    ("cluster/member/list", "{}"),
    ("maintenance/defragment", "{}"),
    ("maintenance/hash", "{}"),
    ("maintenance/hashkv", "{}"),
];

fn answer(member: &Server, (call, body): (&str, &str)) -> (u16, Option<String>) {
    let answer = member.http("POST", &format!("/v3/{call}"), body);
    let page = answer.text();
    let line = page.lines().next().unwrap_or_default();
    let said: serde_json::Value = serde_json::from_str(line).expect("JSON");
    // A stream's error is one level deeper.
    let error = [&said, &said["error"]]
        .into_iter()
        .find(|of| of["code"].is_i64());
    let error = error.map(|error| format!("{} {}", error["code"], error["message"]));
    (answer.status, error)
}

fn cluster_of(kind: Kind) -> Cluster {
    let launch = Launch::new(kind);
    let mut cluster = Cluster::prepare_of(&launch, "http", 1);
    cluster.start_all();
    let put = r#"{"key":"YQ==","value":"YQ=="}"#;
    cluster.member(0).v3("kv/put", put);
    let learner = cluster.prepare_joining_of(&launch, "http", &[0]);
    let peer_url = cluster.member(learner).peer_url();
    add(cluster.member(0), &peer_url, &["--learner"]);
    cluster.member_mut(learner).start_unready_again();
    wait::until_true("the learner has the key", || {
        let asked = http::Connection::open(&cluster.member(learner).address()).is_ok();
        asked
            && cluster
                .member(learner)
                .http("POST", "/v3/kv/range", READ.1)
                .text()
                .contains("kvs")
    });
    cluster
}

#[test]
fn a_learner_refuses_the_calls_that_etcds_learner_refuses() {
    let clusters = [Kind::Etcd37, Kind::Witan].map(cluster_of);
    let both = |call| {
        clusters
            .each_ref()
            .map(|cluster| answer(cluster.member(1), call))
    };
    for call in CALLS {
        let [etcd, ours] = both(*call);
        assert_eq!(ours, etcd, "{call:?}");
    }
    for call in MORE {
        let [etcd, ours] = both(*call);
        assert_eq!(etcd.0, 400, "{call:?}: {etcd:?}");
        assert_eq!(ours, (200, None), "{call:?}");
    }
}
