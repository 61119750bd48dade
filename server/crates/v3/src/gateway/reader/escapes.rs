//! Decodes the escapes in JSON strings.

use std::borrow::Cow;

/// Parses the first four characters as the hexadecimal digits of an escape. Returns `None` if there are fewer or other
/// characters.
pub(super) fn unit(digits: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

/// Decodes the escapes in the contents of a JSON string. Unpaired surrogates and invalid UTF-8 become replacement characters.
pub(super) fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'\\') {
        return match String::from_utf8_lossy(raw) {
            Cow::Borrowed(_) => Cow::Borrowed(raw),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.push_str(&String::from_utf8_lossy(&rest[..at]));
        let code = rest.get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or_default();
        match code {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let first = unit(rest).unwrap_or_default();
                rest = rest.get(4..).unwrap_or_default();
                let second = rest.strip_prefix(b"\\u").and_then(unit);
                let pair = second.map(|second| [first, second]);
                match pair.and_then(|pair| char::decode_utf16(pair).next()?.ok()) {
                    // A surrogate pair is one character. An unpaired surrogate becomes a replacement character.
                    Some(letter) if char::from_u32(u32::from(first)).is_none() => {
                        out.push(letter);
                        rest = &rest[6..];
                    }
                    _ => out.push(char::from_u32(u32::from(first)).unwrap_or('\u{fffd}')),
                }
            }
            other => out.push(char::from(other)),
        }
    }
    out.push_str(&String::from_utf8_lossy(rest));
    Cow::Owned(out.into_bytes())
}
