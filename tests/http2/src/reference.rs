//! The h2 crate as a server in memory. It answers calls like `subject`.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::{RecvStream, server};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    calls::{Call, LARGE_BYTES},
    server::Server,
};

/// Both directions of a connection.
#[derive(Debug, Default)]
struct Wire {
    to_server: VecDeque<u8>,
    to_client: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct Pipe(Rc<RefCell<Wire>>);

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.0.borrow_mut();
        if wire.to_server.is_empty() {
            return Poll::Pending;
        }
        let count = wire.to_server.len().min(buffer.remaining());
        let bytes: Vec<u8> = wire.to_server.drain(..count).collect();
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().to_client.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

enum State {
    Greeting(server::Handshake<Pipe, Bytes>),
    Open(server::Connection<Pipe, Bytes>),
    Closed,
}

struct Running {
    call: Call,
    request: RecvStream,
    respond: server::SendResponse<Bytes>,
    body: Vec<u8>,
}

/// A connection that h2 serves.
pub struct Reference {
    pipe: Pipe,
    state: State,
    calls: Vec<Running>,
    /// The requests that h2 has accepted.
    pub requests: Vec<Request<()>>,
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reference").finish_non_exhaustive()
    }
}

impl Reference {
    /// Creates a connection that has received no bytes.
    pub fn new(streams_max: u32) -> Self {
        let pipe = Pipe::default();
        let mut builder = server::Builder::new();
        builder.max_concurrent_streams(streams_max);
        builder.max_header_list_size(crate::HEADER_LIST_MAX);
        builder.initial_window_size(witan_http2::limits::WINDOW_BYTES);
        builder.initial_connection_window_size(witan_http2::limits::WINDOW_BYTES);
        let state = State::Greeting(builder.handshake(pipe.clone()));
        let (calls, requests) = (Vec::new(), Vec::new());
        Self { pipe, state, calls, requests }
    }

    /// Runs the connection and its calls until they make no more progress, for a bounded number of turns.
    fn run(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        // A call can unblock the connection, and the connection can unblock a call.
        for _ in 0..64 {
            let before = self.pipe.0.borrow().to_client.len();
            self.turn(&mut cx);
            let idle = self.pipe.0.borrow().to_client.len() == before;
            if idle && self.pipe.0.borrow().to_server.is_empty() {
                break;
            }
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) {
        if let State::Greeting(handshake) = &mut self.state {
            match Pin::new(handshake).poll(cx) {
                Poll::Ready(Ok(connection)) => self.state = State::Open(connection),
                Poll::Ready(Err(_)) => self.state = State::Closed,
                Poll::Pending => return,
            }
        }
        loop {
            let State::Open(connection) = &mut self.state else {
                return;
            };
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let (parts, request) = request.into_parts();
                    self.calls.push(Running {
                        call: Call::of(parts.uri.path()),
                        request,
                        respond,
                        body: Vec::new(),
                    });
                    self.requests.push(Request::from_parts(parts, ()));
                }
                Poll::Ready(None | Some(Err(_))) => self.state = State::Closed,
                Poll::Pending => break,
            }
        }
        self.calls.retain_mut(|call| !call.step(cx));
        if let State::Open(connection) = &mut self.state
            && connection.poll_closed(cx).is_ready()
        {
            self.state = State::Closed;
        }
    }
}

impl Running {
    /// Runs a step of the call. Returns whether the call has ended.
    fn step(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match self.request.poll_data(cx) {
                Poll::Ready(Some(Ok(bytes))) => {
                    let _ = self.request.flow_control().release_capacity(bytes.len());
                    self.body.extend_from_slice(&bytes);
                }
                Poll::Ready(Some(Err(_))) => return true,
                Poll::Ready(None) => break,
                Poll::Pending => return false,
            }
        }
        if self.call == Call::Never {
            return false;
        }
        let mut head = Response::new(());
        let kind = http::HeaderValue::from_static("application/grpc");
        head.headers_mut().insert("content-type", kind);
        let Ok(mut answer) = self.respond.send_response(head, false) else {
            return true;
        };
        if self.call == Call::Large {
            self.body = crate::frame::message(&vec![0; LARGE_BYTES]);
        }
        let body = Bytes::from(std::mem::take(&mut self.body));
        if !body.is_empty() && answer.send_data(body, false).is_err() {
            return true;
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let _ = answer.send_trailers(trailers);
        true
    }
}

impl Server for Reference {
    fn feed(&mut self, bytes: &[u8]) {
        self.pipe.0.borrow_mut().to_server.extend(bytes);
        self.run();
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pipe.0.borrow_mut().to_client)
    }

    fn closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }
}
