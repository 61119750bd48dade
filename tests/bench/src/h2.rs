//! A lean gRPC client: unary calls of one method over one HTTP/2 connection.
//!
//! Its header block refers to fields that the first call put into the dynamic table, as the blocks of typical clients do. It
//! skips header blocks of answers, because a successful unary call has a DATA frame and a failed call has none.

use std::collections::VecDeque;

use crate::{verb::Verb, wire::Wire};

/// Creates a connection's requests and receives their answers.
pub trait Call {
    /// The path of the method.
    fn target(&self) -> &'static str;

    /// Returns the request for `key`, which is sent in `slot`.
    fn message(&mut self, slot: usize, key: u64) -> Vec<u8>;

    /// Processes the next bytes of the answer in `slot`: a gRPC message after its prefix.
    fn data(&mut self, _slot: usize, _bytes: &[u8]) {}

    /// Processes the end of the call in `slot`. A call without `answered` has failed. In that case, panics unless the
    /// implementation counts failures.
    fn ended(&mut self, _slot: usize, answered: bool) {
        assert!(answered, "a call failed");
    }
}

impl Call for Verb {
    fn target(&self) -> &'static str {
        Verb::target(*self)
    }

    fn message(&mut self, _slot: usize, key: u64) -> Vec<u8> {
        Verb::message(*self, key)
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// Size in bytes of the flag and the length before each gRPC message.
pub(crate) const PREFIX_BYTES: usize = 5;
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// The code of a reset without an error.
const NO_ERROR: [u8; 4] = [0; 4];
/// RFC 9113, 6.5.2: the setting with the initial size of a stream's window.
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
/// RFC 9113, 6.9.2: the initial window of a connection in bytes.
pub(crate) const FIRST_WINDOW: i64 = 65_535;
/// The window that this client grants to each stream and adds to the connection's initial window.
const OWN_WINDOW: u32 = 1 << 30;

/// One connection.
#[derive(Debug)]
pub struct Grpc<C> {
    call: C,
    first: Vec<u8>,
    later: Vec<u8>,
    called: bool,
    next_stream: u32,
    /// The open stream of each slot and whether its DATA has arrived.
    streams: Vec<(u32, bool)>,
    /// Number of DATA bytes that the server still accepts.
    window: i64,
    waiting: VecDeque<(usize, Vec<u8>)>,
    received: u32,
}

impl<C: Call> Grpc<C> {
    /// Creates a connection for calls of one method.
    pub fn new(call: C, address: &str, slots: usize) -> Self {
        let (first, later) = blocks(call.target(), address);
        Self {
            call,
            first,
            later,
            called: false,
            next_stream: 1,
            streams: vec![(0, false); slots],
            window: FIRST_WINDOW,
            waiting: VecDeque::new(),
            received: 0,
        }
    }

    /// Sends the request on the next stream, which becomes the slot's stream, even if the server's window is too small.
    fn send(&mut self, slot: usize, body: &[u8], out: &mut Vec<u8>) {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.streams[slot] = (stream, false);
        let block = if self.called {
            &self.later
        } else {
            &self.first
        };
        self.called = true;
        head(out, block.len(), HEADERS, END_HEADERS, stream);
        out.extend_from_slice(block);
        write_message(out, END_STREAM, stream, body);
        self.window -= (body.len() + PREFIX_BYTES) as i64;
    }

    /// Sends the request, or queues it until the server's window is open.
    fn send_or_wait(&mut self, slot: usize, body: Vec<u8>, out: &mut Vec<u8>) {
        if self.window < (body.len() + PREFIX_BYTES) as i64 {
            self.waiting.push_back((slot, body));
        } else {
            self.send(slot, &body, out);
        }
    }

    /// Sends queued requests as far as the server's window allows.
    fn resume(&mut self, out: &mut Vec<u8>) {
        for _ in 0..self.waiting.len() {
            if let Some((slot, body)) = self.waiting.pop_front() {
                self.send_or_wait(slot, body, out);
            }
        }
    }

    fn slot(&self, stream: u32) -> Option<usize> {
        self.streams.iter().position(|(id, _)| *id == stream)
    }
}

impl<C: Call> Wire for Grpc<C> {
    fn greet(&mut self, out: &mut Vec<u8>) {
        greet(out);
    }

    fn ask(&mut self, slot: usize, key: u64, out: &mut Vec<u8>) {
        let body = self.call.message(slot, key);
        self.send_or_wait(slot, body, out);
    }

    fn answer(&mut self, input: &[u8], used: &mut usize, out: &mut Vec<u8>) -> Option<usize> {
        loop {
            let (kind, flags, stream, payload) = frame(input, used)?;
            match kind {
                DATA => {
                    renew(out, 0, &mut self.received, payload);
                    let slot = self.slot(stream).expect("data of a call of ours");
                    self.streams[slot].1 = true;
                    self.call.data(slot, payload);
                }
                HEADERS if flags & END_STREAM != 0 => {
                    let slot = self.slot(stream).expect("an answer to a call of ours");
                    self.call.ended(slot, self.streams[slot].1);
                    return Some(slot);
                }
                HEADERS => {}
                SETTINGS if flags & ACK == 0 => head(out, 0, SETTINGS, ACK, 0),
                PING if flags & ACK == 0 => pong(out, payload),
                SETTINGS | PING => {}
                WINDOW_UPDATE => {
                    if stream == 0 {
                        let more = payload.try_into().expect("four bytes");
                        self.window += i64::from(u32::from_be_bytes(more));
                        self.resume(out);
                    }
                }
                // The server sent the entire answer before it received the end of the request (RFC 9113, 8.1).
                RST_STREAM if payload == NO_ERROR => {}
                _ => panic!("the server ended the call: frame of type {kind} with {payload:02x?}"),
            }
        }
    }
}

/// Writes the preface and settings, with windows so large that the server rarely waits for this client.
pub(crate) fn greet(out: &mut Vec<u8>) {
    out.extend_from_slice(PREFACE);
    head(out, 6, SETTINGS, 0, 0);
    out.extend_from_slice(&INITIAL_WINDOW_SIZE.to_be_bytes());
    out.extend_from_slice(&OWN_WINDOW.to_be_bytes());
    head(out, 4, WINDOW_UPDATE, 0, 0);
    out.extend_from_slice(&OWN_WINDOW.to_be_bytes());
}

pub(crate) fn head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&u32_of(length).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Writes a DATA frame with a gRPC message.
pub(crate) fn write_message(out: &mut Vec<u8>, flags: u8, stream: u32, message: &[u8]) {
    head(out, PREFIX_BYTES + message.len(), DATA, flags, stream);
    out.push(0);
    out.extend_from_slice(&u32_of(message.len()).to_be_bytes());
    out.extend_from_slice(message);
}

/// Answers a PING frame.
pub(crate) fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    head(out, payload.len(), PING, ACK, 0);
    out.extend_from_slice(payload);
}

/// Counts received DATA and renews the window when half of it is used.
pub(crate) fn renew(out: &mut Vec<u8>, stream: u32, received: &mut u32, payload: &[u8]) {
    *received += u32_of(payload.len());
    if *received > OWN_WINDOW / 2 {
        head(out, 4, WINDOW_UPDATE, 0, stream);
        out.extend_from_slice(&received.to_be_bytes());
        *received = 0;
    }
}

/// Returns kind, flags, stream and payload of the frame at `used`, and moves `used` to its end. Returns `None` if the frame is
/// incomplete.
pub(crate) fn frame<'a>(input: &'a [u8], used: &mut usize) -> Option<(u8, u8, u32, &'a [u8])> {
    let (&[l0, l1, l2, kind, flags, s0, s1, s2, s3], rest) =
        input[*used..].split_first_chunk::<HEAD_BYTES>()?;
    let payload = rest.get(..u32::from_be_bytes([0, l0, l1, l2]) as usize)?;
    *used += HEAD_BYTES + payload.len();
    Some((kind, flags, u32::from_be_bytes([s0, s1, s2, s3]), payload))
}

pub(crate) fn u32_of(length: usize) -> u32 {
    u32::try_from(length).expect("frames are small")
}

/// Returns two header blocks. The block of a connection's first call fills the dynamic table (RFC 7541). The block of later
/// calls refers to the table.
pub(crate) fn blocks(path: &str, authority: &str) -> (Vec<u8>, Vec<u8>) {
    const METHOD_POST: u8 = 0x83;
    const SCHEME_HTTP: u8 = 0x86;
    // Literal with incremental indexing: the name's index in the static table, or 0 and the name.
    const PATH: u8 = 0x40 | 4;
    const AUTHORITY: u8 = 0x40 | 1;
    const CONTENT_TYPE: u8 = 0x40 | 31;
    const USER_AGENT: u8 = 0x40 | 58;
    const NEW_NAME: u8 = 0x40;
    let mut first = vec![METHOD_POST, SCHEME_HTTP];
    let mut text = |name: u8, texts: &[&str]| {
        first.push(name);
        for text in texts {
            first.push(u8::try_from(text.len()).expect("shorter than 127 bytes"));
            first.extend_from_slice(text.as_bytes());
        }
    };
    text(PATH, &[path]);
    text(AUTHORITY, &[authority]);
    text(CONTENT_TYPE, &["application/grpc"]);
    text(USER_AGENT, &["witan-bench"]);
    text(NEW_NAME, &["te", "trailers"]);
    // Of the five entries, the newest has index 62.
    let later = vec![
        METHOD_POST,
        SCHEME_HTTP,
        0x80 | 66,
        0x80 | 65,
        0x80 | 64,
        0x80 | 63,
        0x80 | 62,
    ];
    (first, later)
}
