//! Events to 10,000 watchers on a hundred streams.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    h2::Grpc,
    load::Measured,
    micros,
    subject::Subject,
    table::latency_line,
    verb::{VALUE_BYTES, key_text},
    watched::{Received, SizedPut, Watched},
    wire,
};

const WATCHERS: u64 = 10_000;
const WATCHERS_PER_STREAM: usize = 100;
/// Number of writers, which write distinct keys on one connection.
const WRITERS: usize = 64;

/// Runs one writer, which writes again when all watchers have received its last value. Measures the delay of the last watcher.
pub(super) async fn one(subject: &Subject<'_>, length: Duration) -> String {
    let received = Received::new();
    let _streams = watch_all(subject.address(), &received, |_| 0).await;
    let before = subject.cpu();
    let begun = Instant::now();
    let (mut puts, mut latencies) = (0, Vec::new());
    while begun.elapsed() < length {
        let put = Instant::now();
        let mut once = Some(0);
        let wire = Grpc::new(sized_put(&received), subject.address(), 1);
        wire::drive(subject.address(), wire, 1, |_| once.take(), |_| {}).await;
        puts += 1;
        assert_eq!(received.missing(puts * WATCHERS).await, 0, "missing events");
        latencies.push(micros(put.elapsed()));
    }
    latencies.sort_unstable();
    finish(subject, &received, (begun, before), latencies)
}

/// Runs writers that write as fast as they are answered. The delay of an event counts from the start of its put.
pub(super) async fn many(subject: &Subject<'_>, length: Duration) -> String {
    let received = Received::new();
    let _streams = watch_all(subject.address(), &received, |watcher| watcher).await;
    let before = subject.cpu();
    let begun = Instant::now();
    let wire = Grpc::new(sized_put(&received), subject.address(), WRITERS);
    let mut puts = 0;
    let next = |_| {
        (begun.elapsed() < length).then(|| {
            puts += 1;
            puts % WATCHERS
        })
    };
    wire::drive(subject.address(), wire, WRITERS, next, |_| {}).await;
    assert_eq!(received.missing(puts).await, 0, "missing events");
    finish(subject, &received, (begun, before), received.take_delays())
}

fn sized_put(received: &Received) -> SizedPut {
    SizedPut { clock: received.clock, value_bytes: VALUE_BYTES }
}

/// Returns the row of a measurement that began at this time, when the servers had used this CPU time.
fn finish(
    subject: &Subject<'_>,
    received: &Received,
    (begun, before): (Instant, Duration),
    latencies: Vec<u32>,
) -> String {
    latency_line(&Measured {
        requests: received.events(),
        elapsed: begun.elapsed(),
        server_cpu: subject.cpu().saturating_sub(before),
        latencies,
        ..Measured::default()
    })
}

/// Opens streams and creates the watchers of the keys that `key` returns.
async fn watch_all(
    address: &str,
    received: &Rc<Received>,
    key: impl Fn(u64) -> u64,
) -> JoinSet<()> {
    let mut streams = JoinSet::new();
    let watched: Vec<Watched> = (0..WATCHERS)
        .map(|watcher| Watched::key(key_text(key(watcher))))
        .collect();
    for of_stream in watched.chunks(WATCHERS_PER_STREAM) {
        received
            .watch(address, of_stream, WATCHERS_PER_STREAM, &mut streams)
            .await;
    }
    streams
}
