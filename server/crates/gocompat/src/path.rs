//! Percent-decodes and cleans request paths like Go, as bytes. Queries and forms use the same decoding.

/// The meaning of `+` in percent-encoded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plus {
    /// `+` is a space, as in queries and forms.
    IsSpace,
    /// `+` is a plus sign, as in paths.
    IsPlus,
}

/// Decodes percent escapes, and `+` according to `plus`. Fails with the first invalid escape: `%` and up to two more bytes of
/// the text.
pub fn unescape(text: &[u8], plus: Plus) -> Result<Vec<u8>, &[u8]> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'%' => {
                let digits = text
                    .get(at + 1..at + 3)
                    .and_then(|d| Some((hex(d[0])?, hex(d[1])?)));
                let Some((high, low)) = digits else {
                    return Err(&text[at..text.len().min(at + 3)]);
                };
                out.push(high << 4 | low);
                at += 2;
            }
            b'+' if plus == Plus::IsSpace => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    Ok(out)
}

/// Returns a hexadecimal digit's value, or `None` for another byte.
pub fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// Cleans a path like Go's `ServeMux`: makes it absolute, resolves `.` and `..`, and keeps a trailing slash.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for part in &parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if out.is_empty() || path.ends_with(b"/") {
        out.push(b'/');
    }
    out
}
