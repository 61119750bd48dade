//! The HTTP/2 code as a server in memory, with a simulated clock and a configurable budget. It answers calls like `reference`.

use std::{
    cell::Cell,
    fmt,
    future::{pending, ready},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, request};
use http_body::Frame;
use witan_http2::{
    Audit, Body, CallRequest, CallResponse, Code, Config, Connection, Head, Refusal, RequestMode,
    Resource, Service, Status,
};

use crate::{
    calls::{Call, LARGE_BYTES},
    frame::message,
    server::Server,
};

/// The counts and the budget of the service.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Number of started calls.
    pub begun: Cell<usize>,
    /// Number of calls that have been answered or canceled.
    pub over: Cell<usize>,
    /// Number of calls that ended with a status code.
    pub ended: Cell<usize>,
    /// Number of reserved bytes of each kind.
    pub held: [Cell<usize>; 3],
    /// Maximum number of reserved bytes of each kind. When it is exceeded, the service refuses calls.
    pub budget: usize,
}

impl Ledger {
    fn held(&self, what: Resource) -> &Cell<usize> {
        &self.held[match what {
            Resource::Requests => 0,
            Resource::Answers => 1,
            Resource::Calls => 2,
        }]
    }
}

/// Counts a call as over when it is dropped.
#[derive(Debug)]
struct Followed(Rc<Ledger>);

impl Drop for Followed {
    fn drop(&mut self) {
        self.0.over.set(self.0.over.get() + 1);
    }
}

struct Calls(Rc<Ledger>);

type Running = Pin<Box<dyn Future<Output = CallResponse<Reply>>>>;

impl Service for Calls {
    type Method = Call;
    type Call = Followed;
    type Future = Running;
    type Body = Reply;

    fn method(&self, head: &mut request::Parts) -> (Call, RequestMode) {
        let call = Call::of(head.uri.path());
        let mode = if call == Call::Parts {
            RequestMode::Streaming
        } else {
            RequestMode::Collected
        };
        (call, mode)
    }

    fn begin(&self, _head: &Rc<Head<Call>>) -> Followed {
        self.0.begun.set(self.0.begun.get() + 1);
        Followed(self.0.clone())
    }

    fn call(&self, request: CallRequest<Call>) -> Running {
        match (*request.head.method(), request.body) {
            (Call::Echo, Body::Whole(body)) => {
                Box::pin(ready(CallResponse::Message(body.to_vec())))
            }
            (Call::Large, _) => {
                let data = Bytes::from(message(&vec![0; LARGE_BYTES]));
                let from = Source::Ready(Some(data));
                Box::pin(ready(CallResponse::Response(answer(from))))
            }
            (Call::Parts, Body::Stream(stream)) => Box::pin(ready(CallResponse::Response(answer(
                Source::Request(stream),
            )))),
            (Call::Never | Call::Echo | Call::Parts, _) => Box::pin(pending()),
        }
    }

    fn exchange(
        &self,
        _head: &Rc<Head<Call>>,
        _content: Option<witan_http2::RequestStream>,
    ) -> Running {
        Box::pin(ready(CallResponse::Response(answer(Source::Ready(None)))))
    }

    fn received(&self, _call: &mut Followed, _bytes: usize) {}

    fn sent(&self, _call: &mut Followed, _bytes: usize) {}

    fn answered(&self, _call: &mut Followed, _headers: &mut HeaderMap) {}

    fn ended(&self, call: Followed, _code: Code, _took: Duration) {
        self.0.ended.set(self.0.ended.get() + 1);
        drop(call);
    }

    fn may_run_forever(&self, method: &Call) -> bool {
        *method == Call::Never
    }

    fn reserve(&self, what: Resource, amount: usize) -> bool {
        let held = self.0.held(what);
        let more = held.get() + amount;
        let fits = more <= self.0.budget;
        if fits {
            held.set(more);
        }
        fits
    }

    fn release(&self, what: Resource, amount: usize) {
        let held = self.0.held(what);
        let left = held.get().checked_sub(amount);
        held.set(left.expect("only held bytes are released"));
    }

    fn refuse(&self, _head: &Head<Call>, refusal: Refusal) -> Status {
        Status::new(8, format!("{refusal:?}"))
    }
}

fn answer(from: Source) -> Response<Reply> {
    let mut response = Response::new(Reply(Some(from)));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    response
}

/// The source of an answer's body.
enum Source {
    Ready(Option<Bytes>),
    Request(witan_http2::RequestStream),
}

/// The body and the trailers of an answer that is not a single message.
struct Reply(Option<Source>);

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let next = match &mut self.0 {
            None => return Poll::Ready(None),
            Some(Source::Ready(data)) => data.take(),
            Some(Source::Request(stream)) => match Pin::new(stream).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
                Poll::Ready(Some(Err(_))) => {
                    self.0 = None;
                    return Poll::Ready(Some(Err(Status::new(1, "canceled"))));
                }
                Poll::Ready(None) => None,
            },
        };
        if let Some(data) = next {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        self.0 = None;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

/// A connection that the HTTP/2 code serves.
pub struct Subject {
    connection: Connection<Calls>,
    /// The counts of its service.
    pub ledger: Rc<Ledger>,
    now: Instant,
    input: Vec<u8>,
    /// Number of bytes that the client will still read. Other bytes stay in the connection.
    pub appetite: usize,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").finish_non_exhaustive()
    }
}

impl Subject {
    /// Creates a connection that has received no bytes, with a very large budget.
    pub fn new(streams_max: u32) -> Self {
        Self::with(streams_max, usize::MAX >> 1)
    }

    /// Like [`Self::new`], with a service that grants `budget` bytes of each kind.
    pub fn with(streams_max: u32, budget: usize) -> Self {
        let ledger = Rc::new(Ledger { budget, ..Ledger::default() });
        let config = Config { streams_max, ..Config::default() };
        let now = Instant::now();
        Self {
            connection: Connection::new(Calls(ledger.clone()), config, now),
            ledger,
            now,
            input: Vec::new(),
            appetite: usize::MAX,
        }
    }

    /// Advances the clock.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.run();
    }

    /// Shuts the server down.
    pub fn shut_down(&mut self) {
        self.connection.shut_down();
        self.run();
    }

    /// Returns the resources that the connection holds.
    pub fn audit(&self) -> Audit {
        self.connection.audit()
    }

    /// Returns the time until the connection must run again, or `None` if no time is set.
    pub fn wakes_in(&self) -> Option<Duration> {
        let at = self.connection.wake_at()?;
        Some(at.saturating_duration_since(self.now))
    }

    /// Processes as much as possible until the client reads more output.
    pub fn run(&mut self) {
        self.connection.register(Waker::noop());
        // The bound ends the loop for a connection that never becomes idle.
        for _ in 0..100_000 {
            let mut taken = 0;
            if !self.input.is_empty() && self.connection.wants_input() {
                taken = self.connection.receive(self.now, &self.input);
                self.input.drain(..taken);
            }
            let more = self.connection.run(self.now);
            let wants = !self.input.is_empty() && self.connection.wants_input();
            if self.connection.is_closed() || !more && !wants && taken == 0 {
                return;
            }
        }
        panic!("the connection never becomes idle");
    }
}

impl Server for Subject {
    fn feed(&mut self, bytes: &[u8]) {
        if !self.connection.is_closed() {
            self.input.extend_from_slice(bytes);
        }
        self.run();
    }

    fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let ready = self.connection.output();
            let count = ready.len().min(self.appetite);
            if count == 0 {
                return out;
            }
            out.extend_from_slice(&ready[..count]);
            self.appetite -= count;
            self.connection.sent(count);
            self.run();
        }
    }

    fn closed(&self) -> bool {
        self.connection.is_closed()
    }

    fn is_drained(&self) -> bool {
        self.connection.output().is_empty()
    }
}
