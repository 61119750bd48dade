//! Small requests that cause much work: leases whose keys all need permission, and concurrent reads of many keys.
//! `server/crates/machine/tests/bounds_work.rs` tests deleted keys and repeated reads of the same keys.

use std::{io::Write as _, time::Duration};

use futures_util::{StreamExt as _, stream};
use prost::Message;
use witan_api::v3::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
    kv_client::KvClient, lease_client::LeaseClient, range_request,
    request_op::Request as Operation,
};
use witan_e2e::{Launch, Server, grpc, process, requests, wait};

use crate::{h2, stage::others_go_on};

/// Puts keys, starting with `k000000`, in nested transactions with the maximum number of operations.
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

/// Creates a user with permission for the keys `[k, l)` and enables auth. Returns the user's token.
pub(crate) fn admit_a_user(server: &Server) -> String {
    server.v3("auth/user/add", r#"{"name":"u","password":"p"}"#);
    server.v3("auth/role/add", r#"{"name":"r"}"#);
    let range = r#"{"permType":"READWRITE","key":"aw==","range_end":"bA=="}"#;
    let grant = format!(r#"{{"name":"r","perm":{range}}}"#);
    server.v3("auth/role/grant", &grant);
    server.v3("auth/user/grant", r#"{"user":"u","role":"r"}"#);
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
        let mut leases = leases.clone();
        let answers = leases.lease_keep_alive(asked).await.expect("it begins");
        let answers = answers.into_inner().take(KEEP_ALIVES);
        let ttls = answers.map(|answer| answer.expect("kept").ttl);
        let ttls: Vec<i64> = ttls.collect().await;
        assert_eq!(ttls, [3600; KEEP_ALIVES]);
    };
    others_go_on(&server, "keep-alives", || runtime.block_on(keep_alive()));
}

/// Number of keys in a read that is short enough for a worker. A client sends many such reads concurrently.
const READ_KEYS: usize = 16_000;
const READS: u32 = 500;

/// Sends the same call many times concurrently and checks that another client's request is served between them.
fn others_take_turns(server: &Server, path: &str, message: &impl Message) {
    let calls: Vec<_> = (0..READS)
        .flat_map(|n| h2::unary(2 * n + 1, path, message))
        .collect();
    others_go_on(server, path, || {
        // Without a window, each response stops after its headers.
        let mut stream = h2::open(server, Some(0));
        stream.write_all(&calls).expect("it is sent");
        for _ in 0..READS {
            while h2::read(&mut stream).expect("an answer").0 != h2::HEADERS {}
        }
    });
}

#[test]
fn concurrent_reads_of_many_keys_take_turns_with_others() {
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
        ..requests::range("k", "l")
    };
    others_take_turns(&server, "/etcdserverpb.KV/Range", &newest);
    let keys = LeaseTimeToLiveRequest { id: 7, keys: true };
    others_take_turns(&server, "/etcdserverpb.Lease/LeaseTimeToLive", &keys);
}

fn fill_directory(server: &Server, directory: &str) {
    const NODES: usize = 2000;
    let name = "n".repeat(30 << 10);
    let mut connection = server.connect();
    for at in 0..NODES {
        let target = format!("{directory}/{at}{name}");
        let answer = connection.request("PUT", &target, &[], b"");
        assert_eq!(answer.expect("an answer").status, 201);
    }
}

/// The response to a refused write depends on the node at the key. If the node is a directory, the server must not list it.
#[test]
fn a_refused_write_does_not_list_a_directory() {
    const REQUESTS: usize = 20;
    let server = Launch::witan().without_fsync().start();
    let token = "0".repeat(32);
    let size = format!("/v2/keys/_etcd/registry/{token}/_config/size");
    let registration = format!("/{token}/1");
    for (directory, target, body) in [
        ("/v2/keys/full", "/v1/keys/full", "value=1&prevValue="),
        (size.as_str(), registration.as_str(), "dir=true"),
    ] {
        server.answers(201, "PUT", directory, "dir=true");
        let spent = || {
            let begun = process::cpu(server.pid());
            for _ in 0..REQUESTS {
                server.answers(400, "PUT", target, body);
            }
            process::cpu(server.pid()) - begun
        };
        let empty = spent();
        fill_directory(&server, directory);
        wait::undisturbed(|| {
            let full = spent();
            if full <= empty * 3 + Duration::from_millis(100) {
                return Ok(());
            }
            Err(format!("{target}: {full:?} of CPU, {empty:?} if empty"))
        });
    }
}
