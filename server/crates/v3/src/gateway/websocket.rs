//! The gateway over WebSocket, for bidirectional streams (watch, keep-alive). Each message is a request or a response.
//!
//! As in etcd, the call runs like a POST: the incoming messages are its body, and each line of its response becomes a message.
//! A session processes its messages in sequence, so a client that does not read stops only its own call.

use std::{collections::VecDeque, convert::Infallible, error::Error, pin::Pin, time::Duration};

use actix_http::ws::{self, CloseCode, CloseReason, OpCode, Parser};
use actix_web::{
    FromRequest as _, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody as _},
    dev,
    http::{Method, header},
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, interval_at},
};
use witan_api::access::GrpcRoute;
use witan_base::account::{Account, Charge, Resource, SMALL_BYTES};
use witan_dialect::Context;

/// Interval between pings. A client that is silent for three intervals is disconnected.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Number of unanswered pings after which the session ends instead of sending another ping.
const MISSED_PINGS: u32 = 2;
/// Header with a token, as `Bearer, <token>`, because browsers cannot set `Authorization`.
const PROTOCOL: &str = "sec-websocket-protocol";
const BEARER: &str = "Bearer";

/// Returns whether a request is a WebSocket handshake for the gateway.
pub fn is_requested(request: &HttpRequest) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    *request.method() == Method::GET
        && upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && request.path().starts_with("/v3")
}

/// Returns the token, which is all text after `Bearer,` in the handshake's subprotocols. Returns `None` if they contain no
/// token or the request is not a handshake.
pub(super) fn token(request: &HttpRequest) -> Option<&str> {
    let protocols = request
        .headers()
        .get(PROTOCOL)
        .filter(|_| is_requested(request));
    let (_, token) = protocols?.to_str().ok()?.split_once("Bearer,")?;
    Some(token.trim())
}

/// Answers a WebSocket handshake. The body of the response runs the session. An invalid handshake gets an error response. For
/// an unknown path, the session sends the error of the call.
pub fn begin(
    ctx: &Context,
    request: &HttpRequest,
    payload: web::Payload,
    path: &[u8],
) -> HttpResponse {
    let mut response = match ws::handshake(request.head()) {
        Ok(response) => response,
        Err(error) => return actix_http::Response::from(error).into(),
    };
    let protocols = request.headers().get(PROTOCOL);
    if protocols.is_some_and(|value| value.as_bytes().starts_with(BEARER.as_bytes())) {
        response.insert_header((PROTOCOL, BEARER));
    }
    let call = super::split(path).map_or("", |(_, call)| call);
    let route = GrpcRoute::of_path(call).filter(|_| ctx.settings.enable_grpc_gateway);
    // One request waits in the channel until the call takes it.
    let (requests, messages) = mpsc::channel(1);
    let socket = WebSocketSession {
        payload,
        received: BytesMut::new(),
        partial_message: BytesMut::new(),
        bytes_max: super::body_bytes_max(ctx),
        account: request.conn_data().cloned(),
        charge: None,
        // Close the channel immediately for an unknown path.
        requests: route.map(|_| requests),
        unsent_request: BytesMut::new(),
        streams: route.is_some_and(super::streams),
        call: CallState::Begun(Box::pin(run(
            ctx.clone(),
            request.clone(),
            messages,
            path.to_owned(),
        ))),
        line: BytesMut::new(),
        ready: VecDeque::new(),
        ping: interval_at(Instant::now() + PING_EVERY, PING_EVERY),
        missed_pings: 0,
        ended: false,
    };
    let frames = stream::unfold(socket, |mut socket| async move {
        let frame = socket.next().await?;
        Some((Ok::<_, Infallible>(frame), socket))
    });
    let frames: Pin<Box<dyn Stream<Item = _>>> = Box::pin(frames);
    let response = response.message_body(actix_web::body::BodyStream::new(frames).boxed());
    match response {
        Ok(response) => response.into(),
        Err(error) => HttpResponse::from_error(error),
    }
}

/// Runs the call at `path`. `messages` form its body.
async fn run(
    ctx: Context,
    request: HttpRequest,
    messages: mpsc::Receiver<Bytes>,
    path: Vec<u8>,
) -> HttpResponse {
    let parts = stream::unfold(messages, |mut messages| async move {
        let part = messages.recv().await?;
        Some((Ok(part), messages))
    });
    // A failed call drains the body, so it may poll the body again after the end.
    let payload = Box::pin(parts.fuse());
    let payload = web::Payload::from_request(&request, &mut dev::Payload::Stream { payload }).await;
    let payload = payload.expect("taking a payload cannot fail");
    super::handle(&ctx, &request, payload, &path).await
}

enum CallState {
    Begun(Pin<Box<dyn Future<Output = HttpResponse>>>),
    /// The unsent rest of the response. Holds the charge for the last line until the session ends.
    Answers(BoxBody),
}

struct WebSocketSession {
    payload: web::Payload,
    /// The received part of an incomplete frame.
    received: BytesMut,
    /// The parts of a message whose last frame has not arrived.
    partial_message: BytesMut,
    bytes_max: usize,
    account: Option<Account>,
    /// The charge for a large message that is incomplete or that the call has not taken.
    charge: Option<Charge>,
    /// The channel to the call; `None` if the call accepts no more requests.
    requests: Option<mpsc::Sender<Bytes>>,
    /// Requests that the call has not taken yet.
    unsent_request: BytesMut,
    /// Whether the call accepts more than one request.
    streams: bool,
    call: CallState,
    /// The start of an incomplete line of the response.
    line: BytesMut,
    ready: VecDeque<Bytes>,
    ping: Interval,
    missed_pings: u32,
    ended: bool,
}

impl WebSocketSession {
    /// Waits for the next frame to send. Returns `None` when the session has ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.charge_held();
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            if self.ended {
                return None;
            }
            // Backpressure: read only when the call has taken the last request.
            let listens = self.unsent_request.is_empty();
            tokio::select! {
                part = next_part(&mut self.call) => match part {
                    Some(Ok(part)) => {
                        self.send_lines(&part);
                        // A large response is always ready, so yield between its parts.
                        if part.len() > SMALL_BYTES {
                            tokio::task::yield_now().await;
                        }
                    }
                    // The memory for the rest of the response is refused.
                    Some(Err(_)) => self.close(CloseCode::Again),
                    None => self.finish_call(),
                },
                more = forward(self.requests.as_ref(), &mut self.unsent_request), if !listens => {
                    if !(more && self.streams) {
                        self.requests = None;
                    }
                }
                received = self.payload.next(), if listens => match received {
                    Some(Ok(bytes)) => self.handle_bytes(&bytes),
                    Some(Err(_)) | None => self.ended = true,
                },
                _ = self.ping.tick() => self.ping(listens),
            }
        }
    }

    /// Queues a ping. If the session is reading (`listens`) and `MISSED_PINGS` pings are unanswered, ends the session instead.
    fn ping(&mut self, listens: bool) {
        if listens && self.missed_pings >= MISSED_PINGS {
            self.ended = true;
            return;
        }
        self.missed_pings += 1;
        self.send(OpCode::Ping, b"");
    }

    /// Handles all complete frames and resets the number of unanswered pings. Closes the session on a protocol error or an
    /// oversized message.
    fn handle_bytes(&mut self, bytes: &[u8]) {
        self.missed_pings = 0;
        self.received.extend_from_slice(bytes);
        let before = self.received.len();
        while !self.ended {
            match Parser::parse(&mut self.received, true, self.bytes_max) {
                Ok(Some((last, code, data))) => {
                    self.frame(last, code, data.unwrap_or_default());
                }
                Ok(None) if self.received.len() > self.bytes_max => self.close(CloseCode::Size),
                Ok(None) => break,
                Err(ws::ProtocolError::Overflow) => self.close(CloseCode::Size),
                Err(_) => self.close(CloseCode::Protocol),
            }
        }
        if self.received.len() <= before / 2 {
            // Copy the remaining bytes, which would otherwise keep the memory of the complete frames alive.
            self.received = BytesMut::from(&self.received[..]);
        }
    }

    /// Charges the maximum size of a message while the call has not taken large messages. Closes the session if the charge is
    /// refused. A stream itself charges the messages that it has taken. The only message of a unary call stays charged. Does
    /// nothing after the session has ended.
    fn charge_held(&mut self) {
        if self.ended {
            return;
        }
        let is_taken = |requests: &mpsc::Sender<Bytes>| requests.capacity() > 0;
        let releases = self.streams && self.requests.as_ref().is_none_or(is_taken);
        let held = self.received.len() + self.partial_message.len() + self.unsent_request.len();
        if held <= SMALL_BYTES {
            if releases {
                self.charge = None;
            }
        } else if self.charge.is_none()
            && let Some(account) = &self.account
        {
            self.charge = account.hold(Resource::Requests, self.bytes_max);
            if self.charge.is_none() {
                self.close(CloseCode::Again);
            }
        }
    }

    /// Handles one frame: collects the parts of a message up to the `last` one, answers a ping, or closes the session.
    fn frame(&mut self, last: bool, code: OpCode, data: BytesMut) {
        match code {
            OpCode::Text | OpCode::Binary | OpCode::Continue => {
                if self.partial_message.len() + data.len() > self.bytes_max {
                    return self.close(CloseCode::Size);
                }
                self.partial_message.extend_from_slice(&data);
                if last {
                    let message = std::mem::take(&mut self.partial_message);
                    self.queue_request(&message);
                }
            }
            OpCode::Ping => self.send(OpCode::Pong, &data),
            OpCode::Pong => {}
            OpCode::Close => self.close(CloseCode::Normal),
            OpCode::Bad => self.close(CloseCode::Protocol),
        }
    }

    /// Queues a complete message as a request. Drops the message if the call accepts no more requests. For a unary call, drops
    /// all messages but the first.
    fn queue_request(&mut self, message: &[u8]) {
        if self.requests.is_some() && (self.streams || self.unsent_request.is_empty()) {
            self.unsent_request.extend_from_slice(message);
            self.unsent_request.extend_from_slice(b"\n");
        }
    }

    /// Queues complete lines of the response as messages and keeps an incomplete last line. Scans each byte once, even in long
    /// lines.
    fn send_lines(&mut self, mut part: &[u8]) {
        while let Some(end) = part.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&part[..end]);
            self.send(OpCode::Text, &line);
            part = &part[end + 1..];
        }
        self.line.extend_from_slice(part);
    }

    /// Queues an incomplete last line after the call has completed, and closes the session.
    fn finish_call(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.send(OpCode::Text, &line);
        }
        self.close(CloseCode::Normal);
    }

    /// Queues an unfragmented frame.
    fn send(&mut self, code: OpCode, data: &[u8]) {
        let mut frame = BytesMut::new();
        Parser::write_message(&mut frame, data, code, true, false);
        self.ready.push_back(frame.freeze());
    }

    /// Queues a close frame and ends the session.
    fn close(&mut self, code: CloseCode) {
        let mut frame = BytesMut::new();
        Parser::write_close(&mut frame, Some(CloseReason::from(code)), false);
        self.ready.push_back(frame.freeze());
        self.ended = true;
    }
}

/// Waits until the call has taken the last request, sends `unsent_request` and empties the buffer. If the call accepts no more
/// requests, drops the request and returns false.
async fn forward(requests: Option<&mpsc::Sender<Bytes>>, unsent_request: &mut BytesMut) -> bool {
    let part = match requests {
        Some(requests) => requests.reserve().await.ok(),
        None => None,
    };
    let request = std::mem::take(unsent_request).freeze();
    part.map(|permit| permit.send(request)).is_some()
}

/// Waits for the next part of the call's response. Returns `None` at the end.
async fn next_part(call: &mut CallState) -> Option<Result<Bytes, Box<dyn Error>>> {
    loop {
        match call {
            CallState::Begun(response) => {
                *call = CallState::Answers(response.await.into_body());
            }
            CallState::Answers(body) => {
                return std::future::poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
