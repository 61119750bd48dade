//! The v3 dialect beside etcd 3.6: gRPC and JSON say the same on both. What keys and transactions mean is compared by
//! `tests/differ`.
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
mod lease_life;
mod members;
mod range_stream;
mod snapshot;
mod watch;
mod websocket;

use witan_e2e::{Kind, Launch, Server, wait};

/// A fresh server of this kind.
fn start(kind: Kind) -> Server {
    Launch::new(kind).same_ids().start()
}

/// Ours and etcd's, both fresh, with the version of the cluster, which a leader sets after its start, in their state.
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
