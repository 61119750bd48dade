//! Compares the v3 API with etcd's: gRPC and JSON requests get the same answers from both. `tests/differ` compares keys and
//! transactions. `member/etcdctl.rs` compares the output of etcdctl.
//!
//! Reading order: this file → `descriptors` → `grpc` → `gateway` → `websocket` → `encoding` → `lease` → `concurrency` →
//! `range_stream` → `maintenance` → `snapshot` → `auth` → `watch`.

mod auth;
mod concurrency;
mod descriptors;
mod encoding;
mod gateway;
mod grpc;
mod lease;
mod maintenance;
mod range_stream;
mod snapshot;
mod watch;
mod websocket;

use std::fmt::Debug;

use tonic::transport::Channel;
use witan_e2e::{Kind, Launch, Server};

fn start(kind: Kind) -> Server {
    Launch::new(kind).same_ids().start()
}

/// Starts Witan and etcd. Waits until both states contain the cluster version.
fn pair() -> [Server; 2] {
    let pair = [start(Kind::Witan), start(Kind::Etcd37)];
    for server in &pair {
        server.wait_cluster_version("3.7.0");
    }
    pair
}

/// Runs the calls on Witan and on etcd. The results must be the same. Returns the results.
fn both<T, F>(calls: impl Fn(Channel) -> F) -> Vec<T>
where
    T: Debug + PartialEq,
    F: Future<Output = Vec<T>>,
{
    let servers = pair();
    let [ours, theirs] = servers.each_ref().map(|server| {
        witan_e2e::grpc::runtime()
            .block_on(async { calls(witan_e2e::grpc::connect(&server.address()).await).await })
    });
    for (at, (got, want)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(got, want, "result {at}: ours (left) and etcd's (right)");
    }
    assert_eq!(ours.len(), theirs.len());
    ours
}
