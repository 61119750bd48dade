//! The gateway over a WebSocket, for bidirectional streams (watch, keep-alive): each message is a
//! request, each response a message.
//!
//! As in etcd it is the call by POST, with the messages as its body and the lines of its answer as
//! messages. Everything runs in sequence, so a client that does not read stops only its own call.

use std::{collections::VecDeque, convert::Infallible, pin::Pin, time::Duration};

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

use crate::{
    api::Context,
    budget::{Permit, SMALL_BYTES, Traffic},
    panics::planted,
};

/// Interval between pings; a client that was silent for three of them is disconnected.
const PING_EVERY: Duration = Duration::from_secs(30);
/// See [`PING_EVERY`].
const UNHEARD_MAX: u32 = 2;
/// Requests that wait for their call to take them.
const REQUESTS_MAX: usize = 1;
/// Carries a token where a browser cannot set `Authorization`: `Bearer, <token>`.
const PROTOCOL: &str = "sec-websocket-protocol";
const BEARER: &str = "Bearer";

/// Whether a request is a WebSocket handshake for the gateway.
pub(in crate::api) fn wanted(request: &HttpRequest) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    *request.method() == Method::GET
        && upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && request.path().starts_with("/v3")
}

/// The token of a browser, in the handshake's subprotocols.
pub(super) fn token(request: &HttpRequest) -> Option<&str> {
    let given = request.headers().get(PROTOCOL).filter(|_| wanted(request));
    let (_, token) = given?.to_str().ok()?.split_once("Bearer,")?;
    Some(token.trim())
}

/// Answers the handshake; the session is the body of the answer.
pub(in crate::api) fn begin(
    ctx: &Context,
    request: &HttpRequest,
    payload: web::Payload,
    path: &[u8],
) -> HttpResponse {
    let mut response = match ws::handshake(request.head()) {
        Ok(response) => response,
        Err(error) => return actix_http::Response::from(error).into(),
    };
    let asked = request.headers().get(PROTOCOL);
    if asked.is_some_and(|asked| asked.as_bytes().starts_with(BEARER.as_bytes())) {
        response.insert_header((PROTOCOL, BEARER));
    }
    let call = super::split(path).map_or("", |(_, call)| call);
    let route = GrpcRoute::of_path(call).filter(|_| ctx.settings.enable_grpc_gateway);
    let (requests, asked) = mpsc::channel(REQUESTS_MAX);
    let socket = Socket {
        payload,
        received: BytesMut::new(),
        begun: BytesMut::new(),
        bytes_max: super::body_bytes_max(ctx),
        traffic: request.conn_data().cloned(),
        room: None,
        // fail early for an unknown path
        requests: route.map(|_| requests),
        asked: BytesMut::new(),
        streams: route.is_some_and(super::streams),
        call: Call::Begun(Box::pin(run(
            ctx.clone(),
            request.clone(),
            asked,
            path.to_owned(),
        ))),
        line: BytesMut::new(),
        ready: VecDeque::new(),
        ping: interval_at(Instant::now() + PING_EVERY, PING_EVERY),
        unheard: 0,
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

/// The call whose body the messages are.
async fn run(
    ctx: Context,
    request: HttpRequest,
    asked: mpsc::Receiver<Bytes>,
    path: Vec<u8>,
) -> HttpResponse {
    let parts = stream::unfold(asked, |mut asked| async move {
        let part = asked.recv().await?;
        Some((Ok(part), asked))
    });
    // a failed call drains the rest, also after the end
    let payload = Box::pin(parts.fuse());
    let payload = web::Payload::from_request(&request, &mut dev::Payload::Stream { payload }).await;
    let payload = payload.expect("taking a payload cannot fail");
    super::handle(&ctx, &request, payload, &path).await
}

enum Call {
    /// It has not answered yet.
    Begun(Pin<Box<dyn Future<Output = HttpResponse>>>),
    /// What is left of its answer.
    Answers(BoxBody),
    Done,
}

/// One connection after its handshake.
struct Socket {
    payload: web::Payload,
    /// Bytes that are no whole frame yet.
    received: BytesMut,
    /// A message of which more frames are to come.
    begun: BytesMut,
    /// The longest message.
    bytes_max: usize,
    traffic: Option<Traffic>,
    /// For a message that is large and not whole.
    room: Option<Permit>,
    /// `None` after the last allowed request.
    requests: Option<mpsc::Sender<Bytes>>,
    /// Requests that the call has not taken yet.
    asked: BytesMut,
    /// Whether the call takes more than one request.
    streams: bool,
    call: Call,
    /// The beginning of a line of the answer.
    line: BytesMut,
    ready: VecDeque<Bytes>,
    ping: Interval,
    /// Consecutive pings without an answer.
    unheard: u32,
    ended: bool,
}

/// Why a socket wakes.
enum Woken {
    Came(Result<Bytes, ()>),
    Response(HttpResponse),
    Part(Option<Bytes>),
    /// The call took the request; `false` if it takes no more.
    Taken(bool),
    Ping,
}

impl Socket {
    /// The next frame to send.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            if self.ended {
                return None;
            }
            // backpressure: read only when the call has taken the last request
            let listens = self.asked.is_empty();
            let woken = tokio::select! {
                part = answer(&mut self.call) => part,
                taken = hand_on(self.requests.as_ref(), &mut self.asked), if !listens => {
                    Woken::Taken(taken)
                }
                came = came(&mut self.payload), if listens => Woken::Came(came),
                _ = self.ping.tick() => Woken::Ping,
            };
            match woken {
                Woken::Came(Ok(bytes)) => self.take(&bytes),
                Woken::Came(Err(())) => self.ended = true,
                Woken::Response(response) => self.call = Call::Answers(response.into_body()),
                Woken::Taken(wants_more) => {
                    if !(wants_more && self.streams) {
                        self.requests = None;
                    }
                }
                Woken::Part(Some(part)) => {
                    self.send_lines(&part);
                    // a large answer is always ready; others have their turn between its pieces
                    if part.len() > SMALL_BYTES {
                        tokio::task::yield_now().await;
                    }
                }
                Woken::Part(None) => self.answered(),
                Woken::Ping => self.ping(listens),
            }
        }
    }

    fn ping(&mut self, listens: bool) {
        if listens && self.unheard >= UNHEARD_MAX {
            self.ended = true;
            return;
        }
        self.unheard += 1;
        self.send(OpCode::Ping, b"");
    }

    fn take(&mut self, bytes: &[u8]) {
        self.unheard = 0;
        self.received.extend_from_slice(bytes);
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
        self.pay();
    }

    /// Reserves memory for a large incomplete message.
    fn pay(&mut self) {
        let held = self.received.len() + self.begun.len();
        if held <= SMALL_BYTES {
            self.room = None;
        } else if self.room.is_none()
            && let Some(traffic) = &self.traffic
        {
            self.room = traffic.requests.take(self.bytes_max);
            if self.room.is_none() {
                self.close(CloseCode::Again);
            }
        }
    }

    fn frame(&mut self, last: bool, code: OpCode, data: BytesMut) {
        match code {
            OpCode::Text | OpCode::Binary | OpCode::Continue => {
                if self.begun.len() + data.len() > self.bytes_max {
                    return self.close(CloseCode::Size);
                }
                self.begun.extend_from_slice(&data);
                if last {
                    let message = std::mem::take(&mut self.begun);
                    self.ask(&message);
                }
            }
            OpCode::Ping => self.send(OpCode::Pong, &data),
            OpCode::Pong => {}
            OpCode::Close => self.close(CloseCode::Normal),
            OpCode::Bad => self.close(CloseCode::Protocol),
        }
    }

    /// Handles a complete request. A unary call takes only the first.
    fn ask(&mut self, message: &[u8]) {
        planted::here("websocket");
        if self.requests.is_some() && (self.streams || self.asked.is_empty()) {
            self.asked.extend_from_slice(message);
            self.asked.extend_from_slice(b"\n");
        }
    }

    /// Sends complete lines. Each byte of an answer is examined once, also in long lines.
    fn send_lines(&mut self, mut part: &[u8]) {
        while let Some(end) = part.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&part[..end]);
            self.send(OpCode::Text, &line);
            part = &part[end + 1..];
        }
        self.line.extend_from_slice(part);
    }

    /// The call has completed.
    fn answered(&mut self) {
        self.call = Call::Done;
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.send(OpCode::Text, &line);
        }
        self.close(CloseCode::Normal);
    }

    fn send(&mut self, code: OpCode, data: &[u8]) {
        let mut frame = BytesMut::new();
        Parser::write_message(&mut frame, data, code, true, false);
        self.ready.push_back(frame.freeze());
    }

    fn close(&mut self, code: CloseCode) {
        let mut frame = BytesMut::new();
        Parser::write_close(&mut frame, Some(CloseReason::from(code)), false);
        self.ready.push_back(frame.freeze());
        self.ended = true;
    }
}

/// Whether the call took it.
async fn hand_on(requests: Option<&mpsc::Sender<Bytes>>, asked: &mut BytesMut) -> bool {
    let part = match requests {
        Some(requests) => requests.reserve().await.ok(),
        None => None,
    };
    let asked = std::mem::take(asked).freeze();
    part.map(|permit| permit.send(asked)).is_some()
}

async fn came(payload: &mut web::Payload) -> Result<Bytes, ()> {
    match payload.next().await {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(_)) | None => Err(()),
    }
}

async fn answer(call: &mut Call) -> Woken {
    match call {
        Call::Begun(response) => Woken::Response(response.await),
        Call::Answers(body) => {
            let part = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).await;
            Woken::Part(part.and_then(Result::ok))
        }
        Call::Done => std::future::pending().await,
    }
}
