//! Bodies of 100 MB in every permitted framing.

use std::{io::Write as _, net::TcpStream, thread};

use witan_e2e::Server;

use crate::{
    h2,
    stage::{SLACK_BYTES, case, connect, ends, verdict},
};

/// The announced length of a body in bytes. It is sent until the server stops reading.
const BODY_BYTES: usize = 100_000_000;

/// Number of concurrent clients of each kind.
const CLIENTS: usize = 4;

/// Maximum memory in bytes that such a client may occupy. v2 reads a form of up to 10 MiB, which exists twice while its buffer
/// grows.
const CLIENT_BYTES: u64 = 24 << 20;

/// A way to send a body: its beginning, its repeated piece, and the frame of each piece.
struct Way {
    name: &'static str,
    begin: Vec<u8>,
    piece: Vec<u8>,
    expect: &'static [&'static str],
}

fn ways() -> Vec<Way> {
    let http = |line: &str, framing: &str| {
        format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n{framing}\r\n\r\n").into_bytes()
    };
    let sized = format!("Content-Length: {BODY_BYTES}");
    let chunked = "Transfer-Encoding: chunked";
    let plain = vec![b'v'; 1 << 16];
    let chunk = [b"10000\r\n".to_vec(), plain.clone(), b"\r\n".to_vec()].concat();
    let put = "PUT /v2/keys/huge";
    let json = "POST /v3/kv/put";
    let length = u32::try_from(BODY_BYTES).expect("it fits").to_be_bytes();
    let begun = h2::frame(h2::DATA, 0, 1, &[&[0][..], &length].concat());
    let call = |path: &str| [h2::hello(), h2::begin(1, path), begun.clone()].concat();
    let data = h2::frame(h2::DATA, 0, 1, &vec![b'v'; h2::PAYLOAD_MAX]);
    let way =
        |name, begin, piece: &[u8], expect| Way { name, begin, piece: piece.to_vec(), expect };
    vec![
        way(
            "form",
            http(put, &sized),
            &plain,
            &["400 Bad Request", "closed"],
        ),
        way(
            "form in chunks",
            http(put, chunked),
            &chunk,
            &["400 Bad Request", "closed"],
        ),
        way(
            "JSON",
            http(json, &sized),
            &plain,
            &["429 Too Many Requests", "closed"],
        ),
        way(
            "JSON in chunks",
            http(json, chunked),
            &chunk,
            &["429 Too Many Requests", "closed"],
        ),
        way(
            "gRPC put",
            call("/etcdserverpb.KV/Put"),
            &data,
            &["closed", "grpc-status"],
        ),
        way(
            "gRPC delete",
            call("/etcdserverpb.KV/DeleteRange"),
            &data,
            &["closed", "grpc-status"],
        ),
    ]
}

/// Sends on a separate thread until the server stops reading. Returns the server's answer.
fn send(server: &Server, way: &Way) -> String {
    let mut stream = connect(server);
    stream
        .write_all(&way.begin)
        .expect("the beginning is taken");
    let writer = stream.try_clone().expect("a descriptor more");
    thread::scope(|scope| {
        scope.spawn(|| write_all(writer, &way.piece));
        if way.begin.starts_with(h2::PREFACE) {
            let end = grpc_verdict(&mut stream);
            // The client sends nothing more.
            let _ = stream.shutdown(std::net::Shutdown::Both);
            end
        } else {
            verdict(&mut stream)
        }
    })
}

fn write_all(mut stream: TcpStream, piece: &[u8]) {
    for _ in 0..BODY_BYTES / piece.len() + 1 {
        if stream.write_all(piece).is_err() {
            return;
        }
    }
}

/// Returns the result of the call: its trailers, a reset, or the end of the connection.
fn grpc_verdict(stream: &mut TcpStream) -> String {
    while let Ok((kind, _, id, payload)) = h2::read(stream) {
        if id != 1 {
            continue;
        }
        let text = String::from_utf8_lossy(&payload);
        if kind == h2::HEADERS {
            assert!(!text.contains("grpc-status\u{1}0"), "it was taken: {text}");
            return "grpc-status".into();
        }
        if kind == h2::RST_STREAM {
            return "closed".into();
        }
    }
    "closed".into()
}

pub(crate) fn a_hundred_megabytes() {
    let ways = ways();
    let bound = SLACK_BYTES + CLIENTS as u64 * CLIENT_BYTES;
    case("bodies of 100 MB", bound, |server| {
        let mut told = Vec::new();
        for way in &ways {
            let ends = ends(CLIENTS, || send(server, way));
            for end in &ends {
                assert!(way.expect.contains(&end.as_str()), "{}: {end}", way.name);
            }
            told.push(format!("{}: {}", way.name, ends.join(" or ")));
        }
        told.join(", ")
    });
}
