//! Clients that take more than their share of the memory for answers.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message;
use witan_e2e::{Server, requests, wait, websocket::Socket};

use crate::{
    h2,
    stage::{SLACK_BYTES, at_once, case, connect},
};

/// The server's bound in bytes on answers that wait for their clients (`Resource::Answers`).
const ANSWERS_BYTES: u64 = 512 << 20;

const DATA_BYTES: u64 = 16 << 20;
const LARGE_BYTES: usize = 1 << 20;

fn put(server: &Server, key: &str, bytes: usize) {
    let value = "dmFs".repeat(bytes / 3);
    let body = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
    server.v3("kv/put", &body);
}

/// Makes the same call on many streams. Each call takes few bytes, because its headers are in the dynamic table. Returns
/// whether all calls were sent.
pub(crate) fn ask(stream: &mut TcpStream, calls: u32, path: &str, message: &impl Message) -> bool {
    let mut first = b"\x83\x86\x41\x01x\x44".to_vec();
    first.push(u8::try_from(path.len()).expect("short"));
    first.extend_from_slice(path.as_bytes());
    first.extend_from_slice(b"\x5f\x10application/grpc\x40\x02te\x08trailers");
    let rest = b"\x83\x86\xc1\xc0\xbf\xbe".to_vec();
    let content = message.encode_to_vec();
    let length = u32::try_from(content.len()).expect("small").to_be_bytes();
    let body = [&[0], length.as_slice(), &content].concat();
    let all: Vec<u8> = (0..calls)
        .flat_map(|call| {
            let (id, block) = (2 * call + 1, if call == 0 { &first } else { &rest });
            let mut frames = h2::frame(h2::HEADERS, h2::END_HEADERS, id, block);
            frames.extend(h2::frame(h2::DATA, h2::END_STREAM, id, &body));
            frames
        })
        .collect();
    stream.write_all(&all).is_ok()
}

/// Reads until a call is refused because there is no memory for its response.
fn until_refused(stream: &mut TcpStream) {
    while let Ok((kind, flags, _, payload)) = h2::read(stream) {
        let ended = kind == h2::HEADERS && flags & h2::END_STREAM != 0;
        if ended && String::from_utf8_lossy(&payload).contains("too many requests") {
            return;
        }
    }
    panic!("the connection ended before a call was refused");
}

/// Number of calls whose answers exceed the bound.
const LARGE_CALLS: u32 = 600;

#[test]
fn a_connection_that_reads_no_answers_leaves_memory_for_others() {
    let bound = SLACK_BYTES + DATA_BYTES + ANSWERS_BYTES;
    case("a client that reads no answers", bound, |server| {
        put(server, "a2V5", LARGE_BYTES);
        let mut hog = h2::open(server, Some(0));
        let path = "/etcdserverpb.KV/Range";
        let range = requests::range("key", "");
        let taken = ask(&mut hog, LARGE_CALLS, path, &range);
        assert!(taken, "calls are taken");
        until_refused(&mut hog);
        for _ in 0..5 {
            let answer = server.http("POST", "/v3/kv/range", r#"{"key":"a2V5"}"#);
            assert!(answer.body.len() > LARGE_BYTES, "{}", answer.text());
        }
        format!("1 client x {LARGE_CALLS} x 1 MiB: refused beyond its share, others answered")
    });
}

const DELETED: u8 = 10;

/// Number of streams whose answers together exceed the bound. Each response contains all deleted values in base64.
const STREAMS: usize = 64;

#[test]
fn responses_of_gateway_streams_are_charged() {
    let deleted = u64::from(DELETED) * LARGE_BYTES as u64;
    // While a response is created, it exists in several forms. On an idle machine, many responses are created together.
    let bound = SLACK_BYTES + DATA_BYTES + 5 * ANSWERS_BYTES / 2;
    case("gateway streams unread", bound, |server| {
        for at in 0..DELETED {
            put(server, &STANDARD.encode([b'k', at]), LARGE_BYTES);
        }
        let answer = server.v3("kv/deleterange", r#"{"key":"aw==","range_end":"bA=="}"#);
        let revision = &answer["header"]["revision"];
        let create = format!(
            r#"{{"create_request":{{"key":"aw==","range_end":"bA==","prev_kv":true,"start_revision":{revision}}}}}"#
        );
        let length = create.len();
        let head = format!("POST /v3/watch HTTP/1.1\r\nHost: {}", server.address());
        let post = format!("{head}\r\nContent-Length: {length}\r\n\r\n{create}");
        let streams = at_once(STREAMS, |at| {
            if at % 2 == 0 {
                let mut socket = Socket::open(&server.address(), "/v3/watch", &[]);
                socket.send(&create).expect("it is sent");
                socket.into_stream()
            } else {
                let mut stream = connect(server);
                stream.write_all(post.as_bytes()).expect("it is sent");
                stream
            }
        });
        wait::until_true("some are refused", || {
            let refused = r#"witan_refused_total{what="answers"}"#;
            server.metric(refused).is_some_and(|refused| refused > 0.0)
        });
        let whole = at_once(STREAMS, |at| {
            let mut read = [0; 64 << 10];
            let mut stream = &streams[at];
            stream
                .set_read_timeout(Some(Duration::from_secs(2)))
                .expect("a TCP socket");
            let mut bytes = 0;
            while let Ok(more @ 1..) = stream.read(&mut read) {
                bytes += more as u64;
            }
            bytes > deleted
        });
        let sent = whole.iter().filter(|whole| **whole).count();
        assert!((1..STREAMS).contains(&sent), "{sent} received all values");
        format!(
            "{STREAMS} clients x {DELETED} MiB deleted: {sent} answers fit, the others are refused"
        )
    });
}
