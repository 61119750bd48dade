//! The way of one call on its connection: begun, driven whenever it wakes, answered, ended.

use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Body as _;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tonic::{Code, Status, body::Body};

use super::{
    body::{self, Credit, Incoming, Limited, Source},
    conn::Connection,
    frame::Reason,
    head::Head,
    limits::{CHUNKS_MAX, UNFINISHED_MAX},
    stream::{End, Receiving, Stream},
};
use crate::transport::{
    Calls, Outgoing,
    grpc::{self, Counting, Messages},
    limits::WINDOW_BYTES,
};

/// Whether a stream has more to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Ended,
}

impl<S, C: Calls> Connection<S, C> {
    pub(super) fn new_stream(&mut self, id: u32, ended: bool) -> (usize, Box<Stream>) {
        let slot = self.streams.reserve(id, &self.board);
        let windows = (i64::from(WINDOW_BYTES), self.wire.stream_window);
        let receiving = if ended {
            Receiving::Ended
        } else {
            Receiving::Unwanted
        };
        let mut stream = Stream::new(id, receiving, windows);
        stream.place = self.place.take();
        (slot, stream)
    }

    /// A request with this head begins; `ended` says that it has no body.
    pub(super) fn begin(&mut self, id: u32, head: Rc<Head>, ended: bool) {
        let (slot, mut stream) = self.new_stream(id, ended);
        if !head.grpc {
            return self.answer_now(slot, stream, grpc::not_grpc());
        }
        stream.counting = Some(Counting::new(head.clone(), self.around.rules.clone()));
        stream.deadline = head
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout))
            .map(|at| Box::pin(sleep_until(at)));
        if ended {
            return self.start(slot, stream, head, body::Body::Whole(Bytes::new()));
        }
        if head.whole {
            let body = Vec::new();
            stream.receiving = Receiving::Whole { head, body };
            let waker = self.streams.waker(slot);
            return self.drive(slot, stream, waker);
        }
        let credit = Arc::new(Credit::new(self.streams.waker(slot)));
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let rules = &self.around.rules;
        let parts = body::Parts {
            chunks,
            credit: credit.clone(),
            messages: Messages::default(),
            message_max: rules.message_max,
            call: head.call.clone(),
            metrics: rules.metrics.clone(),
        };
        stream.receiving = Receiving::Parts(sender);
        stream.credit = Some(credit);
        let body = body::Body::Parts(Limited(Source::Parts(parts)));
        self.start(slot, stream, head, body);
    }

    fn start(&mut self, slot: usize, mut stream: Box<Stream>, head: Rc<Head>, body: body::Body) {
        let calls = self.around.calls.clone();
        stream.running = Some(Box::pin(calls.call(Incoming { head, body })));
        let waker = self.streams.waker(slot);
        self.drive(slot, stream, waker);
    }

    /// The client has sent all of a request.
    pub(super) fn request_ended(&mut self, slot: usize, mut stream: Box<Stream>) {
        self.empty = 0;
        let refusal = self.refusal(&stream);
        let received = std::mem::replace(&mut stream.receiving, Receiving::Ended);
        let Receiving::Whole { head, body } = received else {
            return self.streams.keep(slot, stream);
        };
        self.unfinished -= body.len();
        if let Some(refusal) = refusal {
            return self.answer_now(slot, stream, refusal.into_http());
        }
        if let Some(length) = grpc::length(&body) {
            let rules = &self.around.rules;
            grpc::received(head.call.as_ref(), &rules.metrics, length);
        }
        // its call has the message now, and the node counts what it proposes
        stream.room = None;
        self.start(slot, stream, head, body::Body::Whole(body.into()));
    }

    /// Why a message that is being collected is not taken.
    pub(super) fn refusal(&self, stream: &Stream) -> Option<Status> {
        let Receiving::Whole { body, .. } = &stream.receiving else {
            return None;
        };
        let max = self.around.rules.message_max;
        if let Some(length) = grpc::length(body) {
            if length > max {
                return Some(grpc::too_large(length, max));
            }
            if body.len() > grpc::PREFIX_BYTES + length {
                return Some(grpc::too_long());
            }
        }
        (self.unfinished > UNFINISHED_MAX).then(grpc::too_many)
    }

    /// Answers without a call, whatever is still to come of the request.
    pub(super) fn answer_now(
        &mut self,
        slot: usize,
        mut stream: Box<Stream>,
        response: Response<Body>,
    ) {
        self.unfinished -= stream.unfinished();
        if !matches!(stream.receiving, Receiving::Ended) {
            stream.receiving = Receiving::Unwanted;
        }
        let waker = self.streams.waker(slot);
        match self.respond(&mut stream, response) {
            State::Ended => self.finish(slot, stream),
            State::Waits => self.drive(slot, stream, waker),
        }
    }

    /// Works on a stream until it waits for something.
    pub(super) fn drive(&mut self, slot: usize, mut stream: Box<Stream>, waker: Waker) {
        let mut cx = Context::from_waker(&waker);
        match self.advance(slot, &mut stream, &mut cx) {
            State::Ended => self.finish(slot, stream),
            State::Waits => self.streams.keep(slot, stream),
        }
    }

    fn advance(&mut self, slot: usize, stream: &mut Stream, cx: &mut Context<'_>) -> State {
        self.collect_credit(stream);
        if let Some(running) = &mut stream.running
            && let Poll::Ready(outgoing) = running.as_mut().poll(cx)
        {
            stream.running = None;
            if self.answer(stream, outgoing) == State::Ended {
                return State::Ended;
            }
        }
        if stream.running.is_none() && self.send(slot, stream, cx) == State::Ended {
            return State::Ended;
        }
        let due = match &mut stream.deadline {
            Some(deadline) => deadline.as_mut().poll(cx).is_ready(),
            None => false,
        };
        if due {
            return self.cut(stream, &Status::deadline_exceeded(grpc::DEADLINE));
        }
        // a stream does not end by itself, and its client may not even read it
        let streams =
            stream.body.is_some() && stream.counting.as_ref().is_some_and(|c| c.streams());
        if self.stopping && streams {
            return self.cut(stream, &Status::unavailable(grpc::STOPPED));
        }
        State::Waits
    }

    fn collect_credit(&mut self, stream: &mut Stream) {
        let Some(credit) = &stream.credit else { return };
        let bytes = credit.collect();
        stream.held -= bytes;
        self.wire.took(bytes);
        if !matches!(stream.receiving, Receiving::Ended) {
            self.wire.stream_took(stream, bytes);
        }
    }

    /// The call has an answer, or the beginning of one.
    fn answer(&mut self, stream: &mut Stream, outgoing: Outgoing) -> State {
        let message = match outgoing {
            Outgoing::Message(message) => message,
            Outgoing::Response(response) => return self.respond(stream, response),
        };
        let counted = |stream: &Stream| {
            if let Some(counting) = &stream.counting {
                counting.sent(message.len().saturating_sub(grpc::PREFIX_BYTES));
            }
        };
        if self.wire.whole(stream, &message) {
            counted(stream);
            if let Some(mut counting) = stream.counting.take() {
                counting.ended(Code::Ok);
            }
            return State::Ended;
        }
        if !self.pay_answer(stream, message.len()) {
            return self.respond(stream, grpc::too_many_requests().into_http());
        }
        counted(stream);
        self.wire.good_headers(stream.id);
        stream.pending = message.into();
        stream.end = Some(End::Ok);
        State::Waits
    }

    fn respond(&mut self, stream: &mut Stream, response: Response<Body>) -> State {
        let (mut parts, body) = response.into_parts();
        if let Some(counting) = &mut stream.counting {
            counting.explain_unknown(&mut parts.headers);
            // an answer that fails (or says nothing) at once has its status among the headers
            if let Some(code) = grpc::code_of(&parts.headers) {
                counting.ended(code);
            }
        }
        let end = body.is_end_stream();
        let (id, status) = (stream.id, parts.status);
        self.wire.headers(id, status, &parts.headers, end);
        if end {
            return State::Ended;
        }
        stream.body = Some(body);
        State::Waits
    }

    fn send(&mut self, slot: usize, stream: &mut Stream, cx: &mut Context<'_>) -> State {
        loop {
            if !self.wire.pending(stream, slot) {
                return State::Waits;
            }
            if let Some(end) = stream.end.take() {
                return self.end(stream, &end);
            }
            let Some(body) = &mut stream.body else {
                return State::Waits;
            };
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return State::Waits,
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(status))) => return self.end(stream, &failed(&status)),
                Poll::Ready(None) => return self.end(stream, &End::Plain),
            };
            match frame.into_data() {
                Ok(data) => {
                    if let Some(counting) = &mut stream.counting {
                        counting.follow_sent(&data);
                    }
                    if !self.pay_answer(stream, data.len()) {
                        return self.end(stream, &failed(&grpc::too_many_requests()));
                    }
                    stream.pending = data;
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    stream.end = Some(End::Trailers(trailers));
                }
            }
        }
    }

    fn end(&mut self, stream: &mut Stream, end: &End) -> State {
        if let Some(mut counting) = stream.counting.take() {
            counting.ended(match end {
                End::Ok => Code::Ok,
                End::Trailers(trailers) => grpc::code_of(trailers).unwrap_or(Code::Unknown),
                End::Plain => Code::Unknown,
            });
        }
        self.wire.end(stream.id, end);
        State::Ended
    }

    /// Ends a call before its time: the client's deadline has passed, or the process stops.
    fn cut(&mut self, stream: &mut Stream, status: &Status) -> State {
        self.unfinished -= stream.unfinished();
        let answered = stream.body.is_some() || stream.end.is_some();
        if answered {
            return self.end(stream, &failed(status));
        }
        stream.running = None;
        self.respond(stream, status.clone().into_http())
    }

    /// The answer is out: whatever the client still sends is not wanted.
    fn finish(&mut self, slot: usize, stream: Box<Stream>) {
        if !matches!(stream.receiving, Receiving::Ended) {
            self.wire.reset(stream.id, Reason::NoError);
        }
        self.faults = self.faults.saturating_sub(1);
        self.let_go(slot, &stream);
    }

    /// Ends a stream for its client's fault.
    pub(super) fn reset(&mut self, slot: usize, reason: Reason) -> Result<(), Reason> {
        if let Some((stream, _)) = self.streams.take(slot) {
            self.wire.reset(stream.id, reason);
            self.let_go(slot, &stream);
        }
        self.fault()
    }

    pub(super) fn let_go(&mut self, slot: usize, stream: &Stream) {
        self.unfinished -= stream.unfinished();
        // what the call did not read is dropped with it
        self.wire.took(stream.held);
        self.streams.release(slot, stream.id);
    }
}

fn failed(status: &Status) -> End {
    let mut trailers = HeaderMap::new();
    if let Err(status) = status.add_header(&mut trailers) {
        tracing::debug!(%status, "failed to write a status");
    }
    End::Trailers(trailers)
}
