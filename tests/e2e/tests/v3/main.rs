//! Compares the v3 dialect with etcd: gRPC and JSON requests get the same answers from both. `tests/differ` compares keys and
//! transactions. `member/etcdctl.rs` compares the output of etcdctl.
//!
//! Reading order: this file → `descriptors` → `grpc` → `gateway` → `encoding` → `lease` →
//! `concurrency` → `range_stream` → `backup` → `snapshot` → `auth` → `watch`.

mod auth;
mod backup;
mod concurrency;
mod descriptors;
mod encoding;
mod gateway;
mod grpc;
mod lease;
mod range_stream;
mod snapshot;
mod watch;
mod websocket;

use witan_e2e::{Kind, Launch, Server, wait};

fn start(kind: Kind) -> Server {
    Launch::new(kind).same_ids().start()
}

/// Starts Witan and etcd. Waits until both states contain the cluster version, which a leader sets after its start.
fn pair() -> [Server; 2] {
    let pair = [start(Kind::Witan), start(Kind::Etcd37)];
    for server in &pair {
        wait::until_true("the version of the cluster is decided", || {
            let version = server.http("GET", "/version", "").json();
            version["etcdcluster"] == "3.7.0"
        });
    }
    pair
}
