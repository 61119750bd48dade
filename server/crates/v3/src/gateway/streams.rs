//! Serves streams as JSON over HTTP/1. The request body contains consecutive JSON objects, one per request. Each response is a
//! line in its own chunk, because some clients parse chunks.

use std::pin::Pin;

use actix_web::{HttpRequest, HttpResponse, http::header::CONTENT_TYPE, web};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use prost::Message;
use serde::Serialize;
use tonic::Status;
use witan_api::v3::{etcdserverpb::SnapshotRequest, shape::Shaped};
use witan_base::{
    account::Account,
    panics::{self, PanicSource},
};
use witan_dialect::{
    Context,
    client_connection::Disconnect,
    reply::{self, ResponseRefused},
};

use super::{
    GatewayVersion, JsonFormat, deadline::Deadline, encoding::Encoding, error::GatewayError,
    json_requests::JsonRequests,
};
use crate::{error::RpcError, snapshot};

const PANICKED: &str = "internal error: the stream was not completed";

pub(super) type RequestStream<Q> = Pin<Box<dyn Stream<Item = Result<Q, Status>>>>;

/// Waits for the first request and starts the stream that `answers` returns. `answers` receives the context, the requests, and
/// whether the client requires a leader. Fails if the first request or its timeout is unreadable. If a required leader is
/// missing, returns an error response instead. As in etcd, a later unreadable request only ends the stream of requests.
pub(super) async fn begin<Q, A, S>(
    ctx: &Context,
    request: &HttpRequest,
    payload: web::Payload,
    json_format: JsonFormat,
    answers: impl FnOnce(&Context, RequestStream<Q>, bool) -> S,
) -> Result<HttpResponse, GatewayError>
where
    Q: Shaped + Default + Message + 'static,
    A: Shaped + Serialize,
    S: Stream<Item = Result<A, Status>> + 'static,
{
    let bytes_max = super::body_bytes_max(ctx);
    let mut requests = JsonRequests::new(ctx.account(), payload, (json_format, bytes_max));
    let deadline = Deadline::of(request)?;
    let needs_leader = match super::check_leader(ctx, request) {
        Ok(needs_leader) => needs_leader,
        Err(error) => return Ok(refused(&error.into(), json_format.gateway_version)),
    };
    let first: Option<Q> = match requests.next().await {
        Ok(first) => first,
        Err(text) => return Err(GatewayError::unreadable(text, json_format.gateway_version)),
    };
    let rest = stream::unfold(requests, |mut requests| async move {
        let request = requests.next().await.ok().flatten()?;
        Some((request, requests))
    });
    let requests: RequestStream<Q> = Box::pin(stream::iter(first).chain(rest).map(Ok));
    let answers = answers(ctx, requests, needs_leader);
    Ok(in_lines(ctx, request, answers, json_format, deadline).await)
}

/// Like [`begin`], but the stream ends when the client closes its side, as in etcd. The server could not detect a later
/// disconnect, so an idle stream would occupy its connection for hours.
pub(super) async fn begin_endless<Q, A, S>(
    ctx: &Context,
    request: &HttpRequest,
    payload: web::Payload,
    json_format: JsonFormat,
    answers: impl FnOnce(&Context, RequestStream<Q>, bool) -> S,
) -> Result<HttpResponse, GatewayError>
where
    Q: Shaped + Default + Message + 'static,
    A: Shaped + Serialize + 'static,
    S: Stream<Item = Result<A, Status>> + 'static,
{
    let client = Disconnect::of(request);
    let answers = |ctx: &Context, requests, needs_leader| {
        until_closed(client, answers(ctx, requests, needs_leader))
    };
    begin(ctx, request, payload, json_format, answers).await
}

/// Ends a stream once the client has closed its side and no response is ready.
fn until_closed<A>(client: Disconnect, answers: impl Stream<Item = A>) -> impl Stream<Item = A> {
    let state = (Box::pin(answers), client);
    stream::unfold(state, |(mut answers, client)| async move {
        tokio::select! {
            biased;
            answer = answers.next() => Some((answer?, (answers, client))),
            () = client.disconnected() => None,
        }
    })
}

/// Answers a `Snapshot` call with one line per chunk. The body contains at most one request. Fails if the request is
/// unreadable; the response contains any other error. Chunks are always base64, because a snapshot is binary even where it
/// looks like text.
pub(super) async fn snapshot(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
    json_format: JsonFormat,
) -> Result<HttpResponse, GatewayError> {
    let refused = |error: RpcError| Ok(refused(&error.into(), json_format.gateway_version));
    let deadline = Deadline::of(request)?;
    if let Err(error) = super::check_leader(ctx, request) {
        return refused(error);
    }
    let bytes_max = super::body_bytes_max(ctx);
    let body = reply::read(payload, bytes_max).await;
    let body = body.map_err(|error| GatewayError::unread(error, bytes_max))?;
    let message: SnapshotRequest = super::decode(&body, json_format)?;
    let chunks = match snapshot::snapshot(ctx, message, false).await {
        Ok(chunks) => chunks,
        Err(error) => return refused(error),
    };
    let json_format = JsonFormat { encoding: Encoding::Base64, ..json_format };
    Ok(in_lines(ctx, request, chunks, json_format, deadline).await)
}

/// Waits for the first message and builds the response, which streams one line per message. As in etcd, an error before the
/// first message sets the HTTP status. The error of a later failure, a panic or the deadline becomes the last line.
async fn in_lines<A: Shaped + Serialize>(
    ctx: &Context,
    request: &HttpRequest,
    answers: impl Stream<Item = Result<A, Status>> + 'static,
    json_format: JsonFormat,
    deadline: Deadline,
) -> HttpResponse {
    let metrics = ctx.panics.clone();
    let state = (Box::pin(answers), Box::pin(deadline.passed()));
    let answers = stream::try_unfold(state, move |(mut answers, mut passed)| {
        let metrics = metrics.clone();
        async move {
            let next = panics::contain(&metrics, PanicSource::GatewayStream, answers.try_next());
            let next = tokio::select! {
                biased;
                late = &mut passed => return Err(late),
                next = next => next,
            };
            let next = next.unwrap_or_else(|_| Err(Status::internal(PANICKED)))?;
            Ok(next.map(|answer| (answer, (answers, passed))))
        }
    });
    let mut answers = Box::pin(answers.peekable());
    if let Some(Err(status)) = answers.as_mut().peek().await {
        return refused(status, json_format.gateway_version);
    }
    let lines = answers.map(move |answer| match answer {
        Ok(answer) => line(&answer, json_format.encoding),
        Err(status) => failed(&status, json_format.gateway_version),
    });
    let lines = charged(reply::account(request).cloned(), lines);
    let mut response = HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, reply::JSON))
        .insert_header(("Grpc-Metadata-Content-Type", "application/grpc"))
        .streaming(lines);
    reply::end_with_connection(request, &mut response);
    response
}

/// Charges each line to the account, if there is one, until the connection has sent it. If a charge is refused, the body fails
/// and the connection closes.
fn charged(
    account: Option<Account>,
    lines: impl Stream<Item = Bytes> + Unpin,
) -> impl Stream<Item = Result<Bytes, ResponseRefused>> {
    let state = (lines, account, None);
    stream::try_unfold(state, |(mut lines, account, sent)| async move {
        drop(sent);
        let Some(line) = lines.next().await else {
            return Ok(None);
        };
        let charge = reply::charge(account.as_ref(), line.len())?;
        Ok(Some((line, (lines, account, charge))))
    })
}

/// Builds the response for a stream that fails before its first message.
pub(super) fn refused(status: &Status, gateway_version: GatewayVersion) -> HttpResponse {
    HttpResponse::build(super::error::status_of(status.code(), gateway_version))
        .insert_header((CONTENT_TYPE, reply::JSON))
        .body(failed(status, gateway_version))
}

/// Renders a message as a line with an object `{"result":…}`. Renders an internal error if JSON cannot represent the message.
fn line<A: Shaped + Serialize>(answer: &A, encoding: Encoding) -> Bytes {
    let mut line = br#"{"result":"#.to_vec();
    match encoding.write(answer, &mut line) {
        Ok(()) => {
            line.extend_from_slice(b"}\n");
            line.into()
        }
        Err(error) => failed(&Status::internal(error.to_string()), GatewayVersion::V3_6),
    }
}

/// Renders the last line of a failed stream. Clients of etcd 3.4, such as Patroni before 4.0.8, read `grpc_code`.
fn failed(status: &Status, gateway_version: GatewayVersion) -> Bytes {
    let http = super::error::status_of(status.code(), gateway_version);
    let code = i32::from(status.code());
    let mut error = serde_json::json!({
        "grpc_code": code,
        "http_code": http.as_u16(),
        "message": status.message(),
        "http_status": http.canonical_reason().unwrap_or_default(),
    });
    if gateway_version == GatewayVersion::V3_6 {
        error["code"] = code.into();
    }
    format!("{}\n", serde_json::json!({ "error": error })).into()
}
