//! The v1 dialect: decodes requests.

use witan_gocompat::path::{Plus, clean, unescape};
use witan_v1::fuzz::v1_request;

use crate::input::split_at;

/// Bytes that a request's text has in addition to its escaped fields.
const TEXT_BYTES_MORE: usize = 256;

/// The input is `METHOD TARGET`, a line feed and the form.
pub(super) fn request(bytes: &[u8]) {
    let (line, form) = split_at(bytes, b'\n');
    let (method, target) = split_at(line, b' ');
    let (path, query) = split_at(target, b'?');
    let method = String::from_utf8_lossy(method);
    let Ok(plain) = unescape(path, Plus::IsPlus) else {
        return;
    };
    let path = clean(&plain);
    let form = (!form.is_empty()).then_some(form);
    match v1_request(&method, &path, query, form) {
        Ok((key, text)) => {
            assert_eq!(clean(&key), key, "a key is clean");
            assert!(key.starts_with(b"/") && (key.len() == 1 || !key.ends_with(b"/")));
            assert!(text.len() <= 4 * bytes.len() + TEXT_BYTES_MORE, "{text}");
        }
        Err(Some(body)) => {
            let read = serde_json::from_slice::<serde_json::Value>(&body);
            assert!(read.is_ok_and(|body| body["errorCode"].is_u64()));
        }
        Err(None) => {}
    }
}
