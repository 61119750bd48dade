//! The v3 dialect beside etcd 3.6: gRPC and JSON say the same on both. What keys and transactions mean is compared by
//! `tests/differ`, what etcdctl says by `tests/commands`.
//!
//! Both servers advertise the same URLs, so that they have the same ids and their answers can be
//! compared to the byte.
//!
//! Reading order: this file → `descriptors` → `grpc` → `gateway` → `encoding` → `lease` →
//! `concurrency` → `range_stream` → `backup` → `snapshot`.

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
mod websocket;

use witan_e2e::{Kind, Launch, Server, wait};

/// Advertised by every server of these tests, listened on by none.
const PEER: &str = "http://127.0.0.1:2380";
/// See [`PEER`].
const CLIENT: &str = "http://127.0.0.1:2379";

/// A fresh server of this kind.
fn start(kind: Kind) -> Server {
    let mut server = prepare(kind);
    server.start_again();
    server
}

/// The same, not started yet.
fn prepare(kind: Kind) -> Server {
    let mut server = Launch::new(kind).bare().prepare();
    let (url, peer_url) = (server.url(), server.peer_url());
    let cluster = format!("default={PEER}");
    server.add_args(["--name", "default", "--data-dir", "data"]);
    server.add_args([
        "--listen-client-urls",
        &url,
        "--advertise-client-urls",
        CLIENT,
    ]);
    server.add_args([
        "--listen-peer-urls",
        &peer_url,
        "--initial-advertise-peer-urls",
        PEER,
    ]);
    server.add_args(["--initial-cluster", &cluster]);
    if kind == Kind::Etcd37 {
        server.add_args(["--log-level", "warn"]);
    }
    server
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
