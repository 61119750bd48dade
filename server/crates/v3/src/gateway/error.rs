//! Errors of gateway calls and their response bodies in etcd 3.6 and 3.4.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, WWW_AUTHENTICATE},
    },
};
use serde_json::json;
use tonic::{Code, Status};
use witan_dialect::reply::{self, BodyError};

use super::GatewayVersion;
use crate::error::RpcError;

/// The reason why a gateway call failed.
#[derive(Debug, PartialEq, Eq)]
pub enum GatewayError {
    /// No call has this path.
    NotFound,
    /// The request does not use POST.
    NotPost,
    /// The call failed.
    Status {
        /// The gRPC code.
        code: Code,
        /// The message for the client.
        text: String,
    },
}

impl From<RpcError> for GatewayError {
    fn from(error: RpcError) -> Self {
        Self::Status { code: error.code(), text: error.to_string() }
    }
}

impl From<Status> for GatewayError {
    fn from(status: Status) -> Self {
        Self::Status { code: status.code(), text: status.message().to_owned() }
    }
}

impl GatewayError {
    pub(super) fn invalid(text: String) -> Self {
        Self::Status { code: Code::InvalidArgument, text }
    }

    pub(super) fn unknown(text: String) -> Self {
        Self::Status { code: Code::Unknown, text }
    }

    /// Returns the error for a stream with an unreadable first request: `InvalidArgument` for 3.6, `Unknown` for 3.4. etcd 3.6
    /// itself sends no error.
    pub(super) fn unreadable(text: String, gateway_version: GatewayVersion) -> Self {
        match gateway_version {
            GatewayVersion::V3_6 => Self::invalid(text),
            GatewayVersion::V3_4 => Self::unknown(text),
        }
    }

    pub(super) fn message_too_large(length: usize, max: usize) -> Self {
        let text = format!("grpc: received message larger than max ({length} vs. {max})");
        Self::Status { code: Code::ResourceExhausted, text }
    }

    /// Returns the error for a body that could not be read. `max` is the size limit in bytes that the message names.
    pub(super) fn unread(error: BodyError, max: usize) -> Self {
        match error {
            BodyError::TooLarge => {
                let text = format!("grpc: received message larger than max ({max})");
                Self::Status { code: Code::ResourceExhausted, text }
            }
            BodyError::Disconnected => Self::invalid("unexpected EOF".into()),
        }
    }

    /// Builds the response with the status and the body of this gateway version. In 3.4, `NotFound` and `NotPost` are plain
    /// text. In 3.6, a 401 response repeats the text in `WWW-Authenticate`. Cuts the text with [`reply::cut`].
    pub(super) fn answer(&self, gateway_version: GatewayVersion) -> HttpResponse {
        let (status, code, text) = match (self, gateway_version) {
            (Self::NotFound, GatewayVersion::V3_4) => {
                return reply::text(StatusCode::NOT_FOUND, "Not Found");
            }
            (Self::NotPost, GatewayVersion::V3_4) => return reply::method_not_allowed(None),
            (Self::NotFound, GatewayVersion::V3_6) => {
                (StatusCode::NOT_FOUND, Code::NotFound, "Not Found")
            }
            (Self::NotPost, GatewayVersion::V3_6) => (
                StatusCode::NOT_IMPLEMENTED,
                Code::Unimplemented,
                "Method Not Allowed",
            ),
            (Self::Status { code, text }, _) => {
                (status_of(*code, gateway_version), *code, text.as_str())
            }
        };
        let code = i32::from(code);
        let text = reply::cut(text);
        // As in etcd, the order of the fields depends on the version.
        let body = match gateway_version {
            GatewayVersion::V3_6 => json!({ "code": code, "message": text, "error": text }),
            GatewayVersion::V3_4 => json!({ "error": text, "message": text, "code": code }),
        };
        let mut response = HttpResponse::build(status);
        response.insert_header((CONTENT_TYPE, reply::JSON));
        if status == StatusCode::UNAUTHORIZED && gateway_version == GatewayVersion::V3_6 {
            response.insert_header((WWW_AUTHENTICATE, text));
        }
        response.body(body.to_string())
    }
}

/// Maps a gRPC code to an HTTP status. The gateway versions differ in `Cancelled` and `FailedPrecondition`.
pub(super) fn status_of(code: Code, gateway_version: GatewayVersion) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => match gateway_version {
            GatewayVersion::V3_6 => StatusCode::from_u16(499).expect("three digits"),
            GatewayVersion::V3_4 => StatusCode::REQUEST_TIMEOUT,
        },
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::FailedPrecondition => match gateway_version {
            GatewayVersion::V3_6 => StatusCode::BAD_REQUEST,
            GatewayVersion::V3_4 => StatusCode::PRECONDITION_FAILED,
        },
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody as _;
    use witan_transport::MESSAGE_BYTES_MAX;

    use super::*;

    #[test]
    fn a_text_that_quotes_a_body_is_cut() {
        let error = GatewayError::invalid("ä".repeat(MESSAGE_BYTES_MAX));
        for gateway_version in [GatewayVersion::V3_6, GatewayVersion::V3_4] {
            let body = error.answer(gateway_version).into_body().try_into_bytes();
            let body = body.expect("the body is in memory");
            let json: serde_json::Value = serde_json::from_slice(&body).expect("a document");
            for field in ["error", "message"] {
                assert_eq!(json[field], "ä".repeat(MESSAGE_BYTES_MAX / 2), "{field}");
            }
        }
    }
}
