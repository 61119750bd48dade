//! A service that records its calls. The path of a call determines its behavior.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, request};

use crate::{
    Body, CallRequest, CallResponse, Code, Head, Refusal, RequestMode, Resource, Service, Status,
};

/// The events that a [`Stub`] has recorded, and the budgets that it grants.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Codes of finished calls; -1 for a canceled call.
    pub(super) ended: RefCell<Vec<Code>>,
    pub(super) begun: Cell<usize>,
    pub(super) received: RefCell<Vec<usize>>,
    pub(super) sent: Cell<usize>,
    /// Granted amount of each resource.
    pub(super) held: [Cell<usize>; 3],
    pub(super) held_max: [Cell<usize>; 3],
}

impl Default for Ledger {
    /// Grants unlimited budgets.
    fn default() -> Self {
        Self {
            ended: RefCell::default(),
            begun: Cell::new(0),
            received: RefCell::default(),
            sent: Cell::new(0),
            held: Default::default(),
            held_max: [const { Cell::new(usize::MAX) }; 3],
        }
    }
}

/// Number of bytes that `/made` produces in one poll.
const MADE_BYTES: usize = 64 << 10;

/// `/echo` returns its message. `/large` returns as many KiB as its message has bytes with its prefix, and `/made` does the
/// same, but produces the bytes while they are sent. `/parts` returns each message of a stream. `/never` never responds, and
/// `/deaf` does not read. For requests that are not gRPC, `/content` echoes the content, the response of `/bare` ends with
/// trailers without fields, and the response body of `/broken` fails.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stub(pub(super) Rc<Ledger>);

pub(crate) struct StubCall {
    ledger: Rc<Ledger>,
    ended: bool,
}

impl Drop for StubCall {
    fn drop(&mut self) {
        if !self.ended {
            self.ledger.ended.borrow_mut().push(-1);
        }
    }
}

pub(crate) enum StubBody {
    /// Echoes the messages of a request; `None` after the last message.
    Echo(Option<crate::RequestStream>),
    /// Number of bytes to produce while they are sent.
    Made(usize),
    /// Echoes the content of a request that is not gRPC.
    Content(crate::RequestStream),
    /// Returns trailers without fields.
    Bare,
    /// Fails when it is polled.
    Broken,
}

impl http_body::Body for StubBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let request = match &mut *self {
            Self::Echo(Some(request)) => request,
            Self::Echo(None) => return Poll::Ready(None),
            Self::Content(content) => {
                let polled = std::task::ready!(Pin::new(content).poll_frame(cx));
                let aborted = |_| Status::new(1, "aborted");
                return Poll::Ready(polled.map(|frame| frame.map_err(aborted)));
            }
            Self::Bare => {
                let trailers = HeaderMap::new();
                return Poll::Ready(Some(Ok(http_body::Frame::trailers(trailers))));
            }
            Self::Broken => return Poll::Ready(Some(Err(Status::new(2, "broken")))),
            Self::Made(0) => {
                let trailers = Status::new(0, "").trailers();
                return Poll::Ready(Some(Ok(http_body::Frame::trailers(trailers))));
            }
            Self::Made(left) => {
                let slice = vec![b'x'; MADE_BYTES.min(*left)];
                *left -= slice.len();
                return Poll::Ready(Some(Ok(http_body::Frame::data(slice.into()))));
            }
        };
        let polled = std::task::ready!(Pin::new(request).poll_frame(cx));
        Poll::Ready(Some(match polled {
            Some(Ok(frame)) => Ok(frame),
            Some(Err(_)) => Err(Status::new(1, "aborted")),
            None => {
                *self = Self::Echo(None);
                Ok(http_body::Frame::trailers(Status::new(0, "").trailers()))
            }
        }))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Echo(_) | Self::Content(_) | Self::Bare | Self::Broken => {
                http_body::SizeHint::default()
            }
            Self::Made(left) => http_body::SizeHint::with_exact(*left as u64),
        }
    }
}

impl Service for Stub {
    type Method = ();
    type Call = StubCall;
    type Future = Pin<Box<dyn Future<Output = CallResponse<StubBody>>>>;
    type Body = StubBody;

    fn method(&self, head: &mut request::Parts) -> ((), RequestMode) {
        match head.uri.path() {
            "/parts" | "/deaf" => ((), RequestMode::Streaming),
            _ => ((), RequestMode::Collected),
        }
    }

    fn begin(&self, _: &Rc<Head<()>>) -> StubCall {
        self.0.begun.set(self.0.begun.get() + 1);
        StubCall { ledger: self.0.clone(), ended: false }
    }

    fn call(&self, request: CallRequest<()>) -> Self::Future {
        Box::pin(async move {
            let stream = match request.body {
                Body::Whole(message) => match request.head.path() {
                    "/echo" => return CallResponse::Message(message.to_vec()),
                    "/large" => return CallResponse::Message(vec![b'x'; message.len() << 10]),
                    "/made" => {
                        let body = StubBody::Made(message.len() << 10);
                        return CallResponse::Response(http::Response::new(body));
                    }
                    _ => return std::future::pending().await,
                },
                Body::Stream(stream) => stream,
            };
            if request.head.path() == "/deaf" {
                let _unread = stream;
                return std::future::pending().await;
            }
            CallResponse::Response(http::Response::new(StubBody::Echo(Some(stream))))
        })
    }

    fn exchange(&self, head: &Rc<Head<()>>, content: Option<crate::RequestStream>) -> Self::Future {
        let body = match (head.path(), content) {
            ("/content", Some(content)) => StubBody::Content(content),
            ("/content", None) => StubBody::Echo(None),
            ("/bare", _) => StubBody::Bare,
            _ => StubBody::Broken,
        };
        let response = CallResponse::Response(http::Response::new(body));
        Box::pin(std::future::ready(response))
    }

    fn received(&self, _: &mut StubCall, bytes: usize) {
        self.0.received.borrow_mut().push(bytes);
    }

    fn sent(&self, _: &mut StubCall, _: usize) {
        self.0.sent.set(self.0.sent.get() + 1);
    }

    fn answered(&self, _: &mut StubCall, _: &mut HeaderMap) {}

    fn ended(&self, mut call: StubCall, code: Code, _: Duration) {
        call.ended = true;
        self.0.ended.borrow_mut().push(code);
    }

    fn may_run_forever(&self, (): &()) -> bool {
        true
    }

    /// Grants an amount if the total does not exceed the resource's `held_max`.
    fn reserve(&self, what: Resource, amount: usize) -> bool {
        let (held, max) = (&self.0.held[what as usize], &self.0.held_max[what as usize]);
        let fits = held.get() + amount <= max.get();
        if fits {
            held.set(held.get() + amount);
        }
        fits
    }

    fn release(&self, what: Resource, amount: usize) {
        let held = &self.0.held[what as usize];
        held.set(held.get().checked_sub(amount).expect("granted earlier"));
    }

    /// Returns a status whose message is the name of the refusal's variant, with its fields.
    fn refuse(&self, _: &Head<()>, refusal: Refusal) -> Status {
        let code = match refusal {
            Refusal::Deadline | Refusal::TooSlow => 4,
            Refusal::ShuttingDown => 14,
            Refusal::TooLarge { .. } | Refusal::NoRoom(_) => 8,
            Refusal::UnknownEncoding => 12,
            Refusal::NotPost
            | Refusal::BadTimeout
            | Refusal::SecondMessage
            | Refusal::NoEncoding
            | Refusal::UnknownFlag(_)
            | Refusal::Corrupt => 13,
        };
        Status::new(code, format!("{refusal:?}"))
    }
}
