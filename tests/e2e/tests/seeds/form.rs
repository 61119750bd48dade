//! When an answer is what a page says: word for word, except what cannot be the same on another
//! day or another machine.

use serde_json::{Map, Value};
use witan_e2e::http::Response;

/// Which cluster the page spoke to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// One member, whose ids are ours too.
    OneMember,
    /// One member, and the page shows the fields sorted by name.
    Sorted,
    /// Three members, or we are three: lists and ids are compared by form.
    ThreeMembers,
    /// One member, of which we are three: lists and ids by form, the page sorted by name.
    SortedOnThree,
}

/// Lost text on the page.
const CUT: char = '…';

/// Compares the lines `< NAME: VALUE` of `curl -v` with the head of an answer: spelling and order
/// of names, values where they do not depend on the day.
pub(crate) fn assert_headers(line: &str, expected: &[&str], answer: &Response) {
    let Some((status, headers)) = expected.split_first() else {
        return;
    };
    let ours = format!("< {} {} {}", answer.version, answer.status, answer.reason);
    assert_eq!(ours, *status, "{line}");
    for header in headers {
        let (name, value) = header[2..].split_once(": ").expect("a header");
        assert!(
            answer.has_spelled(name),
            "{line}: no {name} in {:?}",
            answer.headers
        );
        let ours = answer.header(name).expect("just found");
        match name {
            "X-Raft-Index" | "X-Raft-Term" => {
                assert!(
                    ours.parse::<u64>().is_ok_and(|n| n > 0),
                    "{line}: {name}: {ours}"
                );
            }
            "Date" => {
                assert!(
                    ours.len() == value.len() && ours.ends_with(" GMT"),
                    "{line}: {ours}"
                );
            }
            _ => assert_eq!(ours, value, "{line}: {name}"),
        }
    }
}

/// Compares bodies. The page may have printed its JSON on several lines, or none at all.
pub(crate) fn assert_body(line: &str, target: &str, page: Page, expected: &str, body: &str) {
    let json: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{line}: {e}: {body}"));
    // Compact, and ended by a line feed where etcd's is.
    let is_line = target.starts_with("/v2/keys") || target.starts_with("/v2/members");
    if target.starts_with("/v2/stats") {
        // statistics have fractions, which are not printed as they were read
        assert!(!body.contains([' ', '\n']), "{line}: {body}");
    } else {
        let compact = format!("{json}{}", if is_line { "\n" } else { "" });
        assert_eq!(body, compact, "{line}");
    }
    if expected.is_empty() {
        return;
    }
    if matches!(page, Page::Sorted | Page::SortedOnThree) {
        let wanted: Value = serde_json::from_str(expected).expect("the page's JSON is whole");
        let by_form = match target {
            "/version" => true,
            "/v2/members" => page == Page::SortedOnThree,
            _ => false,
        };
        let form = if by_form { shape } else { timeless };
        assert_eq!(sorted(form(json)), sorted(form(wanted)), "{line}");
        return;
    }
    if let Some((begin, end)) = expected.split_once(CUT) {
        let body = body.trim_end();
        assert!(
            body.starts_with(begin) && body.ends_with(end),
            "{line}: {body}"
        );
        return;
    }
    let wanted: Value = serde_json::from_str(expected).expect("the page's JSON is whole");
    let by_form = match target {
        "/version" | "/v2/stats/store" => true,
        _ => page == Page::ThreeMembers && !target.starts_with("/v2/keys"),
    };
    let form = if by_form { shape } else { timeless };
    assert_eq!(form(json).to_string(), form(wanted).to_string(), "{line}");
}

/// Without an order of fields, and without the URLs of this run.
fn sorted(mut value: Value) -> Value {
    value.sort_all_objects();
    if let Some(members) = value.get_mut("members").and_then(Value::as_array_mut) {
        members
            .iter_mut()
            .for_each(|member| member["clientURLs"] = Value::Null);
    }
    value
}

/// Sorts listings (etcd has no order), and blanks out what depends on the moment.
fn timeless(value: Value) -> Value {
    let mut fields = match value {
        Value::Array(list) => return list.into_iter().map(timeless).collect(),
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return value,
    };
    let is_read = fields.get("action").is_some_and(|action| action == "get");
    for (name, field) in &mut fields {
        match name.as_str() {
            "node" if is_read => blank_ttl(field),
            "prevNode" => blank_ttl(field),
            "expiration" | "startTime" => {
                let date = field.as_str().expect("a date");
                assert!(
                    date.len() >= "2016-02-01T15:30:18Z".len() && date.contains('T'),
                    "{date}"
                );
                *field = "a date".into();
            }
            "uptime" => {
                assert!(
                    field.as_str().is_some_and(|text| text.ends_with('s')),
                    "{field}"
                );
                *field = "a duration".into();
            }
            "nodes" => {
                let nodes = field.as_array_mut().expect("a list");
                nodes.sort_by_key(|node| node["key"].to_string());
            }
            _ => {}
        }
        *field = timeless(field.take());
    }
    Value::Object(fields)
}

/// The remaining time of a node that was written at another moment.
fn blank_ttl(node: &mut Value) {
    if let Some(ttl) = node.get_mut("ttl") {
        assert!(ttl.as_i64().is_some_and(|seconds| seconds > 0), "{ttl}");
        *ttl = 0.into();
    }
}

/// Names and kinds of fields, in order; of a list its first entry; nothing of other members.
fn shape(value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => false.into(),
        Value::Number(_) => 0.into(),
        Value::String(_) => "".into(),
        Value::Array(list) => list.into_iter().take(1).map(shape).collect(),
        Value::Object(fields) => {
            // `storage` is of later versions; rates exist where there are others to send to.
            let ignored = ["storage", "sendPkgRate", "sendBandwidthRate"];
            let kept = fields
                .into_iter()
                .filter(|(name, _)| !ignored.contains(&name.as_str()));
            kept.map(|(name, field)| {
                let field = if name == "followers" {
                    Value::Object(Map::new())
                } else {
                    shape(field)
                };
                (name, field)
            })
            .collect()
        }
    }
}
