//! Judges one header line of an HTTP/1 request: whether it determines the length of the body, or
//! requests another protocol. actix handles all other lines.

/// Maximum bytes of a relevant line, which is judged as a whole.
pub(super) const BYTES_MAX: usize = 1024;

/// A relevant header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JudgedHeader {
    ContentLength,
    TransferEncoding,
    Upgrade,
    Connection,
}

impl JudgedHeader {
    const ALL: [(&'static [u8], Self); 4] = [
        (b"content-length", Self::ContentLength),
        (b"transfer-encoding", Self::TransferEncoding),
        (b"upgrade", Self::Upgrade),
        (b"connection", Self::Connection),
    ];
}

/// Meaning of a header line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderMeaning<'a> {
    /// The head ends.
    End,
    /// Irrelevant.
    Nothing,
    Length(u64),
    Chunked,
    /// The value of `Upgrade`.
    Upgrade(&'a [u8]),
    /// A `Connection` that names `upgrade`; its other options.
    Connection(Vec<&'a [u8]>),
    /// Ambiguous: readers may disagree on it.
    Unclear,
}

/// Whether a header line that begins like this may be relevant, see [`judge`].
pub(super) fn matters(beginning: &[u8]) -> bool {
    match beginning.first() {
        None => true,
        Some(b'\r' | b'\n' | b' ' | b'\t') => true,
        Some(first) if !matches!(first.to_ascii_lowercase(), b'c' | b't' | b'u') => false,
        Some(_) => JudgedHeader::ALL.iter().any(|(name, _)| {
            let length = name.len().min(beginning.len());
            beginning[..length].eq_ignore_ascii_case(&name[..length])
                && beginning
                    .get(length)
                    .is_none_or(|next| matches!(next, b':' | b' ' | b'\t' | b'\r' | b'\n'))
        }),
    }
}

/// Judges a whole line that [`matters`], including its end.
pub(super) fn judge(line: &[u8]) -> HeaderMeaning<'_> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return HeaderMeaning::End;
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return HeaderMeaning::Unclear;
    };
    let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
    let known = JudgedHeader::ALL
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    match known.map(|(_, name)| *name) {
        // white space before a name or before the colon
        None if name.iter().any(|byte| matches!(byte, b' ' | b'\t')) => HeaderMeaning::Unclear,
        None => HeaderMeaning::Nothing,
        Some(JudgedHeader::ContentLength) => {
            length(value).map_or(HeaderMeaning::Unclear, HeaderMeaning::Length)
        }
        Some(JudgedHeader::TransferEncoding) if value.eq_ignore_ascii_case(b"chunked") => {
            HeaderMeaning::Chunked
        }
        Some(JudgedHeader::TransferEncoding) => HeaderMeaning::Unclear,
        Some(JudgedHeader::Upgrade) => HeaderMeaning::Upgrade(value),
        Some(JudgedHeader::Connection) => connection(value),
    }
}

/// Parses a length of digits alone: `+5`, which Rust's parser accepts, is `None`.
fn length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let value = std::str::from_utf8(value).ok().filter(|_| digits)?;
    value.parse().ok()
}

/// Judges the value of a header `Connection`: without the option `upgrade` it means nothing, else the other
/// options are returned.
fn connection(value: &[u8]) -> HeaderMeaning<'_> {
    let options = value.split(|byte| *byte == b',').map(trimmed);
    let (upgrade, others): (Vec<_>, Vec<_>) =
        options.partition(|option| option.eq_ignore_ascii_case(b"upgrade"));
    if upgrade.is_empty() {
        return HeaderMeaning::Nothing;
    }
    let others = others.into_iter().filter(|option| !option.is_empty());
    HeaderMeaning::Connection(others.collect())
}

/// Trims spaces and tabs, the only white space that HTTP allows around a value.
fn trimmed(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte));
    let end = value.iter().rposition(|byte| !is_space(byte));
    match (start, end) {
        (Some(start), Some(end)) => &value[start..=end],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_they_say() {
        let table: &[(&str, HeaderMeaning<'_>)] = &[
            ("\r\n", HeaderMeaning::End),
            ("\n", HeaderMeaning::End),
            ("Content-Length: 5\r\n", HeaderMeaning::Length(5)),
            ("content-length:\t007 \n", HeaderMeaning::Length(7)),
            ("Content-Length: +5\r\n", HeaderMeaning::Unclear),
            ("Content-Length: 5, 5\r\n", HeaderMeaning::Unclear),
            ("Content-Length: 5\x0c\r\n", HeaderMeaning::Unclear),
            ("Content-Length:\r\n", HeaderMeaning::Unclear),
            (
                "Content-Length: 99999999999999999999\r\n",
                HeaderMeaning::Unclear,
            ),
            ("Content-Length : 5\r\n", HeaderMeaning::Unclear),
            ("Content-Length\r\n", HeaderMeaning::Unclear),
            (" Content-Length: 5\r\n", HeaderMeaning::Unclear),
            ("\tfolded\r\n", HeaderMeaning::Unclear),
            ("Transfer-Encoding: Chunked\r\n", HeaderMeaning::Chunked),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                HeaderMeaning::Unclear,
            ),
            ("Transfer-Encoding: identity\r\n", HeaderMeaning::Unclear),
            ("Transfer-Encoding: \x0bchunked\r\n", HeaderMeaning::Unclear),
            ("Upgrade: h2c\r\n", HeaderMeaning::Upgrade(b"h2c")),
            ("Connection: close\r\n", HeaderMeaning::Nothing),
            ("Connection: x-upgrade\r\n", HeaderMeaning::Nothing),
            ("Connection: UPGRADE\r\n", HeaderMeaning::Connection(vec![])),
            (
                "Connection: keep-alive , Upgrade,, HTTP2-Settings\r\n",
                HeaderMeaning::Connection(vec![b"keep-alive", b"HTTP2-Settings"]),
            ),
        ];
        for (line, said) in table {
            assert_eq!(judge(line.as_bytes()), *said, "{line:?}");
            assert!(matters(line.as_bytes()), "{line:?}");
            for length in 0..line.len() {
                assert!(matters(&line.as_bytes()[..length]), "{length} of {line:?}");
            }
        }
        for line in ["Host: x", "Content-Type: a", "Content-Lengths: 5", "TE: x"] {
            assert!(!matters(line.as_bytes()), "{line}");
        }
    }
}
