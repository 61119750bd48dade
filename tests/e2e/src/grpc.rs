//! Opens gRPC channels to a server. The generated clients are in `witan_api`.

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};
use witan_api::v3::etcdserverpb::{
    HashKvRequest, RangeRequest, RangeResponse, kv_client::KvClient,
    maintenance_client::MaintenanceClient,
};

use crate::{Server, requests};

/// Opens an HTTP/2 connection to `address` (`host:port`). Panics if the server does not answer.
pub async fn connect(address: &str) -> Channel {
    let connected = endpoint(address).connect().await;
    connected.unwrap_or_else(|error| panic!("gRPC to {address}: {error}"))
}

/// Like [`connect`], but connects at the first call and reconnects after each loss. Requires a runtime.
pub fn lazy(address: &str) -> Channel {
    endpoint(address).connect_lazy()
}

fn endpoint(address: &str) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}"))
        .expect("host:port makes a URL")
        .tcp_nodelay(true)
}

/// Returns a server's compacted revision and the hash of all keys at `revision` (0 for the latest). Returns `None` for a
/// compacted or future revision.
pub fn hash_kv(server: &Server, revision: i64) -> Option<(i64, u32)> {
    runtime().block_on(async {
        let mut client = MaintenanceClient::new(connect(&server.address()).await);
        let answer = client.hash_kv(HashKvRequest { revision }).await;
        let answer = answer.ok()?.into_inner();
        // etcd answers -1 before the first compaction.
        Some((answer.compact_revision.max(0), answer.hash))
    })
}

/// Reads the keys from `from` up to `to` linearizably, without their values. Panics if the read is refused.
pub async fn keys(channel: &Channel, from: &str, to: &str) -> RangeResponse {
    let answer = try_keys(channel, from, to).await;
    answer.expect("a linearizable read")
}

/// Like [`keys`], but fails if the read is refused.
pub async fn try_keys(channel: &Channel, from: &str, to: &str) -> Result<RangeResponse, Status> {
    let request = RangeRequest {
        keys_only: true,
        ..requests::range(from.to_owned(), to.to_owned())
    };
    let mut client = KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
    Ok(client.range(request).await?.into_inner())
}

/// Creates a runtime for tests that use gRPC in synchronous functions.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime needs only threads")
}

/// A codec that passes on encoded messages unchanged.
#[derive(Clone, Copy, Debug)]
pub struct Whole;

impl Codec for Whole {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Whole {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Whole {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
