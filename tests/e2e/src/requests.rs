//! The requests for v3's keys that most tests make. Other fields are set on what these give.

use bytes::Bytes;
use witan_api::v3::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request,
};

/// Writes a key.
pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> PutRequest {
    PutRequest {
        key: key.into(),
        value: value.into(),
        ..PutRequest::default()
    }
}

/// Reads a key, or the keys up to `range_end`.
pub fn range(key: impl Into<Bytes>, range_end: impl Into<Bytes>) -> RangeRequest {
    RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        ..RangeRequest::default()
    }
}

/// Deletes a key, or the keys up to `range_end`.
pub fn delete(key: impl Into<Bytes>, range_end: impl Into<Bytes>) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: false }
}

/// A transaction without a condition.
pub fn txn(operations: impl IntoIterator<Item = Request>) -> TxnRequest {
    TxnRequest {
        success: operations.into_iter().map(op).collect(),
        ..TxnRequest::default()
    }
}

/// An operation of a transaction.
pub fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// A message with a token of v3, if there is one.
///
/// # Panics
/// If the token is no text.
pub fn with_token<T>(token: Option<&str>, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(token) = token {
        let token = token.parse().expect("a token is text");
        request.metadata_mut().insert("token", token);
    }
    request
}
