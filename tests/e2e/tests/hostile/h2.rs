//! HTTP/2 frames that no client library would send.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

use prost::Message;
use witan_e2e::Server;

use crate::stage::connect;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const PAYLOAD_MAX: usize = 16_384;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small");
    let mut out = length.to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Opens an HTTP/2 connection, with this initial window of its streams if it is given.
pub(crate) fn open(server: &Server, window: Option<u32>) -> TcpStream {
    let mut stream = connect(server);
    let mut settings = Vec::new();
    if let Some(window) = window {
        settings.extend([0, 4]);
        settings.extend(window.to_be_bytes());
    }
    let mut hello = PREFACE.to_vec();
    hello.extend(frame(SETTINGS, 0, 0, &settings));
    hello.extend(frame(SETTINGS, 1, 0, &[]));
    stream.write_all(&hello).expect("it is sent");
    stream
}

pub(crate) fn open_wide(server: &Server) -> TcpStream {
    const WINDOW_MAX: u32 = (1 << 31) - 1;
    let mut stream = open(server, Some(WINDOW_MAX));
    // The update adds to the connection's initial window.
    let more = (WINDOW_MAX - 65_535).to_be_bytes();
    stream
        .write_all(&frame(WINDOW_UPDATE, 0, 0, &more))
        .expect("a few bytes");
    stream
}

pub(crate) fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

pub(crate) fn begin(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &call(path))
}

fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        assert!(text.len() < 127, "one byte of length");
        out.push(u8::try_from(text.len()).expect("short"));
        out.extend(text.bytes());
    }
    out
}

fn call(path: &str) -> Vec<u8> {
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .iter()
    .flat_map(|(name, value)| literal(name, value))
    .collect()
}

/// Creates the frames of a unary gRPC call.
pub(crate) fn unary(stream: u32, path: &str, message: &impl Message) -> Vec<u8> {
    let mut out = begin(stream, path);
    let mut body = vec![0];
    let length = u32::try_from(message.encoded_len()).expect("small");
    body.extend(length.to_be_bytes());
    message.encode(&mut body).expect("a vector grows");
    for (i, part) in body.chunks(PAYLOAD_MAX).enumerate() {
        let last = (i + 1) * PAYLOAD_MAX >= body.len();
        out.extend(frame(DATA, if last { END_STREAM } else { 0 }, stream, part));
    }
    out
}

/// Reads the next frame. Returns its kind, flags, stream and payload.
pub(crate) fn read(stream: &mut TcpStream) -> io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload)?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Ok((head[3], head[4], id, payload))
}
