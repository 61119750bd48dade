//! How leases end on Witan: after their TTL and never early, with the right notifications. `tests/e2e/go` tests leases with
//! etcd's own client, including hundreds that end at the same time. `tests/differ` compares random calls about leases and keys,
//! and remaining TTLs. `server/crates/replica/tests/cluster/leases.rs` tests leases over restarts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witan_e2e::{Kind, Server, Tool};

use super::{pair, start};

/// Maximum delay of a lease's end: the leader's check, and a busy machine.
const LATE: Duration = Duration::from_secs(10);

fn call(server: &Server, path: &str, body: &Value) -> Value {
    server.v3(path, &body.to_string())
}

fn grant(server: &Server, id: i64, ttl: i64) {
    call(server, "lease/grant", &json!({"ID": id, "TTL": ttl}));
}

fn put(server: &Server, key: &str, lease: i64) {
    call(server, "kv/put", &json!({"key": key, "lease": lease}));
}

fn left(server: &Server, id: i64) -> i64 {
    let answer = call(server, "lease/timetolive", &json!({"ID": id}));
    number(&answer["TTL"])
}

/// Converts a number in the gateway's form. A missing field is read as 0, so no expected number is 0.
fn number(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or("0");
    text.parse().expect("a number")
}

/// Returns the number of all keys and the revision.
fn keys(server: &Server) -> (u64, i64) {
    let all = json!({"key": "AA==", "range_end": "AA==", "count_only": true});
    let answer = call(server, "kv/range", &all);
    let revision = number(&answer["header"]["revision"]);
    (number(&answer["count"]).unsigned_abs(), revision)
}

#[test]
fn a_lease_deletes_its_keys_and_watchers_are_notified() {
    let server = start(Kind::Witan);
    let begun = Instant::now();
    grant(&server, 7, 2);
    call(&server, "lease/keepalive", &json!({"ID": 7}));
    for key in ["MDAx", "MDAy"] {
        put(&server, key, 7);
    }
    put(&server, "MDAz", 0);
    let watch = ["watch", "0", "--prefix", "--rev=5"];
    let mut watch = Tool::Etcdctl36.follow(&server.url(), &watch);
    let told: Vec<String> = (0..6).map_while(|_| watch.line()).collect();
    let lasted = begun.elapsed();
    assert!(lasted >= Duration::from_secs(2), "early: {lasted:?}");
    assert!(lasted < Duration::from_secs(2) + LATE, "late: {lasted:?}");
    assert_eq!(told, ["DELETE", "001", "", "DELETE", "002", ""]);
    assert_eq!(keys(&server), (1, 5), "both in one revision");
    assert_eq!(left(&server, 7), -1);
    for name in [
        "etcd_debugging_server_lease_expired_total",
        "etcd_debugging_lease_granted_total",
        "etcd_debugging_lease_renewed_total",
        "etcd_debugging_lease_revoked_total",
    ] {
        assert_eq!(server.metric(name), Some(1.0), "{name}");
    }
}

#[test]
fn the_remaining_ttl_is_below_the_granted_ttl() {
    for server in pair() {
        grant(&server, 7, 90);
        // A renewal and a query may happen in the same tick of the clock.
        for _ in 0..20 {
            call(&server, "lease/keepalive", &json!({"ID": 7}));
            let left = left(&server, 7);
            assert!((1..90).contains(&left), "{left}");
        }
    }
}

#[test]
fn keep_alives_as_lines_of_json() {
    let [ours, theirs] = pair().map(|server| {
        let grant = r#"{"TTL":"100","ID":"5"}"#;
        server.v3("lease/grant", grant);
        let body = r#"{"ID":"5"} {"ID":"77"}{"ID":5}"#;
        let mut connection = server.send("POST", "/v3/lease/keepalive", body);
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
