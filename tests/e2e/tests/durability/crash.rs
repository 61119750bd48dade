//! Repeated kill -9 on one data directory with a thousand concurrent writers. No acknowledged write may be missing, and no
//! revision or index may decrease.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use tokio::task::JoinSet;
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{RangeResponse, kv_client::KvClient};
use witan_e2e::{Launch, Server, grpc, http, requests, wait};

/// Number of kills and restarts, unless `WITAN_E2E_ROUNDS` is set.
const ROUNDS: u64 = 20;

const CONNECTIONS: usize = 30;

/// Number of gRPC writers per connection. With the v2 writers, there are a thousand.
const WRITERS_PER_CONNECTION: usize = 30;

const V2_WRITERS: usize = 100;
const ACKNOWLEDGED_MIN: u64 = 1000;

/// The number of awaited writes varies between rounds by up to this number.
const ACKNOWLEDGED_SPREAD: u64 = 3000;

/// The last acknowledged value of each v2 writer and its index.
type Told = BTreeMap<usize, (u64, u64)>;

#[test]
fn acknowledged_writes_survive_kill_9() {
    let rounds = env::var("WITAN_E2E_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("number"));
    let runtime = grpc::runtime();
    let mut server = Launch::witan().start();
    let mut past = Past::default();
    for round in 0..rounds {
        let count = Arc::new(AtomicU64::new(0));
        let v2: Vec<_> = (0..V2_WRITERS)
            .map(|w| write_v2(&server, round, w, &count))
            .collect();
        let mut v3 = runtime.block_on(write_v3(&server, round, &count));
        let wanted = ACKNOWLEDGED_MIN + round * 1237 % ACKNOWLEDGED_SPREAD;
        wait::until_true("writes", || count.load(Ordering::Relaxed) >= wanted);
        server.kill9();
        let mut written = BTreeMap::new();
        runtime.block_on(async {
            while let Some(acknowledged) = v3.join_next().await {
                written.extend(acknowledged.expect("writers do not panic"));
            }
        });
        let told: Told = v2
            .into_iter()
            .enumerate()
            .map(|(writer, handle)| (writer, handle.join().expect("writers do not panic")))
            .collect();
        server.start_again();
        runtime.block_on(past.check(&server, round, &written));
        past.check_v2(&server, round, &told);
    }
}

/// Starts 900 writers that put new keys until the server exits. Each writer returns its acknowledged keys with their revisions.
async fn write_v3(
    server: &Server,
    round: u64,
    count: &Arc<AtomicU64>,
) -> JoinSet<Vec<(String, i64)>> {
    let mut writers = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let channel = grpc::connect(&server.address()).await;
        for writer in 0..WRITERS_PER_CONNECTION {
            let mut client = KvClient::new(channel.clone());
            let count = Arc::clone(count);
            writers.spawn(async move {
                let mut acknowledged = Vec::new();
                loop {
                    let step = acknowledged.len();
                    let key = format!("r{round}/{connection}/{writer}/{step}");
                    let value = format!("value of {key}").into_bytes();
                    let put = requests::put(key.clone().into_bytes(), value);
                    let Ok(answer) = client.put(put).await else {
                        return acknowledged;
                    };
                    let header = answer.into_inner().header.expect("a header");
                    acknowledged.push((key, header.revision));
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    writers
}

/// Starts a writer that counts up in one v2 key until the server exits. It returns the last acknowledged number and its index.
fn write_v2(
    server: &Server,
    round: u64,
    writer: usize,
    count: &Arc<AtomicU64>,
) -> JoinHandle<(u64, u64)> {
    let address = server.address();
    let count = Arc::clone(count);
    thread::spawn(move || {
        let target = format!("/v2/keys/r{round}/{writer}");
        let mut last = (0, 0);
        let Ok(mut connection) = http::Connection::open(&address) else {
            return last;
        };
        loop {
            let body = format!("value={}", last.0 + 1);
            let Ok(answer) = connection.request("PUT", &target, &[], body.as_bytes()) else {
                return last;
            };
            assert!(answer.status < 300, "{}", answer.text());
            let index = answer.json()["node"]["modifiedIndex"]
                .as_u64()
                .expect("an index");
            last = (last.0 + 1, index);
            count.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// The state after the earlier rounds.
#[derive(Default)]
struct Past {
    revision: i64,
    index: u64,
    keys: Vec<usize>,
}

impl Past {
    /// Checks the written keys with their revisions, the order of revisions, and the numbers of keys of earlier rounds.
    async fn check(&mut self, server: &Server, round: u64, written: &BTreeMap<String, i64>) {
        let channel = grpc::connect(&server.address()).await;
        let found = keys_of(&channel, round).await;
        let kvs = found.kvs.iter();
        let stored: BTreeMap<_, _> = kvs.map(|kv| (kv.key.to_vec(), kv.mod_revision)).collect();
        for (key, revision) in written {
            let kept = stored.get(key.as_bytes());
            assert_eq!(kept, Some(revision), "round {round}: {key}");
        }
        let distinct: BTreeSet<_> = written.values().collect();
        assert_eq!(distinct.len(), written.len(), "puts share revisions");
        let newest = written.values().copied().max().unwrap_or_default();
        let newest = newest.max(self.revision);
        let now = found.header.expect("every answer has a header").revision;
        assert!(now >= newest, "round {round}: {now} after {newest}");
        self.revision = now;
        self.keys.push(stored.len());
        for (earlier, kept) in (0..).zip(&self.keys) {
            let count = keys_of(&channel, earlier).await.kvs.len();
            assert_eq!(count, *kept, "round {round}: keys of round {earlier}");
        }
    }

    fn check_v2(&mut self, server: &Server, round: u64, told: &Told) {
        for (writer, (value, index)) in told {
            let answer = server.http("GET", &format!("/v2/keys/r{round}/{writer}"), "");
            let now = answer.etcd_index();
            let newest = self.index.max(*index);
            assert!(now >= newest, "round {round}: {now} after {newest}");
            self.index = now;
            if *value > 0 {
                let stored = answer.json()["node"]["value"].as_str().map(str::to_owned);
                let stored: u64 = stored
                    .and_then(|text| text.parse().ok())
                    .unwrap_or_default();
                assert!(stored >= *value, "v2 writer {writer}: {stored} < {value}");
            }
        }
    }
}

async fn keys_of(channel: &Channel, round: u64) -> RangeResponse {
    // `0` is the character after `/`.
    grpc::keys(channel, &format!("r{round}/"), &format!("r{round}0")).await
}
