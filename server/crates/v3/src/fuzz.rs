//! Gives `tests/fuzz` and `tests/differ` access to the dialect's parsers. Built only with the feature `fuzz`.

use prost::Message;
use serde::Serialize;
use witan_api::{
    access::GrpcRoute,
    v3::{etcdserverpb as pb, shape::Shaped},
};
use witan_machine::{kv, revision::Revision};

use crate::{
    error::RpcError,
    gateway::{self, JsonFormat, encoding::Encoding, error::GatewayError},
    kv as kv_calls,
};

/// Returns whether the gateway serves a cleaned path, which includes its prefix.
pub fn gateway_path(path: &[u8]) -> bool {
    gateway::split(path).is_some_and(|(_, call)| GrpcRoute::of_path(call).is_some())
}

/// Decodes a gateway body in which bytes are base64, like etcd 3.4 if `v34`, otherwise like etcd 3.6.
pub fn gateway_body<Q: Shaped + Default + Message>(body: &[u8], v34: bool) -> Result<Q, String> {
    let gateway_version = if v34 {
        gateway::GatewayVersion::V3_4
    } else {
        gateway::GatewayVersion::V3_6
    };
    gateway_read(body, gateway_version, Encoding::Base64)
}

/// Decodes a gateway body with `encoding=utf8`, in which bytes are plain strings.
pub fn gateway_plain_body<Q: Shaped + Default + Message>(body: &[u8]) -> Result<Q, String> {
    gateway_read(body, gateway::GatewayVersion::V3_6, Encoding::Utf8)
}

/// Encodes an answer with `encoding=utf8`, in which bytes are plain strings.
pub fn gateway_plain_answer<A: Shaped + Serialize>(answer: &A) -> Vec<u8> {
    let mut out = Vec::new();
    let written = Encoding::Utf8.write(answer, &mut out);
    written.expect("messages are always JSON");
    out
}

/// Decodes a JSON body like the given gateway version.
fn gateway_read<Q: Shaped + Default + Message>(
    body: &[u8],
    gateway_version: gateway::GatewayVersion,
    encoding: Encoding,
) -> Result<Q, String> {
    let form = JsonFormat { gateway_version, encoding };
    gateway::decode(body, form).map_err(|failure| match failure {
        GatewayError::Status { text, .. } => text,
        GatewayError::NotFound | GatewayError::NotPost => format!("{failure:?}"),
    })
}

/// Validates a range and converts it to the state machine's type.
pub fn range(request: pb::RangeRequest) -> Result<kv::Range, RpcError> {
    kv_calls::range::check(&request)?;
    Ok(kv_calls::range::operation(request))
}

/// Validates a put and converts it to the state machine's type.
pub fn put(request: pb::PutRequest) -> Result<kv::Put, RpcError> {
    kv_calls::put::check(&request)?;
    Ok(kv_calls::put::operation(request))
}

/// Validates a deletion and converts it to the state machine's type.
pub fn delete_range(request: pb::DeleteRangeRequest) -> Result<kv::DeleteRange, RpcError> {
    kv_calls::delete_range::check(&request)?;
    Ok(kv_calls::delete_range::operation(request))
}

/// Validates a transaction and converts it to the state machine's type.
pub fn txn(request: pb::TxnRequest, ops_max: usize) -> Result<kv::Txn, RpcError> {
    kv_calls::txn::check(&request, ops_max)?;
    Ok(kv_calls::txn::operation(request))
}

/// Returns the response to a transaction whose only operation has this reply, or the default response for a compaction.
pub fn answer(reply: kv::KvReply) -> pb::TxnResponse {
    let reply = match reply {
        kv::KvReply::Compact => return pb::TxnResponse::default(),
        kv::KvReply::Op(reply) => reply,
    };
    let reply = kv::TxnReply { succeeded: true, replies: vec![(reply, Revision::EMPTY)] };
    kv_calls::txn::response(None, reply)
}
