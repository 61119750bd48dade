//! An answer in a comparable form: one line without clocks and ids. Times are kept separately and compared by their distance.

use std::fmt;

use serde_json::Value;
use witan_e2e::http::Response;

/// Maximum difference in seconds between the times that two servers print. A busy machine calls the servers one after the
/// other.
const APART_SECONDS: f64 = 3.0;

/// A number above this value is a time; a lower number is a TTL.
const TTL_SECONDS_MAX: f64 = 1e10;

/// Sizes in bytes around the minimum size of a chunked body. If such a body contains a time, it may be chunked on only one
/// server, because the time's fraction varies in length.
const CHUNKED_FROM: std::ops::Range<usize> = 1900..2200;

/// The three CORS headers of every answer.
const CORS: [(&str, &str); 3] = [
    (
        "Access-Control-Allow-Headers",
        "accept, content-type, authorization",
    ),
    (
        "Access-Control-Allow-Methods",
        "POST, GET, OPTIONS, PUT, DELETE",
    ),
    ("Access-Control-Allow-Origin", "*"),
];

#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// The part that must be equal.
    pub(super) line: String,
    /// The status code, or 0 if there was no answer.
    pub(super) status: u16,
    pub(super) body: String,
    /// The values of `expiration` and `ttl` in seconds, in order.
    pub(super) times: Vec<f64>,
    /// The length of the body that a `HEAD` omits.
    pub(super) length: Option<usize>,
    /// The value of `X-Etcd-Index`.
    pub(super) index: Option<u64>,
}

impl Answer {
    /// Converts a response. If `sorted`, the order of its lists is significant.
    pub(super) fn of(method: &str, response: &Response, sorted: bool) -> Self {
        let body = response.text();
        let mut answer = of_body(&body, sorted);
        let content = std::mem::take(&mut answer.line);
        let mut line = format!("{} {}", response.status, response.reason);
        if response.version != "HTTP/1.1" {
            line = format!("{} {line}", response.version);
        }
        for word in headers(method, response, &body) {
            line.push(' ');
            line.push_str(&word);
        }
        if !content.is_empty() {
            line.push(' ');
            line.push_str(&content);
        }
        answer.line = line;
        answer.status = response.status;
        answer.index = response
            .header("X-Etcd-Index")
            .and_then(|text| text.parse().ok());
        if method == "HEAD" && !closes(response) && response.version == "HTTP/1.1" {
            answer.length = response
                .header("Content-Length")
                .and_then(|text| text.parse().ok());
        }
        answer
    }

    /// Returns the code of a refusal, or `None` for another answer.
    pub(super) fn error_code(&self) -> Option<u64> {
        self.json()?["errorCode"].as_u64()
    }

    /// Returns the modified index of the node in an event, or `None` for another body.
    pub(super) fn modified(&self) -> Option<u64> {
        self.json()?["node"]["modifiedIndex"].as_u64()
    }

    /// Returns the body as JSON, or `None` if the body is not JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }

    /// Returns the answer without remaining TTLs.
    pub(super) fn without_ttl(&self) -> Self {
        let times = self.times.iter().copied();
        Self {
            line: self.line.replace("\"ttl\":N,", ""),
            times: times.filter(|time| *time > TTL_SECONDS_MAX).collect(),
            ..self.clone()
        }
    }

    /// Returns whether another server's answer is equal.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.line == other.line
            && self.times.len() == other.times.len()
            && self
                .times
                .iter()
                .zip(&other.times)
                .all(|(a, b)| (a - b).abs() <= APART_SECONDS)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.line)?;
        if !self.times.is_empty() {
            write!(f, "  (times {:?})", self.times)?;
        }
        Ok(())
    }
}

/// Creates an answer from a body alone, such as an event of a watch.
pub(super) fn of_body(body: &str, sorted: bool) -> Answer {
    let mut times = Vec::new();
    let mut line = timeless(body, &mut times);
    if !sorted && line.contains("\"nodes\":[") {
        line = in_order(&line);
        // Sort the times, because nodes of one list may arrive in any order.
        times.sort_by(f64::total_cmp);
    }
    Answer {
        // A line of a script cannot contain line breaks.
        line: line
            .strip_suffix('\n')
            .map_or_else(|| format!("{line}\\c"), str::to_owned)
            .replace('\n', "\\n"),
        body: body.into(),
        times,
        ..Answer::default()
    }
}

/// Returns one word for each compared header, in order of the words, and `uncors` if a CORS header is missing.
fn headers(method: &str, response: &Response, body: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut cors = 0;
    let timed = body.contains("\"expiration\":") && CHUNKED_FROM.contains(&body.len());
    for (name, value) in &response.headers {
        let word = match name.as_str() {
            "Date" => continue,
            "X-Raft-Index" => "raft".into(),
            // Only the presence of the term is compared.
            "X-Raft-Term" => "term".into(),
            "X-Etcd-Cluster-Id" => "cluster".into(),
            "X-Etcd-Index" => format!("i={value}"),
            "Content-Type" if value == "application/json" => "json".into(),
            // See `excuse::NOT_SENT`.
            "Content-Length" if response.version == "HTTP/1.0" => continue,
            "Content-Length" | "Transfer-Encoding" if timed => "framed".into(),
            // The end of the connection marks the end of this body.
            "Content-Length" if closes(response) => continue,
            // The length of a HEAD is compared separately.
            "Content-Length" if method == "HEAD" => continue,
            "Content-Length" if !body.is_empty() => "length".into(),
            "Transfer-Encoding" if value == "chunked" => "chunked".into(),
            _ if CORS.contains(&(name, value)) => {
                cors += 1;
                continue;
            }
            _ => format!("[{name}: {value}]"),
        };
        words.push(word);
    }
    // The order of headers is not significant.
    words.sort();
    if cors != CORS.len() {
        words.push("uncors".into());
    }
    words
}

fn closes(response: &Response) -> bool {
    response.header("Connection") == Some("close")
}

/// Removes expirations and remaining TTLs from a body and adds them to `times`. Drops the TTL of an expired node.
fn timeless(body: &str, times: &mut Vec<f64>) -> String {
    const EXPIRATION: &str = "\"expiration\":\"";
    const TTL: &str = "\"ttl\":";
    let expired = body.starts_with("{\"action\":\"expire\"");
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    loop {
        let (expiration, ttl) = (rest.find(EXPIRATION), rest.find(TTL));
        match (expiration, ttl) {
            (Some(at), ttl) if ttl.is_none_or(|ttl| at < ttl) => {
                let begin = at + EXPIRATION.len();
                let end = begin + rest[begin..].find('"').unwrap_or(0);
                match seconds(&rest[begin..end]) {
                    Some(time) => {
                        times.push(time);
                        out.push_str(&rest[..begin]);
                        out.push('T');
                    }
                    None => out.push_str(&rest[..end]),
                }
                rest = &rest[end..];
            }
            (_, Some(at)) => {
                let begin = at + TTL.len();
                let tail = &rest[begin..];
                let end = tail.find([',', '}']).unwrap_or(tail.len());
                match tail[..end].parse::<i64>() {
                    // The delay of an expiration is random.
                    Ok(late) if expired && late <= 0 => {
                        out.push_str(&rest[..at]);
                        rest = tail[end..].strip_prefix(',').unwrap_or(&tail[end..]);
                        continue;
                    }
                    Ok(ttl) => {
                        times.push(ttl as f64);
                        out.push_str(&rest[..begin]);
                        out.push('N');
                    }
                    Err(_) => out.push_str(&rest[..begin + end]),
                }
                rest = &rest[begin + end..];
            }
            (_, None) => break,
        }
    }
    out.push_str(rest);
    out
}

/// Converts a time that Go printed in UTC to seconds since the origin of [`civil_days`]. Returns `None` for any other form.
fn seconds(text: &str) -> Option<f64> {
    let text = text.strip_suffix('Z')?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.len() > 9 || fraction.ends_with('0') || !digits || text.ends_with('.') {
        return None;
    }
    let (date, time) = whole.split_once('T')?;
    let parts = |text: &str, by: char| -> Option<Vec<f64>> {
        text.split(by).map(|part| part.parse().ok()).collect()
    };
    let (date, time) = (parts(date, '-')?, parts(time, ':')?);
    let ([year, month, day], [hour, minute, second]) = (&date[..], &time[..]) else {
        return None;
    };
    let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
    let days = civil_days(*year, *month, *day);
    Some(((days * 24.0 + hour) * 60.0 + minute) * 60.0 + second + fraction)
}

/// Returns the number of days since a fixed day in the distant past, in the Gregorian calendar.
fn civil_days(year: f64, month: f64, day: f64) -> f64 {
    // Let years start in March, so that the leap day comes last.
    let year = if month <= 2.0 { year - 1.0 } else { year };
    let month = if month > 2.0 {
        month - 3.0
    } else {
        month + 9.0
    };
    let leaps = (year / 4.0).floor() - (year / 100.0).floor() + (year / 400.0).floor();
    year * 365.0 + leaps + ((153.0 * month + 2.0) / 5.0).floor() + day
}

/// Sorts the items of each `nodes` in a body by their text, because etcd's order is random.
fn in_order(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    const NODES: &str = "\"nodes\":[";
    while let Some(at) = rest.find(NODES) {
        let begin = at + NODES.len();
        out.push_str(&rest[..begin]);
        let (items, end) = items(&rest[begin..]);
        let mut items: Vec<String> = items.into_iter().map(in_order).collect();
        items.sort();
        out.push_str(&items.join(","));
        rest = &rest[begin + end..];
    }
    out.push_str(rest);
    out
}

/// Returns the items of an array after its opening bracket, and the position of its end.
fn items(text: &str) -> (Vec<&str>, usize) {
    let mut items = Vec::new();
    let (mut depth, mut begin, mut quoted, mut escaped) = (0, 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b',' if depth == 0 => {
                items.push(&text[begin..at]);
                begin = at + 1;
            }
            b'}' => depth -= 1,
            b']' if depth > 0 => depth -= 1,
            b']' => {
                items.push(&text[begin..at]);
                return (items, at);
            }
            _ => {}
        }
    }
    (items, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_removed_and_compared_by_distance() {
        let body = |time: &str, ttl: u32| {
            format!("{{\"key\":\"/a\",\"expiration\":\"{time}\",\"ttl\":{ttl},\"x\":1}}\n")
        };
        let one = of_body(&body("2026-02-28T23:59:59.5Z", 5), true);
        assert_eq!(
            one.line,
            "{\"key\":\"/a\",\"expiration\":\"T\",\"ttl\":N,\"x\":1}"
        );
        assert!(one.same(&of_body(&body("2026-03-01T00:00:01Z", 4), true)));
        assert!(!one.same(&of_body(&body("2026-03-01T00:00:09Z", 4), true)));
        assert!(!one.same(&of_body(&body("2026-03-01T00:00:01Z", 9), true)));
        // Go does not write times like this.
        assert!(!one.same(&of_body(&body("2026-02-28T23:59:59.50Z", 5), true)));
    }
}
