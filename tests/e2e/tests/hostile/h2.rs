//! HTTP/2 frames that no client library would send.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

use prost::Message;
use witan_e2e::Server;
use witan_http2_tests::frame::{
    Frame, block, head,
    kind::{SETTINGS, WINDOW_UPDATE},
    message, setting,
};

pub(crate) use witan_http2_tests::frame::{
    PREFACE,
    flag::{END_HEADERS, END_STREAM},
    kind::{DATA, GOAWAY, HEADERS, PING, RST_STREAM},
};

use crate::stage::connect;

pub(crate) const PAYLOAD_MAX: usize = 16_384;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Frame::new(kind, flags, stream, payload).write(&mut out);
    out
}

/// Opens an HTTP/2 connection, with this initial window of its streams if it is given.
pub(crate) fn open(server: &Server, window: Option<u32>) -> TcpStream {
    let mut stream = connect(server);
    let settings = window.map(|window| (setting::INITIAL_WINDOW_SIZE, window));
    let mut hello = PREFACE.to_vec();
    Frame::settings(settings.as_slice()).write(&mut hello);
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
    frame(HEADERS, END_HEADERS, stream, &block(&head(path)))
}

/// Creates the frames of a unary gRPC call.
pub(crate) fn unary(stream: u32, path: &str, request: &impl Message) -> Vec<u8> {
    let mut out = begin(stream, path);
    let body = message(&request.encode_to_vec());
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
