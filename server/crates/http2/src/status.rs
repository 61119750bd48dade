//! The gRPC status of a call and its trailers.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Maximum size in bytes of a status message; the rest of a longer message is not sent. Clients accept only short headers, and
/// a message can quote a client's input.
pub const MESSAGE_BYTES_MAX: usize = 4 << 10;

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

    /// Returns the trailers that carry this status.
    pub fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert(STATUS, self.code.into());
        if !self.message.is_empty() {
            trailers.insert(MESSAGE, encode(&self.message));
        }
        trailers
    }
}

/// Cuts a message to [`MESSAGE_BYTES_MAX`] bytes and percent-encodes `%` and all bytes that are not printable ASCII.
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
