//! Reasons for which a connection answers a call without the service. The server chooses the status
//! ([`crate::Service::refuse`]).

use http::StatusCode;

/// A resource that a connection holds for its client and reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes of requests: the messages of a stream until the call takes them, or the message of a
    /// unary call until it has a response.
    Requests,
    /// Bytes of responses that were not sent because the client does not read them.
    Answers,
    /// Calls beyond the first few of a connection.
    Calls,
}

/// Why a connection answers a call without the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The call's deadline has passed.
    Deadline,
    /// The server shuts down and the call may never end.
    ShuttingDown,
    /// The message is larger than [`crate::Config::message_bytes_max`].
    TooLarge {
        /// Length of the message; if it is compressed, the length up to which it was decompressed.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// More than one message for a call that takes one.
    SecondMessage,
    /// [`crate::Service::reserve`] refused a reservation.
    NoRoom(Resource),
    /// The message arrives too slowly.
    TooSlow,
    /// The value of `grpc-encoding` is not supported.
    UnknownEncoding,
    /// The method of the request is not POST.
    NotPost,
    /// The value of `grpc-timeout` is invalid.
    BadTimeout,
    /// The message is flagged as compressed, but there is no `grpc-encoding`.
    NoEncoding,
    /// The flag of the message is neither 0 nor 1.
    UnknownFlag(u8),
    /// The message cannot be decompressed.
    Corrupt,
}

impl Refusal {
    /// The HTTP status of the response: 200 for most, as for every gRPC response.
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
