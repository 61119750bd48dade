//! An answer of the peer port over HTTP/1.

use serde::Serialize;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: &'static str,
    pub(super) headers: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Page {
    pub(super) fn text(status: &'static str, text: &str) -> Self {
        Self {
            status,
            headers: "",
            content_type: TEXT,
            body: format!("{text}\n"),
        }
    }

    /// Makes an answer with the status 200 and this JSON.
    pub(super) fn ok(body: String) -> Self {
        Self { status: "200 OK", headers: "", content_type: JSON, body }
    }

    /// Makes an answer with the status 200 and a value as JSON.
    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::ok(serde_json::to_string(value).expect("numbers and texts are always JSON"))
    }

    pub(super) fn bad_request(text: &str) -> Self {
        Self::text("400 Bad Request", text)
    }

    pub(super) fn not_found(text: &str) -> Self {
        Self::text("404 Not Found", text)
    }

    pub(super) fn unavailable(text: &str) -> Self {
        Self::text("503 Service Unavailable", text)
    }

    /// Returns the whole HTTP/1.1 response, after which the connection closes.
    pub(super) fn response(&self, cluster_id: u64) -> String {
        let Self { status, headers, content_type, body } = self;
        format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Type: {content_type}\r\nX-Etcd-Cluster-Id: \
             {cluster_id:x}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}
