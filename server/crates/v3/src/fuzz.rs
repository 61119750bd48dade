//! Gives `tests/fuzz` access to the calls' checks and conversions. Built only with the feature `fuzz`.

use witan_api::v3::etcdserverpb as pb;
use witan_machine::{kv, revision::Revision};

use crate::{error::RpcError, kv as kv_calls};

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
