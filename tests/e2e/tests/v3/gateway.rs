//! Compares JSON under `/v3` with etcd 3.7's and JSON under `/v3beta` with etcd 3.4's, byte for byte.

use witan_e2e::{Kind, Server, http, rows};

use super::{pair, start};

/// Method, path below the prefix, and body of a request.
type Ask = (&'static str, &'static str, &'static str);

/// Returns the calls of a table, each a path and a body in one line.
fn calls(table: &'static str) -> impl Iterator<Item = Ask> {
    rows(table).map(|[path, body]| ("POST", path, body))
}

fn ask(server: &Server, prefix: &str, (method, path, body): Ask) -> (u16, String, String) {
    let target = format!("/{prefix}/{path}");
    let response = server.http(method, &target, body);
    let metadata = response
        .header("grpc-metadata-content-type")
        .unwrap_or("none");
    let kind = response.header("content-type").unwrap_or("none");
    let kind = format!("{kind} {metadata}");
    (response.status, kind, http::without_error(&response.text()))
}

/// Checks that the calls of a table have the same responses from Witan and etcd.
pub(super) fn same(table: &'static str) {
    same_at(&pair(), "v3", calls(table));
}

fn same_at([ours, theirs]: &[Server; 2], prefix: &str, asks: impl Iterator<Item = Ask>) {
    let mut differences = Vec::new();
    for one in asks {
        let (got, want) = (ask(ours, prefix, one), ask(theirs, prefix, one));
        if got != want {
            differences.push(format!("{one:?}\n got {got:?}\nwant {want:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// The id 13195394291058371180 is the member's own id, which is the same on both servers.
const MEMBERS: &str = r#"
    cluster/member/list {}
    cluster/member/list {"linearizable":true}
    cluster/member/add {}
    cluster/member/add {"peerURLs":["bogus"]}
    cluster/member/add {"peerURLs":["http://127.0.0.1:1/path"]}
    cluster/member/add {"peerURLs":["http://127.0.0.1:2380"]}
    cluster/member/remove {"ID":"1"}
    cluster/member/update {"ID":1,"peerURLs":["http://127.0.0.1:1"]}
    cluster/member/promote {"ID":"1"}
    cluster/member/promote {"ID":"13195394291058371180"}
    cluster/member/remove {"ID":"13195394291058371180"}
    nosuch {}
    kv/range/ {}
"#;

const METHODS: &[Ask] = &[
    ("GET", "kv/range", ""),
    ("GET", "lease/keepalive", ""),
    ("PUT", "kv/put", "{}"),
    ("DELETE", "kv/put", ""),
    ("GET", "", ""),
];

#[test]
fn members_paths_and_methods() {
    // In etcd 3.4, alarms have no header.
    let alarms = r#"
        maintenance/alarm {}
        maintenance/alarm {"action":"GET"}
        maintenance/alarm {"action":"DEACTIVATE"}
    "#;
    let posts = calls(MEMBERS).chain(calls(alarms));
    same_at(&pair(), "v3", posts.chain(METHODS.iter().copied()));
}

/// Compares with etcd 3.4, whose older prefixes have different answers. `tests/differ` compares calls about keys.
#[test]
fn members_paths_and_methods_of_the_former_gateway() {
    let servers = [Kind::Witan, Kind::Etcd34].map(start);
    let asks = calls(MEMBERS).chain(METHODS.iter().copied());
    same_at(&servers, "v3beta", asks);
}

/// `Grpc-Timeout` ends a watch, and a call that waits for a lock.
#[test]
fn a_timeout_ends_calls_and_streams() {
    let server = start(Kind::Witan);
    let ask = |path: &str, timeout: &str, body: &str| {
        let headers = [("Grpc-Timeout", timeout)];
        let answer = http::try_once(&server.address(), "POST", path, &headers, body.as_bytes());
        answer.expect("an answer")
    };
    let name = r#"{"name":"bG9jaw=="}"#;
    server.answers(200, "POST", "/v3/lock/lock", name);
    let late = ask("/v3/lock/lock", "50m", name);
    assert_eq!(late.status, 504, "{}", late.text());
    assert_eq!(late.json()["code"], 4);
    assert_eq!(late.json()["message"], "context deadline exceeded");
    let watch = r#"{"create_request":{"key":"YQ=="}}"#;
    let lines = ask("/v3/watch", "500m", watch).text();
    let last = lines.lines().last().expect("a line");
    let last: serde_json::Value = serde_json::from_str(last).expect("a document");
    assert_eq!(last["error"]["grpc_code"], 4, "{lines}");
    let invalid = ask("/v3/kv/range", "soon", r#"{"key":"YQ=="}"#);
    assert_eq!(invalid.status, 400);
    assert_eq!(invalid.json()["message"], "invalid grpc-timeout: soon");
}
