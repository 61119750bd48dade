//! Contains panics of HTTP requests and gRPC calls. After a panic, the response has the status 500 or `Internal`. A response
//! that has already started is aborted. `witan_base::panics` implements the mechanism.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    web::Bytes,
};
use http_body::{Body as _, Frame, SizeHint};
use tonic::{Status, body::Body};
use witan_base::panics::{self, CaughtPanic, PanicMetrics, PanicSource};

use super::{CallHandler, Incoming, Outgoing};

/// Error message of a request that panicked.
const INTERNAL: &str = "internal error: the request was not completed";

/// Handles a gRPC call. A panic ends only this call, with the status `Internal`.
pub(super) async fn call<C: CallHandler>(
    calls: C,
    request: Incoming,
    metrics: PanicMetrics,
) -> Outgoing {
    // Creating the call's future may also panic.
    let call = async move { calls.call(request).await };
    match panics::contain(&metrics, PanicSource::Grpc, call).await {
        Ok(Outgoing::Response(response)) => {
            Outgoing::Response(response.map(|body| stream(body, metrics)))
        }
        Ok(message) => message,
        Err(_) => Outgoing::Response(internal().into_http()),
    }
}

/// Returns the status of a call that panicked.
fn internal() -> Status {
    Status::internal(INTERNAL)
}

/// Wraps the body of a gRPC response, unless it is complete. A panic ends only this body, with the status `Internal`.
fn stream(body: Body, metrics: PanicMetrics) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let (body, source) = (Some(body), PanicSource::GrpcStream);
    Body::new(ContainedBody { body, source, metrics })
}

/// Returns the response to an HTTP request, or status 500 after a panic. A panic while a streamed body is sent ends only that
/// body.
pub(super) fn response(
    done: Result<HttpResponse, CaughtPanic>,
    metrics: &PanicMetrics,
) -> HttpResponse {
    let Ok(response) = done else {
        return HttpResponse::InternalServerError()
            .content_type("text/plain; charset=utf-8")
            .force_close()
            .body(format!("{INTERNAL}\n"));
    };
    if response.body().size() != BodySize::Stream {
        return response;
    }
    response.map_body(|_, body| {
        let (body, source) = (Some(body), PanicSource::HttpStream);
        let body = ContainedBody { body, source, metrics: metrics.clone() };
        body.boxed()
    })
}

/// A response body whose panics are contained.
struct ContainedBody<B> {
    /// The inner body, or `None` after a panic.
    body: Option<B>,
    source: PanicSource,
    metrics: PanicMetrics,
}

impl<B> ContainedBody<B> {
    /// Polls the body with `poll`. Counts a panic and then ends the body with the error from `failed`.
    fn poll<T, E>(
        &mut self,
        failed: impl FnOnce() -> E,
        poll: impl FnOnce(&mut B) -> Poll<Option<Result<T, E>>>,
    ) -> Poll<Option<Result<T, E>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        panics::catch_poll(self.source, || poll(body)).unwrap_or_else(|_| {
            self.metrics.panicked(self.source);
            self.body = None;
            Poll::Ready(Some(Err(failed())))
        })
    }
}

impl http_body::Body for ContainedBody<Body> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.poll(internal, |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    // An HTTP/2 connection uses the hint to charge the body.
    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl MessageBody for ContainedBody<BoxBody> {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    /// Returns the next part of the body. A panic becomes an error, after which the body ends.
    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        // The error closes the connection before the end of the response.
        let failed = || INTERNAL.into();
        self.poll(failed, |body| Pin::new(body).poll_next(cx))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use witan_base::metrics::Register;

    use super::*;

    #[test]
    fn a_contained_body_reports_its_remaining_bytes() {
        let metrics = PanicMetrics::register(&Register::default());
        let body = Body::new(Full::new(Bytes::from_static(b"seven b")));
        let contained = stream(body, metrics);
        assert_eq!(contained.size_hint().exact(), Some(7));
    }
}
