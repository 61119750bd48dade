//! Watches that the differential test cannot compare: many events, slow clients, clients that disconnect, and older protocols.

use witan_e2e::{
    Launch, Server,
    http::{Connection, Response},
    wait,
};

const HISTORY: usize = 1000;

fn open(server: &Server, target: &str) -> (Connection, Response) {
    let mut connection = server.send("GET", target, "");
    let head = connection.head("GET").expect("the head arrives");
    assert_eq!(head.status, 200);
    (connection, head)
}

fn put(server: &Server, key: &str, value: &str) {
    let answer = server.http("PUT", &format!("/v2/keys{key}"), &format!("value={value}"));
    assert!(answer.status < 300, "{}", answer.text());
}

fn put_many(server: &Server, key: &str, values: impl Iterator<Item = String>) {
    let mut connection = server.connect();
    for value in values {
        let form = format!("value={value}");
        let target = format!("/v2/keys{key}");
        let answer = connection.request("PUT", &target, &[], form.as_bytes());
        let answer = answer.expect("an answer");
        assert!(answer.status < 300, "{}", answer.text());
    }
}

fn indexes(bytes: &[u8]) -> Vec<u64> {
    let lines = bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    let events = lines.map(|line| serde_json::from_slice(line).expect("a line is an event"));
    let index = |event: serde_json::Value| event["node"]["modifiedIndex"].as_u64();
    events
        .map(|event| index(event).expect("an index"))
        .collect()
}

#[test]
fn watches_of_disconnected_clients_are_removed() {
    let server = Launch::witan().start();
    let poll = open(&server, "/v2/keys/a?wait=true");
    let stream = open(&server, "/v2/keys/b?wait=true&stream=true&recursive=true");
    wait::until_true("both are registered", || server.v2_watchers() == 2);
    drop(poll);
    wait::until_true("the poll is removed", || server.v2_watchers() == 1);
    drop(stream);
    wait::until_true("the stream is removed", || server.v2_watchers() == 0);
}

#[test]
fn a_watch_waits_through_more_events_than_the_history_holds() {
    let server = Launch::witan().without_fsync().start();
    let (mut poll, _) = open(&server, "/v2/keys/quiet?wait=true");
    let (mut stream, _) = open(&server, "/v2/keys/quiet?wait=true&stream=true");
    for round in ["first", "second"] {
        put_many(&server, "/noise", (0..HISTORY + 100).map(|n| n.to_string()));
        put(&server, "/quiet", round);
        let line = stream.chunk().expect("no silence").expect("no end");
        assert!(String::from_utf8_lossy(&line).contains(round), "{line:?}");
    }
    let line = poll.chunk().expect("no silence").expect("an event");
    assert!(String::from_utf8_lossy(&line).contains("first"), "{line:?}");
    assert_eq!(poll.chunk().expect("no silence"), None);
}

/// etcd keeps such a stream open without sending events.
#[test]
fn a_stream_that_falls_too_far_behind_ends() {
    const BIG_BYTES: usize = 64 << 10;
    let server = Launch::witan().without_fsync().start();
    let (mut stream, head) = open(&server, "/v2/keys/s?wait=true&stream=true");
    let begin = head.etcd_index();
    // The values exceed any socket buffer and the history.
    let value = "x".repeat(BIG_BYTES);
    let target = "/s?noValueOnSuccess=true";
    put_many(&server, target, (0..HISTORY + 500).map(|_| value.clone()));
    let mut bytes = Vec::new();
    while let Some(piece) = stream.chunk().expect("events or the end") {
        bytes.extend(piece);
    }
    let seen = indexes(&bytes);
    let count = seen.len();
    assert!(count < HISTORY + 500, "all {count} events arrived");
    let expect: Vec<u64> = (begin + 1..).take(seen.len()).collect();
    assert_eq!(seen, expect, "the events before the end have no gap");
    wait::until_true("the watch is removed", || server.v2_watchers() == 0);
}

#[test]
fn a_client_without_chunks_gets_the_event_and_the_end() {
    let server = Launch::witan().start();
    put(&server, "/a", "1");
    let mut connection = server.connect();
    let request = b"GET /v2/keys/a?wait=true&waitIndex=4 HTTP/1.0\r\n\r\n";
    connection.send_raw(request).expect("the request is sent");
    let answer = connection.response("GET").expect("an answer");
    assert_eq!((answer.version.as_str(), answer.status), ("HTTP/1.0", 200));
    assert_eq!(answer.header("Transfer-Encoding"), None);
    assert_eq!(answer.json()["node"]["value"], "1");
}
