//! The load: many clients over a few HTTP/2 connections, on one thread, so that the client's own
//! cost stays small and the same for every server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{PutRequest, RangeRequest, kv_client::KvClient};

/// Length of every value: the size that Kubernetes-like users have.
pub const VALUE_BYTES: usize = 256;

/// Keys that the timed loads touch. Their text has 16 bytes.
pub const KEYS: u64 = 100_000;

/// Clients that share a connection at most.
const CLIENTS_PER_CONNECTION: usize = 20;

/// Traffic before the measurement begins.
const WARM_UP: Duration = Duration::from_millis(700);

/// What each client does, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A put of 16 + 256 bytes.
    Put,
    /// A linearizable range of one key.
    Get,
}

/// One measurement.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Answers.
    pub requests: u64,
    /// Wall time.
    pub elapsed: Duration,
    /// Server CPU.
    pub server_cpu: Duration,
    /// CPU of this process.
    pub client_cpu: Duration,
    /// Bytes the server wrote.
    pub written: u64,
    /// Latencies in microseconds, sorted.
    pub latencies: Vec<u32>,
}

impl Measured {
    /// Joins another measurement of the same load.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.elapsed += other.elapsed;
        self.server_cpu += other.server_cpu;
        self.client_cpu += other.client_cpu;
        self.written += other.written;
        self.latencies.extend(other.latencies);
        self.latencies.sort_unstable();
    }

    /// Latency below which this share of the answers came, in microseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let at = (last as f64 * share) as usize;
        f64::from(self.latencies.get(at).copied().unwrap_or_default())
    }
}

/// Opens as many connections as `clients` clients use.
pub async fn connect(address: &str, clients: usize) -> Vec<Channel> {
    let mut channels = Vec::new();
    for _ in 0..clients.div_ceil(CLIENTS_PER_CONNECTION) {
        channels.push(witan_e2e::grpc::connect(address).await);
    }
    channels
}

/// Runs `clients` clients against one server for `length` and measures.
///
/// # Panics
/// If a request fails.
pub async fn run(
    address: &str,
    pid: u32,
    verb: Verb,
    clients: usize,
    length: Duration,
) -> Measured {
    let channels = connect(address, clients).await;
    let counting = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let kv = KvClient::new(channels[client % channels.len()].clone());
        tasks.spawn(client_loop(
            kv,
            verb,
            client,
            Arc::clone(&counting),
            Arc::clone(&stop),
        ));
    }
    tokio::time::sleep(WARM_UP).await;
    let own = std::process::id();
    let before = (super::process::cpu(pid), super::process::cpu(own));
    let written = super::process::written_bytes(pid);
    let begun = Instant::now();
    counting.store(true, Ordering::Relaxed);
    tokio::time::sleep(length).await;
    counting.store(false, Ordering::Relaxed);
    let mut measured = Measured {
        elapsed: begun.elapsed(),
        server_cpu: super::process::cpu(pid) - before.0,
        client_cpu: super::process::cpu(own) - before.1,
        written: super::process::written_bytes(pid) - written,
        ..Measured::default()
    };
    stop.store(true, Ordering::Relaxed);
    while let Some(latencies) = tasks.join_next().await {
        measured
            .latencies
            .extend(latencies.expect("no request fails"));
    }
    measured.requests = measured.latencies.len() as u64;
    measured.latencies.sort_unstable();
    measured
}

async fn client_loop(
    mut kv: KvClient<Channel>,
    verb: Verb,
    client: usize,
    counting: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
) -> Vec<u32> {
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    let mut latencies = Vec::new();
    // every client walks the same keys in an order of its own
    let mut key = client as u64 * 7919;
    while !stop.load(Ordering::Relaxed) {
        key = (key * 5 + 12_345) % KEYS;
        let begun = Instant::now();
        match verb {
            Verb::Put => put(&mut kv, key, &value).await,
            Verb::Get => {
                let range = RangeRequest {
                    key: key_text(key),
                    ..RangeRequest::default()
                };
                kv.range(range).await.expect("a range succeeds");
            }
        }
        if counting.load(Ordering::Relaxed) {
            latencies.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
    latencies
}

/// Writes the keys 0 to `keys`, each once.
///
/// # Panics
/// If a request fails.
pub async fn fill(address: &str, keys: u64, clients: usize) {
    let channels = connect(address, clients).await;
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let mut kv = KvClient::new(channels[client % channels.len()].clone());
        let next = Arc::clone(&next);
        tasks.spawn(async move {
            let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
            loop {
                let key = next.fetch_add(1, Ordering::Relaxed);
                if key >= keys {
                    return;
                }
                put(&mut kv, key, &value).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no request fails");
    }
}

async fn put(kv: &mut KvClient<Channel>, key: u64, value: &Bytes) {
    let put = PutRequest {
        key: key_text(key),
        value: value.clone(),
        ..PutRequest::default()
    };
    kv.put(put).await.expect("a put succeeds");
}

fn key_text(key: u64) -> Bytes {
    format!("key-{key:012}").into()
}
