//! The interface to the server: settings, calls, refusals and statuses, memory budgets, error messages and metrics. `limits`
//! defines the fixed limits.

use std::{borrow::Cow, fmt, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, request};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{Body, Head, RequestMode, RequestStream};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Maximum size in bytes of a status message; the rest of a longer message is not sent. Clients accept only short headers, and
/// a message can quote a client's input.
pub const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Settings of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Maximum number of concurrent streams of a connection; a value above [`crate::limits::STREAMS_MAX`] is lowered to it.
    pub streams_max: u32,
    /// Maximum size in bytes of a request message, before and after decompression.
    pub message_bytes_max: usize,
    /// Timing of pings to a silent client; `None` disables these pings.
    pub keepalive: Option<KeepAlive>,
    /// Minimum interval between a client's pings while it has calls in progress and receives neither headers nor data. A client
    /// that repeatedly pings more often is disconnected.
    pub ping_interval_min: Duration,
}

/// Timing of pings to a silent client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Time without received bytes after which a ping is sent.
    pub interval: Duration,
    /// Time after a ping within which bytes must arrive. Otherwise, the connection ends.
    pub timeout: Duration,
}

impl Default for Config {
    /// Permits messages of up to 4 MiB and any number of streams up to the fixed limit. Pings a client after 2 hours of
    /// silence.
    fn default() -> Self {
        Self {
            streams_max: u32::MAX,
            message_bytes_max: 4 << 20,
            keepalive: Some(KeepAlive {
                interval: Duration::from_secs(2 * 60 * 60),
                timeout: Duration::from_secs(20),
            }),
            ping_interval_min: Duration::from_secs(5),
        }
    }
}

/// The request of a call.
#[derive(Debug)]
pub struct CallRequest<M> {
    /// Head of the request.
    pub head: Rc<Head<M>>,
    /// Body of the request.
    pub body: Body,
}

/// The response of a call.
#[derive(Debug)]
pub enum CallResponse<B> {
    /// The message of a successful unary response, with its 5-byte prefix.
    Message(Vec<u8>),
    /// Any other response.
    Response(Response<B>),
}

/// A resource that a connection holds and reserves for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Request bytes: heads that are not cached, incomplete header blocks and messages, messages that a call has not taken, and
    /// the message of a unary call until its response.
    Requests,
    /// Response bytes that wait for the client to read.
    Answers,
    /// Requests in progress. A connection's first [`STREAMS_FREE`](crate::limits::STREAMS_FREE) calls with one request message
    /// do not count.
    Calls,
}

/// The reason why a connection refuses a call. [`Service::refuse`] chooses the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The call's deadline has passed.
    Deadline,
    /// The server is shutting down and refuses calls that may run forever.
    ShuttingDown,
    /// The message is larger than [`crate::Config::message_bytes_max`].
    TooLarge {
        /// Length of the message in bytes. For a message that exceeds the limit only after decompression, the length at which
        /// decompression stopped.
        length: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The client sent more than one message for a call that accepts only one.
    SecondMessage,
    /// [`Service::reserve`] refused a reservation.
    NoRoom(Resource),
    /// The message arrives too slowly.
    TooSlow,
    /// The value of `grpc-encoding` is not supported.
    UnknownEncoding,
    /// The method of the request is not POST.
    NotPost,
    /// The value of `grpc-timeout` is invalid.
    BadTimeout,
    /// The message's flag says that it is compressed, but `grpc-encoding` is missing or `identity`.
    NoEncoding,
    /// The message's flag is neither 0 nor 1.
    UnknownFlag(u8),
    /// The message cannot be decompressed.
    Corrupt,
}

impl Refusal {
    /// Returns the HTTP status of the response: 200 for most refusals.
    pub(crate) fn http_status(self) -> StatusCode {
        if self == Self::NotPost {
            StatusCode::METHOD_NOT_ALLOWED
        } else if self == Self::BadTimeout {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::OK
        }
    }
}

/// The server's side of a connection, which runs calls, grants memory and chooses error messages.
pub trait Service {
    /// The service's data about a method, which [`Service::method`] returns and the connection keeps with the head.
    type Method: fmt::Debug;
    /// The service's data about a call in progress. If the stream is reset or the connection ends first, the data is dropped
    /// without [`Service::ended`].
    type Call;
    /// A running call.
    type Future: Future<Output = CallResponse<Self::Body>> + Unpin;
    /// The body of a response. Its error is the status that ends the call.
    type Body: http_body::Body<Data = Bytes, Error = Status> + Unpin;

    /// Examines a head that is not cached. May change the head. Returns the service's data about the method, and how the call
    /// receives its request.
    fn method(&self, head: &mut request::Parts) -> (Self::Method, RequestMode);

    /// Called when the head of a call arrives, even if the call is then refused.
    fn begin(&self, head: &Rc<Head<Self::Method>>) -> Self::Call;

    /// Runs a call.
    fn call(&self, request: CallRequest<Self::Method>) -> Self::Future;

    /// Runs a request that is not gRPC. Its content, if any, arrives as a stream.
    ///
    /// Apart from [`Service::method`] and reservations, no other method of this trait is called for such a request. A refusal
    /// or a failed body resets its stream.
    fn exchange(
        &self,
        head: &Rc<Head<Self::Method>>,
        content: Option<RequestStream>,
    ) -> Self::Future;

    /// Called for each request message with its size in bytes, without the prefix and after decompression.
    fn received(&self, call: &mut Self::Call, bytes: usize);

    /// Called for each response message with its size in bytes, without the prefix.
    fn sent(&self, call: &mut Self::Call, bytes: usize);

    /// Called before the headers of a [`CallResponse::Response`] are sent. May change the headers.
    fn answered(&self, call: &mut Self::Call, headers: &mut HeaderMap);

    /// Called when a call has ended, with its status code and duration.
    fn ended(&self, call: Self::Call, code: Code, took: Duration);

    /// Returns whether a call of this method may run forever. A shutdown ends such calls.
    fn may_run_forever(&self, method: &Self::Method) -> bool;

    /// Reserves an amount of a resource, or returns `false`. The connection releases granted amounts with [`Service::release`].
    fn reserve(&self, resource: Resource, amount: usize) -> bool;

    /// Releases an amount that [`Service::reserve`] has granted.
    fn release(&self, resource: Resource, amount: usize);

    /// Returns the status of a call that the connection refuses.
    fn refuse(&self, head: &Head<Self::Method>, refusal: Refusal) -> Status;
}

/// A gRPC status code.
pub type Code = i32;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code; 0 for success.
    pub code: Code,
    /// Error message for users.
    pub message: Cow<'static, str>,
}

impl Status {
    /// Code of a successful call.
    pub const OK: Code = 0;
    /// Code of a call whose response has no status code.
    pub const UNKNOWN: Code = 2;

    /// Creates a status.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// Returns the code in a response's trailers, or `None` if they contain no code in visible ASCII. A code that is not a
    /// number is [`Self::UNKNOWN`].
    pub fn code_of(trailers: &HeaderMap) -> Option<Code> {
        let text = trailers.get(STATUS)?.to_str().ok()?;
        Some(text.parse().unwrap_or(Self::UNKNOWN))
    }

    /// Returns the trailers that carry this status, with at most [`MESSAGE_BYTES_MAX`] bytes of the message.
    pub fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert(STATUS, self.code.into());
        if !self.message.is_empty() {
            trailers.insert(MESSAGE, encode(&self.message));
        }
        trailers
    }
}

/// Cuts a message to [`MESSAGE_BYTES_MAX`] bytes, then percent-encodes `%` and all bytes that are not printable ASCII. The
/// result can be three times as long.
fn encode(text: &str) -> HeaderValue {
    const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
    let text = &text[..text.floor_char_boundary(MESSAGE_BYTES_MAX)];
    let encoded = utf8_percent_encode(text, ESCAPED).to_string();
    HeaderValue::try_from(encoded).expect("only printable ASCII was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_as_trailers_and_read_back() {
        let trailers = Status::new(8, "50 % of ü\n").trailers();
        assert_eq!(trailers["grpc-message"], "50 %25 of %C3%BC%0A");
        assert_eq!(Status::code_of(&trailers), Some(8));
        assert_eq!(Status::code_of(&HeaderMap::new()), None);
        let bare = Status::new(Status::OK, "").trailers();
        assert_eq!((bare.len(), Status::code_of(&bare)), (1, Some(0)));
    }
}
