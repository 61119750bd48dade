//! Follows a connection's requests and rewrites the parts that actix would misread. Does no I/O.

use std::borrow::Cow;

use witan_http2::escaped_target;

use super::header::{self, HeaderMeaning};

/// Maximum size in bytes of a line that is classified only when it is complete; a request with a longer line is refused. The
/// limit applies to each relevant header, and to the total size of the upgrade lines. In a chunked body, it applies to the line
/// before a chunk and to each trailer line, as in Go.
const LINE_BYTES_MAX: usize = 4096;

/// The start of a request line that may open a tunnel.
const GET: &[u8] = b"GET ";

/// An invalid header line, which actix answers with 400.
const NO_HEADER: &[u8] = b":\r\n\r\n";

/// Filters a stream of requests. Passes a head with ambiguous framing, because actix refuses it and all bytes after it. For
/// every head that actix accepts, the filter must find the same end of the body as actix.
#[derive(Debug, Default)]
pub(super) struct RequestFilter {
    /// Whether only the first request passes, without an upgrade.
    single: bool,
    state: FilterState,
    /// The start of the current method, or of the current line. A line is withheld until it is complete, but a method passes
    /// immediately.
    line: Vec<u8>,
    head: HeadState,
}

/// The parsed part of a head.
#[derive(Debug, Default)]
struct HeadState {
    get: bool,
    length: u64,
    chunked: bool,
    /// The `Upgrade` and `Connection` lines, withheld until the head ends.
    upgrade_lines: Vec<u8>,
    /// Whether the only `Upgrade` header is `websocket`. `None` if there is no `Upgrade` header.
    websocket: Option<bool>,
    /// Whether a `Connection` header contains `upgrade`.
    upgrade: bool,
    /// The other options in the `Connection` headers, separated by commas.
    options: Vec<u8>,
}

/// The position of the next byte within a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FilterState {
    #[default]
    Method,
    /// In the rest of the request line, after the method.
    Target,
    /// In a header line.
    Header,
    /// In the rest of a long, irrelevant header line.
    LongHeader,
    /// In a body with this many remaining bytes.
    Body(u64),
    /// In a chunk with this many remaining bytes.
    Chunk(u64),
    /// In a line before, between or after chunks.
    ChunkLine(ChunkLine),
    /// After the head of a request that may open a tunnel. No further request is filtered.
    Tunnel,
    /// After a refusal, or after the only request. No further bytes pass.
    Refused,
    /// After a refusal inside a body. No further bytes pass.
    RefusedBody,
}

/// A line in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkLine {
    /// The line before a chunk.
    Size,
    /// The line end after a chunk.
    End,
    /// A line after the last chunk.
    Trailer,
}

enum FilterAction {
    /// Pass this number of bytes.
    Pass(usize),
    /// Replace this number of bytes.
    Replace(usize, Vec<u8>),
}

impl RequestFilter {
    /// Creates a filter that passes one request and drops all bytes after it.
    pub(super) fn single() -> Self {
        Self { single: true, ..Self::default() }
    }

    /// Returns whether the body was refused. Its reader must then get the end of the stream.
    pub(super) fn has_refused_body(&self) -> bool {
        self.state == FilterState::RefusedBody
    }

    /// Filters the next bytes of the stream. Returns their replacement, or `None` if the bytes pass unchanged.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed: Option<Vec<u8>> = None;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match self.step(rest) {
                FilterAction::Replace(taken, by) => {
                    let out = changed.get_or_insert_with(|| bytes[..at].to_vec());
                    out.extend_from_slice(&by);
                    taken
                }
                FilterAction::Pass(taken) => {
                    if let Some(changed) = &mut changed {
                        changed.extend_from_slice(&rest[..taken]);
                    }
                    taken
                }
            };
        }
        changed
    }

    /// Consumes the bytes up to the next state change and returns what to do with them.
    fn step(&mut self, rest: &[u8]) -> FilterAction {
        match self.state {
            FilterState::Method => self.method(rest),
            FilterState::Target => self.target(rest),
            FilterState::Header => self.header(rest),
            FilterState::LongHeader => FilterAction::Pass(self.rest_of_line(rest)),
            FilterState::Body(left) => {
                let (taken, left) = skip(rest, left);
                self.continue_with(match left {
                    0 => FilterState::Method,
                    left => FilterState::Body(left),
                });
                FilterAction::Pass(taken)
            }
            FilterState::Chunk(left) => {
                let (taken, left) = skip(rest, left);
                self.state = match left {
                    0 => FilterState::ChunkLine(ChunkLine::End),
                    left => FilterState::Chunk(left),
                };
                FilterAction::Pass(taken)
            }
            FilterState::ChunkLine(kind) => self.chunk_line(rest, kind),
            FilterState::Tunnel => FilterAction::Pass(rest.len()),
            FilterState::Refused | FilterState::RefusedBody => {
                FilterAction::Replace(rest.len(), Vec::new())
            }
        }
    }

    /// Changes to the state `next`. After the only request, changes to `Refused`.
    fn continue_with(&mut self, next: FilterState) {
        self.state = match self.single && next == FilterState::Method {
            true => FilterState::Refused,
            false => next,
        };
    }

    /// Passes a method and the empty lines before it, which actix ignores. After the method, records whether it is GET.
    fn method(&mut self, rest: &[u8]) -> FilterAction {
        let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\n'));
        let taken = end.map_or(rest.len(), |end| end + 1);
        let free = GET.len() + 1 - self.line.len();
        self.line.extend_from_slice(&rest[..taken.min(free)]);
        if let Some(end) = end {
            if rest[end] == b' ' {
                self.state = FilterState::Target;
                self.head = HeadState { get: self.line == GET, ..HeadState::default() };
            }
            self.line.clear();
        }
        FilterAction::Pass(taken)
    }

    /// Passes a part of the request line after the method. Escapes bytes that actix rejects.
    fn target(&mut self, rest: &[u8]) -> FilterAction {
        let taken = self.rest_of_line(rest);
        match escaped_target(&rest[..taken]) {
            Cow::Borrowed(_) => FilterAction::Pass(taken),
            Cow::Owned(escaped) => FilterAction::Replace(taken, escaped),
        }
    }

    /// Returns the number of bytes that belong to the current line. At the end of the line, changes to the state `Header`.
    fn rest_of_line(&mut self, rest: &[u8]) -> usize {
        let (part, ends) = line(rest);
        if ends {
            self.state = FilterState::Header;
        }
        part.len()
    }

    /// Adds `part` to the current line. Returns the entire line if `ends` is set, otherwise withholds it and returns `None`.
    fn whole_line<'a>(&mut self, part: &'a [u8], ends: bool) -> Option<Cow<'a, [u8]>> {
        if ends && self.line.is_empty() {
            return Some(Cow::Borrowed(part));
        }
        self.line.extend_from_slice(part);
        ends.then(|| Cow::Owned(std::mem::take(&mut self.line)))
    }

    /// Filters a part of a header line. Withholds an incomplete line of up to [`LINE_BYTES_MAX`] bytes. Refuses a longer line
    /// if it is relevant.
    fn header(&mut self, rest: &[u8]) -> FilterAction {
        let (part, ends) = line(rest);
        let Some(line) = self.whole_line(part, ends) else {
            if self.line.len() <= LINE_BYTES_MAX {
                return FilterAction::Replace(part.len(), Vec::new());
            }
            let line = std::mem::take(&mut self.line);
            if header::is_relevant(&line) {
                return FilterAction::Replace(part.len(), self.refuse());
            }
            self.state = FilterState::LongHeader;
            return FilterAction::Replace(part.len(), line);
        };
        let by = if line.len() > LINE_BYTES_MAX && header::is_relevant(&line) {
            Some(self.refuse())
        } else {
            self.judge(&line)
        };
        replaced(part, line, by)
    }

    /// Examines a complete header line, or the empty line that ends the head, and records its meaning. Withholds upgrade lines
    /// until the head ends, and refuses the request if they are too long. Returns the line's replacement, or `None` if the line
    /// passes unchanged.
    fn judge(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let head = &mut self.head;
        match header::judge(line) {
            HeaderMeaning::Nothing => return None,
            HeaderMeaning::End => return self.end_of_head(line),
            HeaderMeaning::Length(length) => {
                head.length = length;
                return None;
            }
            HeaderMeaning::Chunked => {
                head.chunked = true;
                return None;
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
        if head.upgrade_lines.len() > LINE_BYTES_MAX {
            return Some(self.refuse());
        }
        Some(Vec::new())
    }

    /// Ends the head: determines the body's framing and whether the upgrade headers pass. Returns the replacement of the empty
    /// line, or `None` if the line passes unchanged.
    fn end_of_head(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let head = std::mem::take(&mut self.head);
        let websocket = head.get && head.upgrade && head.websocket == Some(true);
        let tunnel = websocket && !head.chunked && head.length == 0 && !self.single;
        self.continue_with(match head.length {
            _ if tunnel => FilterState::Tunnel,
            _ if head.chunked => FilterState::ChunkLine(ChunkLine::Size),
            0 => FilterState::Method,
            length => FilterState::Body(length),
        });
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

    /// Filters a part of a line in a chunked body. Refuses the body if the line is malformed or too long.
    fn chunk_line(&mut self, rest: &[u8], kind: ChunkLine) -> FilterAction {
        let (part, ends) = line(rest);
        if self.line.len() + part.len() > LINE_BYTES_MAX {
            return self.refuse_body(rest);
        }
        let Some(line) = self.whole_line(part, ends) else {
            return FilterAction::Replace(part.len(), Vec::new());
        };
        let Some(next) = after_chunk_line(kind, &line) else {
            return self.refuse_body(rest);
        };
        self.continue_with(next);
        replaced(part, line, None)
    }

    /// Refuses the rest of the stream. Returns invalid bytes, which actix answers with 400.
    fn refuse(&mut self) -> Vec<u8> {
        self.state = FilterState::Refused;
        NO_HEADER.to_vec()
    }

    /// Refuses the rest of a body. For actix, the stream then ends as if the client had closed its side. Any other error in a
    /// body would look like a failed socket to actix, which would send no response.
    fn refuse_body(&mut self, rest: &[u8]) -> FilterAction {
        self.state = FilterState::RefusedBody;
        FilterAction::Replace(rest.len(), Vec::new())
    }
}

/// Returns what to do with `part`, which ends a line whose earlier parts were withheld. `by` is the line's replacement.
fn replaced(part: &[u8], line: Cow<'_, [u8]>, by: Option<Vec<u8>>) -> FilterAction {
    match (by, line) {
        (Some(by), _) => FilterAction::Replace(part.len(), by),
        (None, Cow::Owned(line)) => FilterAction::Replace(part.len(), line),
        (None, Cow::Borrowed(_)) => FilterAction::Pass(part.len()),
    }
}

/// Returns the state after a line in a chunked body, or `None` if the line is malformed. A lone carriage return or line feed is
/// malformed, because actix ends a trailer line at a carriage return.
fn after_chunk_line(kind: ChunkLine, line: &[u8]) -> Option<FilterState> {
    let line = line.strip_suffix(b"\r\n")?;
    if line.contains(&b'\r') {
        return None;
    }
    Some(match (kind, line.is_empty()) {
        (ChunkLine::Size, _) => match chunk_size(line)? {
            0 => FilterState::ChunkLine(ChunkLine::Trailer),
            size => FilterState::Chunk(size),
        },
        (ChunkLine::End, true) => FilterState::ChunkLine(ChunkLine::Size),
        (ChunkLine::End, false) => return None,
        (ChunkLine::Trailer, true) => FilterState::Method,
        (ChunkLine::Trailer, false) => FilterState::ChunkLine(ChunkLine::Trailer),
    })
}

/// Parses the line before a chunk: hexadecimal digits and an optional extension. Returns `None` for any other line.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (digits, after) = line.split_at(digits.count());
    let after = after.trim_ascii_start();
    // Check the digits, because Rust's parser also accepts a sign.
    if digits.is_empty() || !(after.is_empty() || after.starts_with(b";")) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Returns the bytes up to and including the first line end, or all bytes if there is none. Also returns whether there is a
/// line end.
fn line(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..=end], true),
        None => (bytes, false),
    }
}

/// Returns how many of the bytes belong to a part that lacks `left` bytes, and how many bytes the part lacks afterward.
fn skip(bytes: &[u8], left: u64) -> (usize, u64) {
    let all = bytes.len() as u64;
    if left > all {
        (bytes.len(), left - all)
    } else {
        (usize::try_from(left).unwrap_or(bytes.len()), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the filter's output for these bytes if they arrive `at_a_time` bytes at a time.
    fn passed(bytes: &[u8], at_a_time: usize) -> Vec<u8> {
        let mut lines = RequestFilter::default();
        let parts = bytes.chunks(at_a_time);
        parts
            .flat_map(|part| lines.pass(part).unwrap_or_else(|| part.to_vec()))
            .collect()
    }

    /// Asserts that the filter's output for `given` is `expect`, however the bytes are split.
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
    fn only_targets_are_escaped() {
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
    fn bytes_after_an_upgrade_are_not_a_request() {
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
            // A WebSocket handshake has no body, so this upgrade is refused.
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
    fn long_lines_about_framing_and_malformed_chunks_are_refused() {
        let start = "PUT /a HTTP/1.1\r\nHost: x\r\n";
        let padded =
            |with: &str| format!("Content-Length: {}5\r\n\r\n", with.repeat(LINE_BYTES_MAX));
        for head in [
            padded(" "),
            padded("0"),
            padded("\t"),
            format!(
                "Transfer-Encoding: {}chunked\r\n\r\n",
                " ".repeat(LINE_BYTES_MAX)
            ),
            format!("Connection: {}upgrade\r\n\r\n", " ".repeat(LINE_BYTES_MAX)),
            "Connection: upgrade\r\n".repeat(LINE_BYTES_MAX / 20) + "\r\n",
        ] {
            let given = format!("{start}{head}12345");
            for at_a_time in [1, 7, given.len()] {
                let passed = passed(given.as_bytes(), at_a_time);
                assert!(passed.ends_with(NO_HEADER), "{head}");
            }
        }
        let start = "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for body in [
            format!("5;{}\r\n", "x".repeat(LINE_BYTES_MAX)),
            "11111111111111111\r\n".into(),
            "0\r\nA: b\n\n".into(),
            "0\r\nA: b\rc\r\n\r\n".into(),
            "0\r\n\n".into(),
            "-1\r\n\r\n".into(),
            "\r\n\r\n".into(),
            "0x2\r\n<<\r\n0\r\n\r\n".into(),
            "2\n<<\r\n0\r\n\r\n".into(),
            "2;a\rb\r\n<<\r\n0\r\n\r\n".into(),
            "+2\r\n<<\r\n0\r\n\r\n".into(),
            format!("0\r\nA: {}\r\n\r\n", "x".repeat(LINE_BYTES_MAX)),
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
        // Leading zeros have no effect.
        let zeros = format!("{start}{}2\r\n<<\r\n0\r\n\r\n", "0".repeat(300));
        let given = [zeros.as_bytes(), GET].concat();
        assert_passed(&given, &[zeros.as_bytes(), ESCAPED].concat());
    }

    #[test]
    fn only_one_request_passes() {
        for request in [
            "GET / HTTP/1.1\r\n\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\n<<",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n<<\r\n0\r\n\r\n",
        ] {
            let given = [request, "GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(
                RequestFilter::single().pass(given.as_bytes()).as_deref(),
                Some(request.as_bytes())
            );
        }
        let upgrade = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n<<";
        assert_eq!(
            RequestFilter::single().pass(upgrade).as_deref(),
            Some(b"GET / HTTP/1.1\r\n\r\n".as_slice())
        );
    }

    #[test]
    fn valid_requests_are_not_copied() {
        let request = b"PUT /v2/keys/a%20b?x=[1] HTTP/1.1\r\nContent-Length: 2\r\n\
            Connection: keep-alive\r\n\r\n<>";
        assert_eq!(RequestFilter::default().pass(request), None);
    }
}
