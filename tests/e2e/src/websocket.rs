//! A minimal WebSocket client for text messages.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

use crate::wait::PATIENCE;

/// The key in RFC 6455's example and the server's response to it.
const KEY: (&str, &str) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// The mask of a client's frames. It may have any value.
const MASK: [u8; 4] = [1, 2, 3, 4];

/// A connection after its handshake.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// The head of the handshake's response in lower case.
    pub head: String,
}

/// A frame from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text message.
    Text(String),
    /// The end of the connection, with its status code.
    Close(Option<u16>),
    /// The response to a ping.
    Pong(Vec<u8>),
}

impl Socket {
    /// Opens a WebSocket at `path`. `headers` are whole lines. Panics if the server refuses.
    pub fn open(address: &str, path: &str, headers: &[&str]) -> Self {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n",
            KEY.0
        );
        for header in headers {
            request += header;
            request += "\r\n";
        }
        request += "\r\n";
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.contains(KEY.1), "{head}");
        Self { stream, head: head.to_lowercase() }
    }

    /// Returns the connection, for a client that reads raw bytes or nothing.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends a message.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.frame(0x81, text.as_bytes())
    }

    /// Sends a message in two frames.
    pub fn send_in_parts(&mut self, first: &str, second: &str) -> io::Result<()> {
        self.frame(0x01, first.as_bytes())?;
        self.frame(0x80, second.as_bytes())
    }

    /// Sends a ping.
    pub fn ping(&mut self, data: &[u8]) -> io::Result<()> {
        self.frame(0x89, data)
    }

    /// Sends the frame that ends the connection.
    pub fn close(&mut self) -> io::Result<()> {
        self.frame(0x88, &1000_u16.to_be_bytes())
    }

    /// Sends a frame. `first` contains its opcode and the FIN bit.
    pub fn frame(&mut self, first: u8, data: &[u8]) -> io::Result<()> {
        let mut frame = vec![first];
        match data.len() {
            length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap_or_default()),
            length @ 126..65536 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        let masked = data.iter().zip(MASK.iter().cycle());
        frame.extend(masked.map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame)
    }

    /// Returns the next frame that is not a ping. Fails at the end of the connection, or for a frame of another kind.
    pub fn receive(&mut self) -> io::Result<Frame> {
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head)?;
            let extended = match head[1] {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let mut length = [0, 0, 0, 0, 0, 0, 0, head[1]];
            self.stream.read_exact(&mut length[8 - extended..])?;
            let length = u64::from_be_bytes(length);
            let mut data = vec![0; usize::try_from(length).unwrap_or_default()];
            self.stream.read_exact(&mut data)?;
            match head[0] {
                0x81 | 0x82 => return Ok(Frame::Text(String::from_utf8_lossy(&data).into())),
                0x88 => {
                    let code = data.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Ok(Frame::Close(code));
                }
                0x8a => return Ok(Frame::Pong(data)),
                0x89 => {}
                other => return Err(io::Error::other(format!("a frame of kind {other:x}"))),
            }
        }
    }

    /// Returns the next text message. Panics if there is none.
    pub fn text(&mut self) -> String {
        match self.receive() {
            Ok(Frame::Text(text)) => text,
            other => panic!("no message but {other:?}"),
        }
    }
}
