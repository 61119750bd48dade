//! The rules of v1 keys, with their exact answers and their effects in v2.

use witan_e2e::{Launch, Server, rows};

/// Checks the status, the body and the content type of a response.
fn ask(server: &Server, method: &str, target: &str, form: &str, status: u16, body: &str) {
    let answer = server.http(method, target, form);
    let asked = format!("{method} {target} {form}");
    assert_eq!(answer.text(), body, "{asked}");
    assert_eq!(answer.status, status, "{asked}");
    assert_eq!(answer.header("X-Etcd-Index"), None, "{asked}");
    let typed = answer.header("Content-Type");
    let expected = (!body.is_empty()).then_some("text/plain; charset=utf-8");
    assert_eq!(typed, expected, "{asked}");
}

/// Returns the index of the next write.
fn next(server: &Server) -> u64 {
    server.http("GET", "/v2/keys", "").etcd_index() + 1
}

/// The writes: method, target, form (`-` for none), and response without its index.
const WRITES: &str = r#"
    POST /v1/keys/a value=1 "SET","key":"/a","value":"1","newKey":true
    PUT /v1/keys/a/ value=2 "SET","key":"/a","prevValue":"1","value":"2"
    PUT /v1/keys/a?value=3 - "SET","key":"/a","prevValue":"2","value":"3"
    POST /v1/keys/a?value=q value=4 "SET","key":"/a","prevValue":"3","value":"4"
    POST /v1/keys/a value=5&prevValue=4 "SET","key":"/a","prevValue":"4","value":"5"
    POST /v1/keys/d/e/f value=%3C+%26 "SET","key":"/d/e/f","value":"\u003c \u0026","newKey":true
    POST /v1/keys/b value=1&prevValue= "SET","key":"/b","value":"1","newKey":true
    DELETE /v1/keys/b - "DELETE","key":"/b","prevValue":"1"
    POST /v1/keys//c/./x value=1 "SET","key":"/c/x","value":"1","newKey":true
    POST /v1/keys/a value=6&ttl=-1&prevValue=5 "DELETE","key":"/a","prevValue":"5"
    POST /v1/keys/c/x value=6&ttl=0 "DELETE","key":"/c/x","prevValue":"1"
"#;

/// The refusals: method, target, form (`-` for none), status, code, message, cause.
const REFUSALS: &str = "
    GET /v1/keys/nope/x - 404 100 Key Not Found|/nope/x
    GET /v1/keys/f/x - 404 100 Key Not Found|/f/x
    DELETE /v1/keys/nope - 404 100 Key Not Found|/nope
    DELETE /v1/keys/d - 404 100 Key Not Found|/d
    DELETE /v1/keys/ - 404 100 Key Not Found|/
    POST /v1/keys/nope value=1&prevValue=x 404 100 Key Not Found|/nope
    POST /v1/keys/d value=1&prevValue=x 404 100 Key Not Found|/d
    POST /v1/keys/f/x value=1&prevValue=x 404 100 Key Not Found|/f/x
    POST /v1/keys/f value=1&prevValue=x 400 101 TEST|TestAndSet: one!=x
    POST /v1/keys/f value=1&prevValue= 400 101 TEST|TestAndSet: one!=
    POST /v1/keys/f value=1&prevValue=x&ttl=-1 400 101 TEST|TestAndSet: one!=x
    POST /v1/keys/d value=1 400 102 Not A File|/d
    PUT /v1/keys/d value=1&prevValue= 400 102 Not A File|/d
    POST /v1/keys/f/x/y value=1 400 102 Not A File|/f/x/y
    POST /v1/keys/ value=1 400 102 Not A File|/
    POST /v1/keys/f - 400 200 Value is Required in POST form|Set
    POST /v1/keys/f value= 400 200 Value is Required in POST form|Set
    POST /v1/keys/f value=1&ttl=x 400 202 The given TTL in POST form is not a number|Set
    POST /v1/watch/f index=x 400 203 The given index in POST form is not a number|Watch From Index
    POST /v1/keys/_etcd/x value=1 400 400 KEYWORD|Set
    POST /v1/keys/ephemeralNodes value=1 400 400 KEYWORD|Set
    DELETE /v1/keys/_etcd/machines - 400 400 KEYWORD|Delete
    GET /v1/keys/_etcd/machines/x - 404 100 Key Not Found|/_etcd/machines/x
";

#[test]
fn writes_are_answered_as_in_the_table() {
    let server = Launch::witan().start();
    let first = next(&server);
    for (index, [method, target, form, rest]) in (first..).zip(rows(WRITES)) {
        let body = format!("{{\"action\":{rest},\"index\":{index}}}");
        ask(&server, method, target, form, 200, &body);
    }
}

#[test]
fn refusals_are_answered_as_in_the_table() {
    let server = Launch::witan().start();
    for (key, form) in [("f", "value=one"), ("d/x", "value=1")] {
        server.answers(200, "POST", &format!("/v1/keys/{key}"), form);
    }
    let before = next(&server);
    for [method, target, form, status, code, rest] in rows(REFUSALS) {
        let (message, cause) = rest.split_once('|').expect("a cause");
        let message = match message {
            "TEST" => "The given PrevValue is not equal to the value of the key",
            "KEYWORD" => "The prefix of the given key is a keyword in etcd",
            message => message,
        };
        let body = format!(r#"{{"errorCode":{code},"message":"{message}","cause":"{cause}"}}"#);
        let status = status.parse().expect("a status");
        ask(&server, method, target, form, status, &body);
    }
    ask(&server, "PATCH", "/v1/keys/f", "value=1", 405, "");
    ask(&server, "PUT", "/v1/watch/f", "index=1", 405, "");
    assert_eq!(next(&server), before, "a refusal uses no index");
}

#[test]
fn directories_are_lists() {
    let server = Launch::witan().start();
    ask(&server, "GET", "/v1/keys/", "", 200, "[]");
    for (method, target, form) in [
        ("PUT", "/v2/keys/d/sub", "dir=true"),
        ("PUT", "/v2/keys/d/_hidden", "value=1"),
        ("PUT", "/v2/keys/d/empty", "value="),
        ("POST", "/v1/keys/d/f", "value=1"),
    ] {
        assert!(server.http(method, target, form).status < 300, "{target}");
    }
    let index = next(&server) - 1;
    let listed = format!(
        r#"[{{"action":"GET","key":"/d/empty","index":{index}}},{{"action":"GET","key":"/d/f","value":"1","index":{index}}},{{"action":"GET","key":"/d/sub","dir":true,"index":{index}}}]"#
    );
    ask(&server, "GET", "/v1/keys/d", "", 200, &listed);
    let only = format!(r#"[{{"action":"GET","key":"/d","dir":true,"index":{index}}}]"#);
    ask(&server, "GET", "/v1/keys/", "", 200, &only);
    ask(&server, "GET", "/v1/keys/d/sub/", "", 200, "[]");
    let hidden = format!(r#"{{"action":"GET","key":"/d/_hidden","value":"1","index":{index}}}"#);
    ask(&server, "GET", "/v1/keys/d/_hidden", "", 200, &hidden);
}

#[test]
fn v1_and_v2_see_each_others_writes() {
    let server = Launch::witan().start();
    let index = next(&server);
    server.http("POST", "/v1/keys/a", "value=1&ttl=100");
    let seen = server.http("GET", "/v2/keys/a", "").json();
    assert_eq!(seen["node"]["value"], "1");
    assert_eq!(seen["node"]["modifiedIndex"], index);
    let left = seen["node"]["ttl"].as_i64().expect("seconds");
    assert!((1..=100).contains(&left), "{left}");
    // v1 rounds a TTL down, and v2 rounds it up.
    let ttl = server.http("GET", "/v1/keys/a", "").json()["ttl"].as_i64();
    assert!(ttl.is_some_and(|ttl| ttl < left), "{ttl:?} {left}");
    server.answers(200, "PUT", "/v2/keys/a?prevValue=1", "value=2");
    let next = index + 1;
    let body = format!(r#"{{"action":"GET","key":"/a","value":"2","index":{next}}}"#);
    ask(&server, "GET", "/v1/keys/a", "", 200, &body);
    server.http("DELETE", "/v2/keys/a", "");
    server.answers(404, "GET", "/v1/keys/a", "");
}

#[test]
fn cluster_information_is_served() {
    let server = Launch::witan().start();
    let (client, peer) = (server.url(), server.peer_url());
    for target in ["/v1/leader", "/leader"] {
        ask(&server, "GET", target, "", 200, &peer);
    }
    for target in ["/v1/machines", "/machines"] {
        ask(&server, "GET", target, "", 200, &client);
    }
    let index = next(&server) - 1;
    let record = format!(
        r#"{{"action":"GET","key":"/_etcd/machines/default","value":"raft={peer}\u0026etcd={client}","index":{index}}}"#
    );
    let machine = "/v1/keys/_etcd/machines/default";
    ask(&server, "GET", machine, "", 200, &record);
    let (machines, list) = ("/v1/keys/_etcd/machines/", format!("[{record}]"));
    ask(&server, "GET", machines, "", 200, &list);
    let leader = r#"{"leader":"default","followers":{}}"#;
    ask(&server, "GET", "/v1/stats/leader", "", 200, leader);
    let stats = server.http("GET", "/v1/stats/self", "").json();
    assert_eq!(stats["state"], "leader");
    assert_eq!(stats["leaderInfo"]["leader"], "default");
    let before = server.http("GET", "/v1/stats/store", "").json();
    server.http("POST", "/v1/keys/a", "value=1");
    server.http("POST", "/v1/keys/a", "value=1&prevValue=x");
    server.http("GET", "/v1/keys/a", "");
    server.http("DELETE", "/v1/keys/a", "");
    let after = server.http("GET", "/v1/stats/store", "").json();
    for name in ["gets", "sets", "deletes", "testAndSets"] {
        let count = |stats: &serde_json::Value| stats[name].as_u64().expect("a count");
        assert_eq!(count(&after), count(&before) + 1, "{name}");
    }
}
