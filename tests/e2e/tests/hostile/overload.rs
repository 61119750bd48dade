//! More concurrent writes than the server may hold. Some are refused with etcd's error, no answered write is lost, and
//! afterwards the server works as before. `server/crates/node/src/tests.rs` proves that writes beyond the bounds are refused at
//! once.

use std::collections::BTreeMap;

use tonic::Code;
use witan_api::v3::etcdserverpb::{RangeRequest, kv_client::KvClient};
use witan_e2e::{grpc, requests};

use crate::stage::{SLACK_BYTES, load};

/// The server's bounds in bytes (`account`): for requests that are read, and for commands in flight.
const REQUESTS_BYTES: u64 = 256 << 20;
const PROPOSALS_BYTES: u64 = 64 << 20;

/// Number of copies of a command: the command and its log entry.
const COPIES: u64 = 2;

/// Number of concurrent writes, number of connections, and size of a write in bytes. Together, the writes exceed the bound on
/// commands in flight.
const WRITES: usize = 240;
const CONNECTIONS: usize = 8;
const VALUE_BYTES: usize = 1 << 20;

/// Memory in bytes of completed writes in the state and in checkpoints.
const KEPT_BYTES: u64 = 2 * (WRITES * VALUE_BYTES) as u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Done,
    Refused,
    /// The disk was busy with other writes.
    Late,
}

async fn write(mut client: KvClient<tonic::transport::Channel>, i: usize) -> End {
    let put = requests::put(format!("load/{i:04}"), vec![b'v'; VALUE_BYTES]);
    match client.put(put).await {
        Ok(_) => End::Done,
        Err(status) if status.code() == Code::ResourceExhausted => {
            assert_eq!(status.message(), "etcdserver: too many requests");
            End::Refused
        }
        Err(status) => {
            assert_eq!(status.message(), "etcdserver: request timed out");
            End::Late
        }
    }
}

#[test]
fn more_writes_than_memory_for_them() {
    let bound = SLACK_BYTES + REQUESTS_BYTES + COPIES * PROPOSALS_BYTES + KEPT_BYTES;
    load("overload by large writes", bound, |server| {
        let runtime = grpc::runtime();
        runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..CONNECTIONS {
                clients.push(KvClient::new(grpc::connect(&server.address()).await));
            }
            let writes: Vec<_> = (0..WRITES)
                .map(|i| tokio::spawn(write(clients[i % CONNECTIONS].clone(), i)))
                .collect();
            let mut ends = BTreeMap::new();
            for write in writes {
                *ends.entry(write.await.expect("a write ends")).or_insert(0) += 1;
            }
            let range = RangeRequest {
                key: "load/".into(),
                range_end: "load0".into(),
                count_only: true,
                ..Default::default()
            };
            let kept = clients[0]
                .range(range)
                .await
                .expect("a count")
                .into_inner()
                .count;
            let done = ends.get(&End::Done).copied().unwrap_or_default();
            assert!(done > 0 && kept >= done, "{ends:?}, {kept} are there");
            let last = write(clients[0].clone(), WRITES).await;
            assert_eq!(last, End::Done, "afterwards all is well");
            format!("{WRITES} writes of 1 MiB at once: {ends:?}")
        })
    });
}
