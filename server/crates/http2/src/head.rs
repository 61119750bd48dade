//! What the header block of a request says. Reading the block is `heads`'.

use std::time::Duration;

use http::{HeaderMap, request};

use crate::{message::Encoding, refusal::Refusal};

/// How a call takes its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestMode {
    /// The one message is collected before the call begins.
    Collected,
    /// The call begins with its head and takes messages as they come.
    Streaming,
}

/// The head of a request, shared by all requests that repeat it.
#[derive(Debug)]
pub struct Head<M> {
    pub(crate) parts: request::Parts,
    pub(crate) method: M,
    pub(crate) intake: RequestMode,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grpc: bool,
    pub(crate) encoding: Encoding,
    /// Why no call begins with it.
    pub(crate) refusal: Option<Refusal>,
    /// What `content-length` says.
    pub(crate) content_length: Option<u64>,
    /// Size of its header list.
    pub(crate) bytes: usize,
}

impl<M> Head<M> {
    /// Path of the request.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// Headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The request without its body.
    pub fn parts(&self) -> &request::Parts {
        &self.parts
    }

    /// What the server found out about its method.
    pub fn method(&self) -> &M {
        &self.method
    }

    /// Whether it announces content.
    pub(crate) fn has_content(&self) -> bool {
        self.content_length.is_some_and(|length| length > 0)
    }
}
