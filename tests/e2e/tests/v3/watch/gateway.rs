//! Watches as JSON: lines compared with etcd 3.7's, and errors in both forms.

use serde_json::{Value, json};
use witan_e2e::{Kind, Launch, Server, http::Connection};

fn start(kind: Kind) -> Server {
    Launch::new(kind).start()
}

/// The base64 encoding of `a`.
const A: &str = "YQ==";

/// Reads one chunk, which is one line and one JSON document. Returns the document without ids.
fn line(connection: &mut Connection) -> Value {
    let chunk = connection.chunk().expect("a chunk").expect("no end");
    assert_eq!(chunk.last(), Some(&b'\n'), "{chunk:?}");
    let mut line: Value = serde_json::from_slice(&chunk).expect("a document");
    if let Some(header) = line["result"]["header"].as_object_mut() {
        header.remove("cluster_id");
        header.remove("member_id");
    }
    line
}

fn put(server: &Server, key: &str, value: &str) {
    server.v3("kv/put", &json!({"key": key, "value": value}).to_string());
}

#[test]
fn lines_are_etcds() {
    let [ours, theirs] = [Kind::Witan, Kind::Etcd37].map(|kind| {
        let server = start(kind);
        put(&server, A, "MQ==");
        let body = r#"{"create_request":{"key":"YQ==","start_revision":"1","prev_kv":true}}
            {"createRequest":{"key":"YQ==","watch_id":5,"filters":["NOPUT"]}}"#;
        let mut connection = server.send("POST", "/v3/watch", body);
        let head = connection.head("POST").expect("a head");
        let mut told = vec![json!([
            head.status,
            head.header("content-type"),
            head.header("grpc-metadata-content-type"),
            head.header("transfer-encoding"),
        ])];
        let mut lines: Vec<Value> = (0..3).map(|_| line(&mut connection)).collect();
        // Past events and the next creation may arrive in any order.
        lines.sort_by_key(|line| line["result"]["watch_id"] == "5");
        told.extend(lines);
        put(&server, A, "Mg==");
        told.push(line(&mut connection));
        let body = json!({"key": A}).to_string();
        server.http("POST", "/v3/kv/deleterange", &body);
        let mut both: Vec<Value> = (0..2).map(|_| line(&mut connection)).collect();
        both.sort_by_key(|line| line["result"]["watch_id"] == "5");
        told.extend(both);
        told
    });
    assert_eq!(ours, theirs);
}

#[test]
fn requests_are_read_while_answers_are_sent() {
    let server = start(Kind::Witan);
    let mut connection = server.connect();
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = "POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = chunk(r#"{"create_request":{"key":"YQ=="}}"#);
    connection
        .send_raw(format!("{head}{first}").as_bytes())
        .expect("sent");
    assert_eq!(connection.head("POST").expect("a head").status, 200);
    assert_eq!(line(&mut connection)["result"]["created"], true);
    put(&server, A, "MQ==");
    assert_eq!(line(&mut connection)["result"]["events"][0]["kv"]["key"], A);
    // Cut the request in the middle of a document.
    for part in [
        r#"{"cancel_request":{"#,
        r#""watch_id":0}} {"progress_request":{}}"#,
    ] {
        connection.send_raw(chunk(part).as_bytes()).expect("sent");
    }
    assert_eq!(line(&mut connection)["result"]["canceled"], true);
    let next = chunk(r#"{"create_request":{"key":"Yg==","range_end":"YQ=="}}"#);
    connection.send_raw(next.as_bytes()).expect("sent");
    let refused = line(&mut connection);
    assert_eq!(refused["result"]["watch_id"], "-1");
    let reason = &refused["result"]["cancel_reason"];
    assert_eq!(reason, "mvcc: watcher range is empty");
}

#[test]
fn a_request_that_cannot_be_read_is_refused() {
    let server = start(Kind::Witan);
    let text = "invalid character 'o' in literal null (expecting 'u')";
    let answer = server.answers(400, "POST", "/v3/watch", "nope");
    let refusal = json!({"code": 3, "message": text, "error": text});
    assert_eq!(answer.json(), refusal);
    for prefix in ["/v3beta", "/v3alpha"] {
        let answer = server.answers(500, "POST", &format!("{prefix}/watch"), "nope");
        let refusal = json!({"error": text, "message": text, "code": 2});
        assert_eq!(answer.json(), refusal);
    }
    server.answers(501, "GET", "/v3/watch", "");
    server.answers(405, "GET", "/v3beta/watch", "");
}

#[test]
fn a_stop_ends_the_lines_with_an_error() {
    for prefix in ["/v3", "/v3beta"] {
        let mut expect = json!({
            "grpc_code": 14,
            "http_code": 503,
            "message": "etcdserver: server stopped",
            "http_status": "Service Unavailable",
        });
        if prefix == "/v3" {
            expect["code"] = 14.into();
        }
        let mut server = start(Kind::Witan);
        let body = r#"{"create_request":{"key":"YQ=="}}"#;
        let mut connection = server.send("POST", &format!("{prefix}/watch"), body);
        connection.head("POST").expect("a head");
        line(&mut connection);
        server.signal("TERM");
        assert_eq!(line(&mut connection)["error"], expect);
        assert_eq!(connection.chunk().expect("an end"), None);
        assert_eq!(server.wait_exit().code(), Some(0));
    }
}

/// A client that disconnects after it has closed its side cannot be detected.
#[test]
fn a_stream_ends_when_its_client_closes_its_side() {
    for kind in [Kind::Witan, Kind::Etcd37] {
        let server = start(kind);
        put(&server, A, "MQ==");
        let body = r#"{"create_request":{"key":"YQ=="}}"#;
        let mut connection = server.send("POST", "/v3/watch", body);
        connection.head("POST").expect("a head");
        assert_eq!(line(&mut connection)["result"]["created"], true);
        let watchers = || {
            let count = server.metric("etcd_debugging_mvcc_watcher_total");
            count.expect("a series")
        };
        assert_eq!(watchers(), 1.0);
        connection.half_close().expect("it is open");
        witan_e2e::wait::until_true("the watcher has ended", || watchers() == 0.0);
    }
}
