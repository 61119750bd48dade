//! Serves HTTP/2 requests that are not gRPC. The HTTP/1 handler gets them as HTTP/1 requests, and its responses are converted
//! to HTTP/2. `witan_http2` implements the protocol, and `grpc` serves gRPC calls.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use actix_http::{BoxedPayloadStream, Extensions, HttpMessage as _, error::PayloadError};
use actix_service::{Service as _, ServiceFactory as _, boxed, map_config};
use actix_web::{
    App, Handler, HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody as _},
    dev::{AppConfig, ServiceResponse},
    http::{self as http1, header::HttpDate},
    web::{self, Payload},
};
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body as _, Frame};
use witan_base::account::Account;
use witan_http2::{RequestStream, Status};

use super::{Head, grpc::ConnectionInfo, http1_stream::OverTls, limits::BODY_PIECE_BYTES};

/// Headers that describe an HTTP/1 connection. HTTP/2 forbids them.
const OF_HTTP1: [header::HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HeaderName::from_static("keep-alive"),
    header::HeaderName::from_static("proxy-connection"),
];

type HttpService = boxed::BoxService<actix_http::Request, ServiceResponse, actix_web::Error>;

pub(super) type RunningRequest = Pin<Box<dyn Future<Output = Response<HttpBody>>>>;

/// Serves the requests of one worker.
#[derive(Clone)]
pub(super) struct Http2Requests(Rc<HttpService>);

impl Http2Requests {
    /// Creates a service that calls `handler`.
    pub(super) async fn new(
        handler: impl Handler<(HttpRequest, Payload), Output = HttpResponse>,
    ) -> Result<Self, ()> {
        let app = App::new()
            // actix supports connection data only for HTTP/1 connections, so pass the data with the request.
            .wrap_fn(|mut request, service| {
                let connection = request.extensions_mut().remove::<Rc<Extensions>>();
                if let Some(connection) = connection {
                    request.add_data_container(connection);
                }
                service.call(request)
            })
            .default_service(web::to(handler));
        let service = map_config(app, |()| AppConfig::default()).new_service(());
        Ok(Self(Rc::new(boxed::service(service.await?))))
    }

    /// Answers a request of a connection. `content` is its body, if there is one. Answers with status 400 if actix's types
    /// reject a part of the head.
    pub(super) fn answer(
        &self,
        head: &Head,
        content: Option<RequestStream>,
        client: &ConnectionInfo,
        account: &Account,
    ) -> RunningRequest {
        let Some(request) = request(head, content) else {
            let refusal = HttpResponse::BadRequest().body("400 Bad Request");
            return Box::pin(std::future::ready(response(refusal, false)));
        };
        // Handlers read the data with `connection_data`.
        let mut data = Extensions::new();
        data.insert(account.clone());
        if client.over_tls {
            data.insert(OverTls);
        }
        request.extensions_mut().insert(Rc::new(data));
        let head_only = *request.method() == http1::Method::HEAD;
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await.map(ServiceResponse::into);
            let answer = answer.unwrap_or_else(HttpResponse::from_error);
            response(answer, head_only)
        })
    }
}

/// Refuses, with status 415, a request that is not gRPC on a port for gRPC only.
pub(super) fn refuse(head: &Head) -> RunningRequest {
    let refusal = HttpResponse::UnsupportedMediaType()
        .content_type("text/plain; charset=utf-8")
        .body("this port serves only gRPC; send other requests to --listen-client-http-urls\n");
    let head_only = head.parts().method == http::Method::HEAD;
    Box::pin(std::future::ready(response(refusal, head_only)))
}

/// Converts a request to actix's type. Content without a length gets HTTP/1's `Transfer-Encoding` header. Returns `None` if
/// actix's types reject a part of the head.
fn request(head: &Head, content: Option<RequestStream>) -> Option<actix_http::Request> {
    let parts = head.parts();
    let has_content = content.is_some();
    let mut request = match content {
        Some(content) => {
            let content: BoxedPayloadStream = Box::pin(Content(content));
            actix_http::Request::with_payload(content.into())
        }
        None => actix_http::Request::new(),
    };
    let to = request.head_mut();
    to.method = http1::Method::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    to.uri = parts.uri.path_and_query()?.as_str().parse().ok()?;
    to.version = http1::Version::HTTP_2;
    for (name, value) in &parts.headers {
        let name = http1::header::HeaderName::from_bytes(name.as_ref()).ok()?;
        let value = http1::header::HeaderValue::from_bytes(value.as_bytes()).ok()?;
        to.headers.append(name, value);
    }
    // In HTTP/1, content without a length is chunked.
    if has_content && !parts.headers.contains_key(header::CONTENT_LENGTH) {
        let chunked = http1::header::HeaderValue::from_static("chunked");
        to.headers.insert(http1::header::TRANSFER_ENCODING, chunked);
    }
    Some(request)
}

/// Converts a response to HTTP/2: removes the headers of an HTTP/1 connection and adds the length and the date. With
/// `head_only`, drops the body.
fn response(answer: HttpResponse, head_only: bool) -> Response<HttpBody> {
    let (answer, body) = answer.into_parts();
    let size = body.size();
    let without_body = head_only || size.is_eof();
    let mut response =
        Response::new(HttpBody { body: (!without_body).then_some(body), piece: Bytes::new() });
    let status = StatusCode::from_u16(answer.status().as_u16());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in answer.headers() {
        let name = header::HeaderName::from_bytes(name.as_ref());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value)
            && !OF_HTTP1.contains(&name)
        {
            headers.append(name, value);
        }
    }
    if let BodySize::Sized(length) = size {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let date = HttpDate::from(SystemTime::now()).to_string();
    if let Ok(date) = HeaderValue::try_from(date) {
        headers.entry(header::DATE).or_insert(date);
    }
    response
}

/// A request's content, as actix reads it.
struct Content(RequestStream);

impl Stream for Content {
    type Item = Result<Bytes, PayloadError>;

    /// Returns the next part of the content. Fails if the client has reset the stream or the connection has ended.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => Ok(frame.into_data().unwrap_or_default()),
            Err(_) => Err(PayloadError::Incomplete(None)),
        }))
    }
}

/// A response body. Its producer has reserved the memory, so the connection counts only the part that it sends.
pub(super) struct HttpBody {
    /// The rest of the body, or `None` at its end.
    body: Option<BoxBody>,
    /// The unsent rest of the last part.
    piece: Bytes,
}

impl http_body::Body for HttpBody {
    type Data = Bytes;
    type Error = Status;

    /// Returns the next bytes, at most [`BODY_PIECE_BYTES`]. An error of the producer ends the body with the status `UNKNOWN`.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        while self.piece.is_empty() {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            match ready!(Pin::new(body).poll_next(cx)) {
                Some(Ok(part)) => self.piece = part,
                Some(Err(error)) => {
                    self.body = None;
                    let status = Status::new(Status::UNKNOWN, error.to_string());
                    return Poll::Ready(Some(Err(status)));
                }
                None => self.body = None,
            }
        }
        let length = self.piece.len().min(BODY_PIECE_BYTES);
        let piece = self.piece.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none() && self.piece.is_empty()
    }
}
