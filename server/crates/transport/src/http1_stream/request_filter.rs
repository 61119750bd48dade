//! Parses the requests of a connection, heads and bodies in turn, and rewrites parts that actix would misread: see
//! [`RequestFilter`]. No I/O here.

use super::header::{self, HeaderMeaning};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Bytes of the line before a chunk, its extensions included; Go accepts as many.
const CHUNK_LINE_BYTES_MAX: usize = 4096;

/// The method whose requests may become a tunnel.
const GET: &[u8] = b"GET ";

/// An invalid header line: actix answers 400.
const NO_HEADER: &[u8] = b":\r\n\r\n";

/// Filters a stream of requests. Ambiguous framing is refused here, because actix and this filter
/// must agree on where bodies end.
#[derive(Debug, Default)]
pub(super) struct RequestFilter {
    state: FilterState,
    /// The beginning of the method, or of a relevant header line.
    line: Vec<u8>,
    head: HeadState,
}

/// The parsed part of a head.
#[derive(Debug, Default)]
struct HeadState {
    get: bool,
    length: Option<u64>,
    chunked: bool,
    /// `Upgrade` and `Connection` lines, withheld until the head ends.
    upgrade_lines: Vec<u8>,
    /// Whether the one `Upgrade` is `websocket`; `None` without one.
    websocket: Option<bool>,
    /// A `Connection` names `upgrade`.
    upgrade: bool,
    /// The other options of those lines.
    options: Vec<u8>,
}

/// Position in a request of the next byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FilterState {
    #[default]
    Method,
    /// In the rest of the request line.
    Target,
    /// At the beginning of a header line, or in one that the filter reads.
    Header,
    /// In an irrelevant header line.
    OtherHeader,
    /// In a body, with this many bytes to come.
    Body(u64),
    /// In the line before a chunk.
    ChunkSize(ChunkLine),
    /// In a chunk, with this many bytes to come.
    Chunk(u64),
    /// In the end of the line after a chunk.
    ChunkEnd(&'static [u8]),
    /// In the lines after the last chunk.
    Trailer(TrailerLine),
    /// After the head of a request for another protocol: no request follows.
    Tunnel,
    /// After a refusal: no further bytes are passed on.
    Refused,
    /// The same inside a body.
    RefusedBody,
}

/// The parsed part of the line before a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ChunkLine {
    bytes: usize,
    size: u64,
    part: ChunkLinePart,
}

/// The part of the line before a chunk to which a byte belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkLinePart {
    #[default]
    FirstDigit,
    Digits,
    Space,
    Extension,
    LineFeed,
    /// Nothing: the line has ended.
    End,
}

impl ChunkLine {
    /// Takes the next byte; `None` if it is invalid there.
    fn next(self, byte: u8) -> Option<Self> {
        use ChunkLinePart::{Digits, End, Extension, FirstDigit, LineFeed, Space};
        let bytes = self.bytes + 1;
        if bytes > CHUNK_LINE_BYTES_MAX {
            return None;
        }
        let digit = char::from(byte).to_digit(16);
        if let (FirstDigit | Digits, Some(digit)) = (self.part, digit) {
            let size = self.size.checked_mul(16)? | u64::from(digit);
            return Some(Self { bytes, size, part: Digits });
        }
        let part = match (self.part, byte) {
            (Digits | Space | Extension, b'\r') => LineFeed,
            (Digits | Space, b' ' | b'\t') => Space,
            (Digits | Space, b';') => Extension,
            (Extension, byte) if byte != b'\n' => Extension,
            (LineFeed, b'\n') => End,
            _ => return None,
        };
        Some(Self { bytes, part, ..self })
    }
}

/// The parsed part of a line after the last chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TrailerLine {
    begun: bool,
    carriage_return: bool,
}

/// The action for a piece of the stream.
enum FilterAction {
    /// Pass this many bytes.
    Pass(usize),
    /// Pass this many bytes of a request target, escaped.
    Target(usize),
    /// Replace this many bytes.
    Replace(usize, Vec<u8>),
}

impl RequestFilter {
    /// Whether a body was refused. Its reader must be given the end of the stream.
    pub(super) fn has_refused_body(&self) -> bool {
        self.state == FilterState::RefusedBody
    }

    /// Filters the next bytes of the stream. Returns replacement bytes, if they differ.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed: Option<Vec<u8>> = None;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match self.step(rest) {
                FilterAction::Target(taken)
                    if rest[..taken].iter().any(|byte| is_strange(*byte)) =>
                {
                    let out = changed.get_or_insert_with(|| bytes[..at].to_vec());
                    push_escaped(out, &rest[..taken]);
                    taken
                }
                FilterAction::Replace(taken, by) => {
                    let out = changed.get_or_insert_with(|| bytes[..at].to_vec());
                    out.extend_from_slice(&by);
                    taken
                }
                FilterAction::Pass(taken) | FilterAction::Target(taken) => {
                    if let Some(changed) = &mut changed {
                        changed.extend_from_slice(&rest[..taken]);
                    }
                    taken
                }
            };
        }
        changed
    }

    /// Takes the bytes up to the next change of state, and returns the action for them.
    fn step(&mut self, rest: &[u8]) -> FilterAction {
        match self.state {
            FilterState::Method => self.method(rest),
            FilterState::Target => {
                let (line, ends) = line(rest);
                if ends {
                    self.state = FilterState::Header;
                }
                FilterAction::Target(line.len())
            }
            FilterState::Header => self.header(rest),
            FilterState::OtherHeader => {
                let (line, ends) = line(rest);
                if ends {
                    self.state = FilterState::Header;
                }
                FilterAction::Pass(line.len())
            }
            FilterState::Body(left) => {
                let (taken, left) = skip(rest, left);
                self.state = match left {
                    0 => FilterState::Method,
                    left => FilterState::Body(left),
                };
                FilterAction::Pass(taken)
            }
            FilterState::ChunkSize(line) => self.chunk_size(rest, line),
            FilterState::Chunk(left) => {
                let (taken, left) = skip(rest, left);
                self.state = match left {
                    0 => FilterState::ChunkEnd(b"\r\n"),
                    left => FilterState::Chunk(left),
                };
                FilterAction::Pass(taken)
            }
            FilterState::ChunkEnd(expected) => match expected.split_first() {
                Some((first, _)) if rest[0] != *first => self.refuse_body(rest),
                None | Some((_, [])) => {
                    self.state = FilterState::ChunkSize(ChunkLine::default());
                    FilterAction::Pass(1)
                }
                Some((_, more)) => {
                    self.state = FilterState::ChunkEnd(more);
                    FilterAction::Pass(1)
                }
            },
            FilterState::Trailer(line) => self.trailer(rest, line),
            FilterState::Tunnel => FilterAction::Pass(rest.len()),
            FilterState::Refused | FilterState::RefusedBody => {
                FilterAction::Replace(rest.len(), Vec::new())
            }
        }
    }

    /// Takes bytes of a method; passes over empty lines before it, as actix does.
    fn method(&mut self, rest: &[u8]) -> FilterAction {
        let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\n'));
        let taken = end.map_or(rest.len(), |end| end + 1);
        let room = GET.len() + 1 - self.line.len();
        self.line.extend_from_slice(&rest[..taken.min(room)]);
        if let Some(end) = end {
            if rest[end] == b' ' {
                self.state = FilterState::Target;
                self.head = HeadState { get: self.line == GET, ..HeadState::default() };
            }
            self.line.clear();
        }
        FilterAction::Pass(taken)
    }

    /// Takes a part of a header line. A relevant line is held back until it is whole, and refused if it is longer than
    /// [`header::BYTES_MAX`].
    fn header(&mut self, rest: &[u8]) -> FilterAction {
        let (part, ends) = line(rest);
        let held = self.line.len();
        if held == 0 && ends && !header::matters(part) {
            return FilterAction::Pass(part.len());
        }
        if held == 0 && ends && part.len() <= header::BYTES_MAX {
            return match self.judge(part) {
                Some(by) => FilterAction::Replace(part.len(), by),
                None => FilterAction::Pass(part.len()),
            };
        }
        self.line.extend_from_slice(part);
        if !header::matters(&self.line) {
            if !ends {
                self.state = FilterState::OtherHeader;
            }
            return FilterAction::Replace(part.len(), std::mem::take(&mut self.line));
        }
        if self.line.len() > header::BYTES_MAX {
            self.line = Vec::new();
            return FilterAction::Replace(part.len(), self.refuse(NO_HEADER));
        }
        if !ends {
            return FilterAction::Replace(part.len(), Vec::new());
        }
        let line = std::mem::take(&mut self.line);
        let by = self.judge(&line).unwrap_or(line);
        FilterAction::Replace(part.len(), by)
    }

    /// Judges a complete relevant line; returns its replacement, if there is one.
    fn judge(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let head = &mut self.head;
        match header::judge(line) {
            HeaderMeaning::Nothing => return None,
            HeaderMeaning::End => return self.end_of_head(line),
            HeaderMeaning::Length(length) if head.length.is_none() => {
                head.length = Some(length);
                return None;
            }
            HeaderMeaning::Chunked if !head.chunked => {
                head.chunked = true;
                return None;
            }
            HeaderMeaning::Length(_) | HeaderMeaning::Chunked | HeaderMeaning::Unclear => {
                return Some(self.refuse(NO_HEADER));
            }
            HeaderMeaning::Upgrade(value) => {
                let only = head.websocket.is_none();
                head.websocket = Some(only && value.eq_ignore_ascii_case(b"websocket"));
            }
            HeaderMeaning::Connection(others) => {
                head.upgrade = true;
                for option in others {
                    if !head.options.is_empty() {
                        head.options.extend_from_slice(b", ");
                    }
                    head.options.extend_from_slice(option);
                }
            }
        }
        head.upgrade_lines.extend_from_slice(line);
        if head.upgrade_lines.len() > header::BYTES_MAX {
            return Some(self.refuse(NO_HEADER));
        }
        Some(Vec::new())
    }

    /// Ends a head: decides how the body is framed, and whether the lines about an upgrade pass. Returns the bytes that
    /// replace the empty line; `None` if it passes as it is. Refuses a head with both `Content-Length` and chunked
    /// encoding: another server could frame its body in the other way.
    fn end_of_head(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let head = std::mem::take(&mut self.head);
        let length = head.length.unwrap_or(0);
        if head.chunked && head.length.is_some() {
            return Some(self.refuse(NO_HEADER));
        }
        let websocket = head.get && head.upgrade && head.websocket == Some(true);
        let tunnel = websocket && !head.chunked && length == 0;
        self.state = match length {
            _ if tunnel => FilterState::Tunnel,
            _ if head.chunked => FilterState::ChunkSize(ChunkLine::default()),
            0 => FilterState::Method,
            length => FilterState::Body(length),
        };
        if head.upgrade_lines.is_empty() {
            return None;
        }
        let mut out = Vec::new();
        if tunnel {
            out = head.upgrade_lines;
        } else if !head.options.is_empty() {
            out.extend_from_slice(b"Connection: ");
            out.extend_from_slice(&head.options);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(line);
        Some(out)
    }

    /// Takes bytes of the line with a chunk's size: hexadecimal digits, and perhaps an extension.
    fn chunk_size(&mut self, rest: &[u8], mut line: ChunkLine) -> FilterAction {
        for (at, byte) in rest.iter().enumerate() {
            let Some(next) = line.next(*byte) else {
                return self.refuse_body(rest);
            };
            line = next;
            if line.part == ChunkLinePart::End {
                self.state = match line.size {
                    0 => FilterState::Trailer(TrailerLine::default()),
                    size => FilterState::Chunk(size),
                };
                return FilterAction::Pass(at + 1);
            }
        }
        self.state = FilterState::ChunkSize(line);
        FilterAction::Pass(rest.len())
    }

    /// Takes bytes of the trailer up to an empty line. Refuses a carriage return or a line feed alone,
    /// because actix ends a line at the former.
    fn trailer(&mut self, rest: &[u8], mut line: TrailerLine) -> FilterAction {
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b'\n' if line.carriage_return && !line.begun => {
                    self.state = FilterState::Method;
                    return FilterAction::Pass(at + 1);
                }
                b'\n' if line.carriage_return => line = TrailerLine::default(),
                b'\n' => return self.refuse_body(rest),
                _ if line.carriage_return => return self.refuse_body(rest),
                b'\r' => line.carriage_return = true,
                _ => line.begun = true,
            }
        }
        self.state = FilterState::Trailer(line);
        FilterAction::Pass(rest.len())
    }

    /// Refuses the rest of the stream; returns invalid bytes that make actix answer 400.
    fn refuse(&mut self, by: &[u8]) -> Vec<u8> {
        self.state = FilterState::Refused;
        by.to_vec()
    }

    /// Refuses a body from here on. actix reports an error in a body as a failed socket, without an answer, so the
    /// stream ends here for it, as it does when the client closes its side.
    fn refuse_body(&mut self, rest: &[u8]) -> FilterAction {
        self.state = FilterState::RefusedBody;
        FilterAction::Replace(rest.len(), Vec::new())
    }
}

/// Returns the bytes up to and including the end of the line, and whether they include it.
fn line(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..=end], true),
        None => (bytes, false),
    }
}

/// Returns how many of the bytes belong to a part with `left` bytes to come, and how many remain after them.
fn skip(bytes: &[u8], left: u64) -> (usize, u64) {
    let all = bytes.len() as u64;
    if left > all {
        (bytes.len(), left - all)
    } else {
        (usize::try_from(left).unwrap_or(bytes.len()), 0)
    }
}

/// Whether Go accepts a byte in a request line and actix does not.
fn is_strange(byte: u8) -> bool {
    matches!(
        byte,
        b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80..
    )
}

/// Appends bytes; bytes that actix would not accept are percent-encoded.
fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        if is_strange(byte) {
            let digit = |nibble: u8| HEX[usize::from(nibble)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
        } else {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns everything that the filter outputs for these bytes, `at_a_time` of them at once.
    fn passed(bytes: &[u8], at_a_time: usize) -> Vec<u8> {
        let mut lines = RequestFilter::default();
        let parts = bytes.chunks(at_a_time);
        parts
            .flat_map(|part| lines.pass(part).unwrap_or_else(|| part.to_vec()))
            .collect()
    }

    fn assert_passed(given: &[u8], expect: &[u8]) {
        for at_a_time in [1, 2, 3, 7, 64, given.len()] {
            let shown = String::from_utf8_lossy(given);
            let passed = String::from_utf8_lossy(&passed(given, at_a_time)).into_owned();
            let expect = String::from_utf8_lossy(expect);
            assert_eq!(passed, expect, "{at_a_time} bytes at a time of {shown}");
        }
    }

    const GET: &[u8] = b"GET /\xe4<a>?q=\xff#x HTTP/1.1\r\nA: \xe4<\r\n\r\n";
    const ESCAPED: &[u8] = b"GET /%E4%3Ca%3E?q=%FF%23x HTTP/1.1\r\nA: \xe4<\r\n\r\n";

    #[test]
    fn targets_are_escaped_and_nothing_else() {
        let long = format!("GET / HTTP/1.1\r\nA: {}<\r\n\r\n", "c".repeat(5000));
        let before: [&[u8]; 9] = [
            b"",
            b"\r\n",
            long.as_bytes(),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PUT /a HTTP/1.1\r\nContent-Length: 4\r\n\r\n\xe4 <\n",
            b"PUT /a HTTP/1.1\ncontent-length:  3 \nB: c\n\n\n\n\xff",
            b"PUT /a HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\n\xe4 <\r\nA;x=\"<\"\r\n0123 <>\n\r\n\r\n0\r\n\r\n",
            b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: <\r\n\xff: x\r\n\r\n",
            b"PUT /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        ];
        for request in before {
            assert_passed(&[request, GET].concat(), &[request, ESCAPED].concat());
        }
    }

    #[test]
    fn bytes_after_an_upgrade_are_no_request() {
        let request = b"GET /v3/watch HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\n\
            Upgrade: WebSocket\r\n\r\n\x81 < \xff\n<#";
        let expect = b"GET /v3/watch HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\n\
            Upgrade: WebSocket\r\n\r\n\x81 < \xff\n<#";
        assert_passed(request, expect);
    }

    #[test]
    fn a_refused_upgrade_keeps_the_body() {
        let upgrade = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n";
        for (method, wish, left) in [
            ("PUT", upgrade, "Connection: HTTP2-Settings, close\r\n"),
            ("GET", upgrade, "Connection: HTTP2-Settings, close\r\n"),
            ("PUT", "Connection: upgrade\r\nUpgrade: websocket\r\n", ""),
            ("PUT", "Upgrade: websocket\r\n", ""),
            ("GET", "Upgrade: websocket\r\n", ""),
            ("GET", "Connection: upgrade\r\n", ""),
            // a handshake has no body
            ("GET", "Connection: upgrade\r\nUpgrade: websocket\r\n", ""),
        ] {
            let given = format!("{method} / HTTP/1.1\r\n{wish}Content-Length: 2\r\n\r\n<<");
            let expect = format!("{method} / HTTP/1.1\r\nContent-Length: 2\r\n{left}\r\n<<");
            assert_passed(
                &[given.as_bytes(), GET].concat(),
                &[expect.as_bytes(), ESCAPED].concat(),
            );
        }
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let start = "PUT /a HTTP/1.1\r\nHost: x\r\n";
        let padded = |with: &str| format!("Content-Length: {}5\r\n\r\n", with.repeat(1024));
        for head in [
            padded(" "),
            padded("0"),
            padded("\t"),
            format!("Transfer-Encoding: {}chunked\r\n\r\n", " ".repeat(1024)),
            format!("Connection: {}upgrade\r\n\r\n", " ".repeat(1024)),
            "Connection: upgrade\r\n".repeat(100) + "\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n\r\n".into(),
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n".into(),
            "Transfer-Encoding: xchunked\r\n\r\n".into(),
            "Content-Length : 5\r\n\r\n".into(),
            "Content-Length:\r\n 5\r\n\r\n".into(),
            "A: b\r\n\tc\r\n\r\n".into(),
        ] {
            let given = format!("{start}{head}12345");
            for at_a_time in [1, 7, given.len()] {
                let passed = passed(given.as_bytes(), at_a_time);
                assert!(passed.ends_with(NO_HEADER), "{head}");
            }
        }
        let start = "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for body in [
            format!("5;{}\r\n", "x".repeat(CHUNK_LINE_BYTES_MAX)),
            "11111111111111111\r\n".into(),
            "0\r\nA: b\n\n".into(),
            "0\r\nA: b\rc\r\n\r\n".into(),
            "0\r\n\n".into(),
            "-1\r\n\r\n".into(),
            "\r\n\r\n".into(),
            "0x2\r\n<<\r\n0\r\n\r\n".into(),
            "2\n<<\r\n0\r\n\r\n".into(),
            "2;a\rb\r\n<<\r\n0\r\n\r\n".into(),
            "2 2\r\n<<\r\n0\r\n\r\n".into(),
            "2\r\n<<<\n0\r\n\r\n".into(),
            "2\r\n<<\r0\r\n\r\n".into(),
        ] {
            let given = format!("{start}{body}GET /< HTTP/1.1\r\n\r\n");
            for at_a_time in [1, 7, given.len()] {
                let mut lines = RequestFilter::default();
                for part in given.as_bytes().chunks(at_a_time) {
                    let passed = lines.pass(part).unwrap_or_else(|| part.to_vec());
                    assert!(!passed.contains(&b'%'), "no request follows: {body}");
                }
                assert!(lines.has_refused_body(), "{body}");
            }
        }
        // any number of leading zeros means the same
        let zeros = format!("{start}{}2\r\n<<\r\n0\r\n\r\n", "0".repeat(300));
        let given = [zeros.as_bytes(), GET].concat();
        assert_passed(&given, &[zeros.as_bytes(), ESCAPED].concat());
    }

    #[test]
    fn valid_requests_are_not_copied() {
        let request = b"PUT /v2/keys/a%20b?x=[1] HTTP/1.1\r\nContent-Length: 2\r\n\
            Connection: keep-alive\r\n\r\n<>";
        assert_eq!(RequestFilter::default().pass(request), None);
    }
}
