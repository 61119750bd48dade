//! `?encoding=utf8`, which etcd lacks: plain strings for bytes on the gateway's routes. Unit tests cover each message.

use serde_json::{Value, json};
use witan_e2e::{Kind, Server, http::Response, websocket::Socket};

use super::start;

fn call(server: &Server, path: &str, body: &Value) -> Response {
    server.http("POST", path, &body.to_string())
}

fn plain(server: &Server, path: &str, body: &Value) -> Value {
    let answer = call(server, &format!("/v3/{path}?encoding=utf8"), body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let mut json = answer.json();
    json.as_object_mut().expect("an object").remove("header");
    json
}

fn put(server: &Server, key: &str, value: &str) {
    plain(server, "kv/put", &json!({ "key": key, "value": value }));
}

#[test]
fn keys_and_values_are_strings() {
    let server = start(Kind::Witan);
    put(&server, "a/1", "ä\n\"😀\"");
    put(&server, "a/2", "");
    let prefix = json!({ "key": "a/", "range_end": "a0" });
    let first = json!({
        "key": "a/1", "create_revision": "2", "mod_revision": "2", "version": "1", "value": "ä\n\"😀\"",
    });
    let second =
        json!({ "key": "a/2", "create_revision": "3", "mod_revision": "3", "version": "1" });
    let both = json!({ "kvs": [first, second], "count": "2" });
    assert_eq!(plain(&server, "kv/range", &prefix), both);
    // Read all keys, starting with the first one.
    let all = json!({ "key": "\0", "range_end": "\0" });
    assert_eq!(plain(&server, "kv/range", &all), both);
    // If the parameter is missing or has its default value, bytes are in base64.
    let body = json!({ "key": "YS8x" });
    for path in ["/v3/kv/range", "/v3/kv/range?encoding=base64&other=1"] {
        let answer = call(&server, path, &body).json();
        assert_eq!(answer["kvs"][0]["value"], "w6QKIvCfmIAi", "{path}");
    }
    for prefix in ["v3beta", "v3alpha"] {
        let path = format!("/{prefix}/kv/range?encoding=utf8");
        let answer = call(&server, &path, &json!({ "key": "a/1" })).json();
        assert_eq!(answer["kvs"], json!([first]), "{prefix}");
    }
    let deleted = json!({ "key": "a/1", "prev_kv": true });
    let deleted = plain(&server, "kv/deleterange", &deleted);
    assert_eq!(deleted, json!({ "deleted": "1", "prev_kvs": [first] }));
    // A snapshot is always in base64.
    let snapshot = server.http("POST", "/v3/maintenance/snapshot?encoding=utf8", "{}");
    let text = snapshot.text();
    let line: Value =
        serde_json::from_str(text.lines().next().expect("a line")).expect("a document");
    let blob = line["result"]["blob"].as_str().expect("it has its name");
    let in_base64 = |letter: char| letter.is_ascii_alphanumeric() || "+/=".contains(letter);
    assert!(blob.chars().all(in_base64));
}

fn event(line: &Value) -> [&Value; 2] {
    let pair = &line["result"]["events"][0]["kv"];
    [&pair["key"], &pair["value"]]
}

#[test]
fn streams_of_lines() {
    let server = start(Kind::Witan);
    let body = json!({ "create_request": { "key": "w/", "range_end": "w0" } }).to_string();
    let mut connection = server.send("POST", "/v3/watch?encoding=utf8", &body);
    assert_eq!(connection.head("POST").expect("a head").status, 200);
    let mut line = || -> Value {
        let chunk = connection.chunk().expect("a chunk").expect("no end");
        serde_json::from_slice(&chunk).expect("a document")
    };
    assert_eq!(line()["result"]["created"], true);
    put(&server, "w/ö", "seen");
    assert_eq!(event(&line()), ["w/ö", "seen"]);
}

#[test]
fn streams_of_messages() {
    let server = start(Kind::Witan);
    let mut socket = Socket::open(&server.address(), "/v3/watch?encoding=utf8", &[]);
    for key in ["x", "y"] {
        let body = json!({ "create_request": { "key": key } }).to_string();
        socket.send(&body).expect("sent");
        let created: Value = serde_json::from_str(&socket.text()).expect("a document");
        assert_eq!(created["result"]["created"], true, "{created}");
    }
    put(&server, "y", "seen");
    let line: Value = serde_json::from_str(&socket.text()).expect("a document");
    assert_eq!(event(&line), ["y", "seen"]);
}
