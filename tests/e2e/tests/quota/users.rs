//! The quota also counts data about users and members. Names cannot fill a disk through any dialect, and their deletion frees
//! space.

use serde_json::{Value, json};
use witan_e2e::{Launch, Server, Tool, http};

const NAME_BYTES: usize = 4096;
const KEY_BYTES: usize = 64 << 10;

/// Enough items to exceed the quota.
const MANY: usize = 2000;

fn server() -> Server {
    Launch::witan().arg("--quota-backend-bytes=1500000").start()
}

fn v2(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let answer = server.http("PUT", &format!("/v2/auth/{path}"), &body.to_string());
    (answer.status, answer.json())
}

fn name(number: usize) -> String {
    format!("{number:05}{}", "n".repeat(NAME_BYTES - 5))
}

/// Adds items until one is refused because of the quota. Returns the number of added items.
fn fill(add: impl Fn(usize) -> (u16, Value)) -> usize {
    let refused = (0..MANY).find_map(|number| {
        let (status, answer) = add(number);
        (status != 200 && status != 201).then_some((number, status, answer))
    });
    let (number, status, answer) = refused.expect("the quota is used up");
    assert!([429, 507].contains(&status), "{answer}");
    let exceeded = "etcdserver: mvcc: database space exceeded";
    assert_eq!(answer["message"], exceeded);
    assert!(number > 3, "{number}");
    number
}

#[test]
fn roles_and_users_use_up_the_quota() {
    let mut server = server();
    let add =
        |server: &Server, number| server.try_v3("auth/role/add", &json!({ "name": name(number) }));
    let added = fill(|number| add(&server, number));
    let alarms = Tool::Etcdctl36.run(&server.url(), &["alarm", "list"]);
    assert!(alarms.stdout.contains("alarm:NOSPACE"), "{}", alarms.all());
    // The alarm stops all requests that grow the state.
    let (user, put) = (
        json!({ "name": "u", "options": { "no_password": true } }),
        json!({ "key": "a2V5", "value": "dmFsdWU=" }),
    );
    assert_eq!(server.try_v3("kv/put", &put).0, 429);
    assert_eq!(server.try_v3("auth/user/add", &user).0, 429);
    assert_eq!(v2(&server, "roles/r", &json!({ "role": "r" })).0, 507);
    server.kill9();
    server.start_unhealthy_again();
    assert_eq!(server.try_v3("auth/user/add", &user).0, 429);

    for number in 0..added {
        let gone = server.try_v3("auth/role/delete", &json!({ "role": name(number) }));
        assert_eq!(gone.0, 200, "{}", gone.1);
    }
    server.etcdctl(&["alarm", "disarm"]);
    assert_eq!(server.try_v3("auth/user/add", &user).0, 200);
    assert_eq!(add(&server, 0).0, 200);
}

#[test]
fn long_names_and_urls_are_refused() {
    let server = server();
    let long = "n".repeat(NAME_BYTES + 1);
    let too_long = "etcdserver: request is too large";
    let assert_long = |path: &str, body: Value| {
        let (status, answer) = server.try_v3(path, &body);
        let seen = (status, &answer["message"]);
        assert_eq!(seen, (400, &json!(too_long)), "{path}");
    };
    assert_long("auth/role/add", json!({ "name": long }));
    let options = json!({ "no_password": true });
    assert_long("auth/user/add", json!({ "name": long, "options": options }));
    let key = "k".repeat(2 * KEY_BYTES);
    let perm = json!({ "permType": "READ", "key": key });
    assert_long("auth/role/grant", json!({ "name": "r", "perm": perm }));
    let body = json!({ "role": long });
    assert_eq!(v2(&server, &format!("roles/{long}"), &body).0, 400);
    let url = format!("http://{}:1", "a".repeat(KEY_BYTES));
    let member = json!({ "ID": "1", "peerURLs": [url] });
    for path in ["cluster/member/add", "cluster/member/update"] {
        let (status, answer) = server.try_v3(path, &member);
        let text = "etcdserver: given member URLs are invalid";
        assert_eq!((status, &answer["message"]), (400, &json!(text)), "{path}");
    }
    let body = json!({ "peerURLs": [url] }).to_string();
    let answer = server.http_with(&http::JSON, "PUT", "/v2/members/1", &body);
    assert_eq!(answer.status, 400, "{}", answer.text());
    let (_, roles) = server.try_v3("auth/role/list", &json!({}));
    assert_eq!(roles.get("roles"), None);
}
