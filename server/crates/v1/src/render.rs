//! Renders responses as JSON, byte for byte like etcd 0.1, without a newline. A JSON library cannot do this, because keys and
//! values can be arbitrary bytes. The api crate describes the format.

use witan_gocompat::{
    json,
    text::{self, Sink},
};
use witan_tree::{Action, Event, Node};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// An object in a response. Rendering omits fields that are empty, false or 0, except the key and the index.
#[derive(Clone, Copy, Debug, Default)]
struct V1Response<'a> {
    action: &'static str,
    key: &'a [u8],
    dir: bool,
    prev_value: &'a [u8],
    value: &'a [u8],
    new_key: bool,
    expires_ns: Option<i64>,
    ttl: i64,
    index: u64,
}

/// Appends an event (`SET` or `DELETE`) as a JSON object, for responses to writes and watches. A `DELETE` has the expiration of
/// the removed node.
pub(crate) fn write_change(out: &mut dyn Sink, event: &Event) {
    let removes = match event.action {
        Action::Delete | Action::CompareAndDelete | Action::Expire => true,
        Action::Get | Action::Set | Action::Create | Action::Update | Action::CompareAndSwap => {
            false
        }
    };
    let Event { node, prev, index, .. } = event;
    let response = V1Response {
        key: key(node),
        dir: node.dir,
        prev_value: prev.as_ref().map_or(&[][..], value),
        index: *index,
        ..V1Response::default()
    };
    let response = if removes {
        V1Response {
            action: "DELETE",
            expires_ns: prev.as_ref().and_then(|prev| prev.expires_ns),
            ..response
        }
    } else {
        V1Response {
            action: "SET",
            value: value(node),
            new_key: prev.is_none(),
            expires_ns: node.expires_ns,
            // v2 rounds the TTL up and v1 rounds it down. The remaining time is never a whole number of seconds, so v1's TTL is
            // one less.
            ttl: (node.ttl - 1).max(0),
            ..response
        }
    };
    push(out, &response);
}

/// Appends the result of a read: an object for a file, or a list of objects for a directory.
pub(crate) fn read(out: &mut dyn Sink, event: &Event, now_ns: i64) {
    let node = &event.node;
    if !node.dir {
        push(out, &get_response(node, event.index, now_ns));
        return;
    }
    out.push(b'[');
    for (at, child) in node.nodes.iter().flatten().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push(out, &get_response(child, event.index, now_ns));
    }
    out.push(b']');
}

/// Builds the GET response for one node. Its TTL is the number of whole seconds left at `now_ns`, which can be negative after
/// the expiration.
fn get_response(node: &Node, index: u64, now_ns: i64) -> V1Response<'_> {
    let left = |expires_ns: i64| expires_ns.saturating_sub(now_ns) / NANOS_PER_SECOND;
    V1Response {
        action: "GET",
        key: key(node),
        dir: node.dir,
        value: value(node),
        expires_ns: node.expires_ns,
        ttl: node.expires_ns.map_or(0, left),
        index,
        ..V1Response::default()
    }
}

/// Appends the GET response for a member's record, which the tree does not contain.
pub(crate) fn push_record(out: &mut dyn Sink, key: &[u8], value: &[u8], index: u64) {
    let response = V1Response { action: "GET", key, value, index, ..V1Response::default() };
    push(out, &response);
}

/// Returns a node's key, which is `/` for the root.
fn key(node: &Node) -> &[u8] {
    if node.path.is_empty() {
        b"/"
    } else {
        &node.path
    }
}

/// Returns a node's value, which is empty for a directory.
fn value(node: &Node) -> &[u8] {
    node.value.as_deref().unwrap_or_default()
}

/// Appends a response as a JSON object. Omits empty fields, except the key and the index.
fn push(out: &mut dyn Sink, response: &V1Response<'_>) {
    out.extend_from_slice(b"{\"action\":\"");
    out.extend_from_slice(response.action.as_bytes());
    out.extend_from_slice(b"\",\"key\":");
    json::push_string(out, response.key);
    if response.dir {
        out.extend_from_slice(b",\"dir\":true");
    }
    push_text(out, ",\"prevValue\":", response.prev_value);
    push_text(out, ",\"value\":", response.value);
    if response.new_key {
        out.extend_from_slice(b",\"newKey\":true");
    }
    if let Some(expires_ns) = response.expires_ns {
        push_text(out, ",\"expiration\":", text::time(expires_ns).as_bytes());
    }
    if response.ttl != 0 {
        out.extend_from_slice(b",\"ttl\":");
        text::push_number(out, response.ttl);
    }
    out.extend_from_slice(b",\"index\":");
    text::push_number(out, response.index);
    out.push(b'}');
}

/// Appends `name` verbatim and `text` as a JSON string, or nothing if `text` is empty.
fn push_text(out: &mut dyn Sink, name: &str, text: &[u8]) {
    if !text.is_empty() {
        out.extend_from_slice(name.as_bytes());
        json::push_string(out, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRES_NS: i64 = 1_795_149_072_160_305_925;

    fn file(path: &str, value: &str) -> Node {
        Node {
            path: path.to_owned().into(),
            value: Some(value.to_owned().into()),
            ..Node::default()
        }
    }

    fn dir(path: &str, nodes: Option<Vec<Node>>) -> Node {
        Node {
            path: path.to_owned().into(),
            dir: true,
            nodes,
            ..Node::default()
        }
    }

    fn expiring(path: &str, value: &str) -> Node {
        Node { expires_ns: Some(EXPIRES_NS), ttl: 5, ..file(path, value) }
    }

    fn of(action: Action, node: Node, prev: Option<Node>) -> Event {
        Event { action, node, prev, index: 7, refresh: false }
    }

    fn assert_is(line: &[u8], expect: &str) {
        assert_eq!(String::from_utf8_lossy(line), expect);
    }

    /// The only event that `tests/e2e/tests/v1` does not compare literally.
    #[test]
    fn a_change_has_its_expiration_and_one_second_less_of_ttl() {
        let mut line = Vec::new();
        write_change(&mut line, &of(Action::Set, expiring("/foo", "bar"), None));
        let expect = r#"{"action":"SET","key":"/foo","value":"bar","newKey":true,"expiration":"2026-11-20T04:31:12.160305925Z","ttl":4,"index":7}"#;
        assert_is(&line, expect);
    }

    #[test]
    fn reads_are_rendered_as_in_etcd() {
        let children = vec![
            file("/foo/foo", "barbar"),
            dir("/foo/foo_dir", None),
            file("/foo/z", ""),
        ];
        let table = [
            (
                file("/m", "a b"),
                r#"{"action":"GET","key":"/m","value":"a b","index":7}"#,
            ),
            (
                expiring("/foo", "bar"),
                r#"{"action":"GET","key":"/foo","value":"bar","expiration":"2026-11-20T04:31:12.160305925Z","ttl":3,"index":7}"#,
            ),
            (
                dir("/foo", Some(children)),
                r#"[{"action":"GET","key":"/foo/foo","value":"barbar","index":7},{"action":"GET","key":"/foo/foo_dir","dir":true,"index":7},{"action":"GET","key":"/foo/z","index":7}]"#,
            ),
            (dir("/foo", None), "[]"),
        ];
        for (node, expect) in table {
            let now_ns = EXPIRES_NS - 4 * NANOS_PER_SECOND + 1;
            let mut line = Vec::new();
            read(&mut line, &of(Action::Get, node, None), now_ns);
            assert_is(&line, expect);
        }
    }
}
