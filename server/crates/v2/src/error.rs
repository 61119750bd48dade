//! Maps errors from the tree and the node to the codes and messages of `/v2/keys`. The api crate defines the codes.

use bytes::Bytes;
use witan_api::v2::{auth::INSUFFICIENT, error::ErrorCode};
use witan_dialect::rendering::ReadRefused;
use witan_gocompat::text::{self, Sink};
use witan_node::{NodeError, ProposeError};

/// An error response of `/v2/keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V2Error {
    /// The code, which determines the message and the HTTP status.
    pub code: ErrorCode,
    /// The value of the field `cause`, in pieces to avoid copying values. It can contain any bytes, because paths can.
    pub cause: Vec<Bytes>,
    /// The store's index; 0 if the request did not reach the store.
    pub(crate) index: u64,
}

impl V2Error {
    /// Creates an error with index 0, for a request that did not reach the store.
    pub fn before_store(code: ErrorCode, cause: impl Into<Bytes>) -> Self {
        Self { code, cause: vec![cause.into()], index: 0 }
    }

    /// Appends the error as JSON and a newline.
    pub(crate) fn write(&self, out: &mut dyn Sink) {
        let (code, message) = (self.code.code(), self.code.message());
        witan_dialect::rendering::push_error_head(out, code, message, &self.cause);
        out.extend_from_slice(b",\"index\":");
        text::push_number(out, self.index);
        out.extend_from_slice(b"}\n");
    }
}

impl From<witan_tree::TreeError> for V2Error {
    fn from(error: witan_tree::TreeError) -> Self {
        let code = match error.kind {
            witan_tree::TreeErrorKind::KeyNotFound => ErrorCode::KeyNotFound,
            witan_tree::TreeErrorKind::CompareFailed => ErrorCode::CompareFailed,
            witan_tree::TreeErrorKind::NotFile => ErrorCode::NotFile,
            witan_tree::TreeErrorKind::NotDir => ErrorCode::NotDir,
            witan_tree::TreeErrorKind::NodeExists => ErrorCode::NodeExists,
            witan_tree::TreeErrorKind::RootReadOnly => ErrorCode::RootReadOnly,
            witan_tree::TreeErrorKind::DirNotEmpty => ErrorCode::DirNotEmpty,
            witan_tree::TreeErrorKind::HistoryCleared => ErrorCode::HistoryCleared,
        };
        Self { code, cause: error.cause.pieces(), index: error.index }
    }
}

impl From<NodeError> for V2Error {
    /// Maps `NoSpace` to the code of the same name. Logs any other error and maps it to `RaftInternal`.
    fn from(fault: NodeError) -> Self {
        if fault == NodeError::NoSpace {
            return Self::before_store(ErrorCode::NoSpace, fault.of_etcd());
        }
        witan_dialect::log_failure("v2 keys", fault);
        Self::before_store(ErrorCode::RaftInternal, fault.of_etcd())
    }
}

impl From<ReadRefused> for V2Error {
    fn from(refused: ReadRefused) -> Self {
        match refused {
            ReadRefused::Tree(error) => error.into(),
            ReadRefused::Fault(fault) => fault.into(),
            ReadRefused::Unauthorized => Self::before_store(ErrorCode::Unauthorized, INSUFFICIENT),
        }
    }
}

impl From<ProposeError<witan_tree::TreeError>> for V2Error {
    fn from(error: ProposeError<witan_tree::TreeError>) -> Self {
        match error {
            ProposeError::Fault(fault) => fault.into(),
            ProposeError::Refused(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/differ` compares the errors of the store with etcd's.
    #[test]
    fn an_error_of_the_node_has_index_0() {
        let mut body = Vec::new();
        V2Error::from(NodeError::Timeout).write(&mut body);
        let expect = "{\"errorCode\":300,\"message\":\"Raft Internal Error\",\"cause\":\"etcdserver: request timed out\",\"index\":0}\n";
        assert_eq!(String::from_utf8_lossy(&body), expect);
    }
}
