//! Errors of gateway calls, and their bodies in etcd 3.6 and 3.4.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::CONTENT_TYPE},
};
use serde::Serialize;
use tonic::Code;
use witan_api::v3::error::RpcError;

use super::Manner;
use crate::api::reply;

#[derive(Debug, PartialEq, Eq)]
pub(in crate::api) enum Failure {
    /// Nobody serves the path.
    NotFound,
    /// Calls are made by POST.
    NotPost,
    /// The call itself failed.
    Status {
        /// gRPC's code for it.
        code: Code,
        /// What the client reads.
        text: String,
    },
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        Self::Status {
            code: error.code(),
            text: error.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Present<'a> {
    code: i32,
    message: &'a str,
    /// As in 3.4: clients of that gateway look for it.
    error: &'a str,
}

#[derive(Serialize)]
struct Former<'a> {
    error: &'a str,
    message: &'a str,
    code: i32,
}

impl Failure {
    pub(super) fn invalid(text: String) -> Self {
        Self::Status {
            code: Code::InvalidArgument,
            text,
        }
    }

    pub(super) fn unknown(text: String) -> Self {
        Self::Status {
            code: Code::Unknown,
            text,
        }
    }

    /// Its work panicked.
    pub(super) fn panicked() -> Self {
        Self::Status {
            code: Code::Internal,
            text: "internal error: the request was not completed".into(),
        }
    }

    /// Error for a stream whose first request cannot be read: `Unknown` as in etcd 3.4; for 3.6,
    /// which does not answer at all, `InvalidArgument`.
    pub(super) fn unreadable(text: String, manner: Manner) -> Self {
        match manner {
            Manner::Present => Self::invalid(text),
            Manner::Former => Self::unknown(text),
        }
    }

    /// A message of this length.
    pub(super) fn message_too_large(length: usize, max: usize) -> Self {
        let text = format!("grpc: received message larger than max ({length} vs. {max})");
        Self::Status {
            code: Code::ResourceExhausted,
            text,
        }
    }

    /// A body so long that its message was not even read.
    pub(super) fn body_too_large(max: usize) -> Self {
        let text = format!("grpc: received message larger than max ({max})");
        Self::Status {
            code: Code::ResourceExhausted,
            text,
        }
    }

    pub(super) fn answer(&self, manner: Manner) -> HttpResponse {
        let (status, code, text) = match (self, manner) {
            (Self::NotFound, Manner::Former) => {
                return reply::text(StatusCode::NOT_FOUND, "Not Found");
            }
            (Self::NotPost, Manner::Former) => return reply::method_not_allowed(None),
            (Self::NotFound, Manner::Present) => {
                (StatusCode::NOT_FOUND, Code::NotFound, "Not Found")
            }
            (Self::NotPost, Manner::Present) => (
                StatusCode::NOT_IMPLEMENTED,
                Code::Unimplemented,
                "Method Not Allowed",
            ),
            (Self::Status { code, text }, _) => (status_of(*code, manner), *code, text.as_str()),
        };
        let code = i32::from(code);
        let json = match manner {
            Manner::Present => serde_json::to_vec(&Present {
                code,
                message: text,
                error: text,
            }),
            Manner::Former => serde_json::to_vec(&Former {
                error: text,
                message: text,
                code,
            }),
        };
        HttpResponse::build(status)
            .insert_header((CONTENT_TYPE, reply::JSON))
            .body(json.expect("numbers and strings are always JSON"))
    }
}

pub(super) fn status_of(code: Code, manner: Manner) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => match manner {
            Manner::Present => StatusCode::from_u16(499).expect("three digits"),
            Manner::Former => StatusCode::REQUEST_TIMEOUT,
        },
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::FailedPrecondition => match manner {
            Manner::Present => StatusCode::BAD_REQUEST,
            Manner::Former => StatusCode::PRECONDITION_FAILED,
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

    use super::*;

    fn shown(failure: &Failure, manner: Manner) -> (u16, String) {
        let response = failure.answer(manner);
        let status = response.status().as_u16();
        let body = response.into_body().try_into_bytes().unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn each_manner_has_its_shape() {
        let compacted = Failure::from(RpcError::Compacted);
        let text = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(
            shown(&compacted, Manner::Present),
            (
                400,
                format!(r#"{{"code":11,"message":"{text}","error":"{text}"}}"#)
            )
        );
        assert_eq!(
            shown(&compacted, Manner::Former),
            (
                400,
                format!(r#"{{"error":"{text}","message":"{text}","code":11}}"#)
            )
        );
    }

    #[test]
    fn a_failed_precondition_changed_its_status() {
        let failure = Failure::from(RpcError::PeerUrlExists);
        assert_eq!(shown(&failure, Manner::Present).0, 400);
        assert_eq!(shown(&failure, Manner::Former).0, 412);
    }

    #[test]
    fn unknown_paths_and_methods() {
        let present = |failure: &Failure| shown(failure, Manner::Present);
        let former = |failure: &Failure| shown(failure, Manner::Former);
        assert_eq!(
            present(&Failure::NotFound),
            (
                404,
                r#"{"code":5,"message":"Not Found","error":"Not Found"}"#.into()
            )
        );
        assert_eq!(former(&Failure::NotFound), (404, "Not Found\n".into()));
        assert_eq!(
            present(&Failure::NotPost),
            (
                501,
                r#"{"code":12,"message":"Method Not Allowed","error":"Method Not Allowed"}"#.into()
            )
        );
        assert_eq!(
            former(&Failure::NotPost),
            (405, "Method Not Allowed\n".into())
        );
    }
}
