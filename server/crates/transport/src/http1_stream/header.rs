//! Classifies the header lines of an HTTP/1 request that may determine the body's length or request an upgrade.

/// The headers that the filter examines.
const RELEVANT: [&str; 4] = [
    "content-length",
    "transfer-encoding",
    "upgrade",
    "connection",
];

#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderMeaning<'a> {
    /// The empty line that ends the head.
    End,
    /// The line is irrelevant or malformed.
    Nothing,
    Length(u64),
    Chunked,
    /// The value of an `Upgrade` header.
    Upgrade(&'a [u8]),
    /// A `Connection` header with the option `upgrade`. Contains its other options.
    Connection(Vec<&'a [u8]>),
}

/// Returns whether a line with this beginning must be examined. The beginning must include the header's name and the colon.
pub(super) fn is_relevant(beginning: &[u8]) -> bool {
    split(beginning).is_some()
}

/// Returns the name of a relevant header and the text after the colon, or `None` for an irrelevant line.
fn split(line: &[u8]) -> Option<(&'static str, &[u8])> {
    if !matches!(line.first()?.to_ascii_lowercase(), b'c' | b't' | b'u') {
        return None;
    }
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_named = |known: &&str| known.as_bytes().eq_ignore_ascii_case(name);
    Some((RELEVANT.into_iter().find(is_named)?, value))
}

/// Classifies a complete line, with its line end. Irrelevant headers and invalid values are `Nothing`.
pub(super) fn judge(line: &[u8]) -> HeaderMeaning<'_> {
    if matches!(line, b"\r\n" | b"\n") {
        return HeaderMeaning::End;
    }
    let Some((name, value)) = split(line) else {
        return HeaderMeaning::Nothing;
    };
    let value = value.trim_ascii();
    match name {
        "content-length" => {
            let length = std::str::from_utf8(value).ok();
            let length = length.and_then(|length| length.parse().ok());
            length.map_or(HeaderMeaning::Nothing, HeaderMeaning::Length)
        }
        "transfer-encoding" if value.eq_ignore_ascii_case(b"chunked") => HeaderMeaning::Chunked,
        "upgrade" => HeaderMeaning::Upgrade(value),
        "connection" => connection(value),
        _ => HeaderMeaning::Nothing,
    }
}

/// Classifies the value of a `Connection` header. A value without the option `upgrade` is `Nothing`.
fn connection(value: &[u8]) -> HeaderMeaning<'_> {
    let options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let (upgrade, others): (Vec<_>, Vec<_>) =
        options.partition(|option| option.eq_ignore_ascii_case(b"upgrade"));
    if upgrade.is_empty() {
        return HeaderMeaning::Nothing;
    }
    let others = others.into_iter().filter(|option| !option.is_empty());
    HeaderMeaning::Connection(others.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_header_line_is_classified() {
        let table: &[(&str, HeaderMeaning<'_>)] = &[
            ("\r\n", HeaderMeaning::End),
            ("\n", HeaderMeaning::End),
            ("Content-Length: 5\r\n", HeaderMeaning::Length(5)),
            ("content-length:\t007 \n", HeaderMeaning::Length(7)),
            // actix refuses this value.
            ("Content-Length: +5\r\n", HeaderMeaning::Length(5)),
            ("Content-Length: 5, 5\r\n", HeaderMeaning::Nothing),
            ("Content-Length:\r\n", HeaderMeaning::Nothing),
            (
                "Content-Length: 99999999999999999999\r\n",
                HeaderMeaning::Nothing,
            ),
            ("Content-Length : 5\r\n", HeaderMeaning::Nothing),
            ("Content-Length\r\n", HeaderMeaning::Nothing),
            (" Content-Length: 5\r\n", HeaderMeaning::Nothing),
            ("\tfolded\r\n", HeaderMeaning::Nothing),
            ("Transfer-Encoding: Chunked\r\n", HeaderMeaning::Chunked),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                HeaderMeaning::Nothing,
            ),
            ("Transfer-Encoding: identity\r\n", HeaderMeaning::Nothing),
            ("Transfer-Encoding: \x0bchunked\r\n", HeaderMeaning::Nothing),
            ("Host: x\r\n", HeaderMeaning::Nothing),
            ("Upgrade: h2c\r\n", HeaderMeaning::Upgrade(b"h2c")),
            ("Connection: close\r\n", HeaderMeaning::Nothing),
            ("Connection: x-upgrade\r\n", HeaderMeaning::Nothing),
            ("Connection: UPGRADE\r\n", HeaderMeaning::Connection(vec![])),
            (
                "Connection: keep-alive , Upgrade,, HTTP2-Settings\r\n",
                HeaderMeaning::Connection(vec![b"keep-alive", b"HTTP2-Settings"]),
            ),
        ];
        for (line, meaning) in table {
            assert_eq!(judge(line.as_bytes()), *meaning, "{line:?}");
        }
        for line in [
            "Host: x",
            "Content-Type: a",
            "Content-Lengths: 5",
            "TE: x",
            "connection",
        ] {
            assert!(!is_relevant(line.as_bytes()), "{line}");
        }
    }
}
