//! Renders events as JSON lines, byte for byte like etcd's encoder. A JSON library cannot do this, because keys and values can
//! be arbitrary bytes. The api crate describes the format.

use witan_gocompat::{
    json,
    text::{self, Sink},
};
use witan_tree::{Action, Event, Node};

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

/// Appends only an event's action and a newline, for writes with `noValueOnSuccess`.
pub(crate) fn bare(out: &mut dyn Sink, event: &Event) {
    push_action(out, event.action);
    out.extend_from_slice(b"}\n");
}

/// Starts an event's JSON object with its action and leaves the object open.
fn push_action(out: &mut dyn Sink, action: Action) {
    out.extend_from_slice(b"{\"action\":\"");
    out.extend_from_slice(action.name().as_bytes());
    out.push(b'"');
}

/// Appends a node, including the nodes below it, as a JSON object. Omits absent fields but writes an empty value.
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
