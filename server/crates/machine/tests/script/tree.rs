//! The v2 tree for scripts, through its HTTP dialect.
//!
//! `GET|PUT|POST|DELETE /PATH[?QUERY] [FORM]` prints the status and the body as on the wire. Parameters are the dialect's
//! (`value ttl dir recursive prevExist prevValue prevIndex refresh`), percent-encoded. `now SECONDS` sets the clock, `expire`
//! removes expired nodes, and `bump [N]` simulates changes of cluster data. `watch NAME /PATH [recursive] [from=N]` adds a
//! watcher, and `next NAME` prints its next event (`-` if there is no event). `restart` reloads the tree from its checkpoint
//! records. `state` prints the index and the next expiration, and `counts` prints the write counters. A script starts at index
//! 3, like a new cluster with one member.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows unwrap only in test functions, not in their helpers"
)]

#[path = "tree/json.rs"]
mod json;

use std::{collections::BTreeMap, fmt::Write as _};

use bytes::Bytes;
use witan_machine::fingerprint;
use witan_tree::{
    CompareAndSwap, Event, ExpireNodes, Tree, TreeCommand, TreeError, TreeErrorKind, TreeOperation,
    TreeReply, Watch, WriteMethod,
};

use crate::ScriptRunner;

pub(crate) struct TreeScript {
    tree: Tree,
    now_ns: i64,
    watches: BTreeMap<String, (Watch, u64)>,
}

impl Default for TreeScript {
    fn default() -> Self {
        let mut tree = Tree::default();
        (0..3).for_each(|_| tree.advance_index());
        Self { tree, now_ns: 0, watches: BTreeMap::new() }
    }
}

impl ScriptRunner for TreeScript {
    fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split(' ').collect();
        match words[0] {
            "now" => {
                self.now_ns = nanoseconds(words[1]);
                String::new()
            }
            "bump" => {
                let times = words.get(1).map_or(1, |n| n.parse().unwrap());
                (0..times).for_each(|_| self.tree.advance_index());
                String::new()
            }
            "expire" => self.expire(),
            "watch" => self.watch(&words[1..]),
            "next" => self.next(words[1]),
            "restart" => self.restart(),
            "counts" => format!("{:?}\n", self.tree.counts()),
            "state" => format!(
                "index {} next expiration {:?}\n",
                self.tree.index(),
                self.tree.next_expiration_ns().map(json::date)
            ),
            method => self.request(method, &words[1..]),
        }
    }
}

impl TreeScript {
    /// Executes a request and prints its status and body.
    fn request(&mut self, method: &str, words: &[&str]) -> String {
        let (path, query) = words[0].split_once('?').unwrap_or((words[0], ""));
        let path = Bytes::from(decoded(path, false));
        let form = words.get(1).copied().unwrap_or_default();
        let parameters = Parameters::new(form, query);
        if method == "GET" {
            let event = self
                .tree
                .get(&path, parameters.is("recursive"), self.now_ns);
            return shown(event);
        }
        let verb = parameters.verb(method, path, self.now_ns);
        match self
            .tree
            .apply(&TreeCommand { operation: Some(verb) }, self.now_ns)
        {
            Ok(TreeReply::Event(event)) => shown(Ok(*event)),
            Ok(TreeReply::Expired(_)) => unreachable!("only `expire` expires nodes"),
            Err(error) => shown(Err(error)),
        }
    }

    /// Removes expired nodes. Prints the number of events and the events in the history.
    fn expire(&mut self) -> String {
        let before = self.tree.index();
        let verb = Some(TreeOperation::Expire(ExpireNodes {}));
        let reply = self
            .tree
            .apply(&TreeCommand { operation: verb }, self.now_ns);
        let Ok(TreeReply::Expired(count)) = reply else {
            panic!("{reply:?}")
        };
        let mut out = format!("expired {count}\n");
        for event in self.tree.events_since(before).unwrap() {
            writeln!(out, "{}", json::event(event)).unwrap();
        }
        out
    }

    /// Adds a watcher, which starts after the current index or at `from`. Prints the current index.
    fn watch(&mut self, words: &[&str]) -> String {
        let path = Bytes::from(decoded(words[1], false));
        let registered = self.tree.index();
        let mut watch = Watch { path, recursive: false, registered };
        let mut from = registered + 1;
        for word in &words[2..] {
            match word.split_once('=') {
                Some(("from", n)) => from = n.parse().unwrap(),
                None if *word == "recursive" => watch.recursive = true,
                _ => panic!("unknown watch option: {word:?}"),
            }
        }
        self.watches.insert(words[0].to_owned(), (watch, from));
        format!("at {registered}\n")
    }

    /// Prints the next event of a watcher and advances the watcher, or prints `-` if there is no event yet.
    fn next(&mut self, name: &str) -> String {
        let (watch, from) = self.watches.get_mut(name).expect("a watcher has this name");
        match self.tree.next_event(watch, *from) {
            Ok(Some(event)) => {
                *from = event.index + 1;
                format!("{}\n", json::event(&event))
            }
            Ok(None) => "-\n".to_owned(),
            Err(error) => shown(Err(error)),
        }
    }

    /// Replaces the tree with a tree that is loaded from its records. Asserts that both trees have the same fingerprint.
    fn restart(&mut self) -> String {
        let mut records = BTreeMap::new();
        self.tree.changes(None, &mut |key, value| {
            records.insert(key, value.expect("a full checkpoint has no deletions"));
        });
        let mut tree = Tree::default();
        for (key, value) in &records {
            tree.load(key, value).unwrap();
        }
        tree.finish_load().unwrap();
        assert_eq!(fingerprint::of(&tree), fingerprint::of(&self.tree));
        self.tree = tree;
        String::new()
    }
}

/// Parameters by name. The form precedes the query, and only the first parameter with a name is used.
struct Parameters(Vec<(String, Vec<u8>)>);

impl Parameters {
    fn new(form: &str, query: &str) -> Self {
        let pairs = form
            .split('&')
            .chain(query.split('&'))
            .filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (name.to_owned(), decoded(value, true))
                })
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<Bytes> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| Bytes::from(value.clone()))
    }

    fn is(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "true")
    }

    fn number(&self, name: &str) -> Option<u64> {
        let value = String::from_utf8(self.get(name)?.to_vec()).unwrap();
        (!value.is_empty()).then(|| value.parse().unwrap())
    }

    /// Chooses the operation for a request. Clamps an expiration beyond the largest time. Panics for an unknown method.
    fn verb(&self, method: &str, path: Bytes, now_ns: i64) -> TreeOperation {
        let value = self.get("value").unwrap_or_default();
        let expires_ns = self.number("ttl").map(|ttl| {
            let ns = i64::try_from(ttl)
                .unwrap_or(i64::MAX)
                .saturating_mul(1_000_000_000);
            now_ns.saturating_add(ns)
        });
        let method = match method {
            "PUT" => WriteMethod::Put,
            "POST" => WriteMethod::Post,
            "DELETE" => WriteMethod::Delete,
            other => panic!("unknown command {other:?}"),
        };
        let prev_exist = self.get("prevExist").map(|exists| *exists != *b"false");
        let asked = CompareAndSwap {
            path,
            value,
            expires_ns,
            refresh: self.is("refresh"),
            prev_value: self.get("prevValue"),
            prev_index: self.number("prevIndex").filter(|n| *n > 0),
        };
        let below = (self.is("dir"), self.is("recursive"));
        TreeOperation::choose(method, prev_exist, below, asked)
    }
}

fn shown(answer: Result<Event, TreeError>) -> String {
    match answer {
        Ok(event) => {
            let status = if json::is_new(&event) { 201 } else { 200 };
            format!("{status} {}\n", json::event(&event))
        }
        Err(error) => {
            let (status, code, message) = match error.kind {
                TreeErrorKind::KeyNotFound => (404, 100, "Key not found"),
                TreeErrorKind::CompareFailed => (412, 101, "Compare failed"),
                TreeErrorKind::NotFile => (403, 102, "Not a file"),
                TreeErrorKind::NotDir => (400, 104, "Not a directory"),
                TreeErrorKind::NodeExists => (412, 105, "Key already exists"),
                TreeErrorKind::RootReadOnly => (400, 107, "Root is read only"),
                TreeErrorKind::DirNotEmpty => (403, 108, "Directory not empty"),
                TreeErrorKind::HistoryCleared => (
                    400,
                    401,
                    "The event in requested index is outdated and cleared",
                ),
            };
            format!("{status} {}\n", json::error(code, message, &error))
        }
    }
}

fn nanoseconds(seconds: &str) -> i64 {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let fraction: i64 = format!("{fraction:0<9}").parse().unwrap();
    whole.parse::<i64>().unwrap() * 1_000_000_000 + fraction
}

/// Decodes percent escapes. In a form, `+` is a space.
fn decoded(text: &str, form: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            b'+' if form => out.push(b' '),
            byte => out.push(byte),
        }
    }
    out
}
