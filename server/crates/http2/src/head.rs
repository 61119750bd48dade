//! The parsed head of a request, and the escaping of its target. `head_cache` reads header blocks.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, header, request};
use percent_encoding::{AsciiSet, percent_encode};

use crate::{Refusal, message::Encoding};

/// The ASCII characters of a target that Go accepts and [`http::Uri`] rejects. `Uri` also rejects all bytes above ASCII, which
/// are always escaped.
const ESCAPED: &AsciiSet = &AsciiSet::EMPTY
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// How a call receives its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestMode {
    /// The call starts when its only message is complete.
    Collected,
    /// The call starts with the head and reads messages as they arrive.
    Streaming,
}

/// The head of a request. Requests with equal header blocks can share it.
#[derive(Debug)]
pub struct Head<M> {
    pub(crate) parts: request::Parts,
    pub(crate) method: M,
    pub(crate) mode: RequestMode,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grpc: bool,
    pub(crate) encoding: Encoding,
    /// The reason why calls with this head are refused; `None` if they are accepted. Ignored if the request is not gRPC.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) content_length: Option<u64>,
    /// Size of the header list in bytes, as HTTP/2 counts it.
    pub(crate) bytes: usize,
}

impl<M> Head<M> {
    /// Returns the request's path, without the query.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// Returns the request's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Returns the request without its body.
    pub fn parts(&self) -> &request::Parts {
        &self.parts
    }

    /// Returns the service's data about the method.
    pub fn method(&self) -> &M {
        &self.method
    }

    /// Returns whether the client waits for status 100 before it sends the content.
    pub(crate) fn expects_continue(&self) -> bool {
        let expected = self.parts.headers.get(header::EXPECT);
        expected.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }

    /// Returns whether `content-length` announces a body.
    pub(crate) fn has_content(&self) -> bool {
        self.content_length.is_some_and(|length| length > 0)
    }
}

/// Percent-encodes the bytes of a target that [`http::Uri`] rejects. Borrows the target if it contains no such byte.
pub fn escaped_target(target: &[u8]) -> Cow<'_, [u8]> {
    let escaped = Cow::from(percent_encode(target, ESCAPED));
    if escaped.len() == target.len() {
        Cow::Borrowed(target)
    } else {
        Cow::Owned(escaped.into_owned().into_bytes())
    }
}
