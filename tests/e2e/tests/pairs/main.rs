//! Replays recorded v2 requests in order on a new member and compares the responses with the recorded responses of etcd 3.4.23.
//! The record covers routes, members, statistics, health, settings, users and roles. A table lists every deliberate difference
//! with its reason. The test fails for a difference outside the table, and for a row whose difference does not occur.
//!
//! `tests/differ` compares v2 keys and watches with a running etcd.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use witan_e2e::{Kind, Launch, Server, http::Connection, wait};

const RECORD: &str = include_str!("../../data/v2-pairs.jsonl");
/// Names in the record that depend on the recorded member's ports.
const RECORDED_CLIENT: &str = "http://127.0.0.1:42379";
const RECORDED_PEER: &str = "http://127.0.0.1:42380";
const RECORDED_MEMBER: &str = "667880157b8812c8";
const RECORDED_CLUSTER: &str = "dc50b8daae93b3e0";
/// The index of the v2 store after a new member's own writes.
const FIRST_INDEX: u64 = 3;

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
/// Pairs whose body describes the process instead of its state.
const BODY_IS_OWN: &[&str] = &["F054"];

const CLEAN: &str = "Witan serves an unclean path, because a redirect would turn a PUT into a GET";
const V1: &str = "Witan also serves the v1 dialect of etcd 0.1";
const LEVEL: &str = "the version names the etcd release whose v3 API Witan implements";
const REASON: &str = "since etcd 3.5, health has a reason, which is empty when healthy";
const PROBES: &str = "etcd 3.6 serves this probe";

/// The deliberate differences: the id of the pair and the reason.
const DIFFERENCES: &[(&str, &str)] = &[
    ("A029", CLEAN),
    ("A030", CLEAN),
    ("A051", V1),
    ("F046", LEVEL),
    ("F049", REASON),
    ("F052", REASON),
    ("F053", REASON),
    ("F061", PROBES),
    ("F062", PROBES),
];

struct Pair {
    /// The letter of the section and a number.
    id: String,
    method: String,
    target: String,
    body: Option<String>,
    /// The content type and the sender's credentials, by the names of their headers.
    sent_headers: Vec<(&'static str, String)>,
    answer: Answer,
}

struct Answer {
    /// The status, such as `200 OK`.
    status: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        values.next().map(|(_, value)| value.as_str())
    }
}

fn pairs() -> Vec<Pair> {
    let lines = RECORD
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"));
    lines.map(|line: Value| pair(&line)).collect()
}

fn pair(line: &Value) -> Pair {
    let optional = |value: &Value| value.as_str().map(str::to_owned);
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let headers = line["headers"].as_array().expect("a list").iter();
    let sent = [
        ("Content-Type", &line["ctype"]),
        ("Authorization", &line["reqheaders"]["Authorization"]),
    ];
    let sent = sent.map(|(name, value)| Some((name, optional(value)?)));
    Pair {
        id: text(&line["n"]),
        method: text(&line["method"]),
        target: text(&line["path"]),
        body: optional(&line["body"]),
        sent_headers: sent.into_iter().flatten().collect(),
        answer: Answer {
            status: text(&line["status"]),
            headers: headers.map(|h| (text(&h[0]), text(&h[1]))).collect(),
            body: text(&line["resp"]),
        },
    }
}

struct Replay {
    server: Server,
    /// The recorded names and the server's own names.
    names: Vec<(&'static str, String)>,
}

impl Replay {
    fn new(kind: Kind) -> Self {
        let server = Launch::new(kind).start();
        wait::until_true("the first writes are done", || {
            server.http("GET", "/v2/keys/", "").etcd_index() >= FIRST_INDEX
        });
        let list = server.http("GET", "/v2/members", "");
        let member = list.json()["members"][0]["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let cluster = list.header("X-Etcd-Cluster-Id");
        let cluster = cluster.expect("a cluster id").to_owned();
        let names = vec![
            (RECORDED_CLIENT, server.url()),
            (RECORDED_PEER, server.peer_url()),
            (RECORDED_MEMBER, member),
            (RECORDED_CLUSTER, cluster),
        ];
        Self { server, names }
    }

    /// Sends a recorded request with the server's own names. Returns the response with the recorded names.
    fn ask(&self, pair: &Pair) -> Answer {
        let address = self.server.address();
        let (method, target) = (&pair.method, self.own(&pair.target));
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n");
        for (name, value) in &pair.sent_headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = self.own(pair.body.as_deref().unwrap_or_default());
        if pair.body.is_some() || matches!(pair.method.as_str(), "PUT" | "POST") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut connection = Connection::open(&address).expect("the server listens");
        let sent = connection.send_raw(format!("{head}\r\n{body}").as_bytes());
        let response = sent.and_then(|()| connection.response(&pair.method));
        let response = response.unwrap_or_else(|error| panic!("{}: {error}", pair.id));
        let headers = response.headers.iter();
        Answer {
            status: format!("{} {}", response.status, response.reason),
            headers: headers
                .map(|(name, value)| (name.clone(), self.recorded(value)))
                .collect(),
            body: self.recorded(&response.text()),
        }
    }

    fn own(&self, text: &str) -> String {
        let rename = |text: String, (recorded, own): &(&str, String)| text.replace(recorded, own);
        self.names.iter().fold(text.to_owned(), rename)
    }

    fn recorded(&self, text: &str) -> String {
        let rename = |text: String, (recorded, own): &(&str, String)| text.replace(own, recorded);
        self.names.iter().fold(text.to_owned(), rename)
    }
}

fn differences(pair: &Pair, given: &Answer) -> Vec<String> {
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
    let has_own_body = BODY_IS_OWN.contains(&pair.id.as_str());
    if !has_own_body && timeless(&recorded.body) != timeless(&given.body) {
        differ("body", &recorded.body, &given.body);
    }
    found
}

/// Replaces the values of time fields, and keeps whether each value is a time.
fn timeless(body: &str) -> String {
    let mut text = body.to_owned();
    for name in ["startTime", "uptime"] {
        let mark = format!("\"{name}\":\"");
        let mut parts = text.split(mark.as_str());
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (time, rest) = part.split_once('"').expect("a string ends");
            let shown = if is_time(time) { "(time)" } else { "(no time)" };
            out = out + &mark + shown + "\"" + rest;
        }
        text = out;
    }
    text
}

/// Returns whether a string is an RFC 3339 time in UTC, or a Go duration.
fn is_time(text: &str) -> bool {
    let date = text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T');
    date || (text.ends_with('s') && text.starts_with(|c: char| c.is_ascii_digit()))
}

/// Replays the record. Panics unless the answers with the ids in `meant`, and no others, differ.
fn answers_as_recorded(kind: Kind, meant: &[(&str, &str)]) {
    let replay = Replay::new(kind);
    let compared = pairs().into_iter().map(|pair| {
        let found = differences(&pair, &replay.ask(&pair));
        (pair.id, found)
    });
    let found: BTreeMap<String, Vec<String>> =
        compared.filter(|(_, found)| !found.is_empty()).collect();
    let differ: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    let meant: BTreeSet<&str> = meant.iter().map(|(id, _)| *id).collect();
    assert_eq!(differ, meant, "{}: {found:#?}", kind.name());
}

#[test]
fn witan_answers_as_recorded() {
    answers_as_recorded(Kind::Witan, DIFFERENCES);
}

/// Verifies the record itself.
#[test]
fn etcd_answers_as_recorded() {
    answers_as_recorded(Kind::Etcd34, &[]);
}
