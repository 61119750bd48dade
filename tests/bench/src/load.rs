//! The load: many clients on one thread, and one measurement of a server under their load.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use witan_e2e::process;

use crate::{
    h2::{Call, Grpc},
    http1::Http1,
    subject::Subject,
    verb::Verb,
    wire,
};

/// Number of keys in the timed loads. A key is 16 bytes long.
pub const KEYS: u64 = 100_000;

/// Number of clients that fill a server.
pub(crate) const FILLERS: usize = 256;

/// Time after the fill for checkpoints and similar work.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);

/// Maximum number of gRPC clients per connection. Each HTTP/1 client has its own connection.
const CLIENTS_PER_CONNECTION: usize = 20;

/// Duration of the load before the measurement.
const WARM_UP: Duration = Duration::from_millis(700);

/// The result of one measurement.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Number of answers.
    pub requests: u64,
    /// Elapsed time.
    pub elapsed: Duration,
    /// CPU time of the server.
    pub server_cpu: Duration,
    /// CPU time of this process.
    pub client_cpu: Duration,
    /// Number of bytes that the server has written.
    pub written: u64,
    /// Number of bytes that members sent to each other while they answered `answers` requests, which includes the time around
    /// the measurement.
    pub sent: u64,
    /// Number of answers while `sent` was counted.
    pub answers: u64,
    /// Latencies in microseconds, in ascending order.
    pub latencies: Vec<u32>,
}

impl Measured {
    /// Adds another measurement of the same load.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.elapsed += other.elapsed;
        self.server_cpu += other.server_cpu;
        self.client_cpu += other.client_cpu;
        self.written += other.written;
        self.sent += other.sent;
        self.answers += other.answers;
        self.latencies.extend(other.latencies);
        self.latencies.sort_unstable();
    }

    /// Returns the latency in milliseconds that this share of the answers does not exceed, or 0 if there are no answers.
    pub fn quantile(&self, share: f64) -> f64 {
        quantile(&self.latencies, share)
    }
}

/// Returns the value in milliseconds that this share of the sorted microseconds does not exceed, or 0 if there are no values.
pub fn quantile(sorted: &[u32], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share) as usize;
    f64::from(sorted.get(at).copied().unwrap_or_default()) / 1000.0
}

/// The state that all clients of a measurement share.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    counting: Cell<bool>,
    stop: Cell<bool>,
    answers: Cell<u64>,
    latencies: RefCell<Vec<u32>>,
}

impl Gauge {
    /// Records an answer that took `took` microseconds.
    pub(crate) fn count(&self, took: u32) {
        self.answers.set(self.answers.get() + 1);
        if self.counting.get() {
            self.latencies.borrow_mut().push(took);
        }
    }
}

/// Runs `clients` clients for `length` and measures the subject. Must run in a `LocalSet`. Panics if a request fails.
pub async fn run(subject: &Subject<'_>, verb: Verb, clients: usize, length: Duration) -> Measured {
    // The time starts at the first poll.
    let end = async { tokio::time::sleep(length).await };
    run_until(subject, verb, clients, end).await
}

/// Like [`run`], but until `end`, which is first polled when the measurement starts.
pub async fn run_until(
    subject: &Subject<'_>,
    verb: Verb,
    clients: usize,
    end: impl Future<Output = ()>,
) -> Measured {
    let next = |key: &mut u64| {
        *key = (*key * 5 + 12_345) % KEYS;
        *key
    };
    run_over(subject, (verb, clients), next, end).await
}

/// Like [`run_until`], but each client requests the keys that `next` returns for its state. Clients start with different
/// states.
pub async fn run_over(
    subject: &Subject<'_>,
    (verb, clients): (Verb, usize),
    next: impl Fn(&mut u64) -> u64 + Copy + 'static,
    end: impl Future<Output = ()>,
) -> Measured {
    let sent = subject.sent_bytes();
    let gauge = Rc::new(Gauge::default());
    let mut tasks = JoinSet::new();
    connections(
        &mut tasks,
        subject.addresses(),
        verb,
        clients,
        |own_clients| {
            let (own, gauge) = (Rc::clone(&gauge), Rc::clone(&gauge));
            let mut states: Vec<u64> = own_clients.map(|client| client as u64 * 7919).collect();
            let next = move |slot: usize| (!own.stop.get()).then(|| next(&mut states[slot]));
            (next, move |took| gauge.count(took))
        },
    );
    measure(subject, sent, &gauge, tasks, end).await
}

/// Measures for `length` without requests from this process.
pub async fn run_idle(subject: &Subject<'_>, length: Duration) -> Measured {
    let (sent, none) = (subject.sent_bytes(), JoinSet::new());
    let end = async { tokio::time::sleep(length).await };
    measure(subject, sent, &Gauge::default(), none, end).await
}

/// Measures from the end of the warm-up until `end` and then waits for the clients. `sent` is the subject's count of sent bytes
/// before the clients started.
pub(crate) async fn measure(
    subject: &Subject<'_>,
    sent: u64,
    gauge: &Gauge,
    tasks: JoinSet<()>,
    end: impl Future<Output = ()>,
) -> Measured {
    tokio::time::sleep(WARM_UP).await;
    let own = std::process::id();
    let before = (subject.cpu(), process::cpu(own));
    let written = subject.written_bytes();
    let begun = Instant::now();
    gauge.counting.set(true);
    end.await;
    gauge.counting.set(false);
    let mut measured = Measured {
        elapsed: begun.elapsed(),
        server_cpu: subject.cpu() - before.0,
        client_cpu: process::cpu(own) - before.1,
        written: subject.written_bytes() - written,
        ..Measured::default()
    };
    gauge.stop.set(true);
    tasks.join_all().await;
    measured.sent = subject.sent_bytes().saturating_sub(sent);
    measured.answers = gauge.answers.get();
    measured.latencies = gauge.latencies.take();
    measured.requests = measured.latencies.len() as u64;
    measured.latencies.sort_unstable();
    measured
}

/// Writes each of the first `keys` keys once with `verb`. Must run in a `LocalSet`. Panics if a request fails.
pub async fn fill(address: &str, verb: Verb, keys: u64) {
    let mut tasks = JoinSet::new();
    let counter = Rc::new(Cell::new(0));
    connections(&mut tasks, &[address.to_owned()], verb, FILLERS, |_| {
        (each_once(&counter, keys), |_| {})
    });
    tasks.join_all().await;
}

/// Like [`fill`], but with any calls, one `call` per connection. Rounds `clients` up to full connections.
pub async fn fill_by<C: Call + 'static>(
    address: &str,
    call: impl Fn() -> C,
    keys: u64,
    clients: usize,
) {
    let mut tasks = JoinSet::new();
    let counter = Rc::new(Cell::new(0));
    for _ in 0..clients.div_ceil(CLIENTS_PER_CONNECTION) {
        let wire = Grpc::new(call(), address, CLIENTS_PER_CONNECTION);
        let (address, next) = (address.to_owned(), each_once(&counter, keys));
        tasks.spawn_local(async move {
            wire::drive(&address, wire, CLIENTS_PER_CONNECTION, next, |_| {}).await;
        });
    }
    tasks.join_all().await;
}

/// Returns a source of the first `keys` keys, which all connections with this counter share.
fn each_once(counter: &Rc<Cell<u64>>, keys: u64) -> impl FnMut(usize) -> Option<u64> + 'static {
    let counter = Rc::clone(counter);
    move |_| {
        let key = counter.get();
        counter.set(key + 1);
        (key < keys).then_some(key)
    }
}

/// Opens the connections of `clients` clients to the addresses in turn. `share` creates a connection's source of keys and
/// receiver of latencies from its range of clients.
fn connections<N, D>(
    tasks: &mut JoinSet<()>,
    addresses: &[String],
    verb: Verb,
    clients: usize,
    mut share: impl FnMut(Range<usize>) -> (N, D),
) where
    N: FnMut(usize) -> Option<u64> + 'static,
    D: FnMut(u32) + 'static,
{
    let together = if verb.grpc() {
        let connections = clients.div_ceil(CLIENTS_PER_CONNECTION);
        // Each address gets the same number of connections.
        clients.div_ceil(connections.next_multiple_of(addresses.len()))
    } else {
        1
    };
    let firsts = (0..clients).step_by(together);
    for (first, address) in firsts.zip(addresses.iter().cycle()) {
        let slots = together.min(clients - first);
        let address = address.to_owned();
        let (next, done) = share(first..first + slots);
        tasks.spawn_local(async move {
            if verb.grpc() {
                let wire = Grpc::new(verb, &address, slots);
                wire::drive(&address, wire, slots, next, done).await;
            } else {
                let wire = Http1::new(verb, &address);
                wire::drive(&address, wire, slots, next, done).await;
            }
        });
    }
}
