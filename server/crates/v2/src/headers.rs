//! Builds v2 responses with their `X-` headers.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header::CONTENT_TYPE},
};
use bytes::Bytes;
use serde::Serialize;
use witan_api::{ids, v2};
use witan_dialect::{Context, rendering, reply};
use witan_gocompat::{json, text::Sink};
use witan_node::Node;

use super::error::V2Error;

/// Starts a response of `/v2/keys`, `/v2/members` or `/v2/auth` with the cluster ID header.
pub(crate) fn build(node: &Node, status: StatusCode) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(status);
    builder.insert_header((v2::CLUSTER_ID_HEADER, ids::hex(node.identity().cluster_id)));
    builder
}

/// Starts a successful response of `/v2/keys` with headers for the v2 `index`, and for this member's commit index and Raft
/// term.
pub fn success(node: &Node, status: StatusCode, index: u64) -> HttpResponseBuilder {
    let raft = node.status();
    let mut builder = build(node, status);
    builder
        .insert_header((CONTENT_TYPE, reply::JSON))
        .insert_header((v2::INDEX_HEADER, index))
        .insert_header((v2::RAFT_INDEX_HEADER, raft.committed))
        .insert_header((v2::RAFT_TERM_HEADER, raft.term));
    builder
}

/// Builds a response of `/v2/members` or `/v2/auth`, whose body is `value` as JSON and a newline.
pub(crate) fn json_response(
    ctx: &Context,
    request: &HttpRequest,
    status: StatusCode,
    value: &impl Serialize,
) -> HttpResponse {
    let mut json = json::encode(value);
    json.push(b'\n');
    build(&ctx.node, status)
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(reply::framed(request, json))
}

/// Builds the error response of `/v2/keys`, with the error's index as a header and its JSON in the body.
pub async fn failure(ctx: &Context, request: &HttpRequest, error: V2Error) -> HttpResponse {
    let status = StatusCode::from_u16(error.code.status()).expect("the codes have valid statuses");
    let mut response = build(&ctx.node, status);
    response
        .insert_header((CONTENT_TYPE, reply::JSON))
        .insert_header((v2::INDEX_HEADER, error.index));
    let least_bytes = error.cause.iter().map(Bytes::len).sum();
    let write = move |out: &mut dyn Sink| error.write(out);
    let body = rendering::body(ctx, request, least_bytes, write).await;
    response.body(body)
}
