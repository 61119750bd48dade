//! An HTTP/1 response of the peer port.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use serde::Serialize;
use witan_machine::member::MemberId;
use witan_node::NodeError;

pub(super) const MEMBER_ID: &str = "x-witan-member-id";

#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    content_type: &'static str,
    pub(super) body: String,
}

impl Page {
    /// Creates a plain-text response with `text` and a line break.
    pub(super) fn text(status: StatusCode, text: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: format!("{text}\n"),
        }
    }

    /// Creates a response with status 200 and the JSON `body`.
    pub(super) fn ok(body: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "application/json",
            body,
        }
    }

    /// Creates a response with status 200 and `value` as JSON.
    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::ok(serde_json::to_string(value).expect("numbers and strings are always JSON"))
    }

    pub(super) fn bad_request(text: &str) -> Self {
        Self::text(StatusCode::BAD_REQUEST, text)
    }

    pub(super) fn not_found(text: &str) -> Self {
        Self::text(StatusCode::NOT_FOUND, text)
    }

    /// Creates a response with status 503 and etcd's message for `error`.
    pub(super) fn unavailable(error: NodeError) -> Self {
        Self::text(StatusCode::SERVICE_UNAVAILABLE, &error.of_etcd())
    }

    /// Converts the page to an HTTP response with the ids of the cluster and of this member in headers. A response with status
    /// 405 also has the header `Allow`.
    pub(super) fn response(self, cluster_id: u64, member: MemberId) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response
            .content_type(self.content_type)
            .insert_header(("x-etcd-cluster-id", format!("{cluster_id:x}")))
            .insert_header((MEMBER_ID, member.to_string()));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.insert_header((header::ALLOW, "GET"));
        }
        let mut response = response.body(self.body);
        // Go writes header names in canonical case, which some clients expect.
        response.head_mut().set_camel_case_headers(true);
        response
    }
}
