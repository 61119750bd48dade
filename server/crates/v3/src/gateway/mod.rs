//! The v3 dialect as JSON over HTTP/1: below `/v3` like etcd 3.6, and below `/v3beta` and `/v3alpha` like etcd 3.4.
//!
//! Reading order: this file (request to response) → `deadline` → `call_names` (dispatch) → `streams`, `json_requests` →
//! `websocket` → `encoding` (base64 or plain strings) → `reader` (bodies) → `error` → `openapi`.

mod call_names;
mod deadline;
pub mod encoding;
pub mod error;
mod json_requests;
pub mod openapi;
mod reader;
mod streams;
pub mod websocket;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{ConnectionType, Method, header::CONTENT_TYPE},
    web,
};
use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use tonic::Status;
use witan_api::{
    access::GrpcRoute,
    v3::shape::{MessageShape, Shaped},
};
use witan_auth::Credentials;
use witan_base::{
    account::{Account, Charge},
    panics::{self, PanicSource},
};
use witan_dialect::{
    Context,
    blocking::{self, INLINE_BYTES},
    client_connection::Disconnect,
    jobs::WithPermit,
    reply::{self, ChargedText, ResponseRefused},
};
use witan_gocompat::json;
use witan_machine::member::MemberId;

pub(crate) use self::reader::RECURSION_LIMIT;
use self::{deadline::Deadline, encoding::Encoding, error::GatewayError, reader::JsonDialect};
use super::{RpcResult, authorize, concurrency::election, kv::txn, lease, messages, watch};
use crate::error::RpcError;

const WATCH: &str = "/etcdserverpb.Watch/Watch";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const OBSERVE: &str = "/v3electionpb.Election/Observe";
const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";

/// Header with the value `true` if the client requires a leader. The call fails if this member knows no leader.
const REQUIRE_LEADER: &str = "grpc-metadata-hasleader";

/// Headers that can contain a token; the first one present is used.
const TOKEN_HEADERS: [&str; 3] = [
    "grpc-metadata-token",
    "authorization",
    "grpc-metadata-authorization",
];

/// The etcd version whose gateway a path prefix selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayVersion {
    /// etcd 3.6.
    V3_6,
    /// etcd 3.4.
    V3_4,
}

/// The JSON format of a call's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonFormat {
    /// The version whose parsing rules and errors apply.
    pub gateway_version: GatewayVersion,
    /// How bytes are represented.
    pub encoding: Encoding,
}

/// Answers a request to the gateway. `path` is decoded and cleaned. If the call panics, the error is `Internal` and the
/// connection closes.
pub async fn handle(
    ctx: &Context,
    request: &HttpRequest,
    payload: web::Payload,
    path: &[u8],
) -> HttpResponse {
    let work = dispatch(ctx, request, payload, path);
    let done = panics::contain(&ctx.panics, PanicSource::Gateway, work);
    done.await.unwrap_or_else(|_| {
        let gateway_version =
            split(path).map_or(GatewayVersion::V3_6, |(gateway_version, _)| gateway_version);
        let error = Status::internal("internal error: the request was not completed");
        let mut response = GatewayError::from(error).answer(gateway_version);
        // Close the connection, because part of the body may be unread.
        let head = response.head_mut();
        head.set_connection_type(ConnectionType::Close);
        response
    })
}

/// Authorizes a request and runs its call. Responds with 404 if the gateway is disabled, the path has no gateway prefix, or no
/// call has the path. Refuses requests other than a POST or a WebSocket handshake.
async fn dispatch(
    ctx: &Context,
    request: &HttpRequest,
    mut payload: web::Payload,
    path: &[u8],
) -> HttpResponse {
    let Some((gateway_version, call)) = split(path).filter(|_| ctx.settings.enable_grpc_gateway)
    else {
        reply::drain(&mut payload).await;
        return reply::not_found();
    };
    let authenticated;
    let ctx = match ctx.node.any_auth_enabled() {
        true => {
            authenticated = ctx.of(credentials(request));
            &authenticated
        }
        false => ctx,
    };
    let route = match GrpcRoute::of_path(call) {
        Some(route) if is_call(request) => route,
        other => {
            reply::drain(&mut payload).await;
            let failure = match other {
                Some(_) => GatewayError::NotPost,
                None => GatewayError::NotFound,
            };
            return failure.answer(gateway_version);
        }
    };
    if let Err(refusal) = authorize::admit(ctx, route.method).await {
        // A stream's body may never end, so it is not drained.
        if !(streams(route) || websocket::is_requested(request)) {
            reply::drain(&mut payload).await;
        }
        return match streams(route) || route.method == SNAPSHOT {
            true => streams::refused(&refusal.into(), gateway_version),
            false => GatewayError::from(refusal).answer(gateway_version),
        };
    }
    let encoding = match Encoding::from_query(request.query_string()) {
        Ok(encoding) => encoding,
        Err(failure) => {
            if !streams(route) {
                reply::drain(&mut payload).await;
            }
            return failure.answer(gateway_version);
        }
    };
    let json_format = JsonFormat { gateway_version, encoding };
    let response = match route.method {
        WATCH => {
            streams::begin_endless(ctx, request, payload, json_format, watch::watch_events).await
        }
        KEEP_ALIVE => {
            streams::begin(ctx, request, payload, json_format, lease::lease_keep_alive).await
        }
        OBSERVE => {
            streams::begin_endless(ctx, request, payload, json_format, election::observe_first)
                .await
        }
        SNAPSHOT => streams::snapshot(ctx, request, &mut payload, json_format).await,
        method => return respond_unary(ctx, request, &mut payload, json_format, method).await,
    };
    response.unwrap_or_else(|failure| failure.answer(gateway_version))
}

/// Runs a unary call and builds its response. If the memory for the response is refused, the body of the response fails. Drains
/// the rest of the request's body after an error.
async fn respond_unary(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    json_format: JsonFormat,
    method: &str,
) -> HttpResponse {
    match run_unary(ctx, request, payload, json_format, method).await {
        Ok(json) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, reply::JSON))
            .insert_header(("Grpc-Metadata-Content-Type", "application/grpc"))
            .body(reply::framed_text(request, json)),
        Err(failure) => {
            reply::drain(payload).await;
            failure.answer(json_format.gateway_version)
        }
    }
}

/// Returns whether a call takes a stream of requests (watch, keep-alive, observe).
pub(crate) fn streams(route: &GrpcRoute) -> bool {
    [WATCH, KEEP_ALIVE, OBSERVE].contains(&route.method)
}

/// Returns whether a request can be a call: a POST or a WebSocket handshake.
fn is_call(request: &HttpRequest) -> bool {
    *request.method() == Method::POST || websocket::is_requested(request)
}

/// Returns the token in the first of `TOKEN_HEADERS` or in the subprotocols of a WebSocket handshake. A header that is not
/// ASCII is an empty token. Ignores certificates.
fn credentials(request: &HttpRequest) -> Credentials {
    let headers = request.headers();
    let token = TOKEN_HEADERS.iter().find_map(|name| headers.get(*name));
    let token = token.map(|value| value.to_str().unwrap_or_default());
    Credentials::of_token(token.or_else(|| websocket::token(request)))
}

/// Splits a path, such as `/v3/kv/put`, into the gateway version and the call's path without a leading slash (`kv/put`).
/// Returns `None` if the path has no gateway prefix or is not UTF-8.
pub fn split(path: &[u8]) -> Option<(GatewayVersion, &str)> {
    let path = std::str::from_utf8(path).ok()?.strip_prefix('/')?;
    let (prefix, call) = path.split_once('/')?;
    match prefix {
        "v3" => Some((GatewayVersion::V3_6, call)),
        "v3beta" | "v3alpha" => Some((GatewayVersion::V3_4, call)),
        _ => None,
    }
}

/// Reads the body, runs the call and returns its response as JSON. Fails when the deadline passes or the client disconnects, or
/// if the client requires a leader and no leader is known. A command that was already proposed is still executed.
async fn run_unary(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    json_format: JsonFormat,
    method: &str,
) -> Result<JsonText, GatewayError> {
    let deadline = Deadline::of(request)?;
    check_leader(ctx, request)?;
    let body = reply::read(payload, body_bytes_max(ctx)).await;
    let message_max = ctx.settings.max_message_bytes();
    let body = body.map_err(|error| GatewayError::unread(error, message_max))?;
    let call = UnaryCall { ctx, json_format, body };
    let client = Disconnect::of(request);
    tokio::select! {
        biased;
        late = deadline.passed() => Err(late.into()),
        response = call_names::run(method, call) => response,
        // As in etcd, a command that was already proposed is still executed.
        () = client.disconnected() => Err(RpcError::Plain("context canceled").into()),
    }
}

/// Returns whether the client requires a leader. Fails with `NoLeader` if the client requires a leader and no leader is known.
fn check_leader(ctx: &Context, request: &HttpRequest) -> Result<bool, RpcError> {
    let wants = request
        .headers()
        .get(REQUIRE_LEADER)
        .is_some_and(|value| value == "true");
    if wants && ctx.node.status().leader == MemberId::NONE {
        Err(RpcError::NoLeader)
    } else {
        Ok(wants)
    }
}

/// Returns the maximum size of a body in bytes. Base64 turns three bytes into four, and JSON adds some overhead.
fn body_bytes_max(ctx: &Context) -> usize {
    ctx.settings.max_message_bytes().saturating_mul(2)
}

/// The JSON of a response, or the refusal of memory for it. A refusal is not an error of the call, which may have changed the
/// state.
type JsonText = Result<ChargedText, ResponseRefused>;

struct UnaryCall<'a> {
    ctx: &'a Context,
    json_format: JsonFormat,
    body: Vec<u8>,
}

impl UnaryCall<'_> {
    /// Decodes the body, runs `verb` and encodes the response. Fails if the decoded message exceeds the limit for messages.
    /// Decodes and encodes large messages on another thread. Keeps the permit until the response is encoded. Charges the
    /// response before encoding it, because only charges limit the number of concurrent encodings.
    async fn run<Q, A>(
        self,
        verb: impl AsyncFnOnce(&Context, Q) -> RpcResult<WithPermit<A>>,
    ) -> Result<JsonText, GatewayError>
    where
        Q: Shaped + Default + Message + 'static,
        A: Shaped + Serialize + Message + 'static,
    {
        let (ctx, json_format, body) = (self.ctx, self.json_format, self.body);
        let large = body.len() > INLINE_BYTES;
        let elements_max = txn::total_max(ctx.settings.max_txn_ops);
        let account = ctx.account().clone();
        let read = move || decode_charged(&account, &body, json_format, elements_max);
        let (request, _charge): (Q, _) = blocking::run_if(ctx.account(), large, read)
            .await
            .map_err(RpcError::from)??;
        let length = request.encoded_len();
        let message_max = ctx.settings.max_message_bytes();
        if length > message_max {
            return Err(GatewayError::message_too_large(length, message_max));
        }
        let with_permit = verb(ctx, request).await?;
        let (account, length) = (ctx.account().clone(), with_permit.response.encoded_len());
        // Serialization first encodes the response as protobuf and then writes the JSON, which is longer than that encoding.
        let Ok(reserved) = reply::charge(Some(&account), 2 * length) else {
            return Ok(Err(ResponseRefused));
        };
        let write = move || {
            let mut bytes = Vec::new();
            let written = json_format
                .encoding
                .write(&with_permit.response, &mut bytes);
            drop(reserved);
            let charge = reply::charge(Some(&account), bytes.len());
            written.map(|()| charge.map(|charge| ChargedText { bytes, charge }))
        };
        let written = blocking::run_if(ctx.account(), length > INLINE_BYTES, write)
            .await
            .map_err(RpcError::from)?;
        written.map_err(|error| GatewayError::unknown(error.to_string()))
    }
}

/// Decodes a body's first JSON value. As in etcd, an empty or blank body is an empty message, and bytes after the value are
/// ignored.
pub fn decode<Q: Shaped + Default + Message>(
    body: &[u8],
    json_format: JsonFormat,
) -> Result<Q, GatewayError> {
    if json::is_space(body) {
        return Ok(Q::default());
    }
    message(body, json_format).map_err(GatewayError::invalid)
}

/// Like [`decode`], but also returns the charge for the elements of the message's lists. Fails if there are more than
/// `elements_max` elements or the charge is refused.
fn decode_charged<Q: Shaped + Default + Message>(
    account: &Account,
    body: &[u8],
    json_format: JsonFormat,
    elements_max: usize,
) -> Result<(Q, Option<Charge>), GatewayError> {
    if json::is_space(body) {
        return Ok((Q::default(), None));
    }
    let bytes = to_protobuf(body, Q::SHAPE, json_format).map_err(GatewayError::invalid)?;
    Ok(messages::decode(account, bytes.into(), elements_max)?)
}

/// Decodes the first JSON value in `body`, which must not be empty.
fn message<Q: Shaped + Default + Message>(
    body: &[u8],
    json_format: JsonFormat,
) -> Result<Q, String> {
    let bytes = to_protobuf(body, Q::SHAPE, json_format)?;
    Q::decode(Bytes::from(bytes)).map_err(|error| error.to_string())
}

/// Converts the first JSON value in `body`, which must not be empty, to an encoded message with this shape.
fn to_protobuf(
    body: &[u8],
    shape: &MessageShape,
    json_format: JsonFormat,
) -> Result<Vec<u8>, String> {
    let dialect = match (json_format.gateway_version, json_format.encoding) {
        (GatewayVersion::V3_4, Encoding::Base64) => {
            json::check_first(body)?;
            JsonDialect::Jsonpb
        }
        // Plain strings need etcd 3.6's reader, because etcd 3.4's reader accepts invalid UTF-8.
        (GatewayVersion::V3_6, encoding) | (GatewayVersion::V3_4, encoding @ Encoding::Utf8) => {
            JsonDialect::Protojson(encoding)
        }
    };
    let read = reader::read(body, shape, dialect);
    // A syntax error anywhere in the body takes precedence.
    read.map_err(|error| json::check_first(body).err().unwrap_or(error))
}

#[cfg(test)]
mod tests;
