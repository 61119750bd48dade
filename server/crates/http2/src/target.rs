//! Request targets with characters that Go accepts and the type [`http::Uri`] refuses.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, percent_encode};

/// These characters. Bytes outside of ASCII are escaped as well.
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

/// Escapes these characters of a target; borrowed if it has none.
pub fn escaped(target: &[u8]) -> Cow<'_, [u8]> {
    let escaped = Cow::from(percent_encode(target, ESCAPED));
    if escaped.len() == target.len() {
        Cow::Borrowed(target)
    } else {
        Cow::Owned(escaped.into_owned().into_bytes())
    }
}
