//! The same commands to Witan and to etcd 3.6 and 3.4 say the same.

use witan_e2e::{Kind, Server, Tool, http::Connection};

use crate::{populate, said, start};

fn compare(tool: Tool, servers: &[Server; 2], script: &str) {
    for line in script.lines().filter(|line| !line.is_empty()) {
        let (line, input) = line.split_once(" < ").unwrap_or((line, ""));
        let args: Vec<&str> = line.split(' ').collect();
        let input = input.replace("\\n", "\n");
        let [ours, theirs] = servers
            .each_ref()
            .map(|server| said(tool, server, &args, &input));
        assert_eq!(ours, theirs, "{line}");
    }
}

const MANAGE: &str = "\
auth enable
user add root:r
user add root:other
user add alice:a
user add bob --new-user-password=b
user add cert --no-password
user list
role add app
role add app
role list
role get app
role get none
role grant-permission app read k
role grant-permission app readwrite p --prefix
role grant-permission app write q --from-key
role grant-permission app readwrite p --prefix=true
role grant-permission app read z a
role grant-permission none read z
role get app
role revoke-permission app k
role revoke-permission app k
role revoke-permission app q --from-key
role get app
user grant-role alice app
user grant-role alice app
user grant-role alice none
user grant-role nobody app
user get alice
user get alice --detail
user get nobody
user revoke-role alice none
user revoke-role nobody app
user passwd nobody --interactive=false < x\\n
user passwd bob --interactive=false < c\\n
user grant-role root root
user get root --detail
role get root
auth enable
auth enable
--user root:r user list
--user root:r user delete root
--user root:r user revoke-role root root
--user root:r role delete root
--user root:r user passwd cert --interactive=false < x\\n
--user bob:b get k
--user bob:c get k
--user cert:x get k
--user nobody:x get k
--user root:r user delete bob
--user root:r user delete bob
--user root:r role delete app
--user root:r role delete app
--user root:r user get alice
--user root:r auth disable
user list
auth disable
user delete root
auth enable
";

#[test]
fn users_and_roles() {
    let servers = [Kind::Witan, Kind::Etcd36].map(start);
    compare(Tool::Etcdctl36, &servers, MANAGE);
}

#[test]
fn users_and_roles_of_an_older_client() {
    let servers = [Kind::Witan, Kind::Etcd34].map(start);
    // etcd 3.4 takes a range that holds no key
    let script = MANAGE.replace("role grant-permission app read z a\n", "");
    compare(Tool::Etcdctl34V3, &servers, &script);
}

const DENIED: &str = "\
get a
put a 2
--user alice:a get a
--user alice:a get a e
--user alice:a get a f
--user alice:a get a --from-key
--user alice:a get --prefix d
--user alice:a get --prefix \"\"
--user alice:a put a 2
--user alice:a put a 3 --prev-kv
--user alice:a put d 2
--user alice:a put x 2
--user alice:a del d
--user alice:a del a c --prev-kv
--user alice:a del a d
--user alice:a txn < mod(\"a\") > \"0\"\\n\\nput a 1\\n\\nget d\\n\\n
--user alice:a txn < mod(\"x\") > \"0\"\\n\\nput a 1\\n\\nget d\\n\\n
--user alice:a txn < \\nput a 1\\n\\nput d 1\\n\\n
--user alice:a txn < \\nget a\\n\\nget x\\n\\n
--user alice:a txn < \\nget a\\nget d\\n\\n\\n
--user bob:b get a
--user bob:b put a 1
compaction 2
--user alice:a compaction 2
--user root:r compaction 2
--user alice:a watch x
--user alice:a watch a --from-key
watch a
member list
--user alice:a member remove 1234
--user alice:a member promote 1234
--user alice:a member add m --peer-urls=http://127.0.0.1:1
--user alice:a alarm list
alarm list
lease grant 10
lease list
--user alice:a lease list
--user alice:a lease revoke 1234
--user alice:a lease timetolive 1234 --keys
lease timetolive 1234
--user alice:a auth status
--user alice:a auth disable
--user alice:a user list
--user alice:a user get alice
--user alice:a user get bob
--user alice:a role get app
--user bob:b role get app
--user alice:a role list
--user alice:a user add eve:e
--user alice:a role add eve
--user alice:a user passwd alice --interactive=false < n\\n
user list
--user root:r get a
--user root:r put x 9
";

#[test]
fn every_kind_of_denial() {
    let servers = [Kind::Witan, Kind::Etcd36].map(start);
    servers.iter().for_each(populate);
    compare(Tool::Etcdctl36, &servers, DENIED);
}

/// Whose token a call shows.
#[derive(Clone, Copy)]
enum Who {
    Anonymous,
    Bogus(&'static str),
    Alice,
    /// Alice's, as some clients show it.
    Bearer,
    Root,
}

#[rustfmt::skip]
const CALLS: &[(Who, &str, &str)] = &[
    (Who::Anonymous, "/v3/kv/range", r#"{"key":"YQ=="}"#),
    (Who::Bogus("nonsense"), "/v3/kv/range", r#"{"key":"YQ=="}"#),
    (Who::Bogus("nonsense.7"), "/v3/kv/range", r#"{"key":"YQ=="}"#),
    // etcd looks at the message first where the message alone is wrong
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
    // the lease keeps a key that alice may not write now
    (Who::Alice, "/v3/lease/keepalive", r#"{"ID":77}"#),
    (Who::Anonymous, "/v3/lease/keepalive", r#"{"ID":77}"#),
    (Who::Alice, "/v3/lease/timetolive", r#"{"ID":77,"keys":true}"#),
    (Who::Alice, "/v3/lease/leases", "{}"),
    (Who::Alice, "/v3/lease/revoke", r#"{"ID":77}"#),
    (Who::Anonymous, "/v3/lease/revoke", r#"{"ID":77}"#),
    (Who::Root, "/v3/lease/revoke", r#"{"ID":77}"#),
];

fn login(server: &Server, body: &str) -> String {
    let login = server.http("POST", "/v3/auth/authenticate", body);
    assert_eq!(login.status, 200, "{}", login.text());
    let token = login.json()["token"].as_str().unwrap().to_owned();
    let (letters, index) = token.split_once('.').unwrap();
    assert_eq!(letters.len(), 16);
    assert!(letters.bytes().all(|b| b.is_ascii_alphabetic()));
    index.parse::<u64>().unwrap();
    token
}

fn call(server: &Server, token: Option<&str>, call: &str, body: &str) -> String {
    let mut connection = Connection::open(&server.address()).unwrap();
    let headers: Vec<(&str, &str)> = token.map(|t| ("Authorization", t)).into_iter().collect();
    let sent = connection.send("POST", call, &headers, body.as_bytes());
    sent.unwrap();
    let answer = connection.response("POST").unwrap();
    let mut json = answer.json();
    if let Some(answer) = json.as_object_mut() {
        answer.remove("header");
        // beside etcd 3.6's fields, for clients of the former gateway
        if answer.get("error").is_some_and(|error| error.is_string()) {
            answer.remove("error");
        }
    }
    // how a stream says that it failed at once is the gateway's affair
    match json["error"]["message"].as_str() {
        Some(failed) => format!("{call} {body} {failed}"),
        None => format!("{call} {body} {} {json}", answer.status),
    }
}

#[test]
fn the_gateway_takes_tokens() {
    let servers = [Kind::Witan, Kind::Etcd36].map(start);
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
