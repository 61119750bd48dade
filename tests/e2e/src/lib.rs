//! The end-to-end harness: real `witan` and real etcd as processes on free ports, a raw HTTP client, and runners for `etcdctl`.
//! The tests are in `tests/`.
//!
//! Reading order: `server` (start, wait until ready, kill, restart) → `http` (raw HTTP/1.1) → `websocket` → `tool` (etcdctl and
//! etcdutl) → `grpc` → `requests` → `watching` → `cluster` (several members) → `writers` (clients that record acknowledged
//! writes) → `network` (faults between members) → `linear` (histories and their checks) → `disk`, `memory_limit`, `folder`,
//! `binaries`, `ports`, `process`, `wait`.

pub mod binaries;
pub mod cluster;
pub mod disk;
pub mod folder;
pub mod grpc;
pub mod http;
pub mod linear;
pub mod memory_limit;
pub mod network;
pub mod ports;
pub mod process;
pub mod requests;
pub mod server;
pub mod tool;
pub mod wait;
pub mod watching;
pub mod websocket;
pub mod writers;

pub use binaries::Kind;
pub use cluster::Cluster;
pub use disk::Disk;
pub use folder::Folder;
pub use network::Network;
pub use server::{Launch, Server};
pub use tool::Tool;
pub use writers::Writers;

use std::{panic, thread};

/// Panics with the text unless it contains `part`.
#[track_caller]
pub fn assert_contains(text: impl AsRef<str>, part: &str) {
    let text = text.as_ref();
    assert!(text.contains(part), "no {part:?} in {text}");
}

/// Returns each line of a table that is not empty as its first words and the rest. `-` represents an empty word. Panics if a
/// line has fewer words.
pub fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| {
        let words = line
            .splitn(N, ' ')
            .map(|word| if word == "-" { "" } else { word });
        let words: Vec<&str> = words.collect();
        words.try_into().expect("a line has all words")
    })
}

/// Runs the same action with Witan and with an etcd in parallel, because both mostly wait. Returns Witan's result first. Panics
/// if an action panics.
pub fn with_etcd<T: Send>(etcd: Kind, act: impl Fn(Kind) -> T + Sync) -> [T; 2] {
    thread::scope(|scope| {
        let theirs = scope.spawn(|| act(etcd));
        let ours = act(Kind::Witan);
        match theirs.join() {
            Ok(theirs) => [ours, theirs],
            Err(panicked) => panic::resume_unwind(panicked),
        }
    })
}

/// Runs an action with each value in parallel. Panics if an action panics.
pub fn in_parallel<T: Send, const N: usize>(values: [T; N], act: impl Fn(T) + Sync) {
    let act = &act;
    thread::scope(|scope| {
        for value in values {
            scope.spawn(move || act(value));
        }
    });
}
