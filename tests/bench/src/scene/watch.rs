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
    watched::{Heard, SizedPut, Watched},
    wire,
};

const WATCHERS: u64 = 10_000;
const WATCHERS_PER_STREAM: usize = 100;
/// Number of writers, which write distinct keys on one connection.
const WRITERS: usize = 64;

/// Runs one writer, which writes again when all watchers have received its last value. Measures the delay of the last watcher.
pub(super) async fn one(subject: &Subject<'_>, length: Duration) -> String {
    let heard = Heard::new();
    let _streams = watch_all(subject.address(), &heard, |_| 0).await;
    let before = subject.cpu();
    let begun = Instant::now();
    let (mut puts, mut latencies) = (0, Vec::new());
    while begun.elapsed() < length {
        let put = Instant::now();
        let mut once = Some(0);
        let wire = Grpc::new(sized_put(&heard), subject.address(), 1);
        wire::drive(subject.address(), wire, 1, |_| once.take(), |_| {}).await;
        puts += 1;
        assert_eq!(heard.missing(puts * WATCHERS).await, 0, "missing events");
        latencies.push(micros(put.elapsed()));
    }
    latencies.sort_unstable();
    finish(subject, &heard, (begun, before), latencies)
}

/// Runs writers that write as fast as they are answered. The delay of an event counts from the start of its put.
pub(super) async fn many(subject: &Subject<'_>, length: Duration) -> String {
    let heard = Heard::new();
    let _streams = watch_all(subject.address(), &heard, |watcher| watcher).await;
    let before = subject.cpu();
    let begun = Instant::now();
    let wire = Grpc::new(sized_put(&heard), subject.address(), WRITERS);
    let mut puts = 0;
    let next = |_| {
        (begun.elapsed() < length).then(|| {
            puts += 1;
            puts % WATCHERS
        })
    };
    wire::drive(subject.address(), wire, WRITERS, next, |_| {}).await;
    assert_eq!(heard.missing(puts).await, 0, "missing events");
    finish(subject, &heard, (begun, before), heard.take_delays())
}

fn sized_put(heard: &Heard) -> SizedPut {
    SizedPut { clock: heard.clock, value_bytes: VALUE_BYTES }
}

/// Returns the row of a measurement that began at this time, with this CPU time of the servers.
fn finish(
    subject: &Subject<'_>,
    heard: &Heard,
    (begun, before): (Instant, Duration),
    latencies: Vec<u32>,
) -> String {
    latency_line(&Measured {
        requests: heard.events(),
        elapsed: begun.elapsed(),
        server_cpu: subject.cpu().saturating_sub(before),
        latencies,
        ..Measured::default()
    })
}

/// Opens streams and creates the watchers of the keys that `key` returns.
async fn watch_all(address: &str, heard: &Rc<Heard>, key: impl Fn(u64) -> u64) -> JoinSet<()> {
    let mut streams = JoinSet::new();
    let watched: Vec<Watched> = (0..WATCHERS)
        .map(|watcher| Watched::key(key_text(key(watcher))))
        .collect();
    for of_stream in watched.chunks(WATCHERS_PER_STREAM) {
        heard
            .watch(address, of_stream, WATCHERS_PER_STREAM, &mut streams)
            .await;
    }
    streams
}
