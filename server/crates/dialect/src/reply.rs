//! Reads bodies and builds responses for all HTTP dialects: Go's plain-text errors, and bodies with a length or in chunks, as
//! Go sends them.

use std::{
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    FromRequest as _, HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    dev,
    http::{
        ConnectionType, Method, StatusCode, Version,
        header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    web::{self, Bytes},
};
use futures_util::StreamExt as _;
use witan_base::account::{Account, Charge, Resource, SMALL_BYTES};
use witan_gocompat::json;
use witan_transport::{BODY_BYTES_MAX, LINGER_BYTES, MESSAGE_BYTES_MAX, connection_data};

/// Size in bytes above which Go's server sends a body in chunks instead of with its length.
const UNCHUNKED_BYTES: usize = 2048;
/// Size in bytes of the pieces of a large response. Between two pieces, the worker can serve other connections.
const PIECE_BYTES: usize = 256 << 10;
/// Media type of plain-text responses.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// Media type of JSON responses.
pub const JSON: &str = "application/json";
/// Media type of forms.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Cuts an error message to at most [`MESSAGE_BYTES_MAX`] bytes, at a character boundary. A message can quote a large request,
/// and error responses are not charged.
pub fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)]
}

/// Builds a plain-text error like Go's `http.Error`, which adds a newline. Cuts the message with [`cut`].
pub fn text(status: StatusCode, message: &str) -> HttpResponse {
    let message = cut(message);
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, TEXT))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(format!("{message}\n"))
}

/// Completes an error response with a JSON object that contains `message`, the format of errors outside the key spaces. Cuts
/// the message with [`cut`].
pub fn error_message(mut builder: HttpResponseBuilder, message: String) -> HttpResponse {
    let body = BTreeMap::from([("message", cut(&message))]);
    builder
        .insert_header((CONTENT_TYPE, JSON))
        .body(json::encode(&body))
}

/// Builds Go's 404 response for an unknown path.
pub fn not_found() -> HttpResponse {
    text(StatusCode::NOT_FOUND, "404 page not found")
}

/// Builds a 405 response. `allow` is the value of the `Allow` header, such as `GET, PUT`; `None` omits the header.
pub fn method_not_allowed(allow: Option<&'static str>) -> HttpResponse {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    if let Some(allow) = allow {
        let value = actix_web::http::header::HeaderValue::from_static(allow);
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

/// Returns whether `allow`, a comma-separated list such as `GET,PUT`, contains the request's method.
pub fn allows(request: &HttpRequest, allow: &str) -> bool {
    allow
        .split(',')
        .any(|method| method == request.method().as_str())
}

/// Creates a body with etcd's framing: chunks above `UNCHUNKED_BYTES`, otherwise a length. Charges the bytes. If the charge is
/// refused, the body fails.
pub fn framed(request: &HttpRequest, bytes: Vec<u8>) -> FramedBody {
    let charge = charge(account(request), bytes.len());
    framed_text(request, charge.map(|charge| ChargedText { bytes, charge }))
}

/// Creates a body from text that is already charged, with the framing of [`framed`]. If the charge was refused, the body fails.
pub fn framed_text(
    request: &HttpRequest,
    text: Result<ChargedText, ResponseRefused>,
) -> FramedBody {
    let size = match &text {
        Ok(text) if text.bytes.len() <= UNCHUNKED_BYTES => BodySize::Sized(text.bytes.len() as u64),
        Ok(text) => unbuffered_size(request, text.bytes.len()),
        // A body of length 0 would be sent as an empty response, without the failure.
        Err(ResponseRefused) => unbuffered_size(request, 1),
    };
    FramedBody {
        size,
        text: text.map(|text| (text.bytes.into(), text.charge)),
    }
}

/// Creates a body in chunks, as Go's server does if it does not know the length. Charges the bytes, like [`framed`].
pub fn streamed(request: &HttpRequest, bytes: Vec<u8>) -> FramedBody {
    let charge = charge(account(request), bytes.len());
    FramedBody {
        size: unbuffered_size(request, bytes.len()),
        text: charge.map(|charge| (bytes.into(), charge)),
    }
}

/// Returns the framing of a body whose length Go's server does not know when it starts to send: none for HEAD and chunks on
/// HTTP/1.1. HTTP/1.0 has no chunks, so the framing is the length.
fn unbuffered_size(request: &HttpRequest, bytes: usize) -> BodySize {
    if *request.method() == Method::HEAD {
        // Go also omits the length of a body that is not sent.
        BodySize::None
    } else if request.version() >= Version::HTTP_11 {
        BodySize::Stream
    } else {
        BodySize::Sized(bytes as u64)
    }
}

/// Makes the connection close after a stream to an HTTP/1.0 client, which has no other way to find the end of the stream. Does
/// nothing for later versions.
pub fn end_with_connection(request: &HttpRequest, response: &mut HttpResponse) {
    if request.version() < Version::HTTP_11 {
        let head = response.head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
}

/// A response body with its framing.
#[derive(Debug)]
pub struct FramedBody {
    size: BodySize,
    /// The unsent rest of the text, with the charge for the entire text.
    text: Result<(Bytes, Option<Charge>), ResponseRefused>,
}

/// Charges a response until its client has read it. Returns `None` if `account` is `None` or the response has at most
/// `SMALL_BYTES` bytes. On an error, the caller must close the connection.
pub fn charge(account: Option<&Account>, bytes: usize) -> Result<Option<Charge>, ResponseRefused> {
    match account {
        Some(account) if bytes > SMALL_BYTES => {
            let charge = account.hold(Resource::Answers, bytes);
            charge.map(Some).ok_or(ResponseRefused)
        }
        Some(_) | None => Ok(None),
    }
}

/// Returns the account of a request's connection, or `None` in tests without an account.
pub fn account(request: &HttpRequest) -> Option<&Account> {
    connection_data(request)
}

/// Rendered text and its charge.
#[derive(Debug)]
pub struct ChargedText {
    /// The text.
    pub bytes: Vec<u8>,
    /// The memory charge for the text; see [`charge`].
    pub charge: Option<Charge>,
}

/// The memory for responses that clients have not read is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("etcdserver: too many requests")]
pub struct ResponseRefused;

impl MessageBody for FramedBody {
    type Error = ResponseRefused;

    fn size(&self) -> BodySize {
        self.size
    }

    /// Returns the next piece of at most `PIECE_BYTES` bytes without waiting. Fails if the charge was refused.
    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ResponseRefused>>> {
        Poll::Ready(match &mut self.text {
            Ok((rest, _)) if rest.is_empty() => None,
            Ok((rest, _)) => Some(Ok(rest.split_to(rest.len().min(PIECE_BYTES)))),
            Err(refused) => Some(Err(*refused)),
        })
    }
}

/// The reason why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The body exceeds the limit.
    TooLarge,
    /// The client disconnected.
    Disconnected,
}

/// Reads a body. Fails with `TooLarge` if the body has more than `limit` bytes and with `Disconnected` if the client
/// disconnects.
pub async fn read(payload: &mut web::Payload, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(part) = payload.next().await {
        let part = part.map_err(|_| BodyError::Disconnected)?;
        if body.len() + part.len() > limit {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// Returns the undecoded bytes of a form. Fails with Go's error message if the form exceeds [`BODY_BYTES_MAX`] bytes or the
/// client disconnects.
pub async fn read_form(payload: &mut web::Payload) -> Result<Vec<u8>, &'static str> {
    let form = read(payload, BODY_BYTES_MAX).await;
    form.map_err(|error| match error {
        BodyError::TooLarge => "http: POST too large",
        BodyError::Disconnected => "unexpected EOF",
    })
}

/// Reads and drops the rest of a body, up to [`LINGER_BYTES`] bytes, so that the connection stays open for the response. If
/// more bytes remain, the connection closes when the response is sent.
pub async fn drain(payload: &mut web::Payload) {
    let mut left = LINGER_BYTES;
    while let Some(Ok(part)) = payload.next().await {
        let Some(rest) = left.checked_sub(part.len()) else {
            return;
        };
        left = rest;
    }
}

/// Returns the payload of a request. It is empty for a `CONNECT` and for a refused WebSocket handshake. The bytes after such a
/// request are not a body, so they stay unread, and the connection closes after the response.
pub async fn payload_of(request: &HttpRequest, payload: web::Payload) -> web::Payload {
    if *request.method() != Method::CONNECT && !request.head().upgrade() {
        return payload;
    }
    web::Payload::from_request(request, &mut dev::Payload::None)
        .await
        .expect("taking a payload cannot fail")
}

/// Returns the trimmed, lower-case media type of `Content-Type`, without parameters, or an empty string if the header is
/// missing.
pub fn media_type(request: &HttpRequest) -> String {
    let given = content_type(request);
    let of_type = given.split(';').next().unwrap_or_default();
    of_type.trim().to_ascii_lowercase()
}

/// Returns the entire `Content-Type` header, or an empty string if the header is missing. Replaces invalid UTF-8.
pub fn content_type(request: &HttpRequest) -> String {
    let value = request.headers().get(CONTENT_TYPE);
    value.map_or_else(String::new, |value| {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_quote_a_request_are_cut() {
        let quoted = || "<".repeat(2 * MESSAGE_BYTES_MAX);
        let body = |response: HttpResponse| response.into_body().try_into_bytes().unwrap();
        let plain = body(text(StatusCode::BAD_REQUEST, &quoted()));
        assert_eq!(plain, "<".repeat(MESSAGE_BYTES_MAX) + "\n");
        let json = body(error_message(HttpResponse::BadRequest(), quoted()));
        let cut = "\\u003c".repeat(MESSAGE_BYTES_MAX);
        assert_eq!(json, format!("{{\"message\":\"{cut}\"}}"));
    }
}
