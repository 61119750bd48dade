//! Events to 10,000 watchers on a hundred streams.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use prost::Message as _;
use tokio::{sync::Notify, task::JoinSet};
use witan_api::v3::etcdserverpb::{
    WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion,
};

use crate::{
    h2::Grpc, load::Measured, stream::Streams, subject::Subject, table::latency_line, verb::Verb,
    verb::key_text, wire,
};

pub(crate) const WATCH: &str = "/etcdserverpb.Watch/Watch";
const STREAMS: u64 = 100;
const WATCHERS_PER_STREAM: u64 = 100;
const WATCHERS: u64 = STREAMS * WATCHERS_PER_STREAM;
/// Number of writers, which write distinct keys on one connection.
const WRITERS: usize = 64;

/// The state that watchers and writers share.
#[derive(Default)]
struct Heard {
    created: RefCell<u64>,
    events: RefCell<u64>,
    /// Time of the last write of each key.
    asked: RefCell<HashMap<Vec<u8>, Instant>>,
    latencies: RefCell<Vec<u32>>,
    changed: Notify,
}

impl Heard {
    async fn until(&self, count: &RefCell<u64>, target: u64) {
        while *count.borrow() < target {
            self.changed.notified().await;
        }
    }
}

/// Runs one writer, which writes again when all watchers have received its last value. Measures the delay of the last watcher.
pub(crate) async fn one(subject: &Subject<'_>, readers: &[String], length: Duration) -> String {
    let heard = Rc::new(Heard::default());
    let _streams = watch_all(readers, &heard, |_| 0).await;
    let before = subject.cpu();
    let (asked, begun) = (Rc::clone(&heard), Instant::now());
    // Send the next put when all events of the last put have arrived.
    let mut rounds = 0;
    while begun.elapsed() < length {
        let put = Instant::now();
        let mut once = Some(0);
        let wire = Grpc::new(Verb::Put, subject.address(), 1);
        wire::drive(subject.address(), wire, 1, |_| once.take(), |_| {}).await;
        rounds += 1;
        asked.until(&asked.events, rounds * WATCHERS).await;
        heard.latencies.borrow_mut().push(micros(put));
    }
    finish(subject, &heard, begun, before)
}

/// Runs writers that write as fast as they are answered. The delay of an event counts from the start of its put.
pub(crate) async fn many(subject: &Subject<'_>, readers: &[String], length: Duration) -> String {
    let heard = Rc::new(Heard::default());
    let _streams = watch_all(readers, &heard, |watcher| watcher).await;
    let before = subject.cpu();
    let begun = Instant::now();
    let wire = Grpc::new(Verb::Put, subject.address(), WRITERS);
    let (mut puts, told) = (0, Rc::clone(&heard));
    let next = |_| {
        let key = puts % WATCHERS;
        told.asked
            .borrow_mut()
            .insert(key_text(key).into_bytes(), Instant::now());
        (begun.elapsed() < length).then(|| {
            puts += 1;
            key
        })
    };
    wire::drive(subject.address(), wire, WRITERS, next, |_| {}).await;
    heard.until(&heard.events, puts).await;
    finish(subject, &heard, begun, before)
}

fn finish(subject: &Subject<'_>, heard: &Heard, begun: Instant, before: Duration) -> String {
    let mut measured = Measured {
        requests: *heard.events.borrow(),
        elapsed: begun.elapsed(),
        server_cpu: subject.cpu().saturating_sub(before),
        latencies: heard.latencies.take(),
        ..Measured::default()
    };
    measured.latencies.sort_unstable();
    latency_line(&measured)
}

/// Opens streams at `readers` in turn, and creates the watchers of the keys that `key` returns.
async fn watch_all(readers: &[String], heard: &Rc<Heard>, key: impl Fn(u64) -> u64) -> JoinSet<()> {
    let mut streams = JoinSet::new();
    for (first, reader) in (0..WATCHERS).step_by(100).zip(readers.iter().cycle()) {
        let mut stream = Streams::open(reader, WATCH, 1).await;
        for watcher in first..first + WATCHERS_PER_STREAM {
            let create = WatchCreateRequest {
                key: key_text(key(watcher)).into_bytes().into(),
                ..WatchCreateRequest::default()
            };
            let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
            stream.send(0, request.encode_to_vec());
        }
        let heard = Rc::clone(heard);
        streams.spawn_local(async move {
            while stream.receive(|_, message| hear(&heard, message)).await {
                heard.changed.notify_waiters();
            }
        });
    }
    heard.until(&heard.created, WATCHERS).await;
    streams
}

fn hear(heard: &Heard, message: &[u8]) {
    let response = WatchResponse::decode(message).expect("an answer of a watch");
    assert!(!response.canceled, "a watch was canceled");
    *heard.created.borrow_mut() += u64::from(response.created);
    *heard.events.borrow_mut() += response.events.len() as u64;
    for event in &response.events {
        let key = event.kv.as_ref().expect("an event has a key").key.as_ref();
        if let Some(asked) = heard.asked.borrow().get(key) {
            heard.latencies.borrow_mut().push(micros(*asked));
        }
    }
}

fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}
