//! Four pages that people wrote about etcd, replayed line by line: what their readers type must
//! answer here as the page says, index by index. `golden/seed_000.txt` explains the notation.
//!
//! The same transcripts run against real etcd, which shows that they ask nothing of ours that etcd
//! does not do; and against three members that take turns (`cluster`).

#[path = "seeds/cluster.rs"]
mod cluster;
#[path = "seeds/curl.rs"]
mod curl;
#[path = "seeds/form.rs"]
mod form;

use std::{cell::Cell, fs, thread};

use curl::Request;
use serde_json::Value;
use witan_e2e::{Cluster, Kind, Launch, Server, binaries, http, wait};

/// Keeps the store's index moving without showing in any listing.
const PAD: &str = "/v2/keys/_pad";

/// The pages, and how each shows its answers.
const PAGES: [(&str, form::Page); 4] = [
    ("seed_000.txt", form::Page::OneMember),
    ("seed_001.txt", form::Page::Sorted),
    ("seed_002.txt", form::Page::ThreeMembers),
    ("seed_003.txt", form::Page::OneMember),
];

/// Beside each other: most of the time they wait for keys to expire.
#[test]
fn pages_on_witan_on_etcd_and_on_a_cluster() {
    thread::scope(|scope| {
        // the name is told by a panic
        let named = |file: &str, on: &str| thread::Builder::new().name(format!("{file} on {on}"));
        for kind in [Kind::Witan, Kind::Etcd34] {
            for (file, page) in PAGES {
                let replay = move || replay(start(kind, page), file);
                let reader = named(file, kind.name()).spawn_scoped(scope, replay);
                reader.expect("a thread");
            }
        }
        for (file, page) in cluster::PAGES {
            let replay = move || cluster::replay_page(file, page);
            let reader = named(file, "a cluster").spawn_scoped(scope, replay);
            reader.expect("a thread");
        }
    });
}

/// The servers that a replay asks: one on free ports that has the ids of the page, or a cluster.
struct Subject {
    /// Where each member is asked.
    addresses: Vec<String>,
    /// Requests so far: the members take turns.
    asked: Cell<usize>,
    page: form::Page,
    /// A watch that waits for the next write, and what it was.
    watch: Option<(String, http::Connection)>,
    /// Dropped last.
    running: Running,
}

enum Running {
    One(#[expect(dead_code, reason = "it runs until it is dropped")] Box<Server>),
    Three(Cluster),
}

fn replay(mut subject: Subject, file: &str) {
    let path = binaries::root().join("tests/e2e/golden").join(file);
    let text = fs::read_to_string(&path).expect("the transcript stands in the repository");
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').expect("a word and what it is about");
        match word {
            "pad" => subject.pad(rest.parse().expect("an index")),
            "gone" => subject.gone(rest),
            "unseen" => {
                let answer = subject.ask(&Request::parse(rest));
                assert!(answer.status < 300, "{rest}: {}", answer.text());
            }
            "$" | "at" => {
                let mut answer = String::new();
                while let Some(line) = lines.next_if(|line| !line.is_empty()) {
                    answer.push_str(line);
                    answer.push('\n');
                }
                match rest.strip_prefix("once ") {
                    Some(watch) => subject.at_once(watch, &answer),
                    None => subject.compare(rest, &answer),
                }
            }
            other => panic!("no word of a transcript: {other:?}"),
        }
    }
    assert!(subject.watch.is_none(), "a watch saw nothing");
}

fn start(kind: Kind, page: form::Page) -> Subject {
    let mut server = witan_e2e::cluster::alone(&Launch::new(kind), "http", "default");
    let urls = "http://localhost:2380,http://localhost:7001";
    server.add_args(["--initial-advertise-peer-urls", urls]);
    let initial = "default=http://localhost:2380,default=http://localhost:7001";
    server.add_args(["--initial-cluster", initial]);
    if kind == Kind::Etcd34 {
        server.add_args(["--enable-v2=true"]);
    }
    server.start_again();
    Subject {
        addresses: vec![server.address()],
        asked: Cell::new(0),
        page,
        watch: None,
        running: Running::One(Box::new(server)),
    }
}

impl Subject {
    fn ask(&self, request: &Request) -> http::Response {
        let address = self.address(&request.target);
        http::once(address, &request.method, &request.target, &request.body)
    }

    /// The next member to ask: in a cluster the members take turns, once they have applied the same; questions
    /// about the cluster go to the leader.
    fn address(&self, target: &str) -> &str {
        let Running::Three(cluster) = &self.running else {
            return &self.addresses[0];
        };
        wait::until_true("all members have the same index", || {
            let indexes = self.addresses.iter();
            let indexes = indexes.map(|to| http::once(to, "GET", "/v2/keys", "").etcd_index());
            let indexes: Vec<u64> = indexes.collect();
            indexes.iter().all(|index| *index == indexes[0])
        });
        if target.starts_with("/v2/stats") {
            return &self.addresses[cluster.leader()];
        }
        let turn = self.asked.replace(self.asked.get() + 1);
        &self.addresses[turn % self.addresses.len()]
    }

    /// Brings the store to `index` by changes that the page did not show.
    fn pad(&self, index: u64) {
        let address = self.address(PAD);
        let mut now = http::once(address, "GET", "/v2/keys", "").etcd_index();
        while now < index {
            now = http::once(address, "PUT", PAD, "value=pad").etcd_index();
        }
        assert_eq!(now, index, "the store is ahead of the page");
    }

    fn gone(&self, path: &str) {
        let target = format!("/v2/keys{path}");
        wait::until_true(&format!("{path} expires"), || {
            http::once(self.address(&target), "GET", &target, "").status == 404
        });
    }

    /// A watch whose answer the page shows: it is there already, or comes by itself.
    fn at_once(&self, line: &str, expected: &str) {
        let request = Request::parse(line);
        let answer = self.ask(&request);
        let (target, text) = (&request.target, answer.text());
        form::assert_body(line, target, self.page, expected.trim_end(), &text);
    }

    /// Asks as the page did and compares with what it got.
    fn compare(&mut self, line: &str, expected: &str) {
        let request = Request::parse(line);
        if request.target.contains("wait=true") {
            let mut watch =
                http::Connection::open(self.address(&request.target)).expect("the server listens");
            watch
                .send(&request.method, &request.target, &[], b"")
                .expect("the server reads");
            assert_eq!(
                watch.head("GET").expect("a watch answers at once").status,
                200
            );
            self.watch = Some((line.to_owned(), watch));
            return;
        }
        if let Some(index) = written_index(&request, expected) {
            self.pad(index - 1);
        }
        let answer = self.ask(&request);
        let (headers, body): (Vec<&str>, Vec<&str>) =
            expected.lines().partition(|line| line.starts_with("< "));
        form::assert_headers(line, &headers, &answer);
        form::assert_body(
            line,
            &request.target,
            self.page,
            &body.join("\n"),
            &answer.text(),
        );
        if let Some((watched, mut watch)) = self.watch.take() {
            let seen = watch.chunk().expect("the watch ends with the event");
            assert_eq!(
                seen.expect("an event"),
                answer.body,
                "{watched} after {line}"
            );
        }
    }
}

/// The index that a write has on the page.
fn written_index(request: &Request, expected: &str) -> Option<u64> {
    if request.method == "GET" {
        return None;
    }
    // The part that the terminal lost comes after the index.
    let after = expected.split_once("\"modifiedIndex\":")?.1.trim_start();
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    let is_error =
        serde_json::from_str::<Value>(expected).is_ok_and(|v| v["errorCode"] != Value::Null);
    if is_error { None } else { digits.parse().ok() }
}
