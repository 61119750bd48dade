//! Bodies of 100 MB in every framing of HTTP/1. `server/crates/http2/src/tests` tests messages of gRPC.

use std::{io::Write as _, net::TcpStream, thread};

use witan_e2e::Server;

use crate::stage::{SLACK_BYTES, at_once, case, connect, verdict};

/// The announced length of a body in bytes. It is sent until the server stops reading.
const BODY_BYTES: usize = 100_000_000;

const CLIENTS: usize = 4;

/// Maximum memory in bytes that such a client may occupy. v2 reads a form of up to 10 MiB, which exists twice while its buffer
/// grows.
const CLIENT_BYTES: u64 = 24 << 20;

/// A way to send a body: the head of the request, the repeated piece of the body, and the permitted ends.
struct Way {
    name: &'static str,
    begin: Vec<u8>,
    piece: Vec<u8>,
    expect: &'static [&'static str; 2],
}

fn ways() -> Vec<Way> {
    let sized = format!("Content-Length: {BODY_BYTES}");
    let chunked = "Transfer-Encoding: chunked";
    let plain = vec![b'v'; 1 << 16];
    let chunk = [b"10000\r\n".to_vec(), plain.clone(), b"\r\n".to_vec()].concat();
    let ways = |name, line: &str, expect| {
        [(sized.as_str(), &plain), (chunked, &chunk)].map(|(framing, piece)| {
            let kind = "Content-Type: application/x-www-form-urlencoded";
            let begin = format!("{line} HTTP/1.1\r\nHost: a\r\n{kind}\r\n{framing}\r\n\r\n");
            Way {
                name,
                begin: begin.into_bytes(),
                piece: piece.clone(),
                expect,
            }
        })
    };
    let form = ways("form", "PUT /v2/keys/huge", &["400 Bad Request", "closed"]);
    let json = ways(
        "JSON",
        "POST /v3/kv/put",
        &["429 Too Many Requests", "closed"],
    );
    form.into_iter().chain(json).collect()
}

/// Sends on a separate thread until the server stops reading. Returns the server's response.
fn send(server: &Server, way: &Way) -> String {
    let mut stream = connect(server);
    stream.write_all(&way.begin).expect("it is sent");
    let writer = stream.try_clone().expect("a descriptor more");
    thread::scope(|scope| {
        scope.spawn(|| write_all(writer, &way.piece));
        verdict(&mut stream)
    })
}

fn write_all(mut stream: TcpStream, piece: &[u8]) {
    for _ in 0..BODY_BYTES / piece.len() + 1 {
        if stream.write_all(piece).is_err() {
            return;
        }
    }
}

pub(crate) fn a_hundred_megabytes() {
    let ways = ways();
    let bound = SLACK_BYTES + CLIENTS as u64 * CLIENT_BYTES;
    case("bodies of 100 MB", bound, |server| {
        let mut told = Vec::new();
        for way in &ways {
            let mut ends = at_once(CLIENTS, |_| send(server, way));
            ends.sort();
            ends.dedup();
            for end in &ends {
                assert!(way.expect.contains(&end.as_str()), "{}: {end}", way.name);
            }
            told.push(format!("{}: {}", way.name, ends.join(" or ")));
        }
        told.join(", ")
    });
}
