//! Runs gRPC calls: counts and charges them and returns the error messages of etcd and grpc-go. `witan_http2` implements the
//! protocol, the dialects handle the calls, and `http2_requests` serves other HTTP/2 requests.

use std::{
    borrow::Cow,
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, request};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, combinators::MapErr};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tonic::{Code, body::Body};
use witan_api::access::{CallType, GRPC};
use witan_base::{
    account::{self, Account, Totals},
    panics::PanicMetrics,
};
use witan_config::ConnectionSettings;
use witan_http2::{
    CallResponse, Config, KeepAlive, Refusal, RequestMode, RequestStream, Resource, Service,
    Status, driver,
};
use witan_logging as logging;

use super::{
    CallHandler, Handlers, Head, Incoming, Outgoing, TransportMetrics, contain,
    http2_requests::{self, Http2Requests, HttpBody, RunningRequest},
    metrics::{CallMetrics, ClientRequests},
    tls::ClientCertificate,
};

const CLIENT_VERSION: &str = "client-api-version";

/// Metadata key of a call that requires a leader.
const REQUIRE_LEADER: &str = "hasleader";

/// Serves the HTTP/2 connections of one worker.
#[derive(Clone)]
pub(super) struct Server<C> {
    calls: C,
    /// Serves requests that are not gRPC. `None` on a port for gRPC only.
    requests: Option<Http2Requests>,
    rules: Rc<CallRules>,
    config: Config,
    totals: Totals,
    /// Becomes true when the listener stops.
    stopped: watch::Receiver<bool>,
}

/// Data about a connection's client.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionInfo {
    pub(super) over_tls: bool,
    /// The client's certificate, if it sent one.
    pub(super) certificate: Option<ClientCertificate>,
}

/// Settings that apply to the calls of all connections.
#[derive(Debug)]
struct CallRules {
    metrics: Arc<TransportMetrics>,
    panics: PanicMetrics,
    /// Duration above which a unary call is logged as slow.
    expected: Duration,
}

impl<C: CallHandler> Server<C> {
    /// Creates a worker's server. Without `requests`, the server refuses requests that are not gRPC calls. When `stopped`
    /// becomes true, the server's connections end after the responses in flight.
    pub(super) fn new<H>(
        served: &Handlers<H, C>,
        requests: Option<Http2Requests>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            calls: served.calls.clone_for_worker(),
            requests,
            rules: Rc::new(CallRules {
                metrics: served.metrics.clone(),
                panics: served.panics.clone(),
                expected: served.connections.unary_expected,
            }),
            config: config(&served.connections),
            totals: served.totals.clone(),
            stopped,
        }
    }

    /// Serves one connection until it ends. After the stop signal, shuts the connection down gracefully: ends calls that may
    /// run forever and finishes the other streams.
    pub(super) async fn serve<S>(mut self, stream: S, client: ConnectionInfo) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let account = self.totals.open();
        let service = ConnectionService {
            calls: self.calls.of_connection(&account),
            requests: self.requests,
            rules: self.rules,
            account,
            client,
            counted: RefCell::default(),
        };
        let stopped = async move {
            // An error means that the sender was dropped, because the listener has stopped.
            let _ = self.stopped.wait_for(|stopped| *stopped).await;
        };
        driver::serve(stream, service, self.config, stopped).await
    }
}

/// Converts the settings of connections. Without a keepalive interval, connections are not pinged.
fn config(connections: &ConnectionSettings) -> Config {
    Config {
        streams_max: connections.max_concurrent_streams,
        message_bytes_max: connections.max_message_bytes,
        keepalive: connections
            .keepalive_interval
            .map(|interval| KeepAlive { interval, timeout: connections.keepalive_timeout }),
        ping_interval_min: connections.keepalive_min_time,
    }
}

/// The server's state for one client.
struct ConnectionService<C> {
    calls: C,
    requests: Option<Http2Requests>,
    rules: Rc<CallRules>,
    client: ConnectionInfo,
    account: Account,
    /// The client's API version and its counters.
    counted: RefCell<Option<(Option<HeaderValue>, Rc<ClientRequests>)>>,
}

/// Properties of a call that its request head determines. Requests with equal heads share them.
#[derive(Debug)]
pub struct MethodInfo {
    /// The method's counters, or `None` for an unknown method.
    call: Option<Arc<CallMetrics>>,
    /// The request counters of the client's version, or `None` for an unknown method.
    client: Option<Rc<ClientRequests>>,
    /// Whether the call fails if this member knows no leader.
    pub requires_leader: bool,
}

/// Maps a resource of the protocol to a resource of the connection's account.
fn charged(resource: Resource) -> account::Resource {
    match resource {
        Resource::Requests => account::Resource::Requests,
        Resource::Answers => account::Resource::Answers,
        Resource::Calls => account::Resource::Calls,
    }
}

impl<C: CallHandler> Service for ConnectionService<C> {
    type Method = MethodInfo;
    type Call = CallCounter;
    type Future = RunningCall;
    type Body = AnswerBody;

    /// Adds the client's certificate to the head. Returns the counters of the method and of the client's version. An unknown
    /// method has no counters, and its call reads a stream.
    fn method(&self, head: &mut request::Parts) -> (MethodInfo, RequestMode) {
        if let Some(certificate) = &self.client.certificate {
            head.extensions.insert(certificate.clone());
        }
        let metrics = &self.rules.metrics;
        let call = metrics.calls.get(head.uri.path()).cloned();
        let client = call.as_ref().map(|_| {
            let version = head.headers.get(CLIENT_VERSION);
            let mut counted = self.counted.borrow_mut();
            let known = counted
                .take()
                .filter(|(known, _)| known.as_ref() == version);
            let (_, of_version) = counted.insert(known.unwrap_or_else(|| {
                let requests = metrics.clients.version(version.map(HeaderValue::as_bytes));
                (version.cloned(), Rc::new(requests))
            }));
            of_version.clone()
        });
        let mode = match &call {
            Some(call) if call.takes_one_message => RequestMode::Collected,
            Some(_) | None => RequestMode::Streaming,
        };
        let value = head.headers.get(REQUIRE_LEADER);
        let requires_leader = value.is_some_and(|value| value == "true");
        (MethodInfo { call, client, requires_leader }, mode)
    }

    /// Counts a started call by its method and by the client's version, unless the method is unknown. Returns the counter for
    /// the call's end.
    fn begin(&self, head: &Rc<Head>) -> CallCounter {
        let method = head.method();
        if let Some(call) = &method.call {
            call.started.here().inc();
            if let Some(client) = &method.client {
                client.of(call.call_type).inc();
            }
        }
        CallCounter { head: head.clone(), rules: self.rules.clone(), ended: false }
    }

    fn call(&self, request: Incoming) -> Self::Future {
        let (calls, panics) = (self.calls.clone(), self.rules.panics.clone());
        RunningCall::Grpc(Box::pin(contain::call(calls, request, panics)))
    }

    /// Runs a request. Refuses it if the port serves only gRPC.
    fn exchange(&self, head: &Rc<Head>, content: Option<RequestStream>) -> RunningCall {
        RunningCall::Http(match &self.requests {
            Some(requests) => requests.answer(head, content, &self.client, &self.account),
            None => http2_requests::refuse(head),
        })
    }

    /// Counts a received message and its bytes.
    fn received(&self, call: &mut CallCounter, bytes: usize) {
        if let Some(call) = &call.head.method().call {
            call.received.here().inc();
        }
        self.rules
            .metrics
            .grpc_received_bytes
            .here()
            .inc_by(bytes as u64);
    }

    /// Counts a sent message and its bytes.
    fn sent(&self, call: &mut CallCounter, bytes: usize) {
        if let Some(call) = &call.head.method().call {
            call.sent.here().inc();
        }
        self.rules
            .metrics
            .grpc_sent_bytes
            .here()
            .inc_by(bytes as u64);
    }

    fn answered(&self, call: &mut CallCounter, headers: &mut HeaderMap) {
        call.name_unknown_method(headers);
        encode_like_go(headers);
    }

    fn ended(&self, mut call: CallCounter, code: witan_http2::Code, took: Duration) {
        call.ended = true;
        call.count(Code::from_i32(code), took);
    }

    fn may_run_forever(&self, method: &MethodInfo) -> bool {
        let call = method.call.as_ref();
        call.is_some_and(|call| !call.is_unary())
    }

    fn reserve(&self, resource: Resource, amount: usize) -> bool {
        self.account.charge(charged(resource), amount)
    }

    fn release(&self, resource: Resource, amount: usize) {
        self.account.release(charged(resource), amount);
    }

    /// Returns a status with the message of etcd or grpc-go, if they have one for the refusal.
    fn refuse(&self, head: &Head, refusal: Refusal) -> Status {
        let (code, text) = match refusal {
            Refusal::Deadline => (Code::DeadlineExceeded, "context deadline exceeded".into()),
            Refusal::ShuttingDown => (Code::Unavailable, "etcdserver: server stopped".into()),
            Refusal::TooLarge { length, max } => (
                Code::ResourceExhausted,
                format!("grpc: received message larger than max ({length} vs. {max})"),
            ),
            Refusal::SecondMessage => (
                Code::Internal,
                "the request has more than one message".into(),
            ),
            Refusal::NoRoom(resource) => (
                no_room(head.method(), resource),
                "etcdserver: too many requests".into(),
            ),
            Refusal::TooSlow => (
                Code::DeadlineExceeded,
                "the request arrives too slowly".into(),
            ),
            Refusal::UnknownEncoding => {
                let name = header(head, "grpc-encoding");
                let text =
                    format!("grpc: Decompressor is not installed for grpc-encoding {name:?}");
                (Code::Unimplemented, text)
            }
            Refusal::NotPost => {
                let method = head.parts().method.as_str();
                let text = format!(
                    "Received a HEADERS frame with :method {method:?} which should be POST"
                );
                (Code::Internal, text)
            }
            Refusal::BadTimeout => {
                let timeout = header(head, "grpc-timeout");
                (
                    Code::Internal,
                    format!("malformed grpc-timeout: {timeout:?}"),
                )
            }
            Refusal::NoEncoding => (
                Code::Internal,
                "grpc: compressed flag set with identity or empty encoding".into(),
            ),
            Refusal::UnknownFlag(flag) => (
                Code::Internal,
                format!("grpc: received unexpected payload format {flag}"),
            ),
            Refusal::Corrupt => (
                Code::Internal,
                "grpc: failed to decompress the received message".into(),
            ),
        };
        Status::new(code.into(), text)
    }
}

/// Returns the code of a call that is refused because a resource is exhausted. Only a bidirectional stream that lacks memory
/// gets `Unavailable`: etcd's clients resume a watch after `Unavailable`, but not after `ResourceExhausted`.
fn no_room(method: &MethodInfo, resource: Resource) -> Code {
    let call = method.call.as_ref();
    let resumes = call.is_some_and(|call| call.call_type == CallType::BidiStream);
    match resource {
        Resource::Requests | Resource::Answers if resumes => Code::Unavailable,
        Resource::Requests | Resource::Answers | Resource::Calls => Code::ResourceExhausted,
    }
}

/// Returns a header's value as text, or an empty string if the header is missing.
fn header<'a>(head: &'a Head, name: &str) -> Cow<'a, str> {
    let value = head.headers().get(name);
    String::from_utf8_lossy(value.map(HeaderValue::as_bytes).unwrap_or_default())
}

/// Converts a call for tonic. The body must be a stream or empty, because a collected message would be lost.
pub(super) fn to_tonic(request: Incoming) -> http::Request<RequestMessages> {
    let body = RequestMessages(request.body);
    http::Request::from_parts(request.head.parts().clone(), body)
}

/// A request body, as tonic reads it.
#[derive(Debug)]
pub struct RequestMessages(pub witan_http2::Body);

impl http_body::Body for RequestMessages {
    type Data = Bytes;
    type Error = tonic::Status;

    /// Returns the next message. Fails with `Canceled` if the client has reset the stream or the connection has ended.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        match &mut self.0 {
            // Here, only a body without messages is `Whole`.
            witan_http2::Body::Whole(_) => Poll::Ready(None),
            witan_http2::Body::Stream(stream) => {
                let polled = ready!(Pin::new(stream).poll_frame(cx));
                let canceled = |_| tonic::Status::cancelled("context canceled");
                Poll::Ready(polled.map(|frame| frame.map_err(canceled)))
            }
        }
    }
}

/// A running call. This type replaces an async block, which would store the call's future twice.
pub(super) enum RunningCall {
    Grpc(Pin<Box<dyn Future<Output = Outgoing>>>),
    Http(RunningRequest),
}

impl Future for RunningCall {
    type Output = CallResponse<AnswerBody>;

    /// Completes with the response, whose body is converted for `witan_http2`.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallResponse<AnswerBody>> {
        let outgoing = match &mut *self {
            Self::Grpc(call) => ready!(call.as_mut().poll(cx)),
            Self::Http(request) => {
                let response = ready!(request.as_mut().poll(cx));
                let body = |body| AnswerBody::Http(Box::new(body));
                return Poll::Ready(CallResponse::Response(response.map(body)));
            }
        };
        Poll::Ready(match outgoing {
            Outgoing::Message(message) => CallResponse::Message(message),
            Outgoing::Response(response) => {
                let body = |body: Body| AnswerBody::Grpc(body.map_err(to_http2 as _));
                CallResponse::Response(response.map(body))
            }
        })
    }
}

pub(super) enum AnswerBody {
    /// A gRPC body that tonic encodes. Its errors are converted to the status type of `witan_http2`.
    Grpc(MapErr<Body, fn(tonic::Status) -> Status>),
    /// A body that is not gRPC. Boxed, because every stream reserves space for its body.
    Http(Box<HttpBody>),
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    /// Returns the next frame. Encodes the error message in gRPC trailers as grpc-go does.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut *self {
            Self::Grpc(body) => {
                let mut polled = Pin::new(body).poll_frame(cx);
                if let Poll::Ready(Some(Ok(frame))) = &mut polled
                    && let Some(trailers) = frame.trailers_mut()
                {
                    encode_like_go(trailers);
                }
                polled
            }
            Self::Http(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Grpc(body) => body.is_end_stream(),
            Self::Http(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Grpc(body) => body.size_hint(),
            Self::Http(body) => body.size_hint(),
        }
    }
}

/// Replaces the error message in headers or trailers with the encoding of grpc-go. tonic also escapes spaces, but some clients
/// compare messages without decoding them.
fn encode_like_go(headers: &mut HeaderMap) {
    if headers.contains_key(tonic::Status::GRPC_MESSAGE)
        && let Some(status) = tonic::Status::from_header_map(headers)
    {
        headers.extend(to_http2(status).trailers());
    }
}

/// Converts a status of tonic. Drops its details and its metadata.
fn to_http2(status: tonic::Status) -> Status {
    Status::new(status.code().into(), status.message().to_owned())
}

/// Counts the end of a call. If the counter is dropped before the call ends, it counts a canceled call.
pub(super) struct CallCounter {
    head: Rc<Head>,
    rules: Rc<CallRules>,
    ended: bool,
}

impl CallCounter {
    /// Counts the end of a call with its code and duration. Logs a warning if a unary call was slow. Does nothing for an
    /// unknown method.
    fn count(&self, code: Code, took: Duration) {
        let Some(call) = &self.head.method().call else {
            return;
        };
        call.handled(code.into());
        let unary = call.is_unary();
        if let Some(handling) = &call.handling {
            handling.observe(took.as_secs_f64());
        }
        if unary {
            if code != Code::Ok {
                // As in etcd, count an error as a sent message.
                call.sent.here().inc();
            }
            logging::warn_if_slow(call.method, took, self.rules.expected);
        }
    }

    /// Adds the name of the unknown method or service to tonic's `Unimplemented` error, as etcd does. Does not change a
    /// response with a message or another status.
    fn name_unknown_method(&self, headers: &mut HeaderMap) {
        let code = headers.get(tonic::Status::GRPC_STATUS);
        let unimplemented =
            code.is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Unimplemented);
        if !unimplemented || headers.contains_key(tonic::Status::GRPC_MESSAGE) {
            return;
        }
        let whole = self.head.path().trim_start_matches('/');
        let (service, method) = whole.rsplit_once('/').unwrap_or((whole, ""));
        // A counted method is unknown only if its service is not registered.
        let known = GRPC.iter().any(|route| route.names().0 == service);
        let text = if self.head.method().call.is_none() && known {
            format!("unknown method {method} for service {service}")
        } else {
            format!("unknown service {service}")
        };
        let status = Status::new(Code::Unimplemented.into(), text);
        headers.extend(status.trailers());
    }
}

impl Drop for CallCounter {
    fn drop(&mut self) {
        if !self.ended {
            self.count(Code::Cancelled, Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;
    use witan_base::metrics::Register;

    use super::*;

    #[actix_rt::test]
    async fn a_message_in_trailers_is_encoded_as_in_grpc_go() {
        let mut trailers = HeaderMap::new();
        let status = tonic::Status::not_found("50 % of ü");
        status.add_header(&mut trailers).unwrap();
        let frame = Ok::<_, tonic::Status>(Frame::<Bytes>::trailers(trailers));
        let body = Body::new(StreamBody::new(stream::iter([frame])));
        let mut body = AnswerBody::Grpc(body.map_err(to_http2 as _));
        let frame = body.frame().await.unwrap().unwrap();
        let trailers = frame.into_trailers().unwrap();
        assert_eq!(trailers["grpc-message"], "50 %25 of %C3%BC");
    }

    #[test]
    fn a_watch_without_room_for_its_messages_can_be_resumed() {
        let metrics = TransportMetrics::register(&Register::default(), false);
        let code = |path: &str, what| {
            let call = metrics.calls.get(path).cloned();
            let client = None;
            no_room(&MethodInfo { call, client, requires_leader: false }, what)
        };
        let (watch, range) = ("/etcdserverpb.Watch/Watch", "/etcdserverpb.KV/Range");
        for what in [Resource::Requests, Resource::Answers] {
            assert_eq!(code(watch, what), Code::Unavailable);
            assert_eq!(code(range, what), Code::ResourceExhausted);
        }
        assert_eq!(code(watch, Resource::Calls), Code::ResourceExhausted);
    }
}
