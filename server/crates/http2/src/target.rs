//! Request targets with characters that Go accepts and [`http::Uri`] rejects.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, percent_encode};

/// The characters to escape. Non-ASCII bytes are escaped as well.
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

/// Escapes these characters in a target. Borrows the target if it has none.
pub fn escaped(target: &[u8]) -> Cow<'_, [u8]> {
    let escaped = Cow::from(percent_encode(target, ESCAPED));
    if escaped.len() == target.len() {
        Cow::Borrowed(target)
    } else {
        Cow::Owned(escaped.into_owned().into_bytes())
    }
}
