//! The latency of a continuous writer while a member with much data is compacted, defragmented, backed up and hashed. Each of
//! these operations blocks etcd's writers for a while.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{runtime::Builder, task::JoinSet, time::sleep};
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{
    CompactionRequest, DefragmentRequest, HashKvRequest, PutRequest, SnapshotRequest,
    kv_client::KvClient, maintenance_client::MaintenanceClient, request_op::Request,
};
use witan_e2e::{Server, grpc, requests};

const KEYS: usize = 262_144;
/// Number of writes per key.
const VERSIONS: usize = 2;
const VALUE_BYTES: usize = 4096;
const PUTS_PER_TXN: usize = 64;
const FILLERS: usize = 8;
/// Pause between two puts of the writer.
const PUT_INTERVAL: Duration = Duration::from_millis(2);
/// Time between the last write of all keys and the first measurement.
const SETTLING: Duration = Duration::from_secs(15);
/// Time for which the writer is observed after the operation's answer.
const WATCHED: Duration = Duration::from_secs(3);

pub(super) async fn play(server: &Server) -> String {
    let address = server.address();
    let revision = fill(&address).await;
    let times = Rc::new(RefCell::new(Vec::new()));
    let writer = tokio::task::spawn_local(write(grpc::connect(&address).await, times.clone()));
    // The written data is synced after the answers.
    sleep(SETTLING).await;
    let mut cells = watched(&times, async {}).await;
    for chore in [
        Chore::Compaction(revision),
        Chore::Defragmentation,
        Chore::Snapshot,
        Chore::Hash,
    ] {
        cells += &format!(
            " | {}",
            watched(&times, chore.run_on_thread(address.clone())).await
        );
    }
    writer.abort();
    format!("{cells} |")
}

/// A maintenance operation of a member.
#[derive(Clone, Copy)]
enum Chore {
    /// A compaction up to this revision, which waits until the versions are removed.
    Compaction(i64),
    Defragmentation,
    Snapshot,
    Hash,
}

impl Chore {
    /// Calls the server on a separate thread, so that the writer does not wait for this process.
    async fn run_on_thread(self, address: String) {
        let thread = tokio::task::spawn_blocking(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(async { self.run(grpc::connect(&address).await).await });
        });
        thread.await.expect("the server does it");
    }

    async fn run(self, channel: Channel) {
        let mut maintenance = MaintenanceClient::new(channel.clone());
        match self {
            Self::Compaction(revision) => {
                let compaction = CompactionRequest { revision, physical: true };
                let done = KvClient::new(channel).compact(compaction).await;
                done.expect("it compacts");
            }
            Self::Defragmentation => {
                let done = maintenance.defragment(DefragmentRequest {}).await;
                done.expect("it defragments");
            }
            Self::Snapshot => {
                let parts = maintenance.snapshot(SnapshotRequest {}).await;
                let mut parts = parts.expect("a snapshot").into_inner();
                while parts.message().await.expect("a whole snapshot").is_some() {}
            }
            Self::Hash => {
                let hash = maintenance.hash_kv(HashKvRequest::default()).await;
                hash.expect("a hash");
            }
        }
    }
}

/// Writes all versions of all keys. Returns the last revision of the first versions.
async fn fill(address: &str) -> i64 {
    let mut first = 0;
    for version in 0..VERSIONS {
        let mut fillers = JoinSet::new();
        for filler in 0..FILLERS {
            let mut kv = KvClient::new(grpc::connect(address).await);
            fillers.spawn_local(async move {
                let mut last = 0;
                for from in (filler * PUTS_PER_TXN..KEYS).step_by(FILLERS * PUTS_PER_TXN) {
                    let keys = from..from + PUTS_PER_TXN;
                    let puts = keys.map(|key| Request::RequestPut(put(key, VALUE_BYTES)));
                    let txn = requests::txn(puts);
                    let header = kv.txn(txn).await.expect("a write").into_inner().header;
                    last = header.expect("answers have a header").revision;
                }
                last
            });
        }
        let last = fillers.join_all().await.into_iter().max();
        if version == 0 {
            first = last.expect("there are fillers");
        }
    }
    first
}

fn put(key: usize, value_bytes: usize) -> PutRequest {
    // The values differ, so that memory holds each of them.
    let mut value = format!("{key} ").repeat(value_bytes / 8).into_bytes();
    value.resize(value_bytes, b'.');
    requests::put(format!("pauses/{key:08}"), value)
}

/// Puts one key after another and records the duration of each put. Repeats a failed put.
async fn write(channel: Channel, times: Rc<RefCell<Vec<Duration>>>) {
    let mut kv = KvClient::new(channel);
    for key in 0.. {
        let begun = Instant::now();
        while kv.put(put(KEYS + key % 1000, 256)).await.is_err() {}
        times.borrow_mut().push(begun.elapsed());
        sleep(PUT_INTERVAL).await;
    }
}

/// Returns the p99 and the maximum duration of the puts in milliseconds, during `done` and for [`WATCHED`] after it. The
/// operation may continue after its answer.
async fn watched(times: &RefCell<Vec<Duration>>, done: impl Future<Output = ()>) -> String {
    times.borrow_mut().clear();
    done.await;
    sleep(WATCHED).await;
    let mut times = std::mem::take(&mut *times.borrow_mut());
    times.sort_unstable();
    let ms = |at: usize| times[at].as_secs_f64() * 1000.0;
    format!(
        "{:.1}, {:.1}",
        ms(times.len() * 99 / 100),
        ms(times.len() - 1)
    )
}
