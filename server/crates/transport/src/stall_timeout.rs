//! Timeouts for clients that do not read their response or do not send their body. Idle connections have no timeout here.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::error::PayloadError;
use actix_web::{
    FromRequest as _, HttpRequest, dev,
    web::{Bytes, Payload},
};
use futures_util::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use witan_base::account::{Account, Charge, Resource, SMALL_BYTES};

use super::{connection_data, limits};

/// A stream that fails when its client stalls.
pub(super) struct StallTimeout<S> {
    stream: S,
    /// Runs while a write waits for the client.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs while a flush of TLS's buffer waits for the client.
    unflushed: Option<Pin<Box<Sleep>>>,
}

impl<S> StallTimeout<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, stalled: None, unflushed: None }
    }

    /// Returns the time at which the connection closes unless the client reads, or `None` if no write waits.
    #[cfg(test)]
    pub(super) fn stalls_at(&self) -> Option<Instant> {
        let waiting = self.stalled.as_ref().or(self.unflushed.as_ref());
        waiting.map(|sleep| sleep.deadline())
    }
}

/// Returns `written`, the result of a write or flush, or `TimedOut` if the operation has been pending for `STALL_TIMEOUT`.
fn until_stalled<T>(
    stalled: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
    written: Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    if written.is_ready() {
        *stalled = None;
        return written;
    }
    let stalled = stalled
        .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limits::STALL_TIMEOUT)));
    ready!(stalled.as_mut().poll(cx));
    Poll::Ready(Err(timed_out("the client does not read its response")))
}

fn timed_out(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

impl<S: AsyncRead + Unpin> AsyncRead for StallTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallTimeout<S> {
    /// Writes bytes. Fails with `TimedOut` after `STALL_TIMEOUT` without progress.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        until_stalled(&mut self.stalled, cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        until_stalled(&mut self.stalled, cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        until_stalled(&mut self.unflushed, cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Wraps a request's body, so that reading fails if the body arrives too slowly. Charges a body above [`SMALL_BYTES`] to the
/// connection's account. An announced length is charged immediately, up to `BODY_BYTES_MAX`; a body without a length is charged
/// as it arrives. Returns `None` if the charge is refused or the connection has no account. Returns an absent body unchanged.
pub(super) async fn bounded(request: &HttpRequest, payload: Payload) -> Option<Payload> {
    let headers = request.headers();
    let account = connection_data::<Account>(request)?;
    let length = match headers.get(actix_web::http::header::CONTENT_LENGTH) {
        // Bodies are never read beyond this limit.
        Some(length) => length
            .to_str()
            .ok()
            .and_then(|text| text.parse::<usize>().ok())
            .unwrap_or_default()
            .min(limits::BODY_BYTES_MAX),
        // The body is charged as it arrives.
        None if headers.contains_key(actix_web::http::header::TRANSFER_ENCODING) => 1,
        None => return Some(payload),
    };
    let charge = match length > SMALL_BYTES {
        true => account.hold(Resource::Requests, length)?,
        false => account.hold_later(Resource::Requests),
    };
    let body = BoundedBody {
        payload,
        began: Instant::now(),
        received: 0,
        allowed: length.max(SMALL_BYTES),
        late: None,
        charge,
    };
    let body: Pin<Box<dyn Stream<Item = _>>> = Box::pin(body);
    let mut inner = dev::Payload::Stream { payload: body };
    let taken = Payload::from_request(request, &mut inner).await;
    Some(taken.expect("taking a payload cannot fail"))
}

/// A request body that [`bounded`] has wrapped.
struct BoundedBody {
    payload: Payload,
    began: Instant,
    received: usize,
    /// Number of bytes that are charged or need no charge.
    allowed: usize,
    late: Option<Pin<Box<Sleep>>>,
    charge: Charge,
}

impl BoundedBody {
    /// Charges the received bytes that are not charged yet. Returns `false` if the charge is refused.
    fn charge_received(&mut self) -> bool {
        while self.received > self.allowed {
            if !self.charge.grow(limits::BODY_STEP_BYTES) {
                return false;
            }
            self.allowed += limits::BODY_STEP_BYTES;
        }
        true
    }
}

/// Returns the deadline for the next bytes of a body that began at `began`, after `received` bytes.
fn due(began: Instant, received: usize) -> Instant {
    let earned = received as u64 / limits::PROGRESS_BYTES_MIN;
    began + limits::BODY_TIMEOUT + std::time::Duration::from_secs(earned)
}

impl Stream for BoundedBody {
    type Item = Result<Bytes, PayloadError>;

    /// Returns the next part of the body. Fails with `Overflow` if a charge is refused, and with `TimedOut` if the body arrives
    /// too slowly.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(part) = Pin::new(&mut this.payload).poll_next(cx) {
            if let Some(Ok(part)) = &part {
                this.received += part.len();
                if !this.charge_received() {
                    return Poll::Ready(Some(Err(PayloadError::Overflow)));
                }
            }
            return Poll::Ready(part);
        }
        let due = due(this.began, this.received);
        let late = this.late.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if late.deadline() < due {
            late.as_mut().reset(due);
        }
        ready!(late.as_mut().poll(cx));
        let slow = timed_out("the body arrives too slowly");
        Poll::Ready(Some(Err(PayloadError::Io(slow))))
    }
}
