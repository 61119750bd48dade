//! HTTP/2 connections: hyper drives them, tonic's routes answer, and this file does around each
//! call what tonic's own server would do: peer address, deadline, size limit, counting, and the
//! answers to what is not gRPC or not known. Texts are those of etcd (grpc-go).

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};
use tonic::{Code, Status, body::Body, transport::server::TcpConnectInfo};

use super::{Calls, Served, limits};
use crate::{
    config::Connections,
    logging,
    metrics::{Call, CallType, Metrics},
};

const DEADLINE: &str = "context deadline exceeded";
pub(super) const NOT_GRPC: &str =
    "this port speaks gRPC over HTTP/2; use HTTP/1.1 for everything else\n";

/// Sends hyper's futures to the worker that owns the connection: nothing has to be `Send`.
#[derive(Clone)]
struct OnWorker;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnWorker {
    fn execute(&self, future: F) {
        actix_rt::spawn(future);
    }
}

/// Serves HTTP/2 connections of one worker.
#[derive(Clone)]
pub(super) struct Server<C> {
    calls: C,
    metrics: Metrics,
    connections: Connections,
    stopped: watch::Receiver<bool>,
}

impl<C: Calls> Server<C> {
    pub(super) fn new<H>(served: &Served<H, C>, stopped: watch::Receiver<bool>) -> Self {
        Self {
            calls: served.calls.clone(),
            metrics: served.metrics.clone(),
            connections: served.connections,
            stopped,
        }
    }

    /// Serves one connection until it ends or, after the stop, its streams have ended.
    pub(super) async fn serve<S>(mut self, stream: S, ends: TcpConnectInfo) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let around = Around {
            calls: self.calls,
            metrics: self.metrics,
            message_bytes_max: self.connections.max_message_bytes,
            unary_expected: self.connections.unary_expected,
            ends,
        };
        let service = service_fn(move |request| around.clone().answer(request));
        let connection = hyper::server::conn::http2::Builder::new(OnWorker)
            .timer(TokioTimer::new())
            .keep_alive_interval(self.connections.keepalive_interval)
            .keep_alive_timeout(self.connections.keepalive_timeout)
            .max_concurrent_streams(self.connections.max_concurrent_streams)
            .initial_stream_window_size(limits::WINDOW_BYTES)
            .initial_connection_window_size(limits::WINDOW_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            done = connection.as_mut() => return done.map_err(io::Error::other),
            _ = self.stopped.wait_for(|stopped| *stopped) => {
                connection.as_mut().graceful_shutdown();
            }
        }
        connection.await.map_err(io::Error::other)
    }
}

/// What is done around the calls of one connection.
#[derive(Clone)]
struct Around<C> {
    calls: C,
    metrics: Metrics,
    message_bytes_max: usize,
    unary_expected: Duration,
    ends: TcpConnectInfo,
}

impl<C: Calls> Around<C> {
    /// The future lives in hyper's task for the stream and is moved there, so what it holds across
    /// the call is little and the call itself is boxed.
    async fn answer(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Outgoing>, Infallible> {
        if !is_grpc(request.headers()) {
            return Ok(not_grpc());
        }
        let deadline = deadline(request.headers());
        let call = self.metrics.call(request.uri().path()).cloned();
        // only an unknown path is needed after the request is gone
        let unknown = call.is_none().then(|| request.uri().path().to_owned());
        let counting = Counting {
            call,
            metrics: self.metrics.clone(),
            began: Instant::now(),
            expected: self.unary_expected,
        };
        if let Some(call) = &counting.call {
            call.started.inc();
        }
        request.extensions_mut().insert(self.ends.clone());
        let received = (counting.call.clone(), self.metrics.clone());
        let max = self.message_bytes_max;
        let request = request.map(|body| Limited {
            body,
            max,
            messages: Messages::default(),
            received,
        });
        let answer = Box::pin(self.calls.call(request));
        let mut response = match deadline {
            None => answer.await,
            Some(at) => match tokio::time::timeout_at(at, answer).await {
                Ok(answer) => answer,
                Err(_) => Status::deadline_exceeded(DEADLINE).into_http(),
            },
        };
        let path = unknown.as_deref();
        explain_unknown(&self.metrics, path, &counting, response.headers_mut());
        Ok(Outgoing::wrap(response, counting, deadline))
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn not_grpc() -> Response<Outgoing> {
    let body = Body::new(NOT_GRPC.to_owned());
    let mut response = Response::new(Outgoing {
        body,
        counting: None,
        deadline: None,
    });
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// tonic refuses an unknown path without a word; etcd names it.
fn explain_unknown(
    metrics: &Metrics,
    path: Option<&str>,
    counting: &Counting,
    headers: &mut HeaderMap,
) {
    if code_of(headers) != Some(Code::Unimplemented) || headers.contains_key(Status::GRPC_MESSAGE) {
        return;
    }
    let text = match (path, &counting.call) {
        (Some(path), _) => {
            let whole = path.trim_start_matches('/');
            let (service, method) = whole.rsplit_once('/').unwrap_or((whole, ""));
            if metrics.knows_service(service) {
                format!("unknown method {method} for service {service}")
            } else {
                format!("unknown service {service}")
            }
        }
        // a method that is counted is unknown only together with its service
        (None, Some(call)) => format!("unknown service {}", call.service),
        (None, None) => return,
    };
    if let Err(status) = Status::unimplemented(text).add_header(headers) {
        tracing::debug!(%status, "failed to name an unknown method");
    }
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers
        .get(Status::GRPC_STATUS)
        .map(|value| Code::from_bytes(value.as_bytes()))
}

/// When the client gives up: `grpc-timeout` is up to eight digits and a unit.
fn deadline(headers: &HeaderMap) -> Option<Instant> {
    let timeout = timeout_of(headers.get("grpc-timeout")?.to_str().ok()?)?;
    // a time beyond what the clock can tell is no deadline
    Instant::now().checked_add(timeout)
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
#[derive(Default)]
struct Messages {
    prefix: [u8; 5],
    have: usize,
    left: usize,
}

impl Messages {
    /// Calls `begun` with the length of each message that begins in this chunk.
    fn follow<E>(
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
            let take = (self.prefix.len() - self.have).min(chunk.len());
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

/// A request body that refuses a message that is too large as soon as its length is known.
pub struct Limited {
    body: Incoming,
    max: usize,
    messages: Messages,
    received: (Option<Arc<Call>>, Metrics),
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(error.into())))),
            None => return Poll::Ready(None),
        };
        if let Some(chunk) = frame.data_ref() {
            let (max, (call, metrics)) = (this.max, &this.received);
            let checked = this.messages.follow(chunk, |length| {
                if length > max {
                    let text =
                        format!("grpc: received message larger than max ({length} vs. {max})");
                    return Err(Status::resource_exhausted(text));
                }
                if let Some(call) = call {
                    call.received.inc();
                }
                metrics.grpc_received_bytes.inc_by(length as u64);
                Ok(())
            });
            if let Err(status) = checked {
                return Poll::Ready(Some(Err(status)));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts how a call ends; one that is dropped before was cancelled by its client.
struct Counting {
    call: Option<Arc<Call>>,
    metrics: Metrics,
    began: Instant,
    /// How long a unary call may take without a warning.
    expected: Duration,
}

impl Counting {
    fn ended(&mut self, code: Code) {
        if let Some(call) = self.call.take() {
            call.handled(code.into());
            if call.call_type == CallType::Unary {
                logging::slow(call.method, self.began.elapsed(), self.expected);
            }
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.ended(Code::Cancelled);
    }
}

/// A response body that is counted and ends at the client's deadline.
struct Outgoing {
    body: Body,
    counting: Option<(Counting, Messages)>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Outgoing {
    fn wrap(
        response: Response<Body>,
        mut counting: Counting,
        deadline: Option<Instant>,
    ) -> Response<Outgoing> {
        // an answer that fails (or says nothing) at once has its status among the headers
        let only_status = code_of(response.headers());
        if let Some(code) = only_status {
            counting.ended(code);
        }
        response.map(|body| Outgoing {
            body,
            counting: only_status
                .is_none()
                .then(|| (counting, Messages::default())),
            deadline: deadline
                .filter(|_| only_status.is_none())
                .map(|at| Box::pin(sleep_until(at))),
        })
    }

    fn count(&mut self, frame: &Frame<Bytes>) {
        let Some((counting, messages)) = &mut self.counting else {
            return;
        };
        if let Some(chunk) = frame.data_ref() {
            let (call, metrics) = (&counting.call, &counting.metrics);
            let Ok(()) = messages.follow(chunk, |length| {
                if let Some(call) = call {
                    call.sent.inc();
                }
                metrics.grpc_sent_bytes.inc_by(length as u64);
                Ok::<_, Infallible>(())
            });
        } else if let Some(trailers) = frame.trailers_ref() {
            counting.ended(code_of(trailers).unwrap_or(Code::Unknown));
            self.counting = None;
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.count(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(other) => Poll::Ready(other),
            Poll::Pending => {
                let Some(deadline) = &mut this.deadline else {
                    return Poll::Pending;
                };
                ready!(deadline.as_mut().poll(cx));
                this.deadline = None;
                this.body = Body::empty();
                let mut trailers = HeaderMap::new();
                Status::deadline_exceeded(DEADLINE).add_header(&mut trailers)?;
                let frame = Frame::trailers(trailers);
                this.count(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
