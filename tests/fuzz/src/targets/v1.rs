//! The v1 dialect: decodes requests.

use witan_gocompat::path::{Plus, clean, unescape};
use witan_v1::request::{V1Request, V1RequestError, parse};

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
    let request = match parse(&method, &path, query, form) {
        Ok(request) => request,
        Err(V1RequestError::Rule(error)) => {
            let code = error.code.code();
            assert!(matches!(code, 200 | 202 | 203 | 400), "{code}");
            return;
        }
        Err(V1RequestError::Path | V1RequestError::Method) => return,
    };
    let text = format!("{request:?}");
    assert!(text.len() <= 4 * bytes.len() + TEXT_BYTES_MORE, "{text}");
    let key = match request {
        V1Request::Get { key } | V1Request::Delete { key } | V1Request::Watch { key, .. } => key,
        V1Request::Put(put) => put.key,
        V1Request::MachineRecords { .. }
        | V1Request::Leader
        | V1Request::Machines
        | V1Request::Stats(_) => return,
    };
    assert_eq!(clean(&key), key, "the key is clean");
    assert!(key.starts_with(b"/") && (key.len() == 1 || !key.ends_with(b"/")));
}
