//! The common beginning of error bodies of v1 and v2.

use bytes::Bytes;
use witan_gocompat::{
    json,
    text::{self, Sink},
};

/// Appends the fields that begin every error body of v1 and v2; the object stays open.
pub fn push_error_head(out: &mut dyn Sink, code: u16, message: &str, cause: &[Bytes]) {
    out.extend_from_slice(b"{\"errorCode\":");
    text::push_number(out, code);
    out.extend_from_slice(b",\"message\":");
    json::push_string(out, message.as_bytes());
    if cause.iter().any(|piece| !piece.is_empty()) {
        out.extend_from_slice(b",\"cause\":");
        json::push_string_of(out, cause.iter().map(Bytes::as_ref));
    }
}
