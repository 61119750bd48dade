//! Keys stay in memory. A member whose memory is used up refuses more keys, restarts within its limit, and accepts keys again
//! after deletions.

use futures_util::{StreamExt as _, stream};
use tonic::{Code, Status};
use witan_api::v3::etcdserverpb::{CompactionRequest, kv_client::KvClient, request_op::Request};
use witan_e2e::{Launch, assert_contains, grpc, requests, wait};

use super::{Kv, assert_within};

const LIMIT_BYTES: u64 = 200 << 20;

/// Enough keys to exceed the limit.
const MANY: usize = 2_000_000;
const KEY_BYTES: usize = 16;
/// Length of a value in bytes. Values on disk exceed the limit, so a restart cannot load all of them.
const VALUE_BYTES: usize = 256;

/// Maximum number of operations in a transaction.
const PUTS_PER_TXN: usize = 128;
const IN_FLIGHT: usize = 8;
const DELETED: usize = 20_000;

fn key(at: usize) -> String {
    format!("{at:0KEY_BYTES$}")
}

/// Puts new keys until a request is refused. Returns the refusal and a number above all keys.
async fn fill(kv: &Kv) -> (Status, usize) {
    let answers = stream::iter((0..MANY).step_by(PUTS_PER_TXN)).map(|first| {
        let mut kv = kv.clone();
        async move {
            let puts = first..first + PUTS_PER_TXN;
            let puts = puts.map(|at| requests::put(key(at), vec![b'v'; VALUE_BYTES]));
            let txn = requests::txn(puts.map(Request::RequestPut));
            let answer = kv.txn(txn).await;
            answer.map_err(|refused| (refused, first + IN_FLIGHT * PUTS_PER_TXN))
        }
    });
    let mut answers = answers.buffered(IN_FLIGHT);
    while let Some(answer) = answers.next().await {
        if let Err(refused) = answer {
            return refused;
        }
    }
    panic!("{MANY} keys fit");
}

/// Deletes all keys below `end` in parts and compacts after each part.
async fn delete(kv: &mut Kv, end: usize) {
    for first in (0..end).step_by(DELETED) {
        let delete = requests::delete(key(first), key(first + DELETED));
        let deleted = kv.delete_range(delete).await.expect("a deletion");
        let deleted = deleted.into_inner();
        if deleted.deleted == 0 {
            // The range contains only keys whose puts were refused.
            continue;
        }
        let revision = deleted.header.expect("a header").revision;
        let compact = CompactionRequest { revision, physical: true };
        kv.compact(compact).await.expect("a compaction");
    }
}

#[test]
fn a_member_without_memory_for_keys_refuses_them_until_others_are_deleted() {
    let mut server = Launch::witan().memory_limit(LIMIT_BYTES).start();
    let budget = server.metric("witan_memory_budget_bytes");
    let budget = budget.expect("a metric");
    let runtime = grpc::runtime();
    let mut kv = runtime.block_on(async { KvClient::new(grpc::connect(&server.address()).await) });
    let (refused, end) = runtime.block_on(fill(&kv));
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let text = "etcdserver: mvcc: database space exceeded";
    assert!(refused.message().starts_with(text), "{refused}");
    let reported = server.metric("witan_memory_bytes").expect("a metric");
    assert!(reported > budget / 2.0, "the budget is used up");
    let health = server.answers(503, "GET", "/health", "").text();
    assert_contains(health, "ALARM NOSPACE (memory)");
    let listed = server.v3("maintenance/alarm", "{}");
    assert_eq!(listed["alarms"][0]["alarm"], "NOSPACE", "{listed}");
    server.wait_log(0, "the memory budget is almost used up");
    assert_within(&mut server, LIMIT_BYTES);

    runtime.block_on(async {
        let refused = kv.put(requests::put("one more", "v")).await;
        let refused = refused.expect_err("the memory is used up");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        // The restart below may free memory, so requests that do not add data must be accepted here.
        let found = kv.range(requests::range(key(0), "")).await.expect("a get");
        assert_eq!(found.into_inner().count, 1);
        let deleted = kv.delete_range(requests::delete(key(0), "")).await;
        let deleted = deleted.expect("a deletion").into_inner();
        assert_eq!(deleted.deleted, 1);
        let revision = deleted.header.expect("a header").revision;
        let compact = CompactionRequest { revision, physical: false };
        kv.compact(compact).await.expect("a compaction");
    });
    server.kill9_and_start();
    assert_within(&mut server, LIMIT_BYTES);

    runtime.block_on(async {
        kv = KvClient::new(grpc::connect(&server.address()).await);
        let get = requests::range(key(1), "");
        let found = kv.range(get).await.expect("a get").into_inner();
        assert_eq!(found.kvs[0].value, vec![b'v'; VALUE_BYTES]);
        delete(&mut kv, end).await;
    });
    wait::until_true("puts are accepted again", || {
        let put = requests::put("one more", "v");
        runtime.block_on(kv.put(put)).is_ok()
    });
    let listed = server.v3("maintenance/alarm", "{}");
    assert!(listed.get("alarms").is_none(), "{listed}");
    server.answers(200, "GET", "/health", "");
    assert_within(&mut server, LIMIT_BYTES);
}
