//! The actions of requests, as named in the table that a run must cover, and their possible codes.

use witan_e2e::http::FORM;

use super::{answer::Answer, step::Request};
use crate::coverage::Row;

/// The possible codes of a read.
const GETS: &str = "200 100 104 201 202 203 209 210 211 212";
/// The possible codes of a watch's head.
const WATCHES: &str = "200 401 201 202 203 209 210 211 212";
/// The possible events of a watch.
const EVENTS: &str = "set create update compareAndSwap compareAndDelete delete expire none";

/// The cells that a run must cover. Omits codes that no request reaches:
///
/// - 105 and 107 of an in-order create: its name is new, and the root may have children.
/// - 101 and 105 of actions that do not compare or create, and 107 of a compare-and-delete, for which etcd answers 102.
/// - 110, because auth is never enabled, 300, because a single member does not lose its quorum, and codes before etcd 2.0.
///
/// `HEAD` has no body and therefore no code.
pub(super) const TABLE: &[Row] = &[
    ("get", GETS),
    ("quorum get", GETS),
    ("head", "200 400 404"),
    ("watch", WATCHES),
    ("stream", WATCHES),
    (
        "set",
        "200 201 100 102 104 107 201! 202 203 209 210 211 212",
    ),
    ("create", "201 104 105 107 201! 202 203 209 210 211 212"),
    ("update", "200 100 102 104 107 201 202 203 209 210 211 212"),
    (
        "compareAndSwap",
        "200 100 101 102 104 107 201 202 203 209 210 211 212",
    ),
    (
        "compareAndDelete",
        "200 100 101 102 104 201 202 203 209 210 211 212",
    ),
    (
        "delete",
        "200 100 102 104 107 108 201 202 203 209 210 211 212",
    ),
    ("create in order", "201 104 201! 202 203 209 210 211 212"),
    ("other method", "200 405"),
    ("bad path", "400"),
    ("elsewhere", "404"),
    ("watch event", EVENTS),
    ("stream event", EVENTS),
    ("settled", "expired"),
];

/// A request's parameters as a server reads them: the first value of each name, the body before the query, without undecodable
/// values.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Parses the query and, if the server uses it, the body.
    pub(super) fn of(request: &Request) -> Self {
        let mut pairs = Vec::new();
        let media = request.media.as_deref().unwrap_or(FORM);
        let (name, _) = media.split_once(';').unwrap_or((media, ""));
        let formed = name.trim().eq_ignore_ascii_case(FORM);
        if matches!(request.method.as_str(), "PUT" | "POST") && formed {
            read(request.body.as_deref().unwrap_or_default(), &mut pairs);
        }
        if let Some((_, query)) = request.target.split_once('?') {
            read(query, &mut pairs);
        }
        Self(pairs)
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns whether a flag is set.
    pub(super) fn is(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|text| matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True"))
    }

    fn is_not(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|text| matches!(text, "0" | "f" | "F" | "FALSE" | "false" | "False"))
    }

    /// Returns the value of a numeric parameter, or `None` if the value is 0 or invalid.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok().filter(|number| *number > 0)
    }

    /// Returns whether the request compares a value.
    fn compares(&self) -> bool {
        self.number("prevIndex").is_some()
            || self.get("prevValue").is_some_and(|text| !text.is_empty())
    }
}

/// Appends the pairs of a query or form. Skips pairs with a semicolon or an invalid escape, as Go does.
fn read(text: &str, pairs: &mut Vec<(String, String)>) {
    for pair in text.split('&').filter(|pair| !pair.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(name), Some(value)) = (decode(name, true), decode(value, true)) {
            pairs.push((
                String::from_utf8_lossy(&name).into_owned(),
                String::from_utf8_lossy(&value).into_owned(),
            ));
        }
    }
}

/// Decodes `%XX` and, in a `form`, `+`. Returns `None` for an invalid escape.
pub(super) fn decode(text: &str, form: bool) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = (bytes.next()?, bytes.next()?);
                let digit = |byte: u8| char::from(byte).to_digit(16);
                out.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
            }
            b'+' if form => out.push(b' '),
            _ => out.push(byte),
        }
    }
    Some(out)
}

/// Returns the key of a target as a server prints it, or `None` if the target has no key or cannot be decoded.
pub(super) fn key(target: &str) -> Option<String> {
    let path = target.split('?').next().unwrap_or_default();
    let path = decode(path, false)?;
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    if parts.len() < 2 || parts[0] != b"v2" || parts[1] != b"keys" {
        return None;
    }
    let key = parts[2..].join(&b'/');
    Some(format!("/{}", String::from_utf8_lossy(&key)))
}

/// Returns the row of the table for a request.
pub(super) fn action(request: &Request) -> &'static str {
    let path = request.target.split('?').next().unwrap_or_default();
    if decode(path, false).is_none() {
        return "bad path";
    }
    let parameters = Parameters::of(request);
    let known = key(&request.target).is_some();
    match request.method.as_str() {
        "OPTIONS" => "other method",
        _ if !known => "elsewhere",
        "GET" if parameters.is("quorum") => "quorum get",
        "GET" if parameters.is("wait") && parameters.is("stream") => "stream",
        "GET" if parameters.is("wait") => "watch",
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "create in order",
        "PUT" if parameters.is_not("prevExist") => "create",
        "PUT" if parameters.compares() => "compareAndSwap",
        "PUT" if parameters.is("prevExist") => "update",
        "PUT" => "set",
        "DELETE" if parameters.compares() => "compareAndDelete",
        "DELETE" => "delete",
        _ => "other method",
    }
}

/// Returns v2's error code in an answer, or the status if there is none. Returns `201!` for the error code 201 if the action can
/// also succeed with status 201.
pub(super) fn code(action: &str, answer: &Answer) -> String {
    let Some(code) = answer.error_code() else {
        return answer.status.to_string();
    };
    let both = ["set", "create", "create in order"].contains(&action);
    if code == 201 && both {
        "201!".into()
    } else {
        code.to_string()
    }
}
