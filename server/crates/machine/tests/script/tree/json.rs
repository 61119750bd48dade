//! Events in v2 JSON, written independently of the server, so that scripts can quote etcd's responses verbatim.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows unwrap only in test functions, not in their helpers"
)]

use std::fmt::Write as _;

use witan_tree::{Action, Event, Node, TreeError};

/// Returns whether the event created a node, for which the status is 201.
pub(crate) fn is_new(event: &Event) -> bool {
    match event.action {
        Action::Create => true,
        Action::Set => event.prev.is_none(),
        Action::Get
        | Action::Update
        | Action::CompareAndSwap
        | Action::CompareAndDelete
        | Action::Delete
        | Action::Expire => false,
    }
}

pub(crate) fn event(event: &Event) -> String {
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
    let mut out = format!("{{\"action\":\"{action}\",\"node\":{}", node(&event.node));
    if let Some(prev) = &event.prev {
        write!(out, ",\"prevNode\":{}", node(prev)).unwrap();
    }
    out + "}"
}

pub(crate) fn error(code: u32, message: &str, error: &TreeError) -> String {
    let cause = match error.cause.text() {
        none if none.is_empty() => String::new(),
        cause => format!(",\"cause\":{}", string(&cause)),
    };
    let index = error.index;
    format!("{{\"errorCode\":{code},\"message\":\"{message}\"{cause},\"index\":{index}}}")
}

fn node(node: &Node) -> String {
    let mut fields = Vec::new();
    if !node.path.is_empty() {
        fields.push(format!("\"key\":{}", string(&node.path)));
    }
    if let Some(value) = &node.value {
        fields.push(format!("\"value\":{}", string(value)));
    }
    if node.dir {
        fields.push("\"dir\":true".to_owned());
    }
    if let Some(expires_ns) = node.expires_ns {
        fields.push(format!("\"expiration\":\"{}\"", date(expires_ns)));
    }
    if node.ttl != 0 {
        fields.push(format!("\"ttl\":{}", node.ttl));
    }
    if let Some(nodes) = &node.nodes {
        let nodes: Vec<String> = nodes.iter().map(self::node).collect();
        fields.push(format!("\"nodes\":[{}]", nodes.join(",")));
    }
    if node.modified != 0 {
        fields.push(format!("\"modifiedIndex\":{}", node.modified));
    }
    if node.created != 0 {
        fields.push(format!("\"createdIndex\":{}", node.created));
    }
    format!("{{{}}}", fields.join(","))
}

/// Formats a JSON string with the escapes of Go. Each invalid UTF-8 byte becomes U+FFFD.
fn string(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => write!(out, "\\{c}").unwrap(),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                    write!(out, "\\u{:04x}", u32::from(c)).unwrap();
                }
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|_| out.push_str("\\ufffd"));
    }
    out + "\""
}

/// Formats a time as RFC 3339 in UTC, without trailing zeros in the fraction.
pub(crate) fn date(unix_ns: i64) -> String {
    let (seconds, fraction) = (
        unix_ns.div_euclid(1_000_000_000),
        unix_ns.rem_euclid(1_000_000_000),
    );
    let (mut days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hours, minutes, seconds) = (time / 3600, time / 60 % 60, time % 60);
    let fraction = format!(".{fraction:09}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let day = days + 1;
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}{fraction}Z")
}
