//! Why a connection answers a call itself. What it answers then is the server's
//! ([`crate::Service::refuse`]).

use http::StatusCode;

/// What a connection holds for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
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
    /// [`crate::Service::reserve`] has refused.
    NoRoom(Resource),
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
