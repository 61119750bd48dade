//! What actix should not see of an HTTP/1 connection as it is, and what it does not tell.
//!
//! A request target may hold bytes that Go takes and actix's URI type does not (raw UTF-8, `<`,
//! `#`, …): they are escaped on the way, in every request line of the connection. For that the
//! stream is followed from head to body to head; bodies pass untouched. And a client that has said
//! all it will (it closed its side, or is gone) ends the answers that would wait for ever: see
//! [`Ended`].

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::watch,
};

use super::{pass::pass_writes, tls::PeerCertificate};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Of a header line so much is kept to find out how long a body is; a longer line tells nothing.
const HEADER_BYTES_MAX: usize = 256;

/// Whether the client has said all that it will.
#[derive(Clone, Debug)]
pub struct Ended(watch::Receiver<bool>);

impl Ended {
    /// Resolves when the client closed its side of the connection.
    pub async fn wait(mut self) {
        // an error says that the stream itself is gone
        let _ = self.0.wait_for(|ended| *ended).await;
    }
}

/// Stands in the data of a connection inside TLS.
#[derive(Clone, Copy, Debug)]
pub struct OverTls;

/// A stream of HTTP/1 requests.
pub(super) struct Requests<S> {
    stream: S,
    lines: Lines,
    /// Bytes that did not fit where they were asked for, and how many of them are gone.
    held: (Vec<u8>, usize),
    ended: watch::Sender<bool>,
    certificate: Option<PeerCertificate>,
}

impl<S> Requests<S> {
    pub(super) fn new(stream: S, certificate: Option<PeerCertificate>) -> Self {
        Self {
            stream,
            certificate,
            lines: Lines::default(),
            held: (Vec::new(), 0),
            ended: watch::Sender::new(false),
        }
    }

    /// Tells when the client has said all that it will.
    pub(super) fn ended(&self) -> Ended {
        Ended(self.ended.subscribe())
    }

    /// What the client has shown.
    pub(super) fn certificate(&self) -> Option<&PeerCertificate> {
        self.certificate.as_ref()
    }

    /// Hands out of what is held as much as fits.
    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let (bytes, from) = &mut self.held;
        let until = bytes.len().min(*from + buf.remaining());
        buf.put_slice(&bytes[*from..until]);
        *from = until;
        if until == bytes.len() {
            self.held = (Vec::new(), 0);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Requests<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.held.0.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let read = &buf.filled()[before..];
            if read.is_empty() && buf.remaining() > 0 {
                this.ended.send_replace(true);
            }
            let Some(escaped) = this.lines.pass(read) else {
                return Poll::Ready(Ok(()));
            };
            buf.set_filled(before);
            this.held = (escaped, 0);
        }
        this.hand_out(buf);
        Poll::Ready(Ok(()))
    }
}

pass_writes!(Requests);

/// Follows requests through a stream. It judges nothing: what is malformed actix refuses, and the
/// connection with it, so it does not matter what is taken for a request line after that.
#[derive(Debug, Default)]
struct Lines {
    place: Place,
    /// The header line so far.
    header: Vec<u8>,
    /// What the head so far says of the body.
    length: u64,
    chunked: bool,
    upgrade: bool,
}

/// Where in a request the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// In the method.
    #[default]
    Method,
    /// In the rest of the request line.
    Target,
    Header,
    /// In a body, or in a chunk with the end of its line, of which so much is to come.
    Body(u64),
    /// In the line before a chunk.
    ChunkSize,
    Chunk(u64),
    /// In the lines after the last chunk; whether in one that has begun.
    Trailer(bool),
    /// After the head of a request for another protocol: no request follows.
    Tunnel,
}

impl Lines {
    /// Goes through the next bytes of the stream. Gives them with the targets escaped, if there was
    /// anything to escape.
    fn pass(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut escaped: Option<Vec<u8>> = None;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (taken, in_target) = self.step(rest);
            let part = &rest[..taken];
            if in_target && part.iter().any(|byte| is_strange(*byte)) {
                let out = escaped.get_or_insert_with(|| bytes[..at].to_vec());
                push_escaped(out, part);
            } else if let Some(out) = &mut escaped {
                out.extend_from_slice(part);
            }
            at += part.len();
        }
        escaped
    }

    /// Takes the bytes up to the next change of place: how many, and whether they belong to a
    /// target.
    fn step(&mut self, rest: &[u8]) -> (usize, bool) {
        match self.place {
            Place::Method => {
                let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\n'));
                let taken = end.map_or(rest.len(), |end| end + 1);
                if end.is_some_and(|end| rest[end] == b' ') {
                    self.place = Place::Target;
                }
                (taken, false)
            }
            Place::Target => {
                let (line, ends) = line(rest);
                if ends {
                    (self.place, self.length, self.chunked) = (Place::Header, 0, false);
                    self.upgrade = false;
                }
                (line.len(), true)
            }
            Place::Header => {
                let (line, ends) = line(rest);
                self.keep(line);
                if ends {
                    self.read_header();
                }
                (line.len(), false)
            }
            Place::Body(left) => {
                let (taken, left) = skip(rest, left);
                self.place = if left == 0 {
                    Place::Method
                } else {
                    Place::Body(left)
                };
                (taken, false)
            }
            Place::ChunkSize => {
                let (line, ends) = line(rest);
                self.keep(line);
                if ends {
                    self.read_chunk_size();
                }
                (line.len(), false)
            }
            Place::Chunk(left) => {
                let (taken, left) = skip(rest, left);
                self.place = if left == 0 {
                    Place::ChunkSize
                } else {
                    Place::Chunk(left)
                };
                (taken, false)
            }
            Place::Tunnel => (rest.len(), false),
            Place::Trailer(begun) => {
                let (line, ends) = line(rest);
                let empty = !begun && trimmed(line).is_empty();
                self.place = match (ends, empty) {
                    (true, true) => Place::Method,
                    (true, false) => Place::Trailer(false),
                    (false, empty) => Place::Trailer(!empty),
                };
                (line.len(), false)
            }
        }
    }

    fn keep(&mut self, line: &[u8]) {
        let room = HEADER_BYTES_MAX.saturating_sub(self.header.len());
        self.header.extend_from_slice(&line[..line.len().min(room)]);
    }

    /// A header line is whole.
    fn read_header(&mut self) {
        let line = std::mem::take(&mut self.header);
        let line = trimmed(&line);
        if line.is_empty() {
            self.place = match (self.chunked, self.length) {
                _ if self.upgrade => Place::Tunnel,
                (true, _) => Place::ChunkSize,
                (false, 0) => Place::Method,
                (false, length) => Place::Body(length),
            };
            return;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return;
        };
        let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
        if name.eq_ignore_ascii_case(b"content-length") {
            let value = std::str::from_utf8(value).ok();
            self.length = value.and_then(|value| value.parse().ok()).unwrap_or(0);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = value.eq_ignore_ascii_case(b"websocket");
        }
    }

    /// A chunk's first line is whole: hexadecimal digits, and perhaps an extension.
    fn read_chunk_size(&mut self) {
        const LINE_END: u64 = 2;
        let line = std::mem::take(&mut self.header);
        let digits = line.iter().map_while(|byte| char::from(*byte).to_digit(16));
        let size = digits.fold(0_u64, |size, digit| {
            size.saturating_mul(16).saturating_add(u64::from(digit))
        });
        self.place = match size {
            0 => Place::Trailer(false),
            size => Place::Chunk(size.saturating_add(LINE_END)),
        };
    }
}

/// The bytes up to the end of the line, and whether that is among them.
fn line(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..=end], true),
        None => (bytes, false),
    }
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

/// How many bytes belong to the part of which `left` are to come, and what is left then.
fn skip(bytes: &[u8], left: u64) -> (usize, u64) {
    let all = bytes.len() as u64;
    if left > all {
        (bytes.len(), left - all)
    } else {
        (usize::try_from(left).unwrap_or(bytes.len()), 0)
    }
}

/// Bytes that mean themselves in a request line to Go, and nothing good to actix.
fn is_strange(byte: u8) -> bool {
    matches!(
        byte,
        b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80..
    )
}

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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// All that comes out when so many bytes at a time go in.
    fn passed(bytes: &[u8], at_a_time: usize) -> Vec<u8> {
        let mut lines = Lines::default();
        let parts = bytes.chunks(at_a_time);
        parts
            .flat_map(|part| lines.pass(part).unwrap_or_else(|| part.to_vec()))
            .collect()
    }

    const GET: &[u8] = b"GET /\xe4<a>?q=\xff#x HTTP/1.1\r\nA: \xe4<\r\n\r\n";
    const ESCAPED: &[u8] = b"GET /%E4%3Ca%3E?q=%FF%23x HTTP/1.1\r\nA: \xe4<\r\n\r\n";

    #[test]
    fn targets_are_escaped_and_nothing_else() {
        let before: [&[u8]; 8] = [
            b"",
            b"\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PUT /a HTTP/1.1\r\nContent-Length: 4\r\n\r\n\xe4 <\n",
            b"PUT /a HTTP/1.1\ncontent-length:  3 \nB: c\n\n\n\n\xff",
            b"PUT /a HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\n\xe4 <\r\nA;x=\"<\"\r\n0123 <>\n\r\n\r\n0\r\n\r\n",
            b"PUT /a HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: <\r\n\xff: x\r\n\r\n",
            b"PUT /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        ];
        for request in before {
            let (given, expect) = ([request, GET].concat(), [request, ESCAPED].concat());
            for at_a_time in [1, 2, 3, 7, given.len()] {
                let passed = passed(&given, at_a_time);
                let shown = String::from_utf8_lossy(&given);
                assert_eq!(passed, expect, "{at_a_time} bytes at a time of {shown}");
            }
        }
    }

    #[test]
    fn what_follows_an_upgrade_is_no_request() {
        let request = b"GET /v3/watch HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\x81 < \xff\n<#";
        for at_a_time in [1, 7, request.len()] {
            assert_eq!(passed(request, at_a_time), request);
        }
    }

    #[test]
    fn what_is_fine_is_not_copied() {
        let request = b"PUT /v2/keys/a%20b?x=[1] HTTP/1.1\r\nContent-Length: 2\r\n\r\n<>";
        assert_eq!(Lines::default().pass(request), None);
    }

    #[tokio::test]
    async fn escapes_reach_a_reader_with_little_room() {
        let (mut client, server) = tokio::io::duplex(1024);
        client.write_all(GET).await.unwrap();
        let mut requests = Requests::new(server, None);
        let ended = requests.ended();
        let mut read = Vec::new();
        let mut piece = [0; 5];
        while read.len() < ESCAPED.len() {
            let length = requests.read(&mut piece).await.unwrap();
            read.extend_from_slice(&piece[..length]);
        }
        assert_eq!(read, ESCAPED);
        drop(client);
        assert_eq!(requests.read(&mut piece).await.unwrap(), 0);
        ended.wait().await;
    }
}
