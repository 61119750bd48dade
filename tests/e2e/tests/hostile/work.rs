//! Small requests that cause much work: leases whose keys all need permission, deleted keys that are skipped, and repeated
//! reads of the same keys.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use prost::Message;
use tonic::Code;
use witan_api::v3::etcdserverpb::{
    Compare, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, PutRequest,
    RangeRequest, TxnRequest, compare, kv_client::KvClient, lease_client::LeaseClient,
    range_request, request_op::Request as Operation,
};
use witan_e2e::{Launch, Server, grpc, requests};

use crate::{
    h2,
    shares::ask,
    stage::{LONG, grown, others_go_on},
};

/// Maximum number of ranges in one transaction.
const RANGES: usize = 127;

/// Additional time for another client's large read, beyond three times its duration without load, because the machine has other
/// work.
const SLACK: Duration = Duration::from_secs(2);

/// Puts keys from `k000000` on, in nested transactions with the maximum number of operations.
pub(crate) async fn fill(
    client: &mut KvClient<tonic::transport::Channel>,
    many: usize,
    lease: i64,
) {
    let keys: Vec<usize> = (0..many).collect();
    for keys in keys.chunks(64 * 64) {
        let nested = keys.chunks(64).map(|keys| {
            let put = |at| PutRequest { lease, ..requests::put(format!("k{at:06}"), "") };
            let puts = keys.iter().map(|at| Operation::RequestPut(put(at)));
            Operation::RequestTxn(requests::txn(puts))
        });
        client.txn(requests::txn(nested)).await.expect("puts");
    }
}

fn range(to: &'static str) -> RangeRequest {
    requests::range("k", to)
}

fn names(times: usize) -> TxnRequest {
    let range = RangeRequest { keys_only: true, ..range("k100000") };
    requests::txn(vec![Operation::RequestRange(range); times])
}

/// Creates a user with permission for the keys `[k, l)` and enables auth. Returns the user's token.
pub(crate) fn admit_a_user(server: &Server) -> String {
    for (path, body) in [
        ("user/add", r#"{"name":"u","password":"p"}"#),
        ("role/add", r#"{"name":"r"}"#),
        (
            "role/grant",
            r#"{"name":"r","perm":{"permType":"READWRITE","key":"aw==","range_end":"bA=="}}"#,
        ),
        ("user/grant", r#"{"user":"u","role":"r"}"#),
    ] {
        server.v3(&format!("auth/{path}"), body);
    }
    server.require_users(&["root:p"]);
    server.token("u", "p")
}

#[test]
fn a_lease_of_many_keys_is_kept_alive_in_little_time() {
    const KEYS: usize = 100_000;
    const KEEP_ALIVES: usize = 1000;
    let server = Launch::witan().start();
    let runtime = grpc::runtime();
    let channel = runtime.block_on(grpc::connect(&server.address()));
    let mut leases = LeaseClient::new(channel.clone());
    runtime.block_on(async {
        let grant = LeaseGrantRequest { ttl: 3600, id: 7 };
        leases.lease_grant(grant).await.expect("a lease");
        fill(&mut KvClient::new(channel), KEYS, 7).await;
    });
    let token = admit_a_user(&server);
    let keep_alive = || async {
        let asked = stream::iter(vec![LeaseKeepAliveRequest { id: 7 }; KEEP_ALIVES]);
        // The request stream stays open until all requests are answered.
        let asked = requests::with_token(Some(&token), asked.chain(stream::pending()));
        let answers = leases
            .clone()
            .lease_keep_alive(asked)
            .await
            .expect("it begins");
        let answers = answers.into_inner().take(KEEP_ALIVES);
        let ttls: Vec<i64> = answers
            .map(|answer| answer.expect("kept").ttl)
            .collect()
            .await;
        assert_eq!(ttls, [3600; KEEP_ALIVES]);
    };
    others_go_on(&server, "keep-alives", || runtime.block_on(keep_alive()));
}

/// Runs a large read on a new connection. Returns its duration.
async fn large_read(address: &str) -> Duration {
    let channel = grpc::connect(address).await;
    let mut client = KvClient::new(channel).max_decoding_message_size(usize::MAX);
    let begun = Instant::now();
    let answer = client.range(range("k100000")).await.expect("an answer");
    assert_eq!(answer.into_inner().kvs.len(), 100_000);
    begun.elapsed()
}

/// Sends a request ten times on a connection that does not read, and checks that another client waits little.
fn ten_ask(server: &Server, what: &str, asked: &TxnRequest, bound_bytes: u64) {
    let runtime = grpc::runtime();
    let address = server.address();
    let quiet = (0..3).map(|_| runtime.block_on(large_read(&address)));
    let quiet = quiet.max().expect("three");
    let (others, grown) = grown(server, || {
        let mut stream = h2::open(server, Some(0));
        stream.set_read_timeout(Some(LONG)).expect("a TCP socket");
        assert!(ask(&mut stream, 10, "/etcdserverpb.KV/Txn", asked));
        let others: Vec<_> = (0..3)
            .map(|_| runtime.block_on(large_read(&address)))
            .collect();
        // Each call has an answer or the beginning of one.
        for _ in 0..10 {
            while h2::read(&mut stream).expect("a frame").0 != h2::HEADERS {}
        }
        others
    });
    let waited = *others.iter().max().expect("three");
    let mib = grown >> 20;
    let row = format!("| {what} | others waited {waited:?}, alone {quiet:?} | {mib} MiB more |\n");
    // Write to stderr directly, because the test harness captures printed output.
    let _ = io::stderr().write_all(row.as_bytes());
    assert!(
        waited <= quiet * 3 + SLACK,
        "{what}: {waited:?}, alone {quiet:?}"
    );
    assert!(grown <= bound_bytes, "{what}: grew by {mib} MiB");
}

/// Number of keys in a read that is short enough for a worker. A client sends many such reads at once.
const READ_KEYS: usize = 16_000;
const READS: u32 = 500;

/// Sends the same call many times at once, and checks that another client's request is served between them.
fn others_take_turns(server: &Server, path: &str, message: &impl Message) {
    let calls: Vec<_> = (0..READS)
        .flat_map(|n| h2::unary(2 * n + 1, path, message))
        .collect();
    others_go_on(server, path, || {
        // Without a window, each answer stops after its headers.
        let mut stream = h2::open(server, Some(0));
        stream.write_all(&calls).expect("it is sent");
        for _ in 0..READS {
            while h2::read(&mut stream).expect("an answer").0 != h2::HEADERS {}
        }
    });
}

#[test]
fn reads_of_many_keys_that_come_together_take_turns_with_others() {
    let server = Launch::witan().start();
    let runtime = grpc::runtime();
    let channel = runtime.block_on(grpc::connect(&server.address()));
    let lease = LeaseGrantRequest { ttl: 3600, id: 7 };
    runtime
        .block_on(LeaseClient::new(channel.clone()).lease_grant(lease))
        .expect("a lease");
    runtime.block_on(fill(&mut KvClient::new(channel), READ_KEYS, 7));
    let newest = RangeRequest {
        limit: 1,
        sort_order: range_request::SortOrder::Descend as i32,
        sort_target: range_request::SortTarget::Mod as i32,
        serializable: true,
        ..range("l")
    };
    others_take_turns(&server, "/etcdserverpb.KV/Range", &newest);
    let keys = LeaseTimeToLiveRequest { id: 7, keys: true };
    others_take_turns(&server, "/etcdserverpb.Lease/LeaseTimeToLive", &keys);
}

#[test]
fn the_same_keys_read_again_and_again() {
    const KEYS: usize = 100_000;
    let server = Launch::witan().start();
    let runtime = grpc::runtime();
    let channel = runtime.block_on(grpc::connect(&server.address()));
    let mut client = KvClient::new(channel);
    runtime.block_on(fill(&mut client, KEYS, 0));
    let bound = 600 << 20;
    ten_ask(&server, "more than is answered", &names(RANGES), bound);
    ten_ask(&server, "as much as is answered", &names(5), bound);
    for at in 0..100 {
        let part = requests::delete(format!("k{at:03}"), format!("k{:03}", at + 1));
        let deleted = runtime
            .block_on(client.delete_range(part))
            .expect("deleted");
        assert_eq!(deleted.into_inner().deleted, 1000);
    }
    let ranges = requests::txn(vec![Operation::RequestRange(range("l")); RANGES]);
    let compare = Compare {
        result: compare::CompareResult::Equal as i32,
        target: compare::CompareTarget::Version as i32,
        key: "k".into(),
        range_end: "l".into(),
        target_union: Some(compare::TargetUnion::Version(0)),
    };
    let compares = TxnRequest { compare: vec![compare; RANGES], ..Default::default() };
    for (what, asked) in [("ranges", ranges), ("compares", compares)] {
        others_go_on(&server, what, || {
            match runtime.block_on(client.txn(asked.clone())) {
                Ok(answer) => assert!(answer.into_inner().succeeded),
                Err(refusal) => assert_eq!(refusal.code(), Code::ResourceExhausted),
            }
        });
    }
}
