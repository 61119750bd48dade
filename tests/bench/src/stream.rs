//! A lean client of long bidirectional gRPC streams of one method on one connection. It extracts messages from frames without
//! decoding them.

use std::collections::VecDeque;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::h2::{
    ACK, DATA, END_HEADERS, END_STREAM, FIRST_WINDOW, HEADERS, INITIAL_WINDOW_SIZE, PING,
    PREFIX_BYTES, SETTINGS, WINDOW_UPDATE, blocks, frame, greet, head, pong, renew, u32_of,
    write_message,
};

const READ_BYTES: usize = 64 << 10;

/// A connection with its open calls.
#[derive(Debug)]
pub struct Streams {
    socket: TcpStream,
    out: Vec<u8>,
    input: Vec<u8>,
    calls: Vec<Call>,
    /// Number of bytes that the server still accepts on the connection.
    window: i64,
    received: u32,
}

#[derive(Debug)]
struct Call {
    /// The bytes of an incomplete message.
    message: Vec<u8>,
    /// Number of bytes that the server still accepts on the stream.
    window: i64,
    waiting: VecDeque<Vec<u8>>,
    received: u32,
    ended: bool,
}

impl Streams {
    /// Connects and opens `calls` calls of the method at `path`. Panics if no server listens.
    pub async fn open(address: &str, path: &str, calls: usize) -> Self {
        let socket = TcpStream::connect(address).await.expect("it listens");
        socket.set_nodelay(true).expect("a TCP socket");
        let mut out = Vec::new();
        greet(&mut out);
        let (first, later) = blocks(path, address);
        for at in 0..calls {
            let block = if at == 0 { &first } else { &later };
            head(&mut out, block.len(), HEADERS, END_HEADERS, id(at));
            out.extend_from_slice(block);
        }
        let call = |_| Call {
            message: Vec::new(),
            window: FIRST_WINDOW,
            waiting: VecDeque::new(),
            received: 0,
            ended: false,
        };
        Self {
            socket,
            out,
            input: Vec::with_capacity(READ_BYTES),
            calls: (0..calls).map(call).collect(),
            window: FIRST_WINDOW,
            received: 0,
        }
    }

    /// Queues a message of the call at `at`. [`Streams::receive`] sends it when the server's window is open.
    pub fn send(&mut self, at: usize, message: Vec<u8>) {
        self.calls[at].waiting.push_back(message);
        self.flush();
    }

    /// Sends queued messages, reads once, and passes each complete message with its call to `each`. Returns whether all calls
    /// are still open. Panics if the connection breaks.
    pub async fn receive(&mut self, mut each: impl FnMut(usize, &[u8])) -> bool {
        if !self.out.is_empty() {
            self.socket.write_all(&self.out).await.expect("it reads");
            self.out.clear();
        }
        self.input.reserve(READ_BYTES);
        let read = self.socket.read_buf(&mut self.input).await;
        assert!(read.expect("it answers") > 0, "the connection was closed");
        self.frames(&mut each);
        self.calls.iter().all(|call| !call.ended)
    }

    /// Writes the queued messages for which both windows have space to the output, without sending it.
    fn flush(&mut self) {
        for (at, call) in self.calls.iter_mut().enumerate() {
            while let Some(message) = call.waiting.front() {
                let length = message.len() + PREFIX_BYTES;
                if self.window.min(call.window) < length as i64 {
                    break;
                }
                self.window -= length as i64;
                call.window -= length as i64;
                write_message(&mut self.out, 0, id(at), message);
                call.waiting.pop_front();
            }
        }
    }

    fn frames(&mut self, each: &mut impl FnMut(usize, &[u8])) {
        let input = std::mem::take(&mut self.input);
        let mut used = 0;
        while let Some((kind, flags, stream, payload)) = frame(&input, &mut used) {
            self.frame(kind, flags, stream, payload);
            if kind == DATA {
                let at = at(stream);
                self.calls[at].messages(|message| each(at, message));
            }
        }
        self.input = input;
        self.input.drain(..used);
    }

    /// Processes a frame. Panics at a reset and at any other frame that ends the call.
    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        match kind {
            DATA => {
                let call = &mut self.calls[at(stream)];
                call.message.extend_from_slice(payload);
                call.ended |= flags & END_STREAM != 0;
                renew(&mut self.out, 0, &mut self.received, payload);
                renew(&mut self.out, stream, &mut call.received, payload);
            }
            HEADERS => self.calls[at(stream)].ended |= flags & END_STREAM != 0,
            SETTINGS if flags & ACK == 0 => {
                self.initial_window(payload);
                head(&mut self.out, 0, SETTINGS, ACK, 0);
            }
            PING if flags & ACK == 0 => pong(&mut self.out, payload),
            SETTINGS | PING => {}
            WINDOW_UPDATE => {
                let more = payload.try_into().expect("four bytes");
                let window = match stream {
                    0 => &mut self.window,
                    _ => &mut self.calls[at(stream)].window,
                };
                *window += i64::from(u32::from_be_bytes(more));
                self.flush();
            }
            _ => panic!("the server ended the call: frame of type {kind}"),
        }
    }

    fn initial_window(&mut self, settings: &[u8]) {
        for setting in settings.chunks_exact(6) {
            let (id, value) = setting.split_at(2);
            if id == INITIAL_WINDOW_SIZE.to_be_bytes() {
                let size = u32::from_be_bytes(value.try_into().expect("four bytes"));
                for call in &mut self.calls {
                    call.window += i64::from(size) - FIRST_WINDOW;
                }
                self.flush();
            }
        }
    }
}

impl Call {
    /// Passes the complete messages to `each`.
    fn messages(&mut self, mut each: impl FnMut(&[u8])) {
        let mut used = 0;
        while let Some((&[_, l0, l1, l2, l3], rest)) =
            self.message[used..].split_first_chunk::<PREFIX_BYTES>()
        {
            let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
            let Some(message) = rest.get(..length) else {
                break;
            };
            each(message);
            used += PREFIX_BYTES + length;
        }
        self.message.drain(..used);
    }
}

/// Returns the stream id of a call.
fn id(at: usize) -> u32 {
    u32_of(at) * 2 + 1
}

/// Returns the call of a stream id.
fn at(stream: u32) -> usize {
    (stream / 2) as usize
}
