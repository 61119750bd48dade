//! The quota also counts the v2 tree. When both key spaces have used it up, every dialect refuses growing requests. Expirations
//! and removals continue and free space.

use serde_json::json;
use witan_e2e::{Launch, Server, Tool, wait};

const VALUE_BYTES: usize = 100_000;

fn put(server: &Server, key: &str, form: &str) -> (u16, serde_json::Value) {
    let answer = server.http("PUT", &format!("/v2/keys/{key}"), form);
    (answer.status, answer.json())
}

fn grow(server: &Server, key: &str) -> (u16, serde_json::Value) {
    put(server, key, &format!("value={}", "v".repeat(VALUE_BYTES)))
}

fn put_v3(server: &Server) -> u16 {
    let body = json!({ "key": "a2V5", "value": "dmFsdWU=" }).to_string();
    server.http("POST", "/v3/kv/put", &body).status
}

fn assert_refused((status, answer): &(u16, serde_json::Value)) {
    let expect = json!({
        "errorCode": 302,
        "message": "Insufficient storage",
        "cause": "etcdserver: mvcc: database space exceeded",
        "index": 0,
    });
    assert_eq!((*status, answer), (507, &expect));
}

#[test]
fn a_full_quota_also_stops_v2_writes() {
    let mut server = Launch::witan().arg("--quota-backend-bytes=1500000").start();
    assert_eq!(put(&server, "short", "value=x&ttl=3").0, 201);
    assert_eq!(put(&server, "service", "value=x&ttl=600").0, 201);
    let mut kept = 0;
    let refusal = loop {
        let answer = grow(&server, &format!("_hidden/{kept}"));
        if answer.0 != 201 {
            break answer;
        }
        kept += 1;
        assert!(kept < 10, "hidden nodes and the history count");
    };
    assert!(kept > 2, "{kept}");
    assert_refused(&refusal);
    let alarms = Tool::Etcdctl36.run(&server.url(), &["alarm", "list"]);
    assert!(alarms.stdout.contains("alarm:NOSPACE"), "{}", alarms.all());

    // The alarm stops every dialect, even after a kill.
    server.kill9();
    server.start_unhealthy_again();
    assert_refused(&put(&server, "small", "value=x"));
    assert_refused(&put(&server, "small", "dir=true"));
    let v1 = server.http("POST", "/v1/keys/small", "value=x");
    assert_eq!((v1.status, &v1.json()["errorCode"]), (500, &json!(300)));
    assert_eq!(put_v3(&server), 429);

    // Expirations, refreshes and removals continue.
    wait::until_true("a short key ends", || {
        server.http("GET", "/v2/keys/short", "").status == 404
    });
    let refresh = "ttl=600&refresh=true&prevExist=true";
    assert_eq!(put(&server, "service", refresh).0, 200);
    server.answers(200, "DELETE", "/v2/keys/_hidden?recursive=true", "");

    // The alarm stays until it is disarmed.
    assert_refused(&put(&server, "small", "value=x"));
    server.etcdctl(&["alarm", "disarm"]);
    assert_eq!(grow(&server, "again").0, 201);
    assert_eq!(put_v3(&server), 200);
}

/// The size of v2 keys counts against the quota, which also limits v3 writes.
#[test]
fn both_key_spaces_share_the_quota() {
    let server = Launch::witan().arg("--quota-backend-bytes=500000").start();
    assert_eq!(grow(&server, "large").0, 201);
    let body = json!({ "key": "a2V5", "value": "v".repeat(4 * VALUE_BYTES) });
    server.answers(429, "POST", "/v3/kv/put", &body.to_string());
    let alone = Launch::witan().arg("--quota-backend-bytes=500000").start();
    alone.v3("kv/put", &body.to_string());
}
