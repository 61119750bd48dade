//! Sends requests at a fixed rate, independent of earlier answers. In `load`, a client sends the next request after an answer.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::{Sender, channel},
    task::JoinSet,
};

use crate::{
    h2::{Call, Grpc},
    load::{Gauge, KEYS, Measured, measure},
    subject::Subject,
    wire,
};

/// Number of connections, and maximum number of requests in flight on each.
const CONNECTIONS: usize = 12;
const SLOTS: usize = 256;

/// Sends `rate` evenly spaced requests per second for `length` and measures them. Each connection has its own `call`. The
/// latency of an answer counts from the time at which its request was due. Must run in a `LocalSet`. Panics if a request fails.
pub async fn run<C: Call + 'static>(
    subject: &Subject<'_>,
    call: impl Fn() -> C,
    rate: u32,
    length: Duration,
) -> Measured {
    let end = async { tokio::time::sleep(length).await };
    run_until(subject, call, rate, end).await
}

/// Like [`run`], but until `end`, which is first polled when the measurement starts.
pub async fn run_until<C: Call + 'static>(
    subject: &Subject<'_>,
    call: impl Fn() -> C,
    rate: u32,
    end: impl Future<Output = ()>,
) -> Measured {
    let sent = subject.sent_bytes();
    let gauge = Rc::new(Gauge::default());
    let mut tasks = JoinSet::new();
    let mut connections = Vec::new();
    for address in subject.addresses().iter().cycle().take(CONNECTIONS) {
        let (sender, due) = channel(SLOTS);
        connections.push(sender);
        let (address, gauge) = (address.to_owned(), Rc::clone(&gauge));
        let wire = Grpc::new(call(), &address, SLOTS);
        tasks.spawn_local(async move {
            wire::drive_paced(&address, wire, SLOTS, due, |took| gauge.count(took)).await;
        });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let pacer = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || pace(rate, &connections, &stop)
    });
    let end = async {
        end.await;
        stop.store(true, Relaxed);
    };
    let measured = measure(subject, sent, &gauge, tasks, end).await;
    pacer.join().expect("it only sends");
    measured
}

/// Sends keys to the connections in turn at the rate, until `stop` is set.
fn pace(rate: u32, connections: &[Sender<(u64, Instant)>], stop: &AtomicBool) {
    let (begun, gap) = (Instant::now(), Duration::from_secs(1) / rate);
    let (mut due, mut key) = (begun, 0);
    for connection in connections.iter().cycle() {
        if stop.load(Relaxed) {
            return;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        key = (key * 5 + 12_345) % KEYS;
        if connection.blocking_send((key, due)).is_err() {
            return;
        }
        due += gap;
    }
}
