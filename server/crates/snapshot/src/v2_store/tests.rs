//! A store, the log that led to it and the answers of the member: etcd 3.4.23 with `--enable-v2 --snapshot-count 10`.
//! The files in `testdata/v2_store` are the data of its newest snapshot, the requests of its log up to there, and what
//! clients got at that index.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use witan_gocompat::text;
use witan_machine::{
    auth::{Auth, Role, User, path_permissions::PathPatterns},
    command::{ChangeMembers, ClusterVersion, PublishAttributes, UpdatePeerUrls},
    member::Member,
};
use witan_tree::{Action, Event, Node, Tree, Watch, WriteCounts};

use super::{V2Change, V2Request, V2Store};

const STORE: &str = include_str!("../../testdata/v2_store/store.json");
const ANSWERS: &str = include_str!("../../testdata/v2_store/answers.json");
const LOG: &str = include_str!("../../testdata/v2_store/log.json");

#[derive(Deserialize)]
struct Answers {
    index: u64,
    now_ns: i64,
    gets: Vec<Answer>,
    watches: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    path: String,
    recursive: bool,
    #[serde(default)]
    from: u64,
    answer: Option<Value>,
}

fn store() -> V2Store {
    V2Store::read(STORE.as_bytes()).unwrap()
}

fn node_json(node: &Node) -> Value {
    let mut shown = json!({});
    let mut put = |name: &str, value: Value| shown[name] = value;
    let text = |bytes: &[u8]| json!(str::from_utf8(bytes).unwrap());
    if !node.path.is_empty() {
        put("key", text(&node.path));
    }
    if let Some(value) = &node.value {
        put("value", text(value));
    }
    if node.dir {
        put("dir", json!(true));
    }
    if let Some(expires_ns) = node.expires_ns {
        put("expiration", json!(text::time(expires_ns)));
    }
    if node.ttl != 0 {
        put("ttl", json!(node.ttl));
    }
    if let Some(nodes) = &node.nodes {
        put("nodes", nodes.iter().map(node_json).collect());
    }
    if node.modified != 0 {
        put("modifiedIndex", json!(node.modified));
        put("createdIndex", json!(node.created));
    }
    shown
}

/// The event as v2 answers with it.
fn event_json(event: &Event) -> Value {
    let action = match event.action {
        Action::Get => "get",
        Action::Set => "set",
        Action::Create => "create",
        Action::Update => "update",
        Action::CompareAndSwap => "compareAndSwap",
        Action::CompareAndDelete => "compareAndDelete",
        Action::Delete => "delete",
        Action::Expire => "expire",
    };
    let mut shown = json!({"action": action, "node": node_json(&event.node)});
    if let Some(prev) = &event.prev {
        shown["prevNode"] = node_json(prev);
    }
    shown
}

/// All nodes as records of a checkpoint.
fn nodes(tree: &Tree) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    tree.changes(None, &mut |key, value| {
        if key.starts_with(b"n") {
            found.insert(key, value);
        }
    });
    found
}

/// The history without remaining seconds, which depend on when a member has executed what.
fn history(tree: &Tree) -> Vec<Event> {
    let events = tree
        .events_since(tree.index().saturating_sub(1000))
        .unwrap()
        .cloned();
    let timeless = events.map(|mut event| {
        event.node.ttl = 0;
        if let Some(prev) = &mut event.prev {
            prev.ttl = 0;
        }
        event
    });
    timeless.collect()
}

#[test]
fn reads_and_watches_are_answered_as_etcd_does() {
    let answers: Answers = serde_json::from_str(ANSWERS).unwrap();
    let keys = store().keys();
    assert_eq!(keys.index(), answers.index);
    for get in &answers.gets {
        let event = keys.get(get.path.as_bytes(), get.recursive, answers.now_ns);
        assert_eq!(
            event.ok().map(|event| event_json(&event)),
            get.answer,
            "{}",
            get.path
        );
    }
    // recursive watchers see hidden nodes in etcd's history, and in ours as little as live
    let is_seen = |wait: &&Answer| {
        let key = wait
            .answer
            .as_ref()
            .map(|event| event["node"]["key"].to_string());
        !key.is_some_and(|key| key.contains("/_")) || wait.path.contains("/_")
    };
    for wait in answers.watches.iter().filter(is_seen) {
        let (path, recursive) = (wait.path.clone().into(), wait.recursive);
        let watch = Watch { path, recursive, registered: answers.index };
        let event = keys.next_event(&watch, wait.from).unwrap();
        let (path, from) = (&wait.path, wait.from);
        assert_eq!(
            event.as_ref().map(event_json),
            wait.answer,
            "{path} from {from}"
        );
    }
    let watched = |answer: &Answer| answer.answer.is_some();
    assert!(answers.gets.iter().all(watched) && answers.watches.iter().any(watched));
    // what expires goes on to expire
    let next = keys
        .get(b"/long", false, 0)
        .unwrap()
        .node
        .expires_ns
        .unwrap();
    assert_eq!(keys.next_expiration_ns(), Some(next));
    let counts = WriteCounts {
        sets_success: 27,
        sets_fail: 1,
        delete_success: 4,
        delete_fail: 2,
        update_success: 7,
        update_fail: 4,
        create_success: 14,
        create_fail: 1,
        compare_and_swap_success: 1,
        compare_and_swap_fail: 2,
        compare_and_delete_success: 2,
        compare_and_delete_fail: 0,
        expire_count: 2,
    };
    assert_eq!(keys.counts(), counts);
}

/// Reads a request as it is in the file.
fn request(entry: &Value) -> V2Request {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let is = |name: &str| entry[name].as_bool().unwrap_or_default();
    V2Request {
        method: text("method"),
        path: text("path").into(),
        value: text("value").into(),
        dir: is("dir"),
        prev_value: text("prev_value").into(),
        prev_index: entry["prev_index"].as_u64().unwrap_or_default(),
        prev_exist: entry["prev_exist"].as_bool(),
        expires_ns: entry["expires_ns"].as_i64().unwrap_or_default(),
        time_ns: entry["time_ns"].as_i64().unwrap_or_default(),
        refresh: is("refresh"),
        recursive: is("recursive"),
    }
}

#[test]
fn the_log_leads_to_the_store_of_the_snapshot() {
    let mut replayed = V2Store::default();
    let log: Vec<Value> = serde_json::from_str(LOG).unwrap();
    for entry in &log {
        if let Some(id) = entry["add"]["id"].as_u64() {
            let urls = entry["add"]["peerURLs"].as_array().unwrap().iter();
            let peer_urls = urls.map(|url| url.as_str().unwrap().to_owned()).collect();
            let add = Some(Member { id, peer_urls, ..Member::default() });
            replayed.change_members(&ChangeMembers { add, ..ChangeMembers::default() });
        } else {
            replayed.apply(&request(entry), 0);
        }
    }
    let read = store();
    assert_eq!(replayed.tree.index(), read.tree.index());
    assert_eq!(nodes(&replayed.tree), nodes(&read.tree));
    assert_eq!(history(&replayed.tree), history(&read.tree));
    assert!(!nodes(&read.tree).is_empty() && !history(&read.tree).is_empty());
}

#[test]
fn members_and_the_version_are_read() {
    let registry = store().members().unwrap();
    let id = 0x9e73_7feb_b6b9_9eee;
    let member = Member {
        id,
        name: "m0".into(),
        peer_urls: vec!["http://127.0.0.1:22380".into()],
        client_urls: vec!["http://127.0.0.1:22379".into()],
        learner: false,
    };
    assert_eq!(registry.by_id.get(&id), Some(&member));
    assert_eq!(registry.by_id.len(), 1);
    assert_eq!(registry.cluster_version, "3.4.0");
    assert!(registry.removed_ids.is_empty());
}

#[test]
fn members_come_change_and_go_as_in_etcd() {
    let mut store = store();
    let mut index = store.tree.index();
    let mut steps = |store: &V2Store| {
        let before = std::mem::replace(&mut index, store.tree.index());
        index - before
    };
    let urls = |url: &str| vec![url.to_owned()];
    let member = Member {
        id: 5,
        peer_urls: urls("http://a:1"),
        learner: true,
        ..Member::default()
    };
    let add = ChangeMembers { add: Some(member.clone()), ..ChangeMembers::default() };
    let publish = |client_url: &str| PublishAttributes {
        id: 5,
        name: "five".into(),
        client_urls: urls(client_url),
    };
    store.change_members(&add);
    assert_eq!(steps(&store), 1);
    assert_eq!(store.members().unwrap().by_id.get(&5), Some(&member));
    store.change_members(&ChangeMembers { promote: 5, ..ChangeMembers::default() });
    store.set_peer_urls(&UpdatePeerUrls { id: 5, peer_urls: urls("http://b:1") });
    store.publish(&publish("http://c:1"));
    store.set_cluster_version(&ClusterVersion { version: "3.5.0".into() });
    assert_eq!(steps(&store), 4);
    let registry = store.members().unwrap();
    let changed = Member {
        name: "five".into(),
        peer_urls: urls("http://b:1"),
        client_urls: urls("http://c:1"),
        learner: false,
        id: 5,
    };
    assert_eq!(registry.by_id.get(&5), Some(&changed));
    assert_eq!(registry.cluster_version, "3.5.0");
    let remove = ChangeMembers { remove: 5, ..ChangeMembers::default() };
    store.change_members(&remove);
    assert_eq!(steps(&store), 2);
    assert!(store.members().unwrap().removed_ids.contains(&5));
    // all of them of a member that is gone
    store.change_members(&remove);
    store.change_members(&add);
    store.set_peer_urls(&UpdatePeerUrls { id: 5, peer_urls: urls("http://d:1") });
    store.publish(&publish("http://d:1"));
    let attributes = V2Request {
        method: "PUT".into(),
        path: "/0/members/5/attributes".into(),
        value: r#"{"name":"five"}"#.into(),
        ..V2Request::default()
    };
    store.apply(&attributes, 0);
    assert_eq!(steps(&store), 0);
}

#[test]
fn users_and_roles_of_v2_are_added_to_those_of_v3() {
    let mut auth = Auth::default();
    assert_eq!(V2Store::default().import_auth(&mut auth), Ok(Vec::new()));
    assert!(!auth.path_auth_enabled());
    let mut with_hidden = store();
    let hidden = V2Request {
        method: "PUT".into(),
        path: "/2/users/_hidden".into(),
        value: "{}".into(),
        ..V2Request::default()
    };
    with_hidden.apply(&hidden, 0);
    assert_eq!(with_hidden.import_auth(&mut auth), Ok(Vec::new()));
    assert!(auth.path_auth_enabled() && !auth.enabled());
    let names: Vec<&str> = auth.users().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["_hidden", "ann", "bob", "root"]);
    let ann = auth.user("ann").unwrap();
    assert_eq!(ann.roles, ["reader"]);
    assert!(ann.password.starts_with(b"$2a$10$Zmfz"));
    let list = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
    let reader = PathPatterns {
        read: list(&["/a", "/dir/*", "/queue*"]),
        write: list(&["/queue*"]),
    };
    assert_eq!(auth.patterns("reader"), Some(reader));
    let guest = PathPatterns { read: list(&["/*"]), write: Vec::new() };
    assert_eq!(auth.patterns("guest"), Some(guest));

    let ann = User {
        name: "ann".into(),
        password: "of v3".into(),
        roles: vec!["writer".into()],
        no_password: false,
    };
    let reader = Role { name: "reader".into(), permissions: Vec::new() };
    let mut auth = Auth::restored(true, 7, [ann], [reader]);
    let shared = store().import_auth(&mut auth).unwrap();
    assert_eq!(shared, ["reader", "ann"]);
    let ann = auth.user("ann").unwrap();
    assert_eq!(
        (&ann.password[..], &ann.roles[..]),
        (&b"of v3"[..], &["reader".to_owned(), "writer".into()][..])
    );
    assert_eq!((auth.enabled(), auth.revision()), (true, 7));
}

#[test]
fn requests_are_told_apart_by_their_namespace() {
    let change = |method: &str, path: &str, value: &str| {
        let request = V2Request {
            method: method.into(),
            path: path.to_owned().into(),
            value: value.to_owned().into(),
            ..V2Request::default()
        };
        request.change()
    };
    let tree_path = |method, path| match change(method, path, "v") {
        Ok(V2Change::Tree(operation)) => format!("{operation:?}"),
        other => panic!("{other:?}"),
    };
    assert!(tree_path("PUT", "/1/a/b").contains(r#"path: b"/a/b""#));
    assert!(tree_path("POST", "/1").contains(r#"path: b"/", "#));
    assert!(tree_path("SYNC", "").starts_with("Expire"));
    let attributes = r#"{"name":"m","clientURLs":["http://c:1"]}"#;
    let publish = PublishAttributes {
        id: 0xab,
        name: "m".into(),
        client_urls: vec!["http://c:1".into()],
    };
    let path = "/0/members/ab/attributes";
    assert_eq!(
        change("PUT", path, attributes),
        Ok(V2Change::Publish(publish))
    );
    assert!(change("PUT", path, "{").is_err());
    let version = ClusterVersion { version: "3.4.0".into() };
    assert_eq!(
        change("PUT", "/0/version", "3.4.0"),
        Ok(V2Change::ClusterVersion(version))
    );
    assert_eq!(change("DELETE", "/2/users/ann", ""), Ok(V2Change::Auth));
    for path in ["/1/a", "/2/users/ann"] {
        assert_eq!(change("QGET", path, ""), Ok(V2Change::Nothing));
    }
}

#[test]
fn a_new_node_that_expired_before_2000_is_permanent() {
    let mut store = V2Store::default();
    let mut put = V2Request {
        method: "PUT".into(),
        path: "/1/k".into(),
        expires_ns: -5,
        ..V2Request::default()
    };
    store.apply(&put, 0);
    assert_eq!(store.keys().next_expiration_ns(), None);
    put.prev_exist = Some(true);
    store.apply(&put, 0);
    assert_eq!(store.keys().next_expiration_ns(), Some(-5));
}

#[test]
fn damaged_stores_are_refused() {
    let nested = |depth: usize| {
        let open = r#"{"Children":{"d":"#.repeat(depth);
        let close = "}}".repeat(depth);
        format!(r#"{{"CurrentIndex":1,"Root":{open}{{"Value":"v"}}{close}}}"#)
    };
    assert!(V2Store::read(nested(256).as_bytes()).is_ok());
    let twice = r#"{"CurrentIndex":1,"Root":{"Children":{"a":{},"a":{}}}}"#;
    let time = r#"{"CurrentIndex":1,"Root":{"Children":{"a":{"ExpireTime":"soon"}}}}"#;
    let table = [
        ("", "unexpected end of JSON input"),
        ("[]", "no object"),
        ("{}", "missing"),
        (&STORE[..STORE.len() / 2], "unexpected end of JSON input"),
        (&nested(257), "components"),
        (&nested(100_000), "exceeded max depth"),
        (twice, "node /a occurs twice"),
        (time, "no time"),
        (
            r#"{"CurrentIndex":9223372036854775807,"Root":{}}"#,
            "too far",
        ),
    ];
    for (json, expect) in table {
        let error = V2Store::read(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
}
