//! What is done around every gRPC call on an HTTP/2 connection: deadline, size limit, counting, and
//! the answers to what is not gRPC or not known. Texts are those of etcd (grpc-go).

use std::{convert::Infallible, future::poll_fn, io, rc::Rc, sync::Arc, time::Duration};

use http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::coop::unconstrained,
    time::Instant,
};
use tonic::{Code, Status, body::Body, transport::server::TcpConnectInfo};

use super::{
    Calls, Served,
    http2::{Around, Connection, Head},
    limits::CLOSE_TIMEOUT,
    tls::PeerCertificate,
};
use crate::{
    budget::Traffic,
    config::Connections,
    logging,
    metrics::{Call, CallType, Metrics},
};

pub(super) const DEADLINE: &str = "context deadline exceeded";
pub(super) const STOPPED: &str = "etcdserver: server stopped";
pub(super) const NOT_GRPC: &str =
    "this port speaks gRPC over HTTP/2; use HTTP/1.1 for everything else\n";

/// Flag and length before each message.
pub(super) const PREFIX_BYTES: usize = 5;

/// Serves HTTP/2 connections of one worker.
#[derive(Clone)]
pub(super) struct Server<C> {
    calls: C,
    rules: Rc<Rules>,
    connections: Connections,
    stopped: watch::Receiver<bool>,
}

/// Who talks to whom.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub(super) tcp: TcpConnectInfo,
    /// What the client has shown.
    pub(super) certificate: Option<PeerCertificate>,
}

impl Ends {
    /// Puts it where calls look for it.
    pub(super) fn tell(&self, extensions: &mut Extensions) {
        extensions.insert(self.tcp.clone());
        if let Some(certificate) = &self.certificate {
            extensions.insert(certificate.clone());
        }
    }
}

/// What holds for the calls of all connections.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) metrics: Metrics,
    pub(super) message_max: usize,
    /// How long a unary call may take without a warning.
    pub(super) expected: Duration,
    pub(super) traffic: Traffic,
}

impl<C: Calls> Server<C> {
    pub(super) fn new<H>(
        served: &Served<H, C>,
        traffic: Traffic,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            calls: served.calls.own(),
            rules: Rc::new(Rules {
                metrics: served.metrics.clone(),
                message_max: served.connections.max_message_bytes,
                expected: served.connections.unary_expected,
                traffic,
            }),
            connections: served.connections,
            stopped,
        }
    }

    /// Serves one connection until it ends or, after the stop, its streams have ended.
    pub(super) async fn serve<S>(mut self, stream: S, ends: Ends) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let around = Around {
            calls: self.calls,
            rules: self.rules,
            ends,
        };
        let mut connection = Connection::new(stream, around, &self.connections);
        // the connection bounds by itself what it does at once
        let done = tokio::select! {
            biased;
            done = unconstrained(poll_fn(|cx| connection.poll(cx))) => Some(done),
            _ = self.stopped.wait_for(|stopped| *stopped) => None,
        };
        match done {
            Some(done) => done?,
            None => {
                connection.stop();
                unconstrained(poll_fn(|cx| connection.poll(cx))).await?;
            }
        }
        // TLS says goodbye; a client that does not listen is left
        let goodbye = poll_fn(|cx| connection.close(cx));
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
        Ok(())
    }
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

pub(super) fn not_grpc() -> Response<Body> {
    let mut response = Response::new(Body::new(NOT_GRPC.to_owned()));
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, text);
    headers.insert(header::CONTENT_LENGTH, NOT_GRPC.len().into());
    response
}

pub(super) fn headers_too_large() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

pub(super) fn too_large(length: usize, max: usize) -> Status {
    let text = format!("grpc: received message larger than max ({length} vs. {max})");
    Status::resource_exhausted(text)
}

/// More than one message for a call that takes one.
pub(super) fn too_long() -> Status {
    Status::internal("the request has more than one message")
}

/// One connection has begun more than is taken from it.
pub(super) fn too_many() -> Status {
    Status::resource_exhausted("grpc: too many unfinished requests on one connection")
}

/// The whole process has begun more than it has room for. The text is etcd's.
pub(super) fn too_many_requests() -> Status {
    Status::resource_exhausted("etcdserver: too many requests")
}

/// A message that does not come.
pub(super) fn too_slow() -> Status {
    Status::deadline_exceeded("the request comes too slowly")
}

/// Length of the first message, once its prefix is there.
pub(super) fn length(message: &[u8]) -> Option<usize> {
    let [_compressed, a, b, c, d] = *message.first_chunk::<PREFIX_BYTES>()?;
    // 32 bits fit wherever this runs
    Some(u32::from_be_bytes([a, b, c, d]) as usize)
}

/// Counts a message that came in.
pub(super) fn received(call: Option<&Arc<Call>>, metrics: &Metrics, length: usize) {
    if let Some(call) = call {
        call.received.inc();
    }
    metrics.grpc_received_bytes.inc_by(length as u64);
}

pub(super) fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers
        .get(Status::GRPC_STATUS)
        .map(|value| Code::from_bytes(value.as_bytes()))
}

/// How long the client waits: `grpc-timeout` is up to eight digits and a unit.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    timeout_of(headers.get("grpc-timeout")?.to_str().ok()?)
}

fn timeout_of(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Follows the length prefixes of messages through chunks cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Messages {
    prefix: [u8; PREFIX_BYTES],
    have: usize,
    left: usize,
}

impl Messages {
    /// Calls `begun` with the length of each message that begins in this chunk.
    pub(super) fn follow<E>(
        &mut self,
        mut chunk: &[u8],
        mut begun: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let skip = self.left.min(chunk.len());
            self.left -= skip;
            chunk = &chunk[skip..];
            if chunk.is_empty() {
                return Ok(());
            }
            let take = (PREFIX_BYTES - self.have).min(chunk.len());
            self.prefix[self.have..self.have + take].copy_from_slice(&chunk[..take]);
            self.have += take;
            chunk = &chunk[take..];
            if self.have == self.prefix.len() {
                let [_compressed, a, b, c, d] = self.prefix;
                // 32 bits fit wherever this runs
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.have = 0;
                begun(self.left)?;
            }
        }
    }
}

/// Counts how a call ends; one that is dropped before was cancelled by its client.
#[derive(Debug)]
pub(super) struct Counting {
    head: Rc<Head>,
    rules: Rc<Rules>,
    began: Instant,
    messages: Messages,
    ended: bool,
}

impl Counting {
    pub(super) fn new(head: Rc<Head>, rules: Rc<Rules>) -> Self {
        if let Some(call) = &head.call {
            call.started.inc();
        }
        if let Some(client) = &head.client {
            client.inc();
        }
        Self {
            head,
            rules,
            began: Instant::now(),
            messages: Messages::default(),
            ended: false,
        }
    }

    /// Whether the call has more than one answer, so that it may have no end of its own.
    pub(super) fn streams(&self) -> bool {
        let call = self.head.call.as_ref();
        call.is_some_and(|call| call.call_type != CallType::Unary)
    }

    /// When the call began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// A message of this length goes out.
    pub(super) fn sent(&self, length: usize) {
        if let Some(call) = &self.head.call {
            call.sent.inc();
        }
        self.rules.metrics.grpc_sent_bytes.inc_by(length as u64);
    }

    /// The next chunk of an answer that goes out.
    pub(super) fn follow_sent(&mut self, chunk: &[u8]) {
        let mut messages = std::mem::take(&mut self.messages);
        let Ok(()) = messages.follow(chunk, |length| {
            self.sent(length);
            Ok::<_, Infallible>(())
        });
        self.messages = messages;
    }

    /// Only the first word counts.
    pub(super) fn ended(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(call) = &self.head.call {
            call.handled(code.into());
            let unary = call.call_type == CallType::Unary;
            if !unary && call.handling.is_none() {
                return;
            }
            let took = self.began.elapsed();
            if let Some(handling) = &call.handling {
                handling.observe(took.as_secs_f64());
            }
            if unary {
                if code != Code::Ok {
                    // as in etcd, a refusal is an answer, too
                    call.sent.inc();
                }
                logging::slow(call.method, took, self.rules.expected);
            }
        }
    }

    /// tonic refuses an unknown path without a word; etcd names it.
    pub(super) fn explain_unknown(&self, headers: &mut HeaderMap) {
        if code_of(headers) != Some(Code::Unimplemented)
            || headers.contains_key(Status::GRPC_MESSAGE)
        {
            return;
        }
        let whole = self.head.path().trim_start_matches('/');
        let (service, method) = whole.rsplit_once('/').unwrap_or((whole, ""));
        // a method that is counted is unknown only together with its service
        let text = if self.head.call.is_none() && self.rules.metrics.knows_service(service) {
            format!("unknown method {method} for service {service}")
        } else {
            format!("unknown service {service}")
        };
        if let Err(status) = Status::unimplemented(text).add_header(headers) {
            tracing::debug!(%status, "failed to name an unknown method");
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.ended(Code::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        assert_eq!(timeout_of("20m"), Some(Duration::from_millis(20)));
        assert_eq!(
            timeout_of("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        for bad in ["", "m", "5", "-5m", "123456789m", "5x", "5ü"] {
            assert_eq!(timeout_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn messages_are_found_in_chunks_cut_anywhere() {
        let mut stream = Vec::new();
        for length in [3_u32, 0, 300] {
            stream.push(0);
            stream.extend(length.to_be_bytes());
            stream.extend(vec![7; length as usize]);
        }
        for size in [1, 2, 3, 5, 7, 100, 1000] {
            let (mut messages, mut seen) = (Messages::default(), Vec::new());
            for chunk in stream.chunks(size) {
                let Ok(()) = messages.follow(chunk, |length| {
                    seen.push(length);
                    Ok::<_, Infallible>(())
                });
            }
            assert_eq!(seen, [3, 0, 300], "chunks of {size}");
        }
    }
}
