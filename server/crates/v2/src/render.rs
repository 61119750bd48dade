//! Events as JSON lines, byte for byte as etcd's encoder writes them. By hand, because keys and
//! values are bytes that need not be text; the shape itself is described in the api crate.

use witan_gocompat::{
    json,
    text::{self, Sink},
};
use witan_tree::{Action, Event, Node};

/// The name of an action on the wire.
pub(crate) fn action(action: Action) -> &'static str {
    match action {
        Action::Get => "get",
        Action::Set => "set",
        Action::Create => "create",
        Action::Update => "update",
        Action::CompareAndSwap => "compareAndSwap",
        Action::CompareAndDelete => "compareAndDelete",
        Action::Delete => "delete",
        Action::Expire => "expire",
    }
}

/// Appends an event as a JSON object and a newline.
pub fn event(out: &mut dyn Sink, event: &Event) {
    push_action(out, event.action);
    out.extend_from_slice(b",\"node\":");
    push_node(out, &event.node);
    if let Some(prev) = &event.prev {
        out.extend_from_slice(b",\"prevNode\":");
        push_node(out, prev);
    }
    out.extend_from_slice(b"}\n");
}

/// Appends an event's action alone and a newline, for writes with `noValueOnSuccess`.
pub(crate) fn bare(out: &mut dyn Sink, event: &Event) {
    push_action(out, event.action);
    out.extend_from_slice(b"}\n");
}

/// Begins the object of an event with its action; the object stays open.
fn push_action(out: &mut dyn Sink, name: Action) {
    out.extend_from_slice(b"{\"action\":\"");
    out.extend_from_slice(action(name).as_bytes());
    out.push(b'"');
}

/// Appends a node as a JSON object with the nodes below it; fields that it does not have are left out.
fn push_node(out: &mut dyn Sink, node: &Node) {
    let mut comma: &[u8] = b"";
    let mut push_name = |out: &mut dyn Sink, name: &str| {
        out.extend_from_slice(comma);
        comma = b",";
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
    };
    out.push(b'{');
    if !node.path.is_empty() {
        push_name(out, "key");
        json::push_string(out, &node.path);
    }
    if let Some(value) = &node.value {
        push_name(out, "value");
        json::push_string(out, value);
    }
    if node.dir {
        push_name(out, "dir");
        out.extend_from_slice(b"true");
    }
    if let Some(expires_ns) = node.expires_ns {
        push_name(out, "expiration");
        json::push_string(out, text::time(expires_ns).as_bytes());
    }
    if node.ttl != 0 {
        push_name(out, "ttl");
        text::push_number(out, node.ttl);
    }
    if let Some(nodes) = node.nodes.as_deref().filter(|nodes| !nodes.is_empty()) {
        push_name(out, "nodes");
        for (at, child) in nodes.iter().enumerate() {
            out.push(if at == 0 { b'[' } else { b',' });
            push_node(out, child);
        }
        out.push(b']');
    }
    for (name, index) in [
        ("modifiedIndex", node.modified),
        ("createdIndex", node.created),
    ] {
        if index != 0 {
            push_name(out, name);
            text::push_number(out, index);
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use witan_api::v2::keys;

    use super::*;

    fn file(path: &str, value: &str, modified: u64, created: u64) -> Node {
        Node {
            path: path.to_owned().into(),
            value: Some(value.to_owned().into()),
            modified,
            created,
            ..Node::default()
        }
    }

    fn of(action: Action, node: Node, prev: Option<Node>) -> Event {
        Event { action, node, prev, index: 0, refresh: false }
    }

    fn dir(path: &str, nodes: Option<Vec<Node>>, modified: u64, created: u64) -> Node {
        Node {
            path: path.to_owned().into(),
            dir: true,
            nodes,
            modified,
            created,
            ..Node::default()
        }
    }

    #[test]
    fn events_are_written_as_observed() {
        let gone = |path: &str, modified, created| Node {
            value: None,
            ..file(path, "", modified, created)
        };
        let expiring = Node {
            expires_ns: Some(1_795_149_072_160_305_925),
            ttl: 2,
            ..file("/ttl/a", "1", 79, 79)
        };
        let table = [
            (
                of(Action::Get, dir("", None, 0, 0), None),
                r#"{"action":"get","node":{"dir":true}}"#,
            ),
            (
                of(Action::Get, dir("", Some(vec![]), 0, 0), None),
                r#"{"action":"get","node":{"dir":true}}"#,
            ),
            (
                of(
                    Action::Set,
                    file("/q", "", 10, 10),
                    Some(file("/q", "fromform", 9, 9)),
                ),
                r#"{"action":"set","node":{"key":"/q","value":"","modifiedIndex":10,"createdIndex":10},"prevNode":{"key":"/q","value":"fromform","modifiedIndex":9,"createdIndex":9}}"#,
            ),
            (
                of(
                    Action::Delete,
                    gone("/q", 24, 16),
                    Some(file("/q", "a", 16, 16)),
                ),
                r#"{"action":"delete","node":{"key":"/q","modifiedIndex":24,"createdIndex":16},"prevNode":{"key":"/q","value":"a","modifiedIndex":16,"createdIndex":16}}"#,
            ),
            (
                of(Action::Set, expiring, None),
                r#"{"action":"set","node":{"key":"/ttl/a","value":"1","expiration":"2026-11-20T04:31:12.160305925Z","ttl":2,"modifiedIndex":79,"createdIndex":79}}"#,
            ),
            (
                of(
                    Action::Get,
                    dir(
                        "/x",
                        Some(vec![file("/x/y", "1", 17, 17), dir("/x/z", None, 18, 18)]),
                        17,
                        17,
                    ),
                    None,
                ),
                r#"{"action":"get","node":{"key":"/x","dir":true,"nodes":[{"key":"/x/y","value":"1","modifiedIndex":17,"createdIndex":17},{"key":"/x/z","dir":true,"modifiedIndex":18,"createdIndex":18}],"modifiedIndex":17,"createdIndex":17}}"#,
            ),
        ];
        for (given, expect) in table {
            let mut line = Vec::new();
            event(&mut line, &given);
            let line = String::from_utf8(line).unwrap();
            assert_eq!(line, format!("{expect}\n"));
            let read: keys::Event = serde_json::from_str(&line).unwrap();
            assert_eq!(
                serde_json::to_string(&read).unwrap(),
                expect,
                "order of the contract"
            );
        }
    }

    #[test]
    fn the_bare_form_is_the_action_alone() {
        let mut written = Vec::new();
        let swap = of(Action::CompareAndSwap, file("/nv", "4", 75, 73), None);
        bare(&mut written, &swap);
        assert_eq!(written, b"{\"action\":\"compareAndSwap\"}\n");
    }
}
