//! A lean client of one long gRPC stream in both directions: it cuts messages out of frames and
//! looks into neither.

use std::collections::VecDeque;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::h2::{
    ACK, DATA, END_HEADERS, END_STREAM, FIRST_WINDOW, HEAD_BYTES, HEADERS, INITIAL_WINDOW_SIZE,
    OWN_WINDOW, PING, SETTINGS, WINDOW_UPDATE, blocks, greet, head, u32_of,
};

/// The only stream of the connection.
const STREAM: u32 = 1;
/// Flag and length before each gRPC message.
const PREFIX_BYTES: usize = 5;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// One connection with one open call.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    out: Vec<u8>,
    input: Vec<u8>,
    /// Bytes of messages that are not whole yet.
    message: Vec<u8>,
    /// The bytes that the server still accepts: on the connection, on the stream.
    windows: [i64; 2],
    waiting: VecDeque<Vec<u8>>,
    received: u32,
    ended: bool,
}

impl Stream {
    /// Calls the method at `path`.
    ///
    /// # Panics
    /// If nobody listens.
    pub async fn open(address: &str, path: &str) -> Self {
        let socket = TcpStream::connect(address).await.expect("it listens");
        socket.set_nodelay(true).expect("a TCP socket");
        let mut out = Vec::new();
        greet(&mut out);
        let (block, _) = blocks(path, address);
        head(&mut out, block.len(), HEADERS, END_HEADERS, STREAM);
        out.extend_from_slice(&block);
        Self {
            socket,
            out,
            input: Vec::with_capacity(READ_BYTES),
            message: Vec::new(),
            windows: [FIRST_WINDOW; 2],
            waiting: VecDeque::new(),
            received: 0,
            ended: false,
        }
    }

    /// Sends a message with the next [`Stream::receive`], as soon as the server takes it.
    pub fn send(&mut self, message: Vec<u8>) {
        self.waiting.push_back(message);
        self.flush();
    }

    /// Sends what can be sent, reads once, and hands on the whole messages that came. Whether the
    /// call goes on.
    ///
    /// # Panics
    /// If the connection breaks.
    pub async fn receive(&mut self, mut each: impl FnMut(&[u8])) -> bool {
        if !self.out.is_empty() {
            self.socket.write_all(&self.out).await.expect("it reads");
            self.out.clear();
        }
        self.input.reserve(READ_BYTES);
        let read = self.socket.read_buf(&mut self.input).await;
        assert!(read.expect("it answers") > 0, "the connection was closed");
        self.frames();
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
        !self.ended
    }

    fn flush(&mut self) {
        while let Some(message) = self.waiting.front() {
            let length = message.len() + PREFIX_BYTES;
            if self.windows.iter().any(|window| *window < length as i64) {
                return;
            }
            self.windows
                .iter_mut()
                .for_each(|window| *window -= length as i64);
            head(&mut self.out, length, DATA, 0, STREAM);
            self.out.push(0);
            self.out
                .extend_from_slice(&u32_of(message.len()).to_be_bytes());
            self.out.extend_from_slice(message);
            self.waiting.pop_front();
        }
    }

    fn frames(&mut self) {
        let input = std::mem::take(&mut self.input);
        let mut used = 0;
        while let Some((&[l0, l1, l2, kind, flags, s0, s1, s2, s3], rest)) =
            input[used..].split_first_chunk::<HEAD_BYTES>()
        {
            let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            let stream = u32::from_be_bytes([s0, s1, s2, s3]);
            let Some(payload) = rest.get(..length) else {
                break;
            };
            used += HEAD_BYTES + length;
            self.frame(kind, flags, stream, payload);
        }
        self.input = input;
        self.input.drain(..used);
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        match kind {
            DATA => {
                self.received += u32_of(payload.len());
                if self.received > OWN_WINDOW / 2 {
                    for target in [0, STREAM] {
                        head(&mut self.out, 4, WINDOW_UPDATE, 0, target);
                        self.out.extend_from_slice(&self.received.to_be_bytes());
                    }
                    self.received = 0;
                }
                self.message.extend_from_slice(payload);
                self.ended |= flags & END_STREAM != 0;
            }
            HEADERS => self.ended |= flags & END_STREAM != 0,
            SETTINGS if flags & ACK == 0 => {
                self.initial_window(payload);
                head(&mut self.out, 0, SETTINGS, ACK, 0);
            }
            PING if flags & ACK == 0 => {
                head(&mut self.out, payload.len(), PING, ACK, 0);
                self.out.extend_from_slice(payload);
            }
            SETTINGS | PING => {}
            WINDOW_UPDATE => {
                let more = payload.try_into().expect("four bytes");
                let which = usize::from(stream != 0);
                self.windows[which] += i64::from(u32::from_be_bytes(more));
                self.flush();
            }
            _ => panic!("frame of type {kind}: the server gave the call up"),
        }
    }

    fn initial_window(&mut self, settings: &[u8]) {
        for setting in settings.chunks_exact(6) {
            let (id, value) = setting.split_at(2);
            if id == INITIAL_WINDOW_SIZE.to_be_bytes() {
                let size = u32::from_be_bytes(value.try_into().expect("four bytes"));
                self.windows[1] += i64::from(size) - FIRST_WINDOW;
                self.flush();
            }
        }
    }
}
