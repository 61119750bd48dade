//! One call on a stream of h2. What does *not* live here: the connection.

use std::{
    cell::RefCell,
    future::{pending, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    Body, CallRequest, CallResponse, Config, Head, Refusal, RequestMode, Service, Status, body,
    heads,
    message::{Assembler, Encoding, Messages, PREFIX_BYTES},
};

/// Which part of a response was sent.
enum ResponseState {
    Nothing(SendResponse<Bytes>),
    Begun(SendStream<Bytes>),
}

/// A call with the h2 stream of its response.
struct Exchange<S: Service> {
    service: Rc<S>,
    head: Rc<Head<S::Method>>,
    call: RefCell<Option<S::Call>>,
    out: RefCell<ResponseState>,
    began: Instant,
}

/// Either the client has gone, or the call ends with a status that is not the service's.
enum ExchangeEnd {
    Gone,
    Refused(Refusal),
}

impl From<h2::Error> for ExchangeEnd {
    fn from(_: h2::Error) -> Self {
        Self::Gone
    }
}

/// Runs the call of one request and sends its response.
pub(super) async fn run<S: Service>(
    service: Rc<S>,
    config: Config,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    stopping: watch::Receiver<bool>,
) {
    let (parts, content) = request.into_parts();
    let Some(head) = heads::head(parts, 0, &*service) else {
        return respond.send_reset(Reason::PROTOCOL_ERROR);
    };
    if !head.grpc {
        // an error means that the client has disconnected
        let _ = refuse_content(respond, config.not_grpc);
        return;
    }
    let head = Rc::new(head);
    let exchange = Exchange {
        call: RefCell::new(Some(service.begin(&head))),
        service,
        head,
        out: RefCell::new(ResponseState::Nothing(respond)),
        began: Instant::now(),
    };
    match exchange.answer(content, &config, stopping).await {
        Ok(code) => exchange.ended(code),
        Err(ExchangeEnd::Gone) => {}
        Err(ExchangeEnd::Refused(refusal)) => {
            let status = exchange.service.refuse(&exchange.head, refusal);
            if exchange.end(&status).is_ok() {
                exchange.ended(status.code);
            }
        }
    }
}

/// Answers a request that is not gRPC with status 415 and a text.
fn refuse_content(mut respond: SendResponse<Bytes>, text: &'static str) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, plain);
    headers.insert(header::CONTENT_LENGTH, text.len().into());
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(Bytes::from_static(text.as_bytes()), true)
}

impl<S: Service> Exchange<S> {
    /// Runs the call to its end, with its deadline and the shutdown; returns its code.
    async fn answer(
        &self,
        content: RecvStream,
        config: &Config,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<i32, ExchangeEnd> {
        if self.head.encoding == Encoding::Unknown {
            return Err(ExchangeEnd::Refused(Refusal::UnknownEncoding));
        }
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let (sender, messages) = body::stream(waker);
        let mut feeding = pin!(self.feed(content, sender, config.message_bytes_max));
        let mut answering = pin!(self.call(messages));
        let deadline = self.head.timeout.and_then(|t| self.began.checked_add(t));
        let mut late = pin!(async {
            match deadline {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        });
        let endless = self.service.may_run_forever(self.head.method());
        let mut fed = false;
        loop {
            tokio::select! {
                biased;
                // the messages are there before the call looks for them
                done = &mut feeding, if !fed => {
                    done?;
                    fed = true;
                }
                done = &mut answering => return done,
                () = &mut late => return Err(ExchangeEnd::Refused(Refusal::Deadline)),
                _ = stopping.wait_for(|stopping| *stopping), if endless => {
                    return Err(ExchangeEnd::Refused(Refusal::ShuttingDown));
                }
                () = self.reset() => return Err(ExchangeEnd::Gone),
            }
        }
    }

    /// Reads the body and passes its messages to the call, one after the other.
    async fn feed(
        &self,
        mut content: RecvStream,
        sender: body::RequestSender,
        max: usize,
    ) -> Result<(), ExchangeEnd> {
        let mut assembler = Assembler::new(self.head.encoding);
        let mut count = 0;
        while let Some(chunk) = content.data().await {
            let chunk = chunk?;
            let mut rest = chunk.as_ref();
            while !rest.is_empty() {
                let taken = assembler.push(rest, max).map_err(ExchangeEnd::Refused)?;
                rest = taken.rest;
                let Some(message) = taken.message else {
                    continue;
                };
                count += 1;
                if count > 1 && self.head.intake == RequestMode::Collected {
                    return Err(ExchangeEnd::Refused(Refusal::SecondMessage));
                }
                if let Some(call) = &mut *self.call.borrow_mut() {
                    self.service.received(call, message.len() - PREFIX_BYTES);
                }
                sender.send(message);
            }
            // while a message waits, the client's window is not opened
            if self.head.intake == RequestMode::Streaming {
                poll_fn(|_| {
                    if sender.waits() {
                        Poll::Pending
                    } else {
                        Poll::Ready(())
                    }
                })
                .await;
            }
            content.flow_control().release_capacity(chunk.len())?;
        }
        let unfinished = assembler.unfinished();
        if !unfinished.is_empty() {
            sender.send(unfinished);
        }
        sender.end(Ok(()));
        Ok(())
    }

    /// Runs the call, after its message has arrived if it takes only one, and sends its response.
    /// Returns its code.
    async fn call(&self, mut messages: body::RequestStream) -> Result<i32, ExchangeEnd> {
        let body = match self.head.intake {
            RequestMode::Streaming => Body::Stream(messages),
            RequestMode::Collected => {
                let mut whole = Bytes::new();
                while let Some(frame) = poll_fn(|cx| Pin::new(&mut messages).poll_frame(cx)).await {
                    let frame = frame.map_err(|_| ExchangeEnd::Gone)?;
                    whole = frame.into_data().unwrap_or_default();
                }
                Body::Whole(whole)
            }
        };
        let head = self.head.clone();
        match self.service.call(CallRequest { head, body }).await {
            CallResponse::Message(message) => {
                let length = message.len() - PREFIX_BYTES;
                self.begin(Response::new(()), false)?;
                self.count(|service, call| service.sent(call, length));
                self.send(message.into()).await?;
                self.end(&Status::new(Status::OK, ""))?;
                Ok(Status::OK)
            }
            CallResponse::Response(response) => self.respond(response).await,
        }
    }

    /// Sends a response with its body and trailers; returns its code.
    async fn respond(&self, response: Response<S::Body>) -> Result<i32, ExchangeEnd> {
        let (mut parts, mut body) = response.into_parts();
        self.count(|service, call| service.answered(call, &mut parts.headers));
        let code = Status::code_of(&parts.headers);
        let over = body.is_end_stream();
        self.begin(Response::from_parts(parts, ()), over)?;
        if over {
            return Ok(code.unwrap_or(Status::UNKNOWN));
        }
        let mut messages = Messages::default();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(status) => {
                    self.end(&status)?;
                    return Ok(status.code);
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    let sent = |length| self.count(|service, call| service.sent(call, length));
                    messages.follow(&data, sent);
                    self.send(data).await?;
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let code = Status::code_of(&trailers).unwrap_or(Status::UNKNOWN);
                    self.send_trailers(trailers)?;
                    return Ok(code);
                }
            }
        }
        if let ResponseState::Begun(stream) = &mut *self.out.borrow_mut() {
            stream.send_data(Bytes::new(), true)?;
        }
        Ok(code.unwrap_or(Status::UNKNOWN))
    }

    /// Sends the headers of a response, once; `over` ends the stream with them.
    fn begin(&self, mut response: Response<()>, over: bool) -> Result<(), h2::Error> {
        let kind = HeaderValue::from_static("application/grpc");
        let headers = response.headers_mut();
        headers.entry(header::CONTENT_TYPE).or_insert(kind);
        let mut out = self.out.borrow_mut();
        if let ResponseState::Nothing(respond) = &mut *out {
            let stream = respond.send_response(response, over)?;
            *out = ResponseState::Begun(stream);
        }
        Ok(())
    }

    /// Sends data as the client's windows allow.
    async fn send(&self, mut data: Bytes) -> Result<(), ExchangeEnd> {
        while !data.is_empty() {
            let room = poll_fn(|cx| match &mut *self.out.borrow_mut() {
                ResponseState::Nothing(_) => Poll::Ready(None),
                ResponseState::Begun(stream) => {
                    stream.reserve_capacity(data.len());
                    stream.poll_capacity(cx)
                }
            });
            let room = room.await.ok_or(ExchangeEnd::Gone)??;
            let part = data.split_to(room.min(data.len()));
            if let ResponseState::Begun(stream) = &mut *self.out.borrow_mut() {
                stream.send_data(part, false)?;
            }
        }
        Ok(())
    }

    /// Ends the response with a status: in trailers, or in the headers if none were sent.
    fn end(&self, status: &Status) -> Result<(), h2::Error> {
        let begun = matches!(&*self.out.borrow(), ResponseState::Begun(_));
        if begun {
            return self.send_trailers(status.trailers());
        }
        let mut response = Response::new(());
        *response.headers_mut() = status.trailers();
        self.begin(response, true)
    }

    /// Ends the stream with trailers, if headers were sent.
    fn send_trailers(&self, trailers: HeaderMap) -> Result<(), h2::Error> {
        match &mut *self.out.borrow_mut() {
            ResponseState::Nothing(_) => Ok(()),
            ResponseState::Begun(stream) => stream.send_trailers(trailers),
        }
    }

    /// Resolves when the client resets the stream.
    async fn reset(&self) {
        poll_fn(|cx| {
            let gone = match &mut *self.out.borrow_mut() {
                ResponseState::Nothing(respond) => ready!(respond.poll_reset(cx)),
                ResponseState::Begun(stream) => ready!(stream.poll_reset(cx)),
            };
            drop(gone);
            Poll::Ready(())
        })
        .await;
    }

    /// Reports to the service by `what`, unless the call has ended.
    fn count(&self, what: impl FnOnce(&S, &mut S::Call)) {
        if let Some(call) = &mut *self.call.borrow_mut() {
            what(&self.service, call);
        }
    }

    /// Reports the end of the call to the service, once.
    fn ended(&self, code: i32) {
        if let Some(call) = self.call.borrow_mut().take() {
            self.service.ended(call, code, self.began.elapsed());
        }
    }
}
