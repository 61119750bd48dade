//! Request targets with characters that Go accepts and [`http::Uri`] rejects.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, percent_encode};

/// The ASCII characters to escape, in addition to all bytes above ASCII.
const ESCAPED: &AsciiSet = &AsciiSet::EMPTY
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Percent-encodes the bytes of a target that [`http::Uri`] rejects. Borrows the target if it contains no such byte.
pub fn escaped(target: &[u8]) -> Cow<'_, [u8]> {
    let escaped = Cow::from(percent_encode(target, ESCAPED));
    if escaped.len() == target.len() {
        Cow::Borrowed(target)
    } else {
        Cow::Owned(escaped.into_owned().into_bytes())
    }
}
