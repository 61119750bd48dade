//! The discovery service: tokens, registrations, waiting requests, limits, and the page for browsers.

use std::{sync::Barrier, thread};

use serde_json::{Value, json};
use witan_e2e::{
    Launch, Server, assert_contains,
    http::{self, Response},
    wait,
};

use super::{error, new_token, path};

const LIFETIME_S: i64 = 7 * 24 * 60 * 60;
const TOKENS_A_MINUTE: usize = 300;

/// Number of nodes that the server lists without another thread.
const NODES_INLINE: usize = 2048;

/// Number of registrations that a token accepts for each expected member.
const REGISTRATIONS: usize = 2;

fn register(server: &Server, token: &str, id: &str, value: &str) -> Response {
    let body = format!("value={}", http::escape(value));
    server.http("PUT", &format!("{token}/{id}?prevExist=false"), &body)
}

#[test]
fn any_method_creates_a_token() {
    let server = Launch::witan().start();
    let address = server.address();
    let mut seen = Vec::new();
    for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "BREW"] {
        let made = server.answers(200, method, "/new?size=5", "");
        let url = made.text();
        let token = url
            .strip_prefix(&format!("http://{address}/"))
            .unwrap_or_else(|| panic!("{url} does not reach {address}"));
        let hex = token.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(token.len() == 32 && hex, "{token}");
        assert!(!seen.contains(&url));
        let size = server
            .http("GET", &format!("/{token}/_config/size"), "")
            .json();
        assert_eq!(size["node"]["value"], "5");
        seen.push(url);
    }
    let usual = server.http("GET", "/new", "").text();
    let size = server.http("GET", &format!("{}/_config/size", path(&usual)), "");
    assert_eq!(size.json()["node"]["value"], "3");
    let of_form = server.http("POST", "/new", "size=7").text();
    let size = server.http("GET", &format!("{}/_config/size", path(&of_form)), "");
    assert_eq!(size.json()["node"]["value"], "7");
}

#[test]
fn sizes_are_bounded() {
    let server = Launch::witan().start();
    for size in [
        "abc",
        "0",
        "-1",
        "1000000",
        "",
        "33",
        "3.0",
        "18446744073709551617",
    ] {
        let refused = server.answers(400, "GET", &format!("/new?size={size}"), "");
        assert_contains(refused.text(), "from 1 to 32");
    }
    assert_eq!(path(&new_token(&server, 32)).len(), 33);
    // Refused requests created no token.
    let tokens = server.http("GET", "/v2/keys/_etcd/registry", "").json();
    assert_eq!(tokens["node"]["nodes"].as_array().map(Vec::len), Some(1));
}

/// The registrations and the expected fields come from a page about etcd 2.3 and the public discovery service at that time.
#[test]
fn lists_look_like_the_lists_of_the_public_service() {
    let server = Launch::witan().start();
    let token = path(&new_token(&server, 3));
    let registry = format!("/_etcd/registry{token}");
    let empty = server.http("GET", &token, "");
    let made = empty.json()["node"]["createdIndex"].clone();
    let directory =
        json!({"key": registry, "dir": true, "modifiedIndex": made, "createdIndex": made});
    assert_eq!(empty.json(), json!({"action": "get", "node": directory}));
    let mut nodes = Vec::new();
    for (id, value) in [
        ("f84fe4a4e816e778", "etcd1=http://192.168.99.102:2380"),
        ("4eb2dcba58da982f", "etcd0=http://192.168.99.101:2380"),
        ("aa5569b385caf33b", "etcd2=http://192.168.99.103:2380"),
    ] {
        let created = register(&server, &token, id, value);
        assert_eq!(created.status, 201, "{}", created.text());
        let node = created.json()["node"].clone();
        assert_eq!(node["key"], format!("{registry}/{id}"));
        assert_eq!(node["value"], value);
        let index = created.header("X-Etcd-Index").map(str::to_owned);
        assert_eq!(index, Some(node["createdIndex"].to_string()));
        nodes.push(node);
    }
    nodes.sort_by_key(|node| node["key"].to_string());
    let list = server.http("GET", &token, "");
    assert!(list.header("X-Etcd-Index").is_some());
    assert_eq!(list.header("Content-Type"), Some("application/json"));
    assert_eq!(list.json()["node"]["nodes"], json!(nodes));
    for node in &nodes {
        let fields: Vec<&String> = node.as_object().expect("a node").keys().collect();
        assert_eq!(fields, ["key", "value", "modifiedIndex", "createdIndex"]);
    }
    // The nodes are the same as in v2's response. Only v2 shows when the directory expires.
    let of_v2 = server
        .http("GET", &format!("/v2/keys{registry}"), "")
        .json();
    assert_eq!(of_v2["node"]["nodes"], json!(nodes));
    let deleted = server.http("DELETE", &format!("{token}/f84fe4a4e816e778"), "");
    assert_eq!(deleted.status, 200);
    assert_eq!(deleted.json()["action"], "delete");
    let left = server
        .http("GET", &format!("{token}?recursive=true"), "")
        .json();
    assert_eq!(left["node"]["nodes"], json!(nodes[..2]));
}

#[test]
fn refusals_equal_v2_errors() {
    let server = Launch::witan().start();
    let unknown = format!("/{}", "0".repeat(32));
    for (method, target) in [
        ("GET", unknown.clone()),
        ("GET", format!("{unknown}/_config/size")),
        ("GET", format!("{unknown}?wait=true")),
        ("PUT", format!("{unknown}/1")),
        ("DELETE", format!("{unknown}/1")),
    ] {
        let refused = server.http(
            method,
            &target,
            if method == "PUT" {
                "value=a=http://b:1"
            } else {
                ""
            },
        );
        let (status, code, _) = error(&refused);
        assert_eq!((status, code), (404, 100), "{method} {target}");
    }
    let token = path(&new_token(&server, 1));
    assert_eq!(register(&server, &token, "1", "a=http://b:1").status, 201);
    let (status, code, cause) = error(&register(&server, &token, "1", "c=http://d:1"));
    assert_eq!((status, code), (412, 105));
    assert_eq!(cause, format!("/_etcd/registry{token}/1"));
    let long = "x".repeat(1025);
    // The limit includes the length of the name.
    for (id, value) in [("2", &long[1..]), (&long[..1013], "a=http://b:1")] {
        let (status, code, cause) = error(&register(&server, &token, id, value));
        assert_eq!((status, code), (400, 209), "{cause}");
    }
    let directory = server.http("PUT", &format!("{token}/2"), "dir=true");
    assert_eq!(error(&directory).1, 209);
    assert_eq!(register(&server, &token, "2", "c=http://d:1").status, 201);
    let (status, code, cause) = error(&register(&server, &token, "3", "e=http://f:1"));
    assert_eq!((status, code), (507, 302), "{cause}");
    assert!(cause.contains(&REGISTRATIONS.to_string()), "{cause}");
    // A registered member may register again.
    server.answers(200, "PUT", &format!("{token}/2"), "value=c=http://d:2");
    for (method, target, allow) in [
        ("PUT", format!("{token}/_config/size"), "GET,HEAD"),
        ("DELETE", format!("{token}/_config"), "GET,HEAD"),
        ("PUT", format!("{token}/a/b"), "GET,HEAD"),
        ("PUT", token.clone(), "GET,HEAD,DELETE"),
        ("POST", token.clone(), "GET,HEAD,DELETE"),
        ("POST", format!("{token}/a"), "GET,HEAD,PUT,DELETE"),
    ] {
        let refused = server.http(method, &target, "value=9");
        let seen = (refused.status, refused.header("Allow"));
        assert_eq!(seen, (405, Some(allow)), "{method} {target}");
    }
    let head = server.http("HEAD", &token, "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    server.answers(200, "DELETE", &format!("{token}?recursive=true"), "");
    assert_eq!(error(&server.http("GET", &token, "")).1, 100);
}

#[test]
fn concurrent_registrations_do_not_exceed_the_limit() {
    const CLIENTS: usize = 32;
    let server = Launch::witan().start();
    let token = path(&new_token(&server, 1));
    let start = Barrier::new(CLIENTS);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|id| {
                let (server, token, start) = (&server, &token, &start);
                scope.spawn(move || {
                    start.wait();
                    register(server, token, &id.to_string(), "a=http://a:1").status
                })
            })
            .collect();
        let ends = clients.into_iter().map(|client| client.join());
        ends.map(|status| status.expect("an answer")).collect()
    });
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    let seen = (count(201), count(507));
    let expected = (REGISTRATIONS, CLIENTS - REGISTRATIONS);
    assert_eq!(seen, expected, "{statuses:?}");
}

#[test]
fn a_token_is_a_directory_of_v2_that_expires() {
    let server = Launch::witan().start();
    let token = path(&new_token(&server, 3));
    let directory = format!("/v2/keys/_etcd/registry{token}");
    let shown = server.http("GET", &directory, "").json();
    let ttl = shown["node"]["ttl"].as_i64().expect("a TTL");
    assert!((LIFETIME_S - 60..=LIFETIME_S).contains(&ttl), "{ttl}");
    // A write through v2 also registers a member.
    server.answers(201, "PUT", &format!("{directory}/1"), "value=a=http://a:1");
    let list = server.http("GET", &token, "").json();
    assert_eq!(list["node"]["nodes"][0]["value"], "a=http://a:1");
    assert_eq!(list["node"]["ttl"], Value::Null);
    let target = format!("{directory}?prevExist=true");
    server.answers(200, "PUT", &target, "dir=true&ttl=1");
    wait::until_true("the token expires", || {
        server.http("GET", &token, "").status == 404
    });
    let refused = register(&server, &token, "2", "b=http://b:1");
    assert_eq!(error(&refused).1, 100);
    server.answers(404, "GET", &directory, "");
}

#[test]
fn the_tokens_of_a_minute_are_limited() {
    let server = Launch::witan().start();
    let answers: Vec<Response> = (0..TOKENS_A_MINUTE + 5)
        .map(|_| server.http("GET", "/new", ""))
        .collect();
    let made = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(made.count(), TOKENS_A_MINUTE);
    let last = answers.last().expect("it was asked");
    assert_eq!((last.status, last.header("Retry-After")), (429, Some("60")));
    // Earlier tokens stay valid.
    let token = path(&answers[0].text());
    assert_eq!(register(&server, &token, "1", "a=http://a:1").status, 201);
}

#[test]
fn tokens_are_below_the_url_of_the_flag() {
    let base = "https://discovery.example.org/of/mine";
    let server = Launch::witan()
        .arg(format!("--discovery-service-url={base}/"))
        .start();
    let url = new_token(&server, 3);
    let token = url.strip_prefix(base).expect("the flag's URL comes first");
    server.answers(200, "GET", token, "");
    for wrong in ["discovery.example.org", "ftp://a", "http://a?b", "http://"] {
        let mut server = Launch::witan()
            .arg(format!("--discovery-service-url={wrong}"))
            .start_unready();
        assert_eq!(server.wait_exit().code(), Some(1), "{wrong}");
        server.wait_log(0, "discovery-service-url");
    }
    // Without the flag, the URL contains the host name of the request.
    let plain = Launch::witan().start();
    let ask = |host: &str| plain.http_with(&[("Host", host)], "GET", "/new", "");
    let url = ask("etcd.example.org:99").text();
    assert!(url.starts_with("http://etcd.example.org:99/"), "{url}");
    assert_eq!(ask("user@etcd.example.org").status, 400);
}

#[test]
fn a_browser_shows_missing_members() {
    let server = Launch::witan().start();
    let url = new_token(&server, 3);
    let token = path(&url);
    register(&server, &token, "1", "etcd0=http://192.168.99.101:2380");
    let accept = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let ask = |target: &str| server.http_with(&accept, "GET", target, "");
    let page = ask(&token);
    let kind = page.header("Content-Type");
    assert_eq!(kind, Some("text/html; charset=utf-8"));
    let policy = page.header("Content-Security-Policy").unwrap_or_default();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let text = page.text();
    assert_contains(&text, "1 of 3 members");
    assert_contains(&text, &url);
    let unknown = ask(&format!("/{}", "0".repeat(32)));
    assert_eq!(error(&unknown).1, 100);
    // Below the token, browsers also get JSON.
    assert_eq!(ask(&format!("{token}/1")).json()["action"], "get");
}

/// v2 can write any number of keys to a token's directory, but the service's own bounds hold.
#[test]
fn a_directory_that_v2_clients_have_filled_is_refused() {
    let server = Launch::witan().without_fsync().start();
    let token = path(&new_token(&server, 3));
    let directory = format!("/v2/keys/_etcd/registry{token}");
    let mut connection = server.connect();
    for _ in 0..NODES_INLINE {
        let answer = connection.request("POST", &directory, &[], b"value=x");
        assert_eq!(answer.expect("an answer").status, 201);
    }
    let list = server.http("GET", &token, "").json();
    let nodes = list["node"]["nodes"].as_array().map(Vec::len);
    assert_eq!(nodes, Some(NODES_INLINE));
    let accept = [("Accept", "text/html")];
    let page = server.http_with(&accept, "GET", &token, "");
    for refused in [
        page,
        register(&server, &token, "1", "a=http://a:1"),
        server.http("GET", &format!("{token}?wait=true"), ""),
    ] {
        assert_eq!((refused.status, error(&refused).1), (507, 302));
    }
}

/// The worker builds the page, and escaping can expand a byte of a name to six bytes.
#[test]
fn a_directory_with_long_names_is_refused() {
    let server = Launch::witan().start();
    let token = path(&new_token(&server, 3));
    for at in 0..5 {
        let name = "n".repeat(30 << 10);
        let target = format!("/v2/keys/_etcd/registry{token}/{at}{name}");
        server.answers(201, "PUT", &target, "value=x");
    }
    let page = server.http_with(&[("Accept", "text/html")], "GET", &token, "");
    assert_eq!((page.status, error(&page).1), (507, 302));
}

/// A starting member has no user. The token is its credential, and only root can create a token.
#[test]
fn a_token_grants_access_only_to_its_registry() {
    let server = Launch::witan().arg("--bcrypt-cost=4").start();
    let put = |target: &str, body: &str| {
        let done = server.http("PUT", target, body);
        assert!(done.status < 300, "{target}: {}", done.text());
    };
    put("/v2/auth/users/root", r#"{"user":"root","password":"r"}"#);
    put("/v2/auth/enable", "");
    let guest = r#"{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#;
    let of_root = |method: &str, target: &str, body: &str| {
        server.http_as(Some("Basic cm9vdDpy"), method, target, body)
    };
    assert_eq!(of_root("PUT", "/v2/auth/roles/guest", guest).status, 200);
    server.answers(401, "GET", "/new", "");
    let token = path(&of_root("GET", "/new?size=1", "").text());
    assert_eq!(register(&server, &token, "1", "a=http://a:1").status, 201);
    server.answers(200, "GET", &token, "");
    let other = format!("/v2/keys/_etcd/registry{token}/1");
    server.answers(401, "GET", &other, "");
}

/// Whoever knows a token can register, so a guest who may read all keys must not find tokens.
#[test]
fn only_root_finds_tokens_of_others() {
    let server = Launch::witan().arg("--bcrypt-cost=4").start();
    let of_root = |method: &str, target: &str, body: &str| {
        let done = server.http_as(Some("Basic cm9vdDpy"), method, target, body);
        assert!(done.status < 300, "{target}: {}", done.text());
        done
    };
    let user = r#"{"user":"root","password":"r"}"#;
    of_root("PUT", "/v2/auth/users/root", user);
    of_root("PUT", "/v2/auth/enable", "");
    let token = path(&of_root("GET", "/new?size=1", "").text());
    for target in [
        "/v2/keys/_etcd/registry",
        "/v2/keys/_etcd/registry/?recursive=true",
        "/v2/keys/_etcd/registry?quorum=true",
        "/v2/keys/_etcd/registry?wait=true&recursive=true",
        "/v2/keys/_etcd?recursive=true",
        "/v2/keys/_etcd?wait=true&recursive=true",
        "/v1/keys/_etcd/registry",
        "/v1/watch/_etcd/registry",
        "/v1/watch/_etcd",
    ] {
        server.answers(401, "GET", target, "");
    }
    let all = of_root("GET", "/v2/keys/_etcd?recursive=true", "").text();
    assert!(all.contains(&token), "{all}");
    server.answers(200, "GET", &format!("/v2/keys/_etcd/registry{token}"), "");
    for target in ["/v2/keys/?recursive=true", "/v2/keys/_etcd"] {
        let shown = server.answers(200, "GET", target, "").text();
        assert!(!shown.contains(&token), "{shown}");
    }
    let mut watch = server.send("GET", "/v2/keys/?wait=true&recursive=true", "");
    assert_eq!(watch.head("GET").expect("a head").status, 200);
    of_root("GET", "/new?size=1", "");
    of_root("PUT", "/v2/keys/x", "value=1");
    let event = watch.chunk().expect("no silence").expect("an event");
    let event = String::from_utf8_lossy(&event).into_owned();
    assert!(event.contains("\"key\":\"/x\""), "{event}");
}
