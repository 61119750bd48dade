//! Compares gateway calls with tokens on Witan and on etcd 3.6. `tests/commands` compares etcdctl's output.

use witan_e2e::{Kind, Server};

use crate::{populate, start};

/// The user whose token a call presents.
#[derive(Clone, Copy)]
enum Who {
    Anonymous,
    Bogus(&'static str),
    Alice,
    /// Alice, with the prefix `Bearer` as some clients send it.
    Bearer,
    Root,
}

#[rustfmt::skip]
const CALLS: &[(Who, &str, &str)] = &[
    (Who::Anonymous, "/v3/kv/range", r#"{"key":"YQ=="}"#),
    (Who::Bogus("nonsense"), "/v3/kv/range", r#"{"key":"YQ=="}"#),
    (Who::Bogus("nonsense.7"), "/v3/kv/range", r#"{"key":"YQ=="}"#),
    // Etcd checks the message first if only the message is invalid.
    (Who::Alice, "/v3/kv/range", "{}"),
    (Who::Alice, "/v3/kv/range", r#"{"key":"eA=="}"#),
    (Who::Alice, "/v3/kv/put", r#"{"key":"YQ=="}"#),
    (Who::Bearer, "/v3/kv/put", r#"{"key":"YQ=="}"#),
    (Who::Alice, "/v3/kv/put", r#"{"key":"eA=="}"#),
    (Who::Alice, "/v3/auth/user/get", r#"{"name":"alice"}"#),
    (Who::Alice, "/v3/auth/role/get", r#"{"role":"app"}"#),
    (Who::Alice, "/v3/auth/user/list", "{}"),
    (Who::Anonymous, "/v3/auth/status", "{}"),
    (Who::Anonymous, "/v3/auth/authenticate", r#"{"name":"bob","password":"x"}"#),
    (Who::Anonymous, "/v3/maintenance/status", "{}"),
    (Who::Alice, "/v3/maintenance/alarm", r#"{"action":"ACTIVATE"}"#),
    (Who::Anonymous, "/v3/lease/grant", r#"{"ID":77,"TTL":100}"#),
    (Who::Alice, "/v3/lease/grant", r#"{"ID":77,"TTL":100}"#),
    (Who::Alice, "/v3/kv/put", r#"{"key":"YQ==","lease":77}"#),
    (Who::Root, "/v3/kv/put", r#"{"key":"eA==","lease":77}"#),
    (Who::Alice, "/v3/kv/put", r#"{"key":"YQ==","lease":77}"#),
    // The lease has a key that alice may no longer write.
    (Who::Alice, "/v3/lease/keepalive", r#"{"ID":77}"#),
    (Who::Anonymous, "/v3/lease/keepalive", r#"{"ID":77}"#),
    (Who::Alice, "/v3/lease/timetolive", r#"{"ID":77,"keys":true}"#),
    (Who::Alice, "/v3/lease/leases", "{}"),
    (Who::Alice, "/v3/lease/revoke", r#"{"ID":77}"#),
    (Who::Anonymous, "/v3/lease/revoke", r#"{"ID":77}"#),
    (Who::Root, "/v3/lease/revoke", r#"{"ID":77}"#),
];

fn login(server: &Server, body: &str) -> String {
    let login = server.answers(200, "POST", "/v3/auth/authenticate", body);
    let token = login.json()["token"].as_str().unwrap().to_owned();
    let (letters, index) = token.split_once('.').unwrap();
    assert_eq!(letters.len(), 16);
    assert!(letters.bytes().all(|b| b.is_ascii_alphabetic()));
    index.parse::<u64>().unwrap();
    token
}

fn call(server: &Server, token: Option<&str>, call: &str, body: &str) -> String {
    let answer = server.http_as(token, "POST", call, body);
    let mut json = answer.json();
    if let Some(answer) = json.as_object_mut() {
        answer.remove("header");
        // Witan adds a field to etcd 3.6's fields, for clients of the former gateway.
        if answer.get("error").is_some_and(|error| error.is_string()) {
            answer.remove("error");
        }
    }
    // The form in which a stream reports an immediate failure depends on the gateway.
    match json["error"]["message"].as_str() {
        Some(failed) => format!("{call} {body} {failed}"),
        None => format!("{call} {body} {} {json}", answer.status),
    }
}

#[test]
fn the_gateway_takes_tokens() {
    let servers = [Kind::Witan, Kind::Etcd37].map(start);
    servers.iter().for_each(populate);
    let answers = servers.map(|server| {
        let root = login(&server, r#"{"name":"root","password":"r"}"#);
        let alice = login(&server, r#"{"name":"alice","password":"a"}"#);
        let bearer = format!("Bearer {alice}");
        let answers = CALLS.iter().map(|(who, verb, body)| {
            let token = match who {
                Who::Anonymous => None,
                Who::Bogus(token) => Some(*token),
                Who::Alice => Some(&*alice),
                Who::Bearer => Some(&*bearer),
                Who::Root => Some(&*root),
            };
            call(&server, token, verb, body)
        });
        answers.collect::<Vec<_>>()
    });
    assert_eq!(answers[0], answers[1]);
}
