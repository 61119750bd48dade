//! One recorded request with etcd's response, read from `data/v2-pairs.jsonl`.

use serde_json::Value;

const RECORD: &str = include_str!("../../data/v2-pairs.jsonl");

/// The byte that fills a body if the record contains only its length.
const FILLER: u8 = b'x';

/// Length in bytes at which the record truncated a long answer.
const CUT_BYTES: usize = 6000;

/// A recorded exchange.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// Letter of the section, and number.
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) content_type: Option<String>,
    /// The sender's `Authorization` header.
    pub(crate) authorization: Option<String>,
    pub(crate) answer: Answer,
    /// Whether the record truncated the response.
    pub(crate) cut: bool,
}

/// A recorded or received answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status, such as `200 OK`.
    pub(crate) status: String,
    pub(crate) headers: Vec<(String, String)>,
    /// The body without its framing.
    pub(crate) body: String,
    /// Whether the connection stayed open, as for a stream.
    pub(crate) open: bool,
}

impl Answer {
    /// Returns the first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        values.next().map(|(_, value)| value.as_str())
    }
}

impl Pair {
    /// Returns whether the pair is an accepted watch.
    pub(crate) fn is_watch(&self) -> bool {
        self.target.contains("wait=t") && self.answer.header("Transfer-Encoding").is_some()
    }
}

/// Returns all recorded pairs in their order.
pub(crate) fn read() -> Vec<Pair> {
    let lines = RECORD
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"));
    lines.map(|line: Value| pair(&line)).collect()
}

fn pair(line: &Value) -> Pair {
    let text = |name: &str| line[name].as_str().map(str::to_owned);
    let headers = line["headers"]
        .as_array()
        .expect("headers are a list")
        .iter();
    let mut body = text("resp").unwrap_or_default();
    let cut = body.len() > CUT_BYTES && body.ends_with("...");
    if cut {
        body.truncate(CUT_BYTES);
    }
    Pair {
        id: text("n").expect("a pair has an id"),
        method: text("method").expect("a pair has a method"),
        target: text("path").expect("a pair has a path"),
        body: text("body").map(expand),
        content_type: text("ctype"),
        authorization: line["reqheaders"]["Authorization"]
            .as_str()
            .map(str::to_owned),
        answer: Answer {
            status: text("status").expect("a pair has a status"),
            headers: headers.map(|h| (string(&h[0]), string(&h[1]))).collect(),
            body,
            open: line["open"].as_bool().unwrap_or_default(),
        },
        cut,
    }
}

fn string(value: &Value) -> String {
    value.as_str().expect("a header is text").to_owned()
}

/// Expands a body such as `(2097158 bytes) value=xxx…` to that length.
fn expand(body: String) -> Vec<u8> {
    let counted = body
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(" bytes) "));
    let Some((length, start)) = counted else {
        return body.into_bytes();
    };
    let mut bytes = start.trim_end_matches('…').as_bytes().to_vec();
    bytes.resize(length.parse().expect("the length is a number"), FILLER);
    bytes
}
