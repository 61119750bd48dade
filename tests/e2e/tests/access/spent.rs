//! The cost of refused callers: they cause no password hash, no log entry and no alarm.

use witan_api::access::AuthSwitches;
use witan_e2e::{Launch, Server, assert_contains, http};

use crate::{
    rows,
    stage::{CallerKind, Stage},
};

/// A hash of this cost takes weeks, so an answered request did not wait for a hash.
const WEEKS: &str = "--bcrypt-cost=31";

/// A quota that is smaller than one request.
const SMALL_QUOTA: &str = "--quota-backend-bytes=40000";

fn post(server: &Server, path: &str, token: Option<&str>, body: &str) -> http::Response {
    server.http_as(token, "POST", path, body)
}

/// Starts a server with auth of v2 and v3, where hashing takes weeks. Returns the server and the tokens of root and bob.
fn start() -> (Server, String, String) {
    let mut server = Launch::witan()
        .arg("--bcrypt-cost=4")
        .arg(SMALL_QUOTA)
        .start();
    server.require_users(&["root:r", "bob:b"]);
    server.add_args([WEEKS]);
    server.terminate();
    server.start_again();
    let (root, bob) = (server.token("root", "r"), server.token("bob", "b"));
    (server, root, bob)
}

fn raft_index(server: &Server, root: &str) -> String {
    let status = post(server, "/v3/maintenance/status", Some(root), "");
    status.json()["raftIndex"].to_string()
}

#[test]
fn unauthorized_requests_cost_no_hash() {
    let (server, root, bob) = start();
    let before = raft_index(&server, &root);
    for token in [None, Some("wrong.1"), Some(bob.as_str())] {
        for path in ["auth/user/add", "auth/user/changepw"] {
            let body = r#"{"name":"bob","password":"new"}"#;
            let refused = post(&server, &format!("/v3/{path}"), token, body);
            assert!(refused.status >= 400, "{path} {token:?}");
        }
    }
    let user = r#"{"user":"bob","password":"new"}"#;
    for token in [None, Some(bob.as_str())] {
        let put = server.http_as(token, "PUT", "/v2/auth/users/bob", user);
        assert_eq!(put.status, 401, "{token:?}");
    }
    assert_eq!(raft_index(&server, &root), before, "something was proposed");
}

#[test]
fn unauthorized_requests_raise_no_alarm() {
    let (server, root, bob) = start();
    let value = "A".repeat(60_000);
    let put = format!(r#"{{"key":"YQ==","value":"{value}"}}"#);
    let txn = format!(r#"{{"success":[{{"requestPut":{put}}}]}}"#);
    let campaign = format!(r#"{{"name":"YQ==","lease":"7","value":"{value}"}}"#);
    let before = raft_index(&server, &root);
    for token in [None, Some("wrong.1"), Some(bob.as_str())] {
        for (path, body) in [
            ("kv/put", &put),
            ("kv/txn", &txn),
            ("election/campaign", &campaign),
        ] {
            let refused = post(&server, &format!("/v3/{path}"), token, body);
            assert!(refused.status >= 400, "{path} {token:?}");
        }
    }
    let alarms = post(&server, "/v3/maintenance/alarm", Some(&root), "").json();
    assert!(alarms["alarms"].is_null(), "{alarms}");
    assert_eq!(raft_index(&server, &root), before, "something was proposed");
    // An authorized write exceeds the quota and raises the alarm.
    let full = post(&server, "/v3/kv/put", Some(&root), &put);
    assert_contains(full.text(), "database space exceeded");
    let alarms = post(&server, "/v3/maintenance/alarm", Some(&root), "").json();
    assert_eq!(alarms["alarms"][0]["alarm"], "NOSPACE", "{alarms}");
}

#[test]
fn refused_requests_are_not_proposed() {
    let on = AuthSwitches { v2: true, v3: true };
    let mut stage = Stage::set(on);
    let index = |stage: &Stage| stage.v3("maintenance/status", "").json()["raftIndex"].to_string();
    for row in rows::all() {
        // A watch of v1 needs a write by root, and this write is proposed.
        let refused = [CallerKind::Anonymous, CallerKind::Invalid]
            .map(|who| (who, who.has(row.access(), on)));
        for (who, admitted) in refused {
            if admitted || row.is_woken() {
                continue;
            }
            let before = index(&stage);
            row.ask(&mut stage, who);
            assert_eq!(index(&stage), before, "{who:?}: {row}");
        }
    }
}
