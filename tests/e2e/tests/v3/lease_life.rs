//! How leases end on ours: by time, never early, thousands at once, over a kill -9; and who hears it.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use witan_e2e::{Kind, Server, Tool, wait};

use super::start;

/// Seconds that a lease lasts beyond its time, at most: a look of the leader, and a busy machine.
const LATE: Duration = Duration::from_secs(10);

fn call(server: &Server, path: &str, body: &Value) -> Value {
    let response = server.http("POST", &format!("/v3/{path}"), &body.to_string());
    assert_eq!(response.status, 200, "{path} {body}: {}", response.text());
    response.json()
}

fn grant(server: &Server, id: i64, ttl: i64) {
    call(server, "lease/grant", &json!({"ID": id, "TTL": ttl}));
}

/// Base64 of three digits.
fn name(number: usize) -> String {
    STANDARD.encode(format!("{number:03}"))
}

fn put(server: &Server, key: &str, lease: i64) {
    call(server, "kv/put", &json!({"key": key, "lease": lease}));
}

fn left(server: &Server, id: i64) -> i64 {
    let answer = call(server, "lease/timetolive", &json!({"ID": id}));
    number(&answer["TTL"])
}

/// As the gateway writes it; none is zero.
fn number(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or("0");
    text.parse().expect("a number")
}

/// All keys that there are, and the revision.
fn keys(server: &Server) -> (u64, i64) {
    let all = json!({"key": "AA==", "range_end": "AA==", "count_only": true});
    let answer = call(server, "kv/range", &all);
    let revision = number(&answer["header"]["revision"]);
    (number(&answer["count"]).unsigned_abs(), revision)
}

#[test]
fn its_keys_go_with_it_and_watchers_hear_it() {
    let server = start(Kind::Witan);
    let begun = Instant::now();
    grant(&server, 7, 2);
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
        "etcd_debugging_lease_revoked_total",
    ] {
        assert_eq!(server.metric(name), Some(1.0), "{name}");
    }
}

#[test]
fn keep_alives_keep_it() {
    let server = start(Kind::Witan);
    grant(&server, 7, 2);
    put(&server, "MDAx", 7);
    let mut alive = Tool::Etcdctl36.follow(&server.url(), &["lease", "keep-alive", "7"]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let line = alive.line().expect("it goes on");
        assert_eq!(line, "lease 0000000000000007 keepalived with TTL(2)");
        assert_eq!(keys(&server).0, 1);
    }
    let renewed = server.metric("etcd_debugging_lease_renewed_total");
    assert!(renewed.expect("a series") > 3.0);
    drop(alive);
    wait::until_true("the lease ends", || keys(&server).0 == 0);
}

#[test]
fn remaining_time_survives_kill_9() {
    let mut server = start(Kind::Witan);
    let begun = Instant::now();
    grant(&server, 7, 20);
    grant(&server, 8, 2);
    grant(&server, 9, 20);
    put(&server, "MDAx", 7);
    put(&server, "MDAy", 8);
    put(&server, "MDAz", 9);
    wait::until_true("the short one ends", || left(&server, 8) == -1);
    // the remaining time of a lease is recorded after half of its time
    wait::until_true("half of it is over", || left(&server, 7) < 9);
    call(&server, "lease/keepalive", &json!({"ID": 9}));
    server.kill9();
    server.start_again();
    assert_eq!(keys(&server).0, 2);
    assert_eq!(left(&server, 8), -1);
    let told = left(&server, 7);
    assert!((1..=11).contains(&told), "{told} s left of 20");
    let told = left(&server, 9);
    assert!((15..=21).contains(&told), "{told} s left of 20");
    wait::until_true("the lease ends", || keys(&server).0 == 1);
    let lasted = begun.elapsed();
    assert!(lasted >= Duration::from_secs(20), "early: {lasted:?}");
    assert!(left(&server, 9) > 0, "the one that was kept alive stays");
}

#[test]
fn hundreds_of_expirations_do_not_block_other_requests() {
    const LEASES: usize = 900;
    let server = start(Kind::Witan);
    for number in 1..=LEASES {
        grant(&server, number as i64, 12);
        put(&server, &name(number), number as i64);
    }
    let mut slowest = Duration::ZERO;
    wait::until_true("all of them end", || {
        let begun = Instant::now();
        put(&server, "eA==", 0);
        slowest = slowest.max(begun.elapsed());
        keys(&server).0 == 1
    });
    assert!(slowest < Duration::from_secs(5), "a put took {slowest:?}");
    let ended = server.metric("etcd_debugging_server_lease_expired_total");
    assert_eq!(ended, Some(LEASES as f64));
}
