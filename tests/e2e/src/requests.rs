//! Constructors of common v3 requests. Tests set other fields on the returned messages.

use bytes::Bytes;
use witan_api::v3::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request,
};

/// Creates a put.
pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> PutRequest {
    PutRequest {
        key: key.into(),
        value: value.into(),
        ..PutRequest::default()
    }
}

/// Creates a range for a key, or for the keys from `key` to `range_end` (exclusive).
pub fn range(key: impl Into<Bytes>, range_end: impl Into<Bytes>) -> RangeRequest {
    RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        ..RangeRequest::default()
    }
}

/// Creates a deletion of a key, or of the keys from `key` to `range_end` (exclusive).
pub fn delete(key: impl Into<Bytes>, range_end: impl Into<Bytes>) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: false }
}

/// Creates an unconditional transaction.
pub fn txn(operations: impl IntoIterator<Item = Request>) -> TxnRequest {
    TxnRequest {
        success: operations.into_iter().map(op).collect(),
        ..TxnRequest::default()
    }
}

/// Creates an operation of a transaction.
pub fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// Adds a v3 token, if any, to a message. Panics if the token is not text.
pub fn with_token<T>(token: Option<&str>, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(token) = token {
        let token = token.parse().expect("a token is text");
        request.metadata_mut().insert("token", token);
    }
    request
}
