//! The README of etcd 0.1, replayed on one member and on three. `golden/seed_004.txt` explains the notation.

use std::{cell::Cell, collections::BTreeMap, fs, thread};

use serde_json::Value;
use witan_e2e::{Cluster, Launch, Server, binaries, http, wait};

use crate::curl::Request;

struct Reader {
    cluster: Cluster,
    /// Requests so far: the members take turns.
    asked: Cell<usize>,
    /// Our indexes of the page's writes.
    indexes: BTreeMap<u64, u64>,
    /// A watch that waits for the next write.
    watch: Option<thread::JoinHandle<http::Response>>,
}

#[test]
fn the_page_holds() {
    replay(Cluster::start(1));
}

#[test]
fn the_page_holds_on_a_cluster() {
    let service = Launch::witan().start();
    let url = service.http("GET", "/new?size=3", "").text();
    let mut cluster = Cluster::prepare_by_discovery(&url, 3);
    cluster.start_all();
    replay(cluster);
}

fn replay(cluster: Cluster) {
    let path = binaries::root().join("tests/e2e/golden/seed_004.txt");
    let text = fs::read_to_string(path).expect("the transcript stands in the repository");
    let mut reader = Reader {
        cluster,
        asked: Cell::new(0),
        indexes: BTreeMap::new(),
        watch: None,
    };
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" => {}
            "gone" => reader.gone(rest),
            "restart" => reader.restart(),
            "unseen" => {
                let answer = reader.ask(&Request::parse(rest));
                assert_eq!(answer.status, 200, "{rest}: {}", answer.text());
            }
            "watch" => reader.watch(rest),
            "$" => reader.compare(rest, lines.next().unwrap_or_default()),
            other => panic!("no word of a transcript: {other:?}"),
        }
    }
    assert!(reader.watch.is_none(), "a watch saw nothing");
}

impl Reader {
    fn ask(&self, request: &Request) -> http::Response {
        self.next()
            .http(&request.method, &request.target, &request.body)
    }

    /// Whose turn it is, once it has applied what the others have.
    fn next(&self) -> &Server {
        wait::until_true("all members have the same index", || {
            let running = self.cluster.members().iter().filter(|m| m.is_started());
            let mut indexes = running.map(|member| {
                let answer = member.http("GET", "/v2/keys", "");
                answer.header("X-Etcd-Index").map(str::to_owned)
            });
            let first = indexes.next().flatten();
            first.is_some() && indexes.all(|index| index == first)
        });
        let running = self.cluster.members().iter().filter(|m| m.is_started());
        let mut turns = running.cycle().skip(self.asked.get());
        self.asked.set(self.asked.get() + 1);
        turns.next().expect("a member runs")
    }

    /// The page kills the leader and asks the others; then it kills and restarts all.
    fn restart(&mut self) {
        if self.cluster.members().len() > 1 {
            let first = self.cluster.leader();
            self.cluster.member_mut(first).kill9();
            wait::until_true("another member leads", || {
                let other = self.cluster.member((first + 1) % 3);
                let leader = other.http("GET", "/v1/leader", "").text();
                leader.starts_with("http://") && leader != self.cluster.member(first).peer_url()
            });
            let value = self.next().http("GET", "/v1/keys/foo", "").json();
            assert_eq!(value["value"], "bar");
        }
        for at in 0..self.cluster.members().len() {
            if self.cluster.member(at).is_started() {
                self.cluster.member_mut(at).kill9();
            }
        }
        self.cluster.start_all();
    }

    fn gone(&self, path: &str) {
        let target = format!("/v1/keys{path}");
        wait::until_true(&format!("{path} expires"), || {
            self.next().http("GET", &target, "").status == 404
        });
    }

    fn watch(&mut self, line: &str) {
        let request = Request::parse(line);
        let member = self.next();
        let (address, before) = (member.address(), member.v2_watchers());
        let watch = thread::spawn(move || {
            http::once(&address, &request.method, &request.target, &request.body)
        });
        wait::until_true("the watch is registered", || member.v2_watchers() > before);
        self.watch = Some(watch);
    }

    fn compare(&mut self, line: &str, expected: &str) {
        let mut request = Request::parse(line);
        if let Some((before, index)) = request.body.split_once("index=") {
            let index: u64 = index.parse().expect("an index");
            request.body = format!("{before}index={}", self.indexes[&index]);
        }
        let answer = self.ask(&request);
        let text = answer.text();
        assert_eq!(
            answer.header("Content-Type"),
            Some("text/plain; charset=utf-8")
        );
        if let Some(watch) = self.watch.take() {
            let seen = watch.join().expect("the watch answers");
            assert_eq!(seen.text(), text, "the watch before {line}");
        }
        if expected.is_empty() {
            assert_eq!(answer.status, 200, "{line}: {text}");
            return;
        }
        let Ok(page) = serde_json::from_str::<Value>(expected) else {
            self.compare_text(line, &text);
            return;
        };
        let ours: Value = serde_json::from_str(&text).expect("JSON like the page's");
        assert_eq!(answer.status, status(&page), "{line}: {text}");
        if let (Some(on_page), Some(index)) = (page["index"].as_u64(), ours["index"].as_u64()) {
            self.indexes.insert(on_page, index);
        }
        if let Some(listed) = ours.as_array().filter(|list| list.iter().any(is_member)) {
            assert_eq!(listed.len(), self.cluster.members().len(), "{line}: {text}");
        }
        assert_eq!(form(ours), form(page), "{line}: {text}");
    }

    /// Lists of URLs.
    fn compare_text(&self, line: &str, text: &str) {
        if line.ends_with("/leader") {
            let leader = self.cluster.member(self.cluster.leader());
            assert_eq!(text, leader.peer_url(), "{line}");
            return;
        }
        let mut urls: Vec<String> = self.cluster.members().iter().map(Server::url).collect();
        urls.sort();
        let mut listed: Vec<&str> = text.split(", ").collect();
        listed.sort_unstable();
        assert_eq!(listed, urls, "{line}");
    }
}

fn status(page: &Value) -> u16 {
    match page["errorCode"].as_u64() {
        None => 200,
        Some(100) => 404,
        Some(300..400) => 500,
        Some(_) => 400,
    }
}

/// As text, in the order of the fields, without what depends on the day or the cluster.
fn form(value: Value) -> String {
    fn blank(value: &mut Value) {
        if let Value::Array(list) = value {
            if list.iter().any(is_member) {
                list.truncate(1);
            }
            list.iter_mut().for_each(blank);
            return;
        }
        if is_member(value) {
            let text = value["value"].as_str().expect("a text");
            let (raft, etcd) = text.split_once('&').expect("two URLs");
            assert!(raft.starts_with("raft=http://"), "{raft}");
            assert!(etcd.starts_with("etcd=http://"), "{etcd}");
            value["value"] = "two URLs".into();
            value["key"] = "a member".into();
        }
        if let Some(date) = value.get_mut("expiration") {
            let text = date.as_str().expect("a date");
            assert_eq!(text.as_bytes().get(10), Some(&b'T'), "{text}");
            *date = "a date".into();
        }
        if let Some(index) = value.get_mut("index") {
            assert!(index.as_u64().is_some_and(|index| index > 0), "{index}");
            *index = 1.into();
        }
    }
    let mut value = value;
    blank(&mut value);
    value.to_string()
}

fn is_member(value: &Value) -> bool {
    let key = value["key"].as_str().unwrap_or_default();
    key.starts_with("/_etcd/machines/")
}
