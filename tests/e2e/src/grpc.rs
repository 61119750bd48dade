//! gRPC channels to a server. The generated clients are `witan_api`'s.

use tonic::transport::{Channel, Endpoint};

/// Opens one HTTP/2 connection to `address` (`host:port`).
///
/// # Panics
/// If nobody answers there.
pub async fn connect(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}"))
        .expect("host:port makes a URL")
        .tcp_nodelay(true)
        .connect()
        .await
        .unwrap_or_else(|error| panic!("gRPC to {address}: {error}"))
}

/// A runtime for tests that drive gRPC from plain functions.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime needs only threads")
}
