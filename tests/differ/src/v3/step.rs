//! One request of a sequence, as a line of text that a person can read, edit and replay.
//!
//! ```text
//! grpc put {"key":"YQ==","value":"MQ=="}      over gRPC; the message as JSON
//! raw put 0a0161                              over gRPC; the message's bytes
//! json v3 kv/put {"key":"YQ=="}               over the gateway; the body as it is
//! ```
//! In JSON, `@-2` represents the newest revision minus 2, `@c` the compacted revision, and `*3000` a value of about that many
//! bytes. In a body, `\n`, `\r`, `\\` and `\xNN` represent bytes that a line cannot contain.

use std::fmt::{self, Write as _};

/// A request and its intended oddity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The request as a line.
    pub(crate) line: String,
    /// The oddity of a gateway body, for the coverage.
    pub(crate) oddity: Option<&'static str>,
}

impl Step {
    pub(crate) fn new(line: String) -> Self {
        Self { line, oddity: None }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// How a request is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Verb, and message as JSON.
    Grpc(String, String),
    /// Verb, and encoded message.
    Raw(String, Vec<u8>),
    /// Prefix, path and body of the gateway.
    Json(String, String, Vec<u8>),
}

/// The state that the requests of a sequence refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// The newest revision.
    pub(crate) revision: i64,
    /// The compacted revision, or 0 before the first compaction.
    pub(crate) compacted: i64,
}

/// Parses a line and replaces its references. Fails if the line is not a request.
pub(crate) fn parse(line: &str, now: Now) -> Result<Ask, String> {
    let bad = || format!("no request: {line:.200}");
    let (kind, rest) = line.split_once(' ').ok_or_else(bad)?;
    let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    match kind {
        "grpc" => Ok(Ask::Grpc(first.into(), fill(rest, now))),
        "raw" => {
            let digits: Vec<u8> = rest.bytes().collect();
            let bytes = digits
                .chunks(2)
                .map(|two| std::str::from_utf8(two).ok())
                .map(|two| two.and_then(|two| u8::from_str_radix(two, 16).ok()))
                .collect::<Option<Vec<u8>>>();
            Ok(Ask::Raw(first.into(), bytes.ok_or_else(bad)?))
        }
        "json" => {
            let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
            let body = unescape(&fill(body, now));
            Ok(Ask::Json(first.into(), path.into(), body))
        }
        _ => Err(bad()),
    }
}

/// Encodes a body as part of a line.
pub(crate) fn escape(body: &[u8]) -> String {
    let mut out = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                other => out.push(other),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let kind = bytes.get(at).copied().unwrap_or(b'\\');
        at += 1;
        match kind {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b'x' => {
                let digits = text.get(at..at + 2).unwrap_or("00");
                out.push(u8::from_str_radix(digits, 16).unwrap_or(0));
                at += 2;
            }
            other => out.push(other),
        }
    }
    out
}

/// Replaces `@…` and `*…` with revisions and values.
pub(crate) fn fill(text: &str, now: Now) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['@', '*']) {
        out.push_str(&rest[..at]);
        let mark = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        if mark == b'*' {
            let count = digits(&mut rest);
            // `eHh4` is base64 for `xxx`.
            out.push_str(&"eHh4".repeat(usize::try_from(count / 3).unwrap_or(0)));
            continue;
        }
        let base = match rest.strip_prefix('c') {
            Some(after) => {
                rest = after;
                now.compacted
            }
            None => now.revision,
        };
        let sign = match rest.as_bytes().first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => 0,
        };
        let mut offset = 0;
        if sign != 0 {
            rest = &rest[1..];
            offset = sign * digits(&mut rest);
        }
        let _ = write!(out, "{}", base.saturating_add(offset));
    }
    out.push_str(rest);
    out
}

/// Removes the digits at the beginning of a text and returns their value.
fn digits(rest: &mut &str) -> i64 {
    let end = rest.find(|c: char| !c.is_ascii_digit());
    let (number, after) = rest.split_at(end.unwrap_or(rest.len()));
    *rest = after;
    number.parse().unwrap_or(0)
}
