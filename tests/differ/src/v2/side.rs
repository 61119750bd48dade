//! One server and its open connections. `pair` compares the answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::{Duration, Instant},
};

use witan_e2e::{
    Kind, Launch, Server,
    http::{Connection, FORM, Response},
    wait,
};

use super::{
    action::{self, Parameters},
    answer::{self, Answer},
    step::{How, Request, resolve},
};

const REDIRECTS_MAX: u32 = 4;

/// TTL in seconds below which the run waits for a node's expiration.
const SHORT_SECONDS: i64 = 10;

/// Pause between two checks of a node that must expire.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Watch {
    connection: Connection,
    /// Whether the watch is a stream of several events.
    pub(super) stream: bool,
    /// The bytes after the last complete line.
    rest: String,
    /// The received lines in their order.
    pub(super) received: Vec<String>,
    /// Whether the stream has ended.
    pub(super) ended: bool,
}

/// A server under test with its connections.
#[derive(Debug)]
pub(super) struct Side {
    server: Server,
    connection: Connection,
    watches: BTreeMap<u32, Watch>,
    /// The current index of the store.
    pub(super) now: u64,
    /// The last seen modified index of each key.
    modified: BTreeMap<String, u64>,
    /// Keys that expire soon.
    pub(super) short: BTreeSet<String>,
    /// Number of followed redirects.
    pub(super) redirected: u64,
    /// Whether a key must expire immediately because its TTL is 0 or less.
    pub(super) urgent: bool,
}

impl Side {
    /// Starts a server and waits until its own first changes are complete.
    pub(super) fn start(kind: Kind) -> Self {
        let server = Launch::new(kind).without_fsync().start();
        wait::until_true("the cluster's version is decided", || {
            let version = server.http("GET", "/version", "").text();
            !version.contains("not_decided")
        });
        let connection = Connection::open(&server.address()).expect("the server listens");
        let mut side = Self {
            server,
            connection,
            watches: BTreeMap::new(),
            now: 0,
            modified: BTreeMap::new(),
            short: BTreeSet::new(),
            redirected: 0,
            urgent: false,
        };
        wait::until_true("the first changes are done", || side.look("/") >= 3);
        side
    }

    /// Reads a key and returns the store's current index, or 0 if the answer has none. Records this index.
    pub(super) fn look(&mut self, key: &str) -> u64 {
        let answer = self.server.http("GET", &format!("/v2/keys{key}"), "");
        let index = answer.header("X-Etcd-Index");
        self.now = index.and_then(|text| text.parse().ok()).unwrap_or(0);
        self.now
    }

    /// Replaces the variables in a request with current indexes.
    pub(super) fn resolved(&self, request: &Request) -> Request {
        let modified = action::key(&request.target)
            .and_then(|key| self.modified.get(&key).copied())
            .unwrap_or(0);
        let fill = |text: &str| resolve(text, self.now, modified);
        Request {
            target: fill(&request.target),
            body: request.body.as_deref().map(fill),
            ..request.clone()
        }
    }

    /// Sends a request, whose answer [`Side::receive`] must read.
    pub(super) fn send(&mut self, request: &Request) -> io::Result<()> {
        let bytes = wire(request, &self.server.address());
        if self.connection.send_raw(&bytes).is_err() {
            // The last answer ended the connection.
            self.connection = Connection::open(&self.server.address())?;
            self.connection.send_raw(&bytes)?;
        }
        Ok(())
    }

    /// Returns the answer to the sent request, after redirects. A connection error also counts as an answer.
    pub(super) fn receive(&mut self, request: &Request) -> Answer {
        let mut response = match self.connection.response(&request.method) {
            Ok(response) => response,
            Err(error) => {
                self.reconnect();
                return silent(&error);
            }
        };
        for _ in 0..REDIRECTS_MAX {
            if response.status != 301 {
                break;
            }
            self.redirected += 1;
            let target = response.header("Location").unwrap_or_default().to_owned();
            if ends(request, &response) {
                self.reconnect();
            }
            let again = Request { target, ..request.clone() };
            let sent = self.send(&again);
            match sent.and_then(|()| self.connection.response(&request.method)) {
                Ok(next) => response = next,
                Err(error) => {
                    self.reconnect();
                    return silent(&error);
                }
            }
        }
        self.noted(request, &response)
    }

    fn reconnect(&mut self) {
        self.connection = Connection::open(&self.server.address()).expect("the server lives");
    }

    /// Converts a response. Records the index, the key's modified index, and keys that expire soon.
    fn noted(&mut self, request: &Request, response: &Response) -> Answer {
        let sorted = Parameters::of(request).is("sorted");
        let answer = Answer::of(&request.method, response, sorted);
        if ends(request, response) {
            self.reconnect();
        }
        // Errors of the parser report index 0.
        self.now = self.now.max(answer.index.unwrap_or(0));
        let Some(json) = answer.json() else {
            return answer;
        };
        let node = &json["node"];
        let (Some(key), Some(action)) = (node["key"].as_str(), json["action"].as_str()) else {
            return answer;
        };
        if let Some(modified) = node["modifiedIndex"].as_u64() {
            self.modified.insert(key.to_owned(), modified);
        }
        let timed = node["expiration"].is_string();
        let ttl = node["ttl"].as_i64().unwrap_or(0);
        if timed && ttl < SHORT_SECONDS && action != "get" {
            self.short.insert(key.to_owned());
            self.urgent |= ttl <= 0;
        }
        answer
    }

    /// Opens a watch and reads the head of its answer, or all of a refusal.
    pub(super) fn watch(&mut self, id: u32, target: &str) -> Answer {
        self.try_watch(id, &Request::get(target))
            .unwrap_or_else(|error| silent(&error))
    }

    /// Opens a watch on a new connection, after redirects. An answer other than 200 does not open a watch.
    fn try_watch(&mut self, id: u32, request: &Request) -> io::Result<Answer> {
        let mut target = request.target.clone();
        for _ in 0..REDIRECTS_MAX {
            let mut connection = Connection::open(&self.server.address())?;
            let next = Request { target: target.clone(), ..request.clone() };
            connection.send_raw(&wire(&next, &self.server.address()))?;
            let mut response = connection.head("GET")?;
            if response.status == 301 {
                self.redirected += 1;
                target = response.header("Location").unwrap_or_default().into();
                continue;
            }
            if response.status != 200 {
                while let Some(piece) = connection.chunk()? {
                    response.body.extend_from_slice(&piece);
                }
                return Ok(self.noted(request, &response));
            }
            let watch = Watch {
                connection,
                stream: Parameters::of(request).is("stream"),
                rest: String::new(),
                received: Vec::new(),
                ended: false,
            };
            self.watches.insert(id, watch);
            return Ok(Answer::of("GET", &response, true));
        }
        Err(io::Error::other("redirected too many times"))
    }

    /// Removes and returns an open watch.
    pub(super) fn unwatch(&mut self, id: u32) -> Option<Watch> {
        self.watches.remove(&id)
    }

    /// Sets a key `count` times and returns the last answer.
    pub(super) fn burst(&mut self, count: u32, target: &str) -> Answer {
        let mut last = Answer::default();
        for number in 0..count {
            let request = Request {
                method: "PUT".into(),
                body: Some(format!("value={number}")),
                ..Request::get(target)
            };
            if let Err(error) = self.send(&request) {
                return silent(&error);
            }
            last = self.receive(&request);
        }
        last
    }

    /// Kills and restarts the server, which ends all watches. Returns the index after the server has published itself, or after
    /// [`LATE`].
    pub(super) fn restart(&mut self) -> Answer {
        self.watches.clear();
        let before = self.look("/");
        self.server.kill9();
        self.server.start_again();
        self.reconnect();
        let deadline = Instant::now() + LATE;
        while self.look("/") <= before && Instant::now() < deadline {
            wait::wall_time(LOOK);
        }
        Answer {
            line: format!("restarted i={}", self.now),
            ..Answer::default()
        }
    }

    /// Waits until no node has a short TTL. Returns the index at that time, or the name of a key that does not expire.
    pub(super) fn settle(&mut self) -> Answer {
        let deadline = Instant::now() + wait::PATIENCE;
        self.urgent = false;
        for key in std::mem::take(&mut self.short) {
            while self.expires_soon(&key) {
                if Instant::now() > deadline {
                    return Answer { line: format!("{key} does not expire"), ..Answer::default() };
                }
                wait::wall_time(LOOK);
            }
        }
        Answer {
            line: format!("settled i={}", self.look("/")),
            ..Answer::default()
        }
    }

    fn expires_soon(&self, key: &str) -> bool {
        let answer = self.server.http("GET", &format!("/v2/keys{key}"), "");
        if answer.status != 200 {
            return false;
        }
        let node = &answer.json()["node"];
        let ttl = node["ttl"].as_i64().unwrap_or(0);
        node["expiration"].is_string() && ttl < SHORT_SECONDS
    }
}

impl Watch {
    /// Reads until no data arrives for `patience` or the stream has ended.
    pub(super) fn pump(&mut self, patience: Duration) {
        while !self.ended {
            match self.connection.ready(patience) {
                Ok(false) => return,
                Ok(true) => match self.connection.chunk() {
                    Ok(Some(piece)) => {
                        self.rest.push_str(&String::from_utf8_lossy(&piece));
                        while let Some(end) = self.rest.find('\n') {
                            let line = self.rest[..=end].to_owned();
                            self.rest.drain(..=end);
                            self.received.push(line);
                        }
                    }
                    Ok(None) => self.ended = true,
                    Err(error) => self.fail(&error),
                },
                Err(error) => self.fail(&error),
            }
            if !self.stream && !self.received.is_empty() && patience < wait::PATIENCE {
                // The end of the stream arrives with the event.
                return self.pump(wait::PATIENCE);
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.received.push(format!("broken: {error}\n"));
        self.ended = true;
    }

    /// Returns all received lines in comparable form. `once` omits repetitions of the previous line, which etcd sends when a
    /// stream's watched node is removed.
    pub(super) fn lines(&self, once: bool) -> Vec<Answer> {
        let mut received = self.received.clone();
        if once {
            received.dedup();
        }
        received
            .iter()
            .map(|line| answer::of_body(line, true))
            .collect()
    }
}

/// Duration without data after which a watch counts as silent.
pub(super) const GRACE: Duration = Duration::from_millis(24);
/// Maximum delay between the two servers for the same event.
pub(super) const LATE: Duration = Duration::from_secs(4);

/// Returns the answer that represents a connection error.
fn silent(error: &io::Error) -> Answer {
    // The form of the error depends on timing.
    let closed = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
    let line = if closed.contains(&error.kind()) {
        "no answer".into()
    } else {
        format!("no answer: {error}")
    };
    Answer { line, ..Answer::default() }
}

/// Returns whether a connection cannot be used after this response.
fn ends(request: &Request, response: &Response) -> bool {
    let closes = response
        .header("Connection")
        .is_some_and(|value| value.eq_ignore_ascii_case("close"));
    closes || request.how == How::Old
}

/// Encodes a request in the way that its `how` selects. An empty media type is not sent.
fn wire(request: &Request, host: &str) -> Vec<u8> {
    let how = request.how;
    let before = if how == How::Absolute && !request.target.starts_with("//") {
        format!("http://{host}")
    } else {
        String::new()
    };
    let version = if how == How::Old { "1.0" } else { "1.1" };
    let mut head = format!(
        "{} {before}{} HTTP/{version}\r\nHost: {host}\r\n",
        request.method, request.target
    );
    let chunked = how == How::Chunked && request.body.is_some();
    if let Some(body) = &request.body {
        let media = request.media.as_deref().unwrap_or(FORM);
        if !media.is_empty() {
            head.push_str(&format!("Content-Type: {media}\r\n"));
        }
        if chunked {
            head.push_str("Transfer-Encoding: chunked\r\n");
        } else {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        if how == How::Expecting {
            head.push_str("Expect: 100-continue\r\n");
        }
    } else if matches!(request.method.as_str(), "PUT" | "POST") {
        head.push_str("Content-Length: 0\r\n");
    }
    head.push_str("\r\n");
    if how == How::Lower {
        let (line, names) = head.split_once("\r\n").expect("a head has lines");
        head = format!(
            "{line}\r\n{}",
            names
                .replace("Host", "host")
                .replace("Content-", "content-")
                .replace("-Type", "-type")
                .replace("-Length", "-length")
        );
    }
    let mut bytes = head.into_bytes();
    match &request.body {
        Some(body) if chunked => {
            // Send two chunks, split at an arbitrary position.
            let (first, second) = body.as_bytes().split_at(body.len() / 3);
            for piece in [first, second].iter().filter(|piece| !piece.is_empty()) {
                bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                bytes.extend_from_slice(piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        Some(body) => bytes.extend_from_slice(body.as_bytes()),
        None => {}
    }
    bytes
}
