//! Clients that send one byte per second, and a client that reads slowly.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use socket2::SockRef;
use witan_e2e::{Server, http, requests, wait};

use crate::{
    h2,
    stage::{LONG, SLACK_BYTES, at_once, case, connect, patiently},
};

const CLIENTS: usize = 20;

/// Maximum memory in bytes for a client that has sent almost nothing.
const CLIENT_BYTES: u64 = 64 << 10;

/// The bytes of a slow client. It sends some immediately, then one byte at a time until the server ends the connection.
struct Slow {
    name: &'static str,
    at_once: Vec<u8>,
    then: Vec<u8>,
}

fn kinds() -> Vec<Slow> {
    let forever = |byte: u8| vec![byte; 10_000];
    let mut begun = [h2::hello(), h2::begin(1, "/etcdserverpb.KV/Put")].concat();
    // A message of a thousand bytes, with one byte per frame.
    begun.extend(h2::frame(h2::DATA, 0, 1, &[0, 0, 0, 4, 0]));
    let head = |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n").into_bytes();
    let mut put = head("PUT /v2/keys/slow");
    put.extend(
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9000\r\n\r\nvalue=",
    );
    let mut json = head("POST /v3/kv/put");
    json.extend(b"Transfer-Encoding: chunked\r\n\r\n2000\r\n{");
    vec![
        Slow {
            name: "HTTP/1 head",
            at_once: Vec::new(),
            then: [head("GET /version"), forever(b'x')].concat(),
        },
        Slow { name: "form", at_once: put, then: forever(b'v') },
        Slow { name: "JSON in chunks", at_once: json, then: forever(b' ') },
        Slow {
            name: "HTTP/2 preface",
            at_once: Vec::new(),
            then: [h2::PREFACE, &forever(0)].concat(),
        },
        Slow {
            name: "gRPC message",
            at_once: begun,
            // Nine of ten bytes are heads of frames.
            then: Vec::new(),
        },
    ]
}

/// Sends until the server answers or closes the connection. Returns the status of an HTTP/1 response, `refused` or `closed`.
fn send_until_end(server: &Server, slow: &Slow) -> String {
    let mut stream = connect(server);
    stream.write_all(&slow.at_once).expect("it is sent");
    let pace = Some(Duration::from_secs(1));
    stream.set_read_timeout(pace).expect("a TCP socket");
    let deadline = Instant::now() + LONG;
    let one_byte = h2::frame(h2::DATA, 0, 1, b"x");
    let mut pieces = slow.then.chunks(1);
    let mut said = Vec::new();
    loop {
        assert!(Instant::now() < deadline, "{}: still connected", slow.name);
        let piece = pieces.next().unwrap_or(&one_byte);
        let sent = stream.write_all(piece);
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                said.extend_from_slice(&buffer[..read]);
                // Also wait after an early answer, so that the client stays slow.
                wait::wall_time(Duration::from_millis(200));
                if refused(&said) {
                    break;
                }
            }
            Err(error) if http::is_silence(&error) => {}
            Err(_) => break,
        }
        if sent.is_err() {
            break;
        }
    }
    if said.starts_with(b"HTTP/1.1 ") {
        String::from_utf8_lossy(&said[9..12]).into_owned()
    } else if refused(&said) {
        "refused".into()
    } else {
        "closed".into()
    }
}

/// Returns whether a stream was answered or reset, or the connection is about to end.
fn refused(said: &[u8]) -> bool {
    if said.starts_with(b"HTTP/1.1 ") {
        return said.len() > 12;
    }
    let mut rest = said;
    while let [a, b, c, kind, _, _, _, _, _, tail @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if matches!(*kind, h2::HEADERS | h2::RST_STREAM | h2::GOAWAY) {
            return true;
        }
        rest = tail.get(length..).unwrap_or_default();
    }
    false
}

pub(crate) fn one_byte_a_second() {
    let kinds = kinds();
    let bound = SLACK_BYTES + (CLIENTS * kinds.len()) as u64 * CLIENT_BYTES;
    case("one byte a second", bound, |server| {
        let mut ends = at_once(CLIENTS * kinds.len(), |at| {
            let slow = &kinds[at / CLIENTS];
            format!("{}: {}", slow.name, send_until_end(server, slow))
        });
        ends.dedup();
        format!("{CLIENTS} each: {}", ends.join(", "))
    });
}

/// Number of values of 1 MiB. A response with them far exceeds a kernel's buffers.
const VALUES: usize = 24;

/// Size of the client's receive buffer in bytes. Linux doubles it.
const CLIENT_KERNEL_BYTES: usize = 128 << 10;

/// Maximum number of bytes before the response to a ping. They are 128 KiB of ready data, 128 KiB in the server's kernel, and
/// the data in the client's kernel. Without a bound on the server's kernel, this was 3 MB.
const BEFORE_PING_BYTES_MAX: usize = 1 << 20;

/// Returns the number of bytes that the server's kernel holds for a client.
fn send_queue(server: &Server, client: &TcpStream) -> u64 {
    let own = client.local_addr().expect("a TCP socket").port();
    let ends = [
        format!(":{:04X}", server.client_port()),
        format!(":{own:04X}"),
    ];
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let line = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = { line }.find(|words| words[1].ends_with(&ends[0]) && words[2].ends_with(&ends[1]));
    let line = line.expect("the connection is there");
    let (queue, _) = line[4].split_once(':').expect("two queues");
    u64::from_str_radix(queue, 16).expect("a number")
}

#[test]
fn a_slow_readers_ping_does_not_wait_behind_megabytes() {
    let bound = SLACK_BYTES + 4 * (VALUES << 20) as u64;
    case("a slow reader's ping", bound, |server| {
        let value = "dmFs".repeat((1 << 20) / 3);
        for key in 0..VALUES {
            let put = format!(r#"{{"key":"azAw{key:04}","value":"{value}"}}"#);
            server.v3("kv/put", &put);
        }
        let mut stream = h2::open_wide(server);
        // A buffer of a set size does not grow. A buffer that adapts to the reader would take megabytes of the response and hide
        // the data in the server's kernel.
        let fixed = SockRef::from(&stream).set_recv_buffer_size(CLIENT_KERNEL_BYTES);
        fixed.expect("an open socket");
        let range = requests::range("k", "l");
        let ask = h2::unary(1, "/etcdserverpb.KV/Range", &range);
        stream.write_all(&ask).expect("a few bytes");
        let mut data = 0;
        while data < 128 << 10 {
            let (kind, _, _, payload) = h2::read(&mut stream).expect("an answer");
            data += if kind == h2::DATA { payload.len() } else { 0 };
        }
        let (mut last, mut looks) = (0, 0);
        patiently("the kernel's buffers are full", || {
            let now = send_queue(server, &stream);
            looks = if now == last && now > 0 { looks + 1 } else { 0 };
            last = now;
            looks == 5
        });
        let ping = h2::frame(h2::PING, 0, 0, b"are you?");
        stream.write_all(&ping).expect("a few bytes");
        let mut before = 0;
        loop {
            let (kind, flags, _, payload) = h2::read(&mut stream).expect("an answer");
            if kind == h2::PING && flags == 1 {
                break;
            }
            before += payload.len();
        }
        assert!(before <= BEFORE_PING_BYTES_MAX, "{before} bytes before it");
        format!("answered behind {} KiB", before >> 10)
    });
}
