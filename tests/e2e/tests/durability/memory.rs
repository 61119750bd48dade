//! Members with more data than memory. Each member has a memory limit (`Launch::memory_limit`). In a cgroup, the kernel kills a
//! member that exceeds this limit. A member reads values that do not fit from its disk.
//!
//! `full` tests keys that do not fit, `lists` a response that does not fit, and `rebuilt` a cluster.

mod full;
mod lists;
mod rebuilt;

use std::{fs::File, io::Write as _, ops::Range, path::Path, process::Command};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tonic::{Code, Status, transport::Channel};
use witan_api::v3::{
    etcdserverpb::{
        CompactionRequest, RangeRequest, SnapshotRequest, WatchCreateRequest, kv_client::KvClient,
        maintenance_client::MaintenanceClient, request_op::Request,
    },
    mvccpb::KeyValue,
};
use witan_e2e::{
    Kind, Launch, Server, grpc,
    linear::client::Choice,
    memory_limit::budget_bytes,
    process, requests, tool,
    watching::{self, Watching, create},
};

const LIMIT_BYTES: u64 = 400 << 20;

/// 400 MiB of values.
const DATA: Data = Data { keys: 102_400, overwritten: 3200 };
const VALUE_BYTES: usize = 4096;

/// Number of watched keys. It exceeds the number of overwritten keys.
const WATCHED: usize = 6400;
const FIRST_REVISION: i64 = 2;

/// Number of puts in a request. A request for each put would take several times as long.
const PUTS_PER_TXN: usize = 16;

/// Number of requests in flight.
const IN_FLIGHT: usize = 32;

/// Number of attempts to put keys. A member without memory waits for 5 seconds before it refuses.
const ATTEMPTS: usize = 6;

const RANDOM_KEYS: usize = 300;
const PAGE_KEYS: i64 = 500;

type Kv = KvClient<Channel>;

/// `keys` keys. Each key has one version, and the first `overwritten` keys have a second one.
#[derive(Clone, Copy, Debug)]
struct Data {
    keys: usize,
    overwritten: usize,
}

impl Data {
    async fn put(self, kv: &Kv) -> i64 {
        let first = put(kv, 0..self.keys, 0).await;
        first.max(put(kv, 0..self.overwritten, 1).await)
    }

    fn check(self, pair: &KeyValue, at: usize) {
        let newest = value(at, usize::from(at < self.overwritten));
        assert_eq!(pair.key, key(at));
        assert!(pair.value == newest, "{}: another value", key(at));
    }

    async fn check_random(self, kv: &mut Kv, seed: u64) {
        let mut choice = Choice(seed);
        for _ in 0..RANDOM_KEYS {
            let at = choice.below(self.keys);
            let get = requests::range(key(at), "");
            let found = kv.range(get).await.expect("a get").into_inner().kvs;
            assert_eq!(found.len(), 1, "{}", key(at));
            self.check(&found[0], at);
        }
    }

    async fn check_pages(self, kv: &mut Kv, revision: i64) {
        let mut found = 0;
        loop {
            let page = requests::range(key(found), "l");
            let page = RangeRequest { limit: PAGE_KEYS, revision, ..page };
            let page = kv.range(page).await.expect("a page").into_inner();
            for pair in &page.kvs {
                self.check(pair, found);
                found += 1;
            }
            if !page.more {
                break;
            }
        }
        assert_eq!(found, self.keys);
    }
}

fn key(at: usize) -> String {
    format!("k{at:06}")
}

/// Returns the value of a version of a key. All values differ.
fn value(at: usize, version: usize) -> Vec<u8> {
    let text = format!("{at:06}.{version} ");
    let mut value = text.repeat(VALUE_BYTES.div_ceil(text.len())).into_bytes();
    value.truncate(VALUE_BYTES);
    value
}

/// Puts a version of keys with some concurrency. Retries puts that are refused for lack of memory. Returns the last revision.
async fn put(kv: &Kv, keys: Range<usize>, version: usize) -> i64 {
    let end = keys.end;
    let answers = stream::iter(keys.step_by(PUTS_PER_TXN)).map(|first| {
        let mut kv = kv.clone();
        async move {
            let keys = first..end.min(first + PUTS_PER_TXN);
            let puts = keys.map(|at| requests::put(key(at), value(at, version)));
            let txn = requests::txn(puts.map(Request::RequestPut));
            // On a slow disk, values without a checkpoint can fill the budget for some seconds.
            let refused = |answer: &Status| answer.code() == Code::ResourceExhausted;
            for _ in 0..ATTEMPTS {
                match kv.txn(txn.clone()).await {
                    Ok(answer) => return answer.into_inner().header.expect("a header").revision,
                    Err(status) => assert!(refused(&status), "{status}"),
                }
            }
            panic!("there is no room");
        }
    });
    let mut answers = answers.buffer_unordered(IN_FLIGHT);
    let mut last = 0;
    while let Some(revision) = answers.next().await {
        last = last.max(revision);
    }
    last
}

/// Watches the first keys, starting at the first revision, with the values before each change.
async fn check_watch(channel: &Channel) {
    let watch = watching::from(&key(0), &key(WATCHED), FIRST_REVISION);
    let watch = WatchCreateRequest { prev_kv: true, ..watch };
    let mut watching = Watching::open(channel, create(watch)).await;
    assert!(watching.next().await.created);
    let mut events = 0;
    while events < WATCHED + DATA.overwritten {
        let answer = watching.next().await;
        assert!(!answer.canceled, "{}", answer.cancel_reason);
        for event in answer.events {
            let pair = event.kv.expect("a put");
            let name = String::from_utf8_lossy(&pair.key).into_owned();
            let at: usize = name[1..].parse().expect("a number after the letter");
            let overwrites = pair.version == 2;
            assert!(pair.value == value(at, usize::from(overwrites)), "{name}");
            let before = event.prev_kv.map(|before| before.value);
            let wanted = overwrites.then(|| Bytes::from(value(at, 0)));
            assert!(before == wanted, "{name}: wrong previous value");
            events += 1;
        }
    }
}

async fn save(channel: &Channel, path: &Path) {
    const DIGEST_BYTES: u64 = 32;
    let mut client = MaintenanceClient::new(channel.clone());
    let parts = client.snapshot(SnapshotRequest {}).await;
    let mut parts = parts.expect("a snapshot").into_inner();
    let mut file = File::create(path).expect("a folder of our own");
    let (mut saved, mut promised) = (0, None);
    while let Some(part) = parts.message().await.expect("a whole snapshot") {
        file.write_all(&part.blob).expect("the disk has room");
        let bytes = part.blob.len() as u64;
        promised = promised.or(Some(bytes + part.remaining_bytes + DIGEST_BYTES));
        saved += bytes;
    }
    assert_eq!(Some(saved), promised);
    let values = (DATA.keys + DATA.overwritten) as u64 * VALUE_BYTES as u64;
    assert!((values..2 * values).contains(&saved), "{saved} bytes");
}

/// Panics if the member has exited, was killed by the kernel, or has more memory than its limit.
fn assert_within(server: &mut Server, limit_bytes: u64) {
    assert_eq!(server.memory_kills(), 0, "{}", server.tail());
    assert!(server.runs(), "{}", server.tail());
    let resident = process::status_bytes(server.pid(), "RssAnon:");
    assert!(resident <= limit_bytes, "{resident} bytes");
}

/// Panics unless the member knows its limit, has read values from its disk, and keeps less of them than its budget.
fn assert_reads(server: &Server, limit_bytes: u64) {
    let metric = |name: &str| server.metric(name).unwrap_or_else(|| panic!("no {name}"));
    let budget = metric("witan_memory_budget_bytes");
    assert_eq!(budget, budget_bytes(limit_bytes) as f64);
    let values = metric("witan_memory_bytes{kind=\"values\"}");
    assert!(values <= budget, "{values} bytes of values");
    let (blocks, read) = (
        "witan_value_block_reads_total",
        "witan_value_read_bytes_total",
    );
    assert!(metric(blocks) > 0.0 && metric(read) > metric(blocks));
}

#[test]
fn a_member_serves_more_values_than_its_memory_holds() {
    let mut server = Launch::witan().memory_limit(LIMIT_BYTES).start();
    let runtime = grpc::runtime();
    let snapshot = server.dir().join("snapshot.db");
    let revision = runtime.block_on(async {
        let channel = grpc::connect(&server.address()).await;
        let mut kv = KvClient::new(channel.clone());
        let revision = DATA.put(&kv).await;
        DATA.check_random(&mut kv, 1).await;
        DATA.check_pages(&mut kv, revision).await;
        check_watch(&channel).await;
        save(&channel, &snapshot).await;
        revision
    });
    assert_reads(&server, LIMIT_BYTES);
    assert_within(&mut server, LIMIT_BYTES);
    let hash = grpc::hash_kv(&server, revision);
    assert!(hash.is_some(), "{} kills", server.memory_kills());
    // This member has no limit.
    let (launch, program) = (Launch::witan(), Command::new(Kind::Witan.binary()));
    let other = tool::restored(launch, program, &snapshot.display().to_string(), &[]);
    assert_eq!(hash, grpc::hash_kv(&other, revision));
    drop(other);

    server.kill9_and_start();
    assert_eq!(hash, grpc::hash_kv(&server, revision));
    runtime.block_on(async {
        let mut kv = KvClient::new(grpc::connect(&server.address()).await);
        DATA.check_random(&mut kv, 2).await;
        let compact = CompactionRequest { revision, physical: true };
        kv.compact(compact).await.expect("a compaction");
        let old = RangeRequest { revision: revision - 1, ..requests::range(key(0), "") };
        let refused = kv.range(old).await.expect_err("it is compacted");
        assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    });
    server.v3("maintenance/defragment", "{}");
    runtime.block_on(async {
        let mut kv = KvClient::new(grpc::connect(&server.address()).await);
        DATA.check_random(&mut kv, 3).await;
        DATA.check_pages(&mut kv, 0).await;
    });
    assert_reads(&server, LIMIT_BYTES);
    assert_within(&mut server, LIMIT_BYTES);
}
