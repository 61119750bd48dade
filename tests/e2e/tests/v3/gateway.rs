//! JSON under `/v3` beside etcd 3.6, to the byte.

use witan_e2e::{Kind, Server, http};

use super::{pair, start};

/// Method, path below `/v3`, body.
pub(super) type Ask = (&'static str, &'static str, &'static str);

/// Status, type, and body of an answer.
fn ask(server: &Server, (method, path, body): Ask) -> (u16, String, String) {
    let target = format!("/v3/{path}");
    let response = http::once(&server.address(), method, &target, body);
    let metadata = response
        .header("grpc-metadata-content-type")
        .unwrap_or("none");
    let kind = format!(
        "{} {metadata}",
        response.header("content-type").unwrap_or("none")
    );
    (response.status, kind, http::without_error(&response.text()))
}

pub(super) fn same(asks: &[Ask]) {
    let [ours, theirs] = pair();
    let mut differences = Vec::new();
    for one in asks {
        let (got, want) = (ask(&ours, *one), ask(&theirs, *one));
        if got != want {
            differences.push(format!("{one:?}\n got {got:?}\nwant {want:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

const KEYS: &[Ask] = &[
    ("POST", "kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#),
    (
        "POST",
        "kv/put",
        r#"{"key":"Zm9v","value":"YmFyMg==","prev_kv":true}"#,
    ),
    (
        "POST",
        "kv/put",
        r#"{"key":"Zm9v","value":"YmFyMg==","prevKv":true}"#,
    ),
    ("POST", "kv/put", r#"{"key":"_-8","value":"/+8="}"#),
    ("POST", "kv/put", r#"{"key":"Zm9v","lease":"7"}"#),
    ("POST", "kv/put", r#"{"key":"Zm9v","lease":7}"#),
    (
        "POST",
        "kv/put",
        r#"{"key":"Zm9v","value":"YQ==","ignore_value":true}"#,
    ),
    ("POST", "kv/put", r#"{"value":"YQ=="}"#),
    ("POST", "kv/put", ""),
    ("POST", "kv/range", r#"{"key":"AA==","range_end":"AA=="}"#),
    (
        "POST",
        "kv/range",
        r#"{"key":"AA==","rangeEnd":"AA==","limit":"1"}"#,
    ),
    (
        "POST",
        "kv/range",
        r#"{"key":"AA==","range_end":"AA==","limit":1.0,"keys_only":true}"#,
    ),
    (
        "POST",
        "kv/range",
        r#"{"key":"AA==","range_end":"AA==","count_only":true}"#,
    ),
    (
        "POST",
        "kv/range",
        r#"{"key":"AA==","range_end":"AA==","sort_order":"DESCEND","sort_target":"MOD"}"#,
    ),
    (
        "POST",
        "kv/range",
        r#"{"key":"AA==","range_end":"AA==","sort_order":2,"sort_target":1}"#,
    ),
    ("POST", "kv/range", r#"{"key":"Zm9v","sort_order":7}"#),
    ("POST", "kv/range", r#"{"key":"Zm9v","revision":"2"}"#),
    ("POST", "kv/range", r#"{"key":"Zm9v","revision":99}"#),
    (
        "POST",
        "kv/range",
        r#"{"key":"Zm9v","serializable":true,"unknown":{"a":[1,2]}}"#,
    ),
    (
        "POST",
        "kv/range",
        r#"{"key":"Zm9v","limit":null} trailing"#,
    ),
    ("POST", "kv/range", "{}"),
    ("POST", "kv/range", " "),
    ("POST", "kv/range", "not json"),
    ("POST", "kv/range", "{\"key\" 1}"),
    ("POST", "kv/range", r#"{"key":"Zm9v""#),
    ("POST", "kv/deleterange", r#"{"key":"Zm9v","prev_kv":true}"#),
    ("POST", "kv/deleterange", r#"{"key":"Zm9v"}"#),
    ("POST", "kv/compaction", r#"{"revision":"3"}"#),
    (
        "POST",
        "kv/compaction",
        r#"{"revision":"3","physical":true}"#,
    ),
    ("POST", "kv/compaction", r#"{"revision":"999"}"#),
    ("POST", "kv/range", r#"{"key":"Zm9v","revision":"2"}"#),
];

#[test]
fn keys() {
    same(KEYS);
}

#[test]
fn transactions() {
    same(&[
        ("POST", "kv/txn", "{}"),
        (
            "POST",
            "kv/txn",
            r#"{"success":[{"request_put":{"key":"YQ==","value":"MQ=="}}]}"#,
        ),
        (
            "POST",
            "kv/txn",
            r#"{"compare":[{"key":"YQ==","target":"VALUE","value":"MQ=="}],"success":[{"request_range":{"key":"YQ=="}}]}"#,
        ),
        (
            "POST",
            "kv/txn",
            r#"{"compare":[{"key":"YQ==","target":"VERSION","result":"GREATER","version":"5"}],"failure":[{"requestRange":{"key":"YQ=="}}]}"#,
        ),
        (
            "POST",
            "kv/txn",
            r#"{"compare":[{"key":"YQ==","target":2,"result":3,"mod_revision":7}],"success":[{"request_delete_range":{"key":"YQ==","prev_kv":true}}]}"#,
        ),
        (
            "POST",
            "kv/txn",
            r#"{"compare":[{"key":"eA==","target":"LEASE","lease":"0"}],"success":[{"request_txn":{"success":[{"request_put":{"key":"YQ=="}}]}}]}"#,
        ),
        ("POST", "kv/txn", r#"{"success":[{"request_txn":{}}]}"#),
        (
            "POST",
            "kv/txn",
            r#"{"success":[{"request_put":{"key":"Yg==","value":"YQ=="}},{"request_delete_range":{"key":"YQ==","range_end":"AA=="}}]}"#,
        ),
        (
            "POST",
            "kv/txn",
            r#"{"success":[{"request_delete_range":{"key":"YQ==","range_end":"AA=="}},{"request_put":{"key":"Yg==","value":"YQ=="}}]}"#,
        ),
        (
            "POST",
            "kv/txn",
            r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}"#,
        ),
        ("POST", "kv/txn", r#"{"success":[{}]}"#),
    ]);
}

#[test]
fn members_paths_and_methods() {
    same(&[
        ("POST", "cluster/member/list", "{}"),
        ("POST", "cluster/member/list", r#"{"linearizable":true}"#),
        ("POST", "cluster/member/add", r#"{"peerURLs":["bogus"]}"#),
        (
            "POST",
            "cluster/member/add",
            r#"{"peerURLs":["http://127.0.0.1:2380"]}"#,
        ),
        ("POST", "cluster/member/remove", r#"{"ID":"1"}"#),
        (
            "POST",
            "cluster/member/update",
            r#"{"ID":1,"peerURLs":["http://127.0.0.1:1"]}"#,
        ),
        ("POST", "cluster/member/promote", r#"{"ID":"1"}"#),
        ("POST", "maintenance/alarm", "{}"),
        ("POST", "maintenance/alarm", r#"{"action":"GET"}"#),
        ("POST", "nosuch", "{}"),
        ("POST", "kv/range/", "{}"),
        ("GET", "kv/range", ""),
        ("PUT", "kv/put", "{}"),
        ("DELETE", "kv/put", ""),
        ("GET", "", ""),
    ]);
}

#[test]
fn the_former_prefixes_are_served_in_the_former_manner() {
    let server = start(Kind::Witan);
    for prefix in ["v3beta", "v3alpha"] {
        let response = server.http("POST", &format!("/{prefix}/kv/put"), r#"{"key":"YQ=="}"#);
        assert_eq!(response.status, 200, "{}", response.text());
        let response = server.http("POST", &format!("/{prefix}/kv/put"), "");
        let text = "etcdserver: key is not provided";
        let want = format!(r#"{{"error":"{text}","message":"{text}","code":3}}"#);
        assert_eq!((response.status, response.text()), (400, want));
    }
}

/// Clients of 3.4's gateway read `error`, those of 3.6's `message`.
#[test]
fn a_refusal_speaks_to_clients_of_both_gateways() {
    let server = start(Kind::Witan);
    let text = "etcdserver: key is not provided";
    let response = server.http("POST", "/v3/kv/put", "");
    let want = format!(r#"{{"code":3,"message":"{text}","error":"{text}"}}"#);
    assert_eq!((response.status, response.text()), (400, want));
    for (method, path) in [("POST", "nosuch"), ("GET", "kv/put")] {
        let refused = server.http(method, &format!("/v3/{path}"), "").json();
        assert!(refused["error"].is_string(), "{refused}");
        assert_eq!(refused["error"], refused["message"]);
    }
}

#[test]
fn a_body_that_is_no_request_is_refused_in_the_same_words() {
    let bodies = [
        "not json",
        "[]",
        "null",
        "7",
        r#"{"key":"!!!!"}"#,
        r#"{"key":7}"#,
        r#"{"limit":"x"}"#,
        r#"{"limit":true}"#,
        r#"{"key":"YQ==","key":"YQ=="}"#,
    ];
    same(&bodies.map(|body| ("POST", "kv/range", body)));
}

#[test]
fn a_body_beyond_the_message_limit_is_refused_with_its_size() {
    let [ours, theirs] = pair();
    let body = format!(r#"{{"key":"YQ==","value":"{}"}}"#, "eHh4".repeat(800_000));
    let answers = [&ours, &theirs].map(|server| {
        let response = server.http("POST", "/v3/kv/put", &body);
        (response.status, http::without_error(&response.text()))
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, 429);
}

#[test]
fn without_the_gateway_nothing_is_served_there() {
    let server = witan_e2e::Launch::witan()
        .arg("--enable-grpc-gateway=false")
        .start();
    assert_eq!(server.http("POST", "/v3/kv/range", "{}").status, 404);
    assert_eq!(server.http("GET", "/version", "").status, 200);
}

#[test]
fn the_openapi_document_tells_what_is_served() {
    let server = start(Kind::Witan);
    let document = server.http("GET", "/openapi.json", "").json();
    assert_eq!(document["openapi"], "3.0.3");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 45, "{}", paths.len());
    for (path, item) in paths {
        // calls are made by POST alone; a path that nobody serves is not found
        assert_eq!(server.http("GET", path, "").status, 501, "{path}");
        assert!(item["post"]["responses"]["200"].is_object(), "{path}");
    }
    assert_eq!(server.http("GET", "/v3/kv/nonsense", "").status, 404);
    assert_eq!(server.http("POST", "/openapi.json", "{}").status, 405);
}
