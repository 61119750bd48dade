//! The `X-` headers of the v2 dialect and which answers carry them.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header::CONTENT_TYPE},
};
use witan_api::v2;

use super::error::V2Error;
use crate::{api::reply, node::Node};

/// Begins an answer below `/v2/keys` or `/v2/members`.
pub(crate) fn build(node: &Node, status: StatusCode) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(status);
    builder.insert_header((v2::CLUSTER_ID_HEADER, hex(node.identity().cluster_id)));
    builder
}

/// Begins a successful answer of `/v2/keys`.
pub(crate) fn success(node: &Node, status: StatusCode, index: u64) -> HttpResponseBuilder {
    let raft = node.status();
    let mut builder = build(node, status);
    builder
        .insert_header((CONTENT_TYPE, reply::JSON))
        .insert_header((v2::INDEX_HEADER, index))
        .insert_header((v2::RAFT_INDEX_HEADER, raft.committed))
        .insert_header((v2::RAFT_TERM_HEADER, raft.term));
    builder
}

/// An error of `/v2/keys`.
pub(crate) fn failure(node: &Node, request: &HttpRequest, error: &V2Error) -> HttpResponse {
    let status = StatusCode::from_u16(error.code.status()).expect("the table holds real statuses");
    build(node, status)
        .insert_header((CONTENT_TYPE, reply::JSON))
        .insert_header((v2::INDEX_HEADER, error.index))
        .body(reply::framed(request, error.body()))
}

/// An id as the dialect prints it.
pub(crate) fn hex(id: u64) -> String {
    format!("{id:x}")
}
