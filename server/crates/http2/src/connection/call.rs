//! Starts and polls the calls of a connection. Writes and ends their responses.

use std::{
    borrow::Cow,
    mem,
    pin::Pin,
    rc::Rc,
    sync::LazyLock,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body as _;

use super::Connection;
use crate::{
    Body, CallRequest, CallResponse, Code, Head, Refusal, RequestMode, Resource, Service, Status,
    body,
    frame::Reason,
    limits::CALL_WORK,
    message::{Assembler, PREFIX_BYTES},
    meter::ResourceCharge,
    stream::{Receiving, Stream, unsent},
};

const GRPC: &str = "application/grpc";

/// The trailers of a successful call. Responses share them, because many small responses can wait for a window.
static OK_TRAILERS: LazyLock<HeaderMap> = LazyLock::new(|| Status::new(Status::OK, "").trailers());

/// The state of a stream after a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamProgress {
    Waits,
    Ended,
    /// The response cannot be completed, so the stream must be reset.
    Failed(Reason),
}

impl<S: Service> Connection<S> {
    /// Creates a stream and returns its reserved slot and the stream. The caller must keep or finish the stream. `ended` says
    /// whether the request has no body. Also schedules the check for slow clients.
    fn new_stream(&mut self, id: u32, ended: bool) -> (usize, Box<Stream<S>>) {
        self.timers.watch_streams(self.now);
        let slot = self.streams.reserve(id);
        (slot, Stream::new(id, self.now, ended, &self.meters))
    }

    /// Opens a stream for a request, which has no body if `ended`, and sets the deadline of its call. Starts the call unless it
    /// waits for its only message. Refuses a request that the head or the service's budgets do not permit.
    pub(super) fn begin(&mut self, id: u32, head: Rc<Head<S::Method>>, ended: bool) {
        let (slot, mut stream) = self.new_stream(id, ended);
        stream.content_left = head.content_length;
        // A cached head is not charged, because several requests can share it.
        if Rc::strong_count(&head) == 1 {
            stream.head_bytes = head.bytes;
        }
        if !head.grpc {
            return self.begin_plain(slot, stream, head, ended);
        }
        let call = self.service.begin(&head);
        stream.call = Some((head.clone(), call));
        let admitted = self.admit(&mut stream, &head);
        let admitted = admitted.and(head.refusal.map_or(Ok(()), Err));
        if let Err(refusal) = admitted {
            return self.refuse(slot, stream, refusal);
        }
        if let Some(timeout) = head.timeout
            && let Some(at) = self.now.checked_add(timeout)
        {
            stream.deadline = Some(at);
            self.timers.deadlines.insert((at, id));
        }
        if ended {
            return self.start(slot, stream, head, Body::Whole(Bytes::new()));
        }
        let assembler = Assembler::new(head.encoding);
        match head.mode {
            RequestMode::Collected => {
                let message = None;
                stream.receiving = Receiving::Message { assembler, message };
                self.streams.keep(slot, stream);
            }
            RequestMode::Streaming => {
                let (sender, messages) = body::stream(self.streams.waker(slot));
                stream.receiving = Receiving::Stream { assembler };
                stream.sender = Some(sender);
                self.start(slot, stream, head, Body::Stream(messages));
            }
        }
    }

    /// Opens the stream of a request that is not gRPC and schedules the call. `ended` means that the request has no body.
    /// Resets the stream if the call cannot be charged, but only after [`Service::exchange`] was called. Sends status 100 if
    /// the client waits for it.
    fn begin_plain(
        &mut self,
        slot: usize,
        mut stream: Box<Stream<S>>,
        head: Rc<Head<S::Method>>,
        ended: bool,
    ) {
        let content = (!ended).then(|| body::stream(self.streams.waker(slot)));
        let (sender, content) = content.unzip();
        let running = self.service.exchange(&head, content);
        stream.plain = true;
        if let Err(refusal) = self.admit(&mut stream, &head) {
            return self.refuse(slot, stream, refusal);
        }
        if !ended {
            stream.receiving = Receiving::Content;
            if head.expects_continue() {
                let (id, status) = (stream.id, StatusCode::CONTINUE);
                self.writer.headers(id, status, &HeaderMap::new(), false);
            }
        }
        stream.sender = sender;
        self.run_call(slot, stream, running);
    }

    /// Charges the stream for the call and its request head. Fails if the service refuses a charge.
    fn admit(&self, stream: &mut Stream<S>, head: &Head<S::Method>) -> Result<(), Refusal> {
        if head.mode == RequestMode::Streaming {
            stream.call_charge = ResourceCharge::new(&self.meters.streaming_calls);
        }
        if !stream.call_charge.set(1) {
            return Err(Refusal::NoRoom(Resource::Calls));
        }
        if !stream.request.set(stream.head_bytes) {
            return Err(Refusal::NoRoom(Resource::Requests));
        }
        Ok(())
    }

    /// Starts the call of a complete or streamed request. The call is polled for the first time in the next turn.
    fn start(
        &mut self,
        slot: usize,
        stream: Box<Stream<S>>,
        head: Rc<Head<S::Method>>,
        body: Body,
    ) {
        let running = self.service.call(CallRequest { head, body });
        self.run_call(slot, stream, running);
    }

    /// Schedules a started call for the next turn; see [`Connection::run_calls`].
    fn run_call(&mut self, slot: usize, mut stream: Box<Stream<S>>, running: S::Future) {
        self.work += CALL_WORK;
        stream.running = Some(running);
        // The slot can still be listed for an earlier call that was reset before it was polled.
        if self.streams.mark_listed(slot) {
            self.woken.push_back(slot);
        }
        self.streams.keep(slot, stream);
    }

    /// Handles the end of a request: starts a call that waits for its message, or ends the stream of messages. An incomplete
    /// message is passed to the call. Resets the stream if the body is shorter than `content-length`, and fails if the
    /// connection must then end.
    pub(super) fn on_request_ended(
        &mut self,
        slot: usize,
        mut stream: Box<Stream<S>>,
    ) -> Result<(), Reason> {
        if stream.content_left.is_some_and(|left| left > 0) {
            return self.reset(slot, stream, Reason::Protocol);
        }
        match mem::replace(&mut stream.receiving, Receiving::Ended) {
            Receiving::Message { mut assembler, message } => {
                let message = message.unwrap_or_else(|| assembler.unfinished());
                // The call now owns the message, which stays charged until the response. Reducing a charge never fails.
                stream.request.set(stream.head_bytes + message.len());
                if let Some((head, _)) = &stream.call {
                    let head = head.clone();
                    self.start(slot, stream, head, Body::Whole(message));
                    return Ok(());
                }
            }
            Receiving::Stream { mut assembler } => {
                if let Some(sender) = &stream.sender {
                    let unfinished = assembler.unfinished();
                    if !unfinished.is_empty() {
                        sender.send(unfinished);
                    }
                    sender.end(Ok(()));
                }
            }
            Receiving::Content => {
                if let Some(sender) = &stream.sender {
                    sender.end(Ok(()));
                }
            }
            Receiving::Unwanted | Receiving::Ended => {}
        }
        self.streams.keep(slot, stream);
        Ok(())
    }

    /// Answers a request whose headers are too large with status 431. `ended` means that the request has no body.
    pub(super) fn refuse_headers(&mut self, id: u32, ended: bool) {
        let (slot, stream) = self.new_stream(id, ended);
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        self.writer.headers(id, status, &HeaderMap::new(), true);
        self.finish(slot, stream);
    }

    /// Ends a call with a refusal before its response is complete. Resets the stream of a request that is not gRPC.
    pub(super) fn refuse(&mut self, slot: usize, mut stream: Box<Stream<S>>, refusal: Refusal) {
        let progress = self.end_early(&mut stream, refusal);
        self.settle(slot, stream, progress);
    }

    /// Polls the call in a slot, if there is one and no refusal is pending. Returns the response once it is ready.
    pub(super) fn poll_call(&mut self, slot: usize) -> Option<CallResponse<S::Body>> {
        let (stream, waker) = self.streams.with_waker(slot)?;
        if stream.refusal.is_some() {
            return None;
        }
        let running = Pin::new(stream.running.as_mut()?);
        let Poll::Ready(response) = running.poll(&mut Context::from_waker(waker)) else {
            return None;
        };
        stream.running = None;
        Some(response)
    }

    /// Sends what a stream is ready to send, starting with `response` if its call has just completed. Then keeps, finishes or
    /// resets the stream.
    pub(super) fn visit(&mut self, slot: usize, response: Option<CallResponse<S::Body>>) {
        let Some(mut stream) = self.streams.take(slot) else {
            return;
        };
        let progress = self.advance(slot, &mut stream, response);
        self.settle(slot, stream, progress);
    }

    /// Returns a waiting stream to its slot. Otherwise, finishes or resets the stream and frees its slot.
    fn settle(&mut self, slot: usize, stream: Box<Stream<S>>, progress: StreamProgress) {
        match progress {
            StreamProgress::Waits => self.streams.keep(slot, stream),
            StreamProgress::Ended => self.finish(slot, stream),
            StreamProgress::Failed(reason) => {
                self.writer.reset(stream.id, reason);
                self.close(slot, &stream);
            }
        }
    }

    /// Writes a stream's response and reopens its receive window. `response` is a new response, or `None` if the stream already
    /// has one or the call still runs. Ends a call with a pending refusal. During a shutdown, ends a streaming response that
    /// may run forever.
    fn advance(
        &mut self,
        slot: usize,
        stream: &mut Stream<S>,
        response: Option<CallResponse<S::Body>>,
    ) -> StreamProgress {
        if let Some(refusal) = stream.refusal.take() {
            return self.end_early(stream, refusal);
        }
        if let Some(response) = response {
            let progress = self.write_response(stream, response);
            if progress != StreamProgress::Waits {
                return progress;
            }
            // A call that streams its response may need its request until the response ends, for example the name of an
            // election. Such a request stays charged.
            if stream.body.is_none() {
                stream.request.set(stream.request_bytes());
            }
        }
        if stream.running.is_none() {
            let progress = self.send(slot, stream);
            if progress != StreamProgress::Waits {
                return progress;
            }
        }
        if stream.sender.is_some() {
            // Release the messages that the call has taken.
            stream.request.set(stream.request_bytes());
            self.open_window(stream);
        }
        // A shutdown does not wait for a streaming response that may run forever.
        let endless = self.shutting_down
            && stream.body.is_some()
            && stream
                .call
                .as_ref()
                .is_some_and(|(head, _)| self.service.may_run_forever(&head.method));
        if endless {
            return self.end_early(stream, Refusal::ShuttingDown);
        }
        StreamProgress::Waits
    }

    /// Handles the response of a call. Writes a small message immediately if the windows permit; queues any other message. Ends
    /// the call with an error if a queued message cannot be charged.
    fn write_response(
        &mut self,
        stream: &mut Stream<S>,
        response: CallResponse<S::Body>,
    ) -> StreamProgress {
        let message = match response {
            CallResponse::Message(message) => message,
            CallResponse::Response(response) => return self.respond(stream, response),
        };
        let length = message.len().saturating_sub(PREFIX_BYTES);
        if self.writer.try_write_unary(stream, &message) {
            self.count_sent(stream, length);
            self.ended(stream, Status::OK);
            return StreamProgress::Ended;
        }
        if !stream.answer.set(message.len()) {
            return self.end_early(stream, Refusal::NoRoom(Resource::Answers));
        }
        // Charge the time to produce a large response to this turn.
        self.work += message.len();
        self.count_sent(stream, length);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(GRPC));
        self.writer
            .headers(stream.id, StatusCode::OK, &headers, false);
        stream.pending = message.into();
        stream.trailers = Some(Cow::Borrowed(&*OK_TRAILERS));
        StreamProgress::Waits
    }

    /// Reports the size in bytes of a response message, without its prefix, to the service.
    fn count_sent(&self, stream: &mut Stream<S>, length: usize) {
        if let Some((_, call)) = &mut stream.call {
            self.service.sent(call, length);
        }
    }

    /// Starts a response that is not a single message: writes its headers and keeps its body for later. Returns `Ended` if the
    /// body is empty. Ends the call with an error if the response cannot be charged.
    fn respond(
        &mut self,
        stream: &mut Stream<S>,
        response: http::Response<S::Body>,
    ) -> StreamProgress {
        let (mut parts, body) = response.into_parts();
        if !stream.answer.set(unsent(&body)) {
            return self.end_early(stream, Refusal::NoRoom(Resource::Answers));
        }
        if let Some((_, call)) = &mut stream.call {
            self.service.answered(call, &mut parts.headers);
        }
        // The headers contain the status of a response that fails immediately or has no message.
        if let Some(code) = Status::code_of(&parts.headers) {
            self.ended(stream, code);
        }
        let end = body.is_end_stream();
        self.writer
            .headers(stream.id, parts.status, &parts.headers, end);
        if end {
            return StreamProgress::Ended;
        }
        stream.body = Some(body);
        StreamProgress::Waits
    }

    /// Writes content and polls the response body until the response ends or must wait for a window, the output or the body.
    /// Ends a call whose body fails or cannot be charged; returns `Failed` if that call is not gRPC.
    fn send(&mut self, slot: usize, stream: &mut Stream<S>) -> StreamProgress {
        loop {
            if !self.writer.pending(stream, slot) {
                return StreamProgress::Waits;
            }
            if let Some(trailers) = stream.trailers.take() {
                return self.end(stream, Some(&*trailers));
            }
            let Some(body) = &mut stream.body else {
                return StreamProgress::Waits;
            };
            if self.writer.is_full() {
                // Poll again when the output has capacity.
                self.streams.wake(slot);
                return StreamProgress::Waits;
            }
            let waker = self.streams.waker(slot);
            let mut cx = Context::from_waker(&waker);
            let frame = match Pin::new(&mut *body).poll_frame(&mut cx) {
                Poll::Pending => return StreamProgress::Waits,
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) if stream.plain => {
                    return StreamProgress::Failed(Reason::Internal);
                }
                Poll::Ready(Some(Err(status))) => {
                    return self.end(stream, Some(&status.trailers()));
                }
                Poll::Ready(None) => return self.end(stream, None),
            };
            match frame.into_data() {
                Ok(data) => {
                    self.work += data.len();
                    if let Some((_, call)) = &mut stream.call {
                        let service = &self.service;
                        let sent = |length| service.sent(call, length);
                        stream.messages.follow(&data, sent);
                    }
                    if !stream.answer.set(data.len() + unsent(body)) {
                        return self.end_early(stream, Refusal::NoRoom(Resource::Answers));
                    }
                    stream.pending = data;
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    stream.trailers = Some(Cow::Owned(trailers));
                }
            }
        }
    }

    /// Reports the end of a call to the service, with the code in `trailers` or `UNKNOWN`, and writes the end of its response.
    fn end(&mut self, stream: &mut Stream<S>, trailers: Option<&HeaderMap>) -> StreamProgress {
        let code = trailers.and_then(Status::code_of);
        self.ended(stream, code.unwrap_or(Status::UNKNOWN));
        self.writer.end(stream.id, trailers);
        StreamProgress::Ended
    }

    /// Reports the end of a call to the service, unless it was already reported.
    fn ended(&self, stream: &mut Stream<S>, code: Code) {
        if let Some((_, call)) = stream.call.take() {
            let took = self.now.saturating_duration_since(stream.began);
            self.service.ended(call, code, took);
        }
    }

    /// Ends a call before its response is complete, with the refusal's status. If the request is not gRPC, only returns
    /// `Failed`.
    fn end_early(&mut self, stream: &mut Stream<S>, refusal: Refusal) -> StreamProgress {
        if stream.plain {
            // Tell the client that it can retry a request that has not started.
            let begun = refusal != Refusal::NoRoom(Resource::Calls);
            let reason = if begun { Reason::Calm } else { Reason::Refused };
            return StreamProgress::Failed(reason);
        }
        let status = match &stream.call {
            Some((head, _)) => self.service.refuse(head, refusal),
            // The status has already been sent.
            None => Status::new(Status::UNKNOWN, ""),
        };
        (stream.running, stream.pending) = (None, Bytes::new());
        let mut trailers = status.trailers();
        if stream.answered() {
            return self.end(stream, Some(&trailers));
        }
        self.ended(stream, status.code);
        trailers.insert(header::CONTENT_TYPE, HeaderValue::from_static(GRPC));
        self.writer
            .headers(stream.id, refusal.http_status(), &trailers, true);
        StreamProgress::Ended
    }

    /// Frees a stream whose response is complete and cancels one fault. If the request is incomplete, tells the client to stop
    /// sending it.
    fn finish(&mut self, slot: usize, stream: Box<Stream<S>>) {
        if !matches!(stream.receiving, Receiving::Ended) {
            self.writer.reset(stream.id, Reason::NoError);
        }
        self.faults = self.faults.saturating_sub(1);
        self.close(slot, &stream);
    }

    /// Resets a stream after a client error. Fails if the client has caused too many errors, so that the connection must end.
    pub(super) fn reset(
        &mut self,
        slot: usize,
        stream: Box<Stream<S>>,
        reason: Reason,
    ) -> Result<(), Reason> {
        self.writer.reset(stream.id, reason);
        self.close(slot, &stream);
        self.fault()
    }

    /// Records a closed stream and frees its slot.
    fn close(&mut self, slot: usize, stream: &Stream<S>) {
        self.record_end(stream.id, matches!(stream.receiving, Receiving::Ended));
        self.release(slot, stream);
    }

    /// Records a closed stream, to classify later frames. `whole` says whether its request was complete.
    pub(super) fn record_end(&mut self, id: u32, whole: bool) {
        if whole {
            self.ended.push_complete(id);
        } else {
            self.ended.push_early(id);
        }
    }

    /// Removes the deadline of a closed stream and frees its slot. Clears the list of woken slots if no stream remains.
    pub(super) fn release(&mut self, slot: usize, stream: &Stream<S>) {
        if let Some(at) = stream.deadline {
            self.timers.deadlines.remove(&(at, stream.id));
        }
        self.streams.release(slot, stream.id);
        if self.streams.is_empty() {
            // Clear the list, because a client that does not read could otherwise fill it with the slots of calls that it
            // resets.
            for slot in self.woken.drain(..) {
                self.streams.unlisted(slot);
            }
        }
    }
}
