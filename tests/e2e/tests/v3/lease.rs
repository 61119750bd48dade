//! Compares leases with etcd 3.7 through the gateway. `tests/commands` compares etcdctl's output. `tests/differ` compares
//! random calls about leases and keys, and remaining TTLs.

use witan_e2e::http::Connection;

use super::{gateway, pair};

const CALLS: &[gateway::Call] = &[
    ("lease/grant", r#"{"TTL":"100","ID":"5"}"#),
    ("lease/grant", r#"{"TTL":100,"ID":5}"#),
    ("lease/grant", r#"{"TTL":0,"ID":6}"#),
    ("lease/grant", r#"{"TTL":9000000000,"ID":9}"#),
    ("lease/grant", r#"{"TTL":"9000000001","ID":"8"}"#),
    ("lease/grant", r#"{"TTL":"9000000001","ID":"5"}"#),
    ("lease/grant", r#"{"TTL":"x"}"#),
    ("kv/put", r#"{"key":"YQ==","value":"MQ==","lease":"5"}"#),
    ("kv/put", r#"{"key":"YQ==","value":"MQ==","lease":"77"}"#),
    ("lease/timetolive", r#"{"ID":"77"}"#),
    ("kv/lease/timetolive", r#"{"ID":"77"}"#),
    ("lease/timetolive", ""),
    ("lease/leases", ""),
    ("kv/lease/leases", "{}"),
    (
        "kv/txn",
        r#"{"compare":[{"key":"YQ==","target":"LEASE","lease":"5"}],"success":[{"request_put":{"key":"YQ==","value":"Mg==","ignore_lease":true}}]}"#,
    ),
    ("lease/revoke", "{}"),
    ("lease/revoke", r#"{"ID":"5"}"#),
    ("kv/lease/revoke", r#"{"ID":"5"}"#),
    ("kv/range", r#"{"key":"YQ=="}"#),
];

#[test]
fn calls_as_json() {
    gateway::same(CALLS);
}

#[test]
fn keep_alives_as_lines_of_json() {
    let [ours, theirs] = pair().map(|server| {
        let grant = r#"{"TTL":"100","ID":"5"}"#;
        server.v3("lease/grant", grant);
        let mut connection = Connection::open(&server.address()).expect("it listens");
        let body = br#"{"ID":"5"} {"ID":"77"}{"ID":5}"#;
        connection
            .send("POST", "/v3/lease/keepalive", &[], body)
            .expect("sent");
        let head = connection.head("POST").expect("a head");
        let mut told = vec![format!("{} {:?}", head.status, head.header("content-type"))];
        while let Some(chunk) = connection.chunk().expect("chunks") {
            told.push(String::from_utf8(chunk).expect("text"));
        }
        told
    });
    assert_eq!(ours.len(), 4, "{ours:?}");
    assert_eq!(ours, theirs);
}
