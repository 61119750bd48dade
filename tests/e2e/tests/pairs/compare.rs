//! Compares a response with the recorded one. Only times, remaining TTLs and the order of an unsorted listing may differ.

use serde_json::Value;

use crate::pair::{Answer, Pair};

/// Headers that must be equal, or absent from both.
const HEADERS: &[&str] = &[
    "Allow",
    "Content-Type",
    "Location",
    "Transfer-Encoding",
    "X-Content-Type-Options",
    "X-Etcd-Cluster-Id",
    "X-Etcd-Index",
];
/// Headers that must be present if they were recorded, with any value.
const PRESENT: &[&str] = &["X-Raft-Index", "X-Raft-Term"];
/// Maximum difference of remaining TTLs in seconds.
const TTL_SLACK: i64 = 2;
/// Pairs whose body describes the process instead of its state.
const BODY_IS_OWN: &[&str] = &["F054"];

/// Returns the differences between the recorded answer and the given one, one per line.
pub(crate) fn differences(pair: &Pair, given: &Answer) -> Vec<String> {
    let recorded = &pair.answer;
    let mut found = Vec::new();
    let mut differ = |what: &str, recorded: &dyn std::fmt::Debug, given: &dyn std::fmt::Debug| {
        found.push(format!("{what}: recorded {recorded:?}, given {given:?}"));
    };
    if recorded.status != given.status {
        differ("status", &recorded.status, &given.status);
    }
    for name in HEADERS {
        if recorded.header(name) != given.header(name) {
            differ(name, &recorded.header(name), &given.header(name));
        }
    }
    for name in PRESENT {
        if recorded.header(name).is_some() != given.header(name).is_some() {
            differ(name, &recorded.header(name), &given.header(name));
        }
    }
    if recorded.open != given.open {
        differ("goes on", &recorded.open, &given.open);
    }
    let same_body = BODY_IS_OWN.contains(&pair.id.as_str())
        || (pair.cut && given.body.starts_with(&recorded.body))
        || same(&recorded.body, &given.body);
    if !same_body {
        differ("body", &shortened(&recorded.body), &shortened(&given.body));
    }
    found
}

fn shortened(body: &str) -> String {
    const SHOWN: usize = 1000;
    body.chars().take(SHOWN).collect()
}

fn same(recorded: &str, given: &str) -> bool {
    let (recorded, given) = (timeless(recorded), timeless(given));
    let close = |(a, b): (&i64, &i64)| (a - b).abs() <= TTL_SLACK;
    let seconds_agree =
        recorded.ttls.len() == given.ttls.len() && recorded.ttls.iter().zip(&given.ttls).all(close);
    seconds_agree && (recorded.text == given.text || same_set(&recorded.text, &given.text))
}

/// A body without the parts that depend on the clock.
struct Timeless {
    text: String,
    ttls: Vec<i64>,
}

fn timeless(body: &str) -> Timeless {
    let mut text = body.to_owned();
    for name in ["expiration", "startTime", "uptime"] {
        text = replaced(&text, &format!("\"{name}\":\""), |value| {
            let end = value.find('"').expect("a string ends");
            (
                end,
                if is_time(&value[..end]) {
                    "(time)"
                } else {
                    "(no time)"
                }
                .to_owned(),
            )
        });
    }
    let mut ttls = Vec::new();
    text = replaced(&text, "\"ttl\":", |value| {
        let end = value.find([',', '}']).expect("an object ends");
        let seconds: i64 = value[..end].parse().expect("seconds are a number");
        // The delay of an expiration is not compared.
        if seconds > 0 {
            ttls.push(seconds);
        }
        (
            end,
            if seconds > 0 { "(seconds)" } else { "(late)" }.to_owned(),
        )
    });
    Timeless { text: text.replace("\"ttl\":(late),", ""), ttls }
}

/// Returns whether a string is an RFC 3339 time in UTC, or a Go duration.
fn is_time(text: &str) -> bool {
    let date = text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T');
    date || (text.ends_with('s') && text.starts_with(|c: char| c.is_ascii_digit()))
}

/// Replaces the text after each `mark`. `with` returns the number of bytes to replace and their replacement.
fn replaced(text: &str, mark: &str, mut with: impl FnMut(&str) -> (usize, String)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        let value = &rest[at + mark.len()..];
        let (length, by) = with(value);
        out.push_str(&rest[..at + mark.len()]);
        out.push_str(&by);
        rest = &value[length..];
    }
    out + rest
}

/// Returns whether two responses are equal except for the order of listed nodes.
fn same_set(recorded: &str, given: &str) -> bool {
    let sorted = |text: &str| -> Option<Value> {
        let mut value: Value = serde_json::from_str(&text.replace("(seconds)", "1")).ok()?;
        value.get("action")?;
        sort(&mut value["node"]);
        Some(value)
    };
    recorded.len() == given.len() && sorted(recorded).is_some_and(|r| Some(r) == sorted(given))
}

fn sort(node: &mut Value) {
    if let Some(nodes) = node.get_mut("nodes").and_then(Value::as_array_mut) {
        nodes.sort_by_key(|node| node["key"].to_string());
        nodes.iter_mut().for_each(sort);
    }
}
