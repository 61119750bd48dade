//! What a server gives its connections: answers to calls, room for bytes, texts of refusals,
//! counting.

use std::{fmt, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, request};

use crate::{Body, Code, Head, Status};

/// A request.
#[derive(Debug)]
pub struct Request<M> {
    /// Its head.
    pub head: Rc<Head<M>>,
    /// Its body.
    pub body: Body,
}

/// An answer to a call.
#[derive(Debug)]
pub enum Answer<B> {
    /// The one message of an answer that went well, with its prefix of five bytes.
    Message(Vec<u8>),
    /// Any other answer.
    Response(Response<B>),
}

/// How a call takes its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// The one message is collected before the call begins.
    Message,
    /// The call begins with its head and takes messages as they come.
    Stream,
}

/// What a connection holds for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Bytes of requests: of messages of a stream until the call takes them, of the message of another
    /// call until it has an answer.
    Requests,
    /// Bytes of answers that the client has not taken.
    Answers,
    /// Calls beyond the first few of a connection.
    Calls,
}

/// Why a connection answers a call itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The call's deadline has passed.
    Deadline,
    /// The server shuts down and the call would not end by itself.
    ShuttingDown,
    /// The message is larger than [`crate::Config::message_bytes_max`].
    TooLarge {
        /// Its length; of a compressed one, as far as it was decompressed.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// More than one message for a call that takes one.
    SecondMessage,
    /// [`Service::hold`] has refused.
    NoRoom(Held),
    /// The message comes too slowly.
    TooSlow,
    /// The message is compressed in a way that is not known; the value of `grpc-encoding`.
    UnknownEncoding,
    /// The method of the request is not POST.
    NotPost,
    /// `grpc-timeout` is not a time.
    BadTimeout,
    /// The message is flagged as compressed, and `grpc-encoding` does not say how.
    NoEncoding,
    /// The flag of the message is neither 0 nor 1.
    UnknownFlag(u8),
    /// The message does not decompress.
    Corrupt,
}

impl Refusal {
    /// The HTTP status of the answer; of most it is that of every gRPC answer.
    pub(crate) fn http_status(self) -> StatusCode {
        match self {
            Self::NotPost => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadTimeout => StatusCode::BAD_REQUEST,
            Self::Deadline
            | Self::ShuttingDown
            | Self::TooLarge { .. }
            | Self::SecondMessage
            | Self::NoRoom(_)
            | Self::TooSlow
            | Self::UnknownEncoding
            | Self::NoEncoding
            | Self::UnknownFlag(_)
            | Self::Corrupt => StatusCode::OK,
        }
    }
}

/// A server, as one connection sees it.
pub trait Service {
    /// What the server finds out about a method, once per distinct head of a request.
    type Method: fmt::Debug;
    /// Follows one call; dropped before [`Service::ended`] when the client has canceled it.
    type Call;
    /// A call that runs.
    type Future: Future<Output = Answer<Self::Body>> + Unpin;
    /// The body of an answer. An error of it is the call's status.
    type Body: http_body::Body<Data = Bytes, Error = Status> + Unpin;

    /// Looks at a head that was not seen before.
    fn method(&self, head: &mut request::Parts) -> (Self::Method, Intake);

    /// A call begins, before its request is whole.
    fn begin(&self, head: &Rc<Head<Self::Method>>) -> Self::Call;

    /// Answers a call.
    fn call(&self, request: Request<Self::Method>) -> Self::Future;

    /// A message of so many bytes came in.
    fn received(&self, call: &mut Self::Call, bytes: usize);

    /// A message of so many bytes goes out.
    fn sent(&self, call: &mut Self::Call, bytes: usize);

    /// The headers of an answer are about to go out.
    fn answered(&self, call: &mut Self::Call, headers: &mut HeaderMap);

    /// The call has ended with this code.
    fn ended(&self, call: Self::Call, code: Code, took: Duration);

    /// Whether an answer of this method may have no end of its own.
    fn is_endless(&self, method: &Self::Method) -> bool;

    /// Reserves room. Whatever it grants comes back by [`Service::release`].
    fn hold(&self, what: Held, amount: usize) -> bool;

    /// Gives back what [`Service::hold`] has granted.
    fn release(&self, what: Held, amount: usize);

    /// The status of a call that the connection answers itself.
    fn refuse(&self, head: &Head<Self::Method>, refusal: Refusal) -> Status;
}
