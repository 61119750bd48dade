//! Compares a store, the log that led to it, and a member's answers. All of these come from etcd 3.4.23 with `--enable-v2
//! --snapshot-count 10`. `testdata/v2_store` contains the member's newest snapshot, the requests in its log up to that
//! snapshot, and its answers to clients at that index.

mod namespaces;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use witan_etcd::RequestV2;
use witan_gocompat::text;
use witan_machine::{auth::Auth, command::ChangeMembers, member::Member};
use witan_tree::{Event, Node, Tree, Watch, WriteCounts};

use super::{V2Change, V2Store};

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

/// Encodes a node as in the responses of etcd's v2 API.
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

fn event_json(event: &Event) -> Value {
    let mut shown = json!({"action": event.action.name(), "node": node_json(&event.node)});
    if let Some(prev) = &event.prev {
        shown["prevNode"] = node_json(prev);
    }
    shown
}

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn records(tree: &Tree) -> Records {
    let mut found = Records::new();
    tree.changes(None, &mut |key, value| {
        found.insert(key, value.unwrap());
    });
    found
}

fn nodes(tree: &Tree) -> Records {
    let mut found = records(tree);
    found.retain(|key, _| key.starts_with(b"n"));
    found
}

fn history(tree: &Tree) -> Vec<Event> {
    let events = tree.events_since(tree.index().saturating_sub(1000));
    events.unwrap().cloned().collect()
}

/// Removes the remaining TTLs from an event. The TTLs depend on the time at which the request was executed.
fn timeless(mut event: Option<serde_json::Value>) -> Option<serde_json::Value> {
    for node in ["node", "prevNode"] {
        let node = event.as_mut().and_then(|event| event.get_mut(node));
        if let Some(node) = node.and_then(serde_json::Value::as_object_mut) {
            node.remove("ttl");
        }
    }
    event
}

#[test]
fn reads_and_watches_return_etcds_responses() {
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
    // In etcd's history, recursive watchers see hidden nodes. In Witan's history, recursive watchers do not see hidden nodes,
    // as with live events.
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
        let [ours, theirs] = [event.as_ref().map(event_json), wait.answer.clone()].map(timeless);
        assert_eq!(ours, theirs, "{path} from {from}");
    }
    let watched = |answer: &Answer| answer.answer.is_some();
    assert!(answers.gets.iter().all(watched) && answers.watches.iter().any(watched));
    // Expiring nodes still expire.
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

/// Converts an entry of `log.json` to a request.
fn request(entry: &Value) -> RequestV2 {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let is = |name: &str| entry[name].as_bool().unwrap_or_default();
    RequestV2 {
        method: text("method"),
        path: text("path").into(),
        val: text("value").into(),
        dir: is("dir"),
        prev_value: text("prev_value").into(),
        prev_index: entry["prev_index"].as_u64().unwrap_or_default(),
        prev_exist: entry["prev_exist"].as_bool(),
        expiration: entry["expires_ns"].as_i64().unwrap_or_default(),
        time: entry["time_ns"].as_i64().unwrap_or_default(),
        refresh: Some(is("refresh")),
        recursive: is("recursive"),
        ..RequestV2::default()
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
            replayed.apply(&request(entry));
        }
    }
    let read = store();
    assert_eq!(replayed.tree.index(), read.tree.index());
    assert_eq!(nodes(&replayed.tree), nodes(&read.tree));
    // A member that has executed the log must equal a member that has read the snapshot.
    let [replayed, kept] = [&replayed, &read].map(|store| store.keys().without_counts());
    assert_eq!(records(&replayed), records(&kept));
    assert_eq!(history(&replayed), history(&kept));
    assert!(!nodes(&read.tree).is_empty() && !history(&kept).is_empty());
}

#[test]
fn the_keys_are_loaded_from_their_checkpoint() {
    let keys = store().keys();
    let mut loaded = Tree::default();
    for (key, value) in records(&keys) {
        loaded.load(&key, &value).unwrap();
    }
    loaded.finish_load().unwrap();
    assert_eq!(records(&loaded), records(&keys));
    let derived = |tree: &Tree| (tree.next_expiration_ns(), tree.size_bytes());
    assert_eq!(derived(&loaded), derived(&keys));
}

#[test]
fn a_new_node_that_expired_before_2000_is_permanent() {
    let mut store = V2Store::default();
    let mut put = RequestV2 {
        method: "PUT".into(),
        path: "/1/k".into(),
        expiration: -5,
        ..RequestV2::default()
    };
    store.apply(&put);
    assert_eq!(store.keys().next_expiration_ns(), None);
    put.prev_exist = Some(true);
    store.apply(&put);
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
        ("[]", "expected an object"),
        ("{}", "missing"),
        (&STORE[..STORE.len() / 2], "unexpected end of JSON input"),
        (&nested(257), "components"),
        (&nested(100_000), "exceeded max depth"),
        (twice, "node /a occurs twice"),
        (time, "not an expiration time"),
        (
            r#"{"CurrentIndex":9223372036854775807,"Root":{}}"#,
            "is too large",
        ),
    ];
    for (json, expect) in table {
        let error = V2Store::read(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }
    for at in (0..STORE.len()).step_by(23) {
        let mut damaged = STORE.as_bytes().to_vec();
        damaged[at] ^= 1 << (at % 7);
        if let Ok(mut store) = V2Store::read(&damaged) {
            let _ = (store.members(), store.import_auth(&mut Auth::default()));
            let (method, time) = ("SYNC".into(), i64::MAX);
            store.apply(&RequestV2 { method, time, ..RequestV2::default() });
            assert_eq!(store.keys().next_expiration_ns(), None);
        }
    }
}
