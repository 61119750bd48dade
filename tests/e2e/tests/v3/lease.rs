//! Leases beside etcd 3.6 through the gateway. What etcdctl says of them is in `tests/commands`; random calls about
//! leases and keys are compared by `tests/differ`.

use serde_json::Value;
use witan_e2e::{
    Server,
    http::{self, Connection},
};

use super::pair;

/// A body of a call, and what is left of the answer when what differs at times is taken out.
fn call(server: &Server, path: &str, body: &str) -> (u16, Value) {
    let response = server.http("POST", path, body);
    let body = http::without_error(&response.text());
    let mut answer: Value = serde_json::from_str(&body).expect("a document");
    if let Some(fields) = answer.as_object_mut()
        && fields.contains_key("grantedTTL")
    {
        let seconds = |name: &str| {
            fields[name]
                .as_str()
                .and_then(|text| text.parse::<i64>().ok())
        };
        let left = seconds("TTL").expect("seconds");
        let granted = seconds("grantedTTL").expect("seconds");
        assert!((granted - 60..=granted).contains(&left), "{left}");
        fields.remove("TTL");
    }
    // etcd names the keys of a lease in no order
    if let Some(keys) = answer.get_mut("keys").and_then(Value::as_array_mut) {
        keys.sort_by_key(Value::to_string);
    }
    (response.status, answer)
}

const CALLS: &[(&str, &str)] = &[
    ("lease/grant", r#"{"TTL":"100","ID":"5"}"#),
    ("lease/grant", r#"{"TTL":100,"ID":5}"#),
    ("lease/grant", r#"{"TTL":0,"ID":6}"#),
    ("lease/grant", r#"{"TTL":9000000000,"ID":9}"#),
    ("lease/grant", r#"{"TTL":"9000000001","ID":"8"}"#),
    ("lease/grant", r#"{"TTL":"9000000001","ID":"5"}"#),
    ("lease/grant", r#"{"TTL":"x"}"#),
    ("kv/put", r#"{"key":"YQ==","value":"MQ==","lease":"5"}"#),
    ("kv/put", r#"{"key":"YQ==","value":"MQ==","lease":"77"}"#),
    ("lease/timetolive", r#"{"ID":"5","keys":true}"#),
    ("kv/lease/timetolive", r#"{"ID":"5"}"#),
    ("lease/timetolive", r#"{"ID":"77"}"#),
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
    let servers = pair();
    for (path, body) in CALLS {
        let path = format!("/v3/{path}");
        let [got, want] = servers.each_ref().map(|server| call(server, &path, body));
        assert_eq!(got, want, "{path} {body}");
    }
    for path in ["/v3/lease/grant", "/v3/lease/keepalive"] {
        let [got, want] = servers
            .each_ref()
            .map(|server| server.http("GET", path, "").status);
        assert_eq!(got, want, "GET {path}");
    }
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
