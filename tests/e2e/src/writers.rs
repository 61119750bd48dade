//! Clients that write continuously to any member that answers, and record the acknowledged writes.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, task::JoinHandle, time::timeout};
use tonic::{Status, transport::Channel};
use witan_api::v3::etcdserverpb::kv_client::KvClient;

use crate::{Server, grpc, requests, wait};

/// Prefix of the keys of all writers.
const PREFIX: &str = "written/";

/// The first key after this prefix.
const PREFIX_END: &str = "written0";

/// Timeout of a request. It is longer than the server needs to report a failure.
const PUT_TIMEOUT: Duration = Duration::from_secs(20);

/// An acknowledged write.
#[derive(Clone, Debug)]
pub struct Written {
    /// The written key.
    pub key: String,
    /// Time of the acknowledgment.
    pub at: Instant,
    /// Errors of members before one acknowledged the write.
    pub refusals: Vec<String>,
}

/// Running writers.
#[derive(Debug)]
pub struct Writers {
    runtime: Runtime,
    tasks: Vec<JoinHandle<Vec<Written>>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
}

impl Writers {
    /// Starts `count` writers. Each one starts at a different member of `addresses`.
    pub fn start(count: usize, addresses: &[String]) -> Self {
        let runtime = grpc::runtime();
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let tasks = (0..count).map(|writer| {
            let _context = runtime.enter();
            let channels = addresses.iter().map(|address| grpc::lazy(address));
            let channels: Vec<Channel> = channels.collect();
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            runtime.spawn(write(writer, channels, stop, acknowledged))
        });
        Self { tasks: tasks.collect(), runtime, stop, acknowledged }
    }

    /// Returns the number of writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }

    /// Waits until `more` additional writes are acknowledged.
    pub fn wait_more(&self, more: u64) {
        let wanted = self.acknowledged() + more;
        wait::until_true("more acknowledged writes", || self.acknowledged() >= wanted);
    }

    /// Stops the writers after their current writes, or after a refusal of such a write. Returns the acknowledged writes in
    /// order of time. Panics if a writer panicked.
    pub fn stop(self) -> Vec<Written> {
        self.stop.store(true, Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(self.runtime.block_on(task).expect("writers do not panic"));
        }
        all.sort_by_key(|written| written.at);
        all
    }
}

/// Writes until `stop` is set. Repeats a refused write at the next member.
async fn write(
    writer: usize,
    channels: Vec<Channel>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> Vec<Written> {
    let mut at = writer % channels.len();
    let mut all = Vec::new();
    while !stop.load(Relaxed) {
        let key = format!("{PREFIX}{writer}/{}", all.len());
        let mut refusals = Vec::new();
        loop {
            let put = requests::put(key.clone().into_bytes(), key.clone().into_bytes());
            let mut client = KvClient::new(channels[at].clone());
            let answer = timeout(PUT_TIMEOUT, client.put(put)).await;
            match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))) {
                Ok(_) => break,
                Err(status) => refusals.push(format!("{:?}: {}", status.code(), status.message())),
            }
            if stop.load(Relaxed) {
                return all;
            }
            at = (at + 1) % channels.len();
        }
        acknowledged.fetch_add(1, Relaxed);
        all.push(Written { key, at: Instant::now(), refusals });
    }
    all
}

/// Returns the longest time between two successive acknowledgments, or zero if there is no pair. Ignores pairs that end before
/// `since`.
pub fn longest_gap(written: &[Written], since: Instant) -> Duration {
    let pairs = written.windows(2).filter(|pair| pair[1].at >= since);
    let gaps = pairs.map(|pair| pair[1].at - pair[0].at);
    gaps.max().unwrap_or_default()
}

/// Reads linearizably from a member. Panics if an acknowledged write is missing.
pub fn assert_all_there(member: &Server, written: &[Written]) {
    let answer = grpc::runtime().block_on(async {
        let channel = grpc::connect(&member.address()).await;
        grpc::keys(&channel, PREFIX, PREFIX_END).await
    });
    let there: BTreeSet<Vec<u8>> = answer.kvs.into_iter().map(|kv| kv.key.to_vec()).collect();
    let lost: Vec<&String> = written
        .iter()
        .map(|written| &written.key)
        .filter(|key| !there.contains(key.as_bytes()))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged writes are lost: {:?}",
        lost.len(),
        written.len(),
        &lost[..lost.len().min(10)]
    );
}
