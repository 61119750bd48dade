//! Sends the recorded requests, including watches, to a running server. Does not know the expected answers.

use std::time::Duration;

use witan_e2e::{
    Server,
    http::{Connection, Response, is_silence},
    wait,
};

use crate::{
    pair::{Answer, Pair},
    script::Act,
};

/// Names in the record that depend on the recorded member's ports.
const RECORDED_CLIENT: &str = "http://127.0.0.1:42379";
const RECORDED_PEER: &str = "http://127.0.0.1:42380";
const RECORDED_MEMBER: &str = "667880157b8812c8";
const RECORDED_CLUSTER: &str = "dc50b8daae93b3e0";
/// Time without data after which a watch counts as complete.
const SILENCE: Duration = Duration::from_millis(250);
const SPAM: usize = 1100;

/// A server under replay.
pub(crate) struct Replay {
    pub(crate) server: Server,
    /// The recorded index minus the server's index, for sections that start at another index.
    pub(crate) shift: i64,
    names: Vec<(&'static str, String)>,
}

/// An accepted watch.
pub(crate) struct Watch {
    connection: Connection,
    head: Response,
}

impl Replay {
    pub(crate) fn new(server: Server) -> Self {
        let list = server.http("GET", "/v2/members", "");
        let member = list.json()["members"][0]["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let cluster = list
            .header("X-Etcd-Cluster-Id")
            .expect("a cluster id")
            .to_owned();
        let names = vec![
            (RECORDED_CLIENT, server.url()),
            (RECORDED_PEER, server.peer_url()),
            (RECORDED_MEMBER, member),
            (RECORDED_CLUSTER, cluster),
        ];
        Self { server, shift: 0, names }
    }

    /// Sends a pair's request and reads the entire response.
    pub(crate) fn ask(&self, pair: &Pair) -> Answer {
        let mut connection = self.send(pair);
        let response = connection.response(&pair.method);
        let response = response.unwrap_or_else(|error| panic!("{}: {error}", pair.id));
        self.answer(response, false)
    }

    /// Sends a watch's request and reads the head of its response.
    pub(crate) fn open(&self, pair: &Pair) -> Watch {
        let mut connection = self.send(pair);
        let head = connection.head(&pair.method);
        let head = head.unwrap_or_else(|error| panic!("{}: {error}", pair.id));
        Watch { connection, head }
    }

    /// Reads `lines` events from a watch. Then determines whether the watch ends. Reads further data.
    pub(crate) fn settle(&self, pair: &Pair, mut watch: Watch, lines: usize) -> Answer {
        let mut open = true;
        let mut patience = wait::PATIENCE;
        loop {
            if line_count(&watch.head.body) >= lines {
                patience = SILENCE;
            }
            watch
                .connection
                .patience(patience)
                .expect("the socket lives");
            match watch.connection.chunk() {
                Ok(Some(piece)) => watch.head.body.extend_from_slice(&piece),
                Ok(None) => {
                    open = false;
                    break;
                }
                Err(error) if is_silence(&error) && patience == SILENCE => break,
                Err(error) => panic!("{}: {error} after {:?}", pair.id, watch.head.text()),
            }
        }
        self.answer(watch.head, open)
    }

    /// Executes an action that the record omits.
    pub(crate) fn act(&self, act: Act) {
        let send = |method: &str, key: &str, form: &str| {
            let answer = self.server.http(method, &format!("/v2/keys{key}"), form);
            assert!(answer.status < 300, "{method} {key}: {}", answer.text());
        };
        match act {
            Act::Send(method, key, form) => send(method, key, form),
            Act::Spam => (0..SPAM).for_each(|n| send("PUT", "/spam", &format!("value={n}"))),
            Act::Open(id) => panic!("{id} is opened by the run"),
        }
    }

    fn send(&self, pair: &Pair) -> Connection {
        let target = self.shifted_target(&self.own(&pair.target));
        let mut head = format!(
            "{} {target} HTTP/1.1\r\nHost: {}\r\n",
            pair.method,
            self.server.address()
        );
        if let Some(content_type) = &pair.content_type {
            head.push_str(&format!("Content-Type: {content_type}\r\n"));
        }
        if let Some(authorization) = &pair.authorization {
            head.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        let body = pair.body.clone().unwrap_or_default();
        let body = match String::from_utf8(body) {
            Ok(text) => self.own(&text).into_bytes(),
            Err(bytes) => bytes.into_bytes(),
        };
        if pair.body.is_some() || matches!(pair.method.as_str(), "PUT" | "POST") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(&body);
        let mut connection = Connection::open(&self.server.address()).expect("the server listens");
        connection
            .send_raw(&bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", pair.id));
        connection
    }

    /// Replaces recorded names with the server's own names.
    fn own(&self, text: &str) -> String {
        let rename = |text: String, (recorded, own): &(&str, String)| text.replace(recorded, own);
        self.names.iter().fold(text.to_owned(), rename)
    }

    fn recorded(&self, text: &str) -> String {
        let rename = |text: String, (recorded, own): &(&str, String)| text.replace(own, recorded);
        self.names.iter().fold(text.to_owned(), rename)
    }

    fn answer(&self, response: Response, open: bool) -> Answer {
        let header = |(name, value): &(String, String)| {
            let value = match name.as_str() {
                "X-Etcd-Index" => self.shifted(value),
                _ => self.recorded(value),
            };
            (name.clone(), value)
        };
        let mut body = self.recorded(&response.text());
        for name in ["\"modifiedIndex\":", "\"createdIndex\":"] {
            let mut parts = body.split(name);
            let mut out = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let digits = part
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(part.len());
                out.push_str(name);
                out.push_str(&self.shifted(&part[..digits]));
                out.push_str(&part[digits..]);
            }
            body = out;
        }
        Answer {
            status: format!("{} {}", response.status, response.reason),
            headers: response.headers.iter().map(header).collect(),
            body,
            open,
        }
    }

    fn shifted(&self, index: &str) -> String {
        let index: i64 = index.parse().expect("an index is a number");
        (index + self.shift).to_string()
    }

    fn shifted_target(&self, target: &str) -> String {
        match target.split_once("waitIndex=") {
            Some((before, index)) if self.shift != 0 => {
                let index: i64 = index
                    .parse()
                    .expect("the index comes last in these sections");
                format!("{before}waitIndex={}", index - self.shift)
            }
            Some(_) | None => target.to_owned(),
        }
    }
}

fn line_count(body: &[u8]) -> usize {
    body.iter().filter(|&&byte| byte == b'\n').count()
}
