//! Maps node errors to v1 codes. `keys` maps tree errors, because their codes depend on the operation.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::CONTENT_TYPE},
};
use bytes::Bytes;
use witan_api::v1::error::ErrorCode;
use witan_dialect::{Context, rendering, reply};
use witan_gocompat::text::Sink;
use witan_node::NodeError;

/// An error response of v1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Error {
    /// The code, which determines the message and the HTTP status.
    pub code: ErrorCode,
    /// The value of the field `cause`, in pieces to avoid copying values. It can contain any bytes, because keys can.
    pub(crate) cause: Vec<Bytes>,
}

impl V1Error {
    pub(crate) fn new(code: ErrorCode, cause: impl Into<Bytes>) -> Self {
        Self { code, cause: vec![cause.into()] }
    }

    /// Appends the error as JSON, without a final newline.
    pub(crate) fn write(&self, out: &mut dyn Sink) {
        let (code, message) = (self.code.code(), self.code.message());
        rendering::push_error_head(out, code, message, &self.cause);
        out.push(b'}');
    }

    /// Responds with the error's status and its JSON as plain text.
    pub(super) async fn answer(self, ctx: &Context, request: &HttpRequest) -> HttpResponse {
        let status =
            StatusCode::from_u16(self.code.status()).expect("the codes have valid statuses");
        let least_bytes = self.cause.iter().map(Bytes::len).sum();
        let write = move |out: &mut dyn Sink| self.write(out);
        let body = rendering::body(ctx, request, least_bytes, write).await;
        HttpResponse::build(status)
            .insert_header((CONTENT_TYPE, reply::TEXT))
            .body(body)
    }
}

impl From<NodeError> for V1Error {
    /// Maps an unknown leader to `LeaderElection`. Logs any other error and maps it to `RaftInternal` with a message.
    fn from(fault: NodeError) -> Self {
        let cause = match fault {
            NodeError::NoLeader => return Self::new(ErrorCode::LeaderElection, ""),
            NodeError::LearnerNotReady => "learner is not in sync with leader".to_owned(),
            NodeError::ClusterVersion => "the cluster version is too low".to_owned(),
            NodeError::Learner => "not supported for learner".to_owned(),
            NodeError::Removed => "member was removed".to_owned(),
            NodeError::Timeout
            | NodeError::LeaderFailed
            | NodeError::ConnectionLost
            | NodeError::Follows
            | NodeError::TooMany
            | NodeError::TooLarge
            | NodeError::NoSpace
            | NodeError::Stopped
            | NodeError::Internal => fault.to_string(),
        };
        witan_dialect::log_failure("v1", fault);
        Self::new(ErrorCode::RaftInternal, cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors that the requests in `tests/e2e/tests/v1` do not cause.
    #[test]
    fn error_bodies_are_rendered_as_in_etcd() {
        let table = [
            (
                ErrorCode::RaftInternal,
                "",
                r#"{"errorCode":300,"message":"Raft Internal Error"}"#,
            ),
            (
                ErrorCode::LeaderElection,
                "",
                r#"{"errorCode":301,"message":"During Leader Election"}"#,
            ),
            (
                ErrorCode::WatcherCleared,
                "/<",
                r#"{"errorCode":500,"message":"watcher is cleared due to etcd recovery","cause":"/\u003c"}"#,
            ),
        ];
        for (code, cause, expect) in table {
            let mut body = Vec::new();
            V1Error::new(code, cause).write(&mut body);
            assert_eq!(String::from_utf8_lossy(&body), expect);
        }
    }
}
