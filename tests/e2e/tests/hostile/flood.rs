//! Floods of small frames that cost a client nothing, and headers without an end.

use std::{io::Write as _, net::TcpStream};

use witan_e2e::Server;

use crate::{
    h2,
    stage::{SLACK_BYTES, case, connect, ends, verdict},
};

/// Number of times that each frame is sent.
const FLOOD: usize = 200_000;

const BATCH: usize = 1000;

/// Maximum memory in bytes that one hostile connection may occupy: windows, buffers, tables.
const CONNECTION_BYTES: u64 = 16 << 20;

/// Number of concurrent connections of each kind.
const CONNECTIONS: usize = 4;

/// Sends batches until all are sent or the server ends the connection. Returns whether all were sent.
fn pour(stream: &mut TcpStream, batch: impl Fn(usize) -> Vec<u8>) -> bool {
    for i in 0..FLOOD / BATCH {
        if stream.write_all(&batch(i)).is_err() {
            return false;
        }
    }
    true
}

/// Returns how a flood ended: the connection's error, or success if the connection still works.
fn end_of(stream: &mut TcpStream, poured: bool) -> String {
    // A server that accepted the whole flood must still answer.
    if poured
        && stream
            .write_all(&h2::frame(h2::PING, 0, 0, b"the last"))
            .is_ok()
    {
        while let Ok((kind, flags, _, payload)) = h2::read(stream) {
            if kind == h2::PING && flags == 1 && payload == b"the last" {
                return "borne".into();
            }
            if kind == h2::GOAWAY {
                return format!("GOAWAY {}", payload.get(7).copied().unwrap_or_default());
            }
        }
        return "closed".into();
    }
    match h2::farewell(stream) {
        Some(code) => format!("GOAWAY {code}"),
        None => "closed".into(),
    }
}

/// Floods several connections at once. Returns their distinct ends.
fn flood(server: &Server, batch: &(impl Fn(usize) -> Vec<u8> + Sync)) -> String {
    let ends = ends(CONNECTIONS, || {
        let mut stream = h2::open(server, None);
        // Read answers on a separate thread, so that only the flood matters.
        let mut reader = stream.try_clone().expect("a descriptor more");
        let poured = pour(&mut stream, batch);
        end_of(&mut reader, poured)
    });
    ends.join(", ")
}

fn flood_case(name: &str, batch: impl Fn(usize) -> Vec<u8> + Sync) {
    let bound = SLACK_BYTES + CONNECTIONS as u64 * CONNECTION_BYTES;
    case(name, bound, |server| flood(server, &batch));
}

fn ids(batch: usize) -> impl Iterator<Item = u32> {
    let first = u32::try_from(batch * BATCH * 2 + 1).expect("few");
    (0..BATCH).map(move |i| first + 2 * u32::try_from(i).expect("few"))
}

#[test]
fn rapid_reset() {
    let put = h2::call("/etcdserverpb.KV/Range");
    flood_case("HTTP/2 rapid reset", |batch| {
        ids(batch)
            .flat_map(|id| {
                let mut frames = h2::frame(h2::HEADERS, h2::END_HEADERS, id, &put);
                frames.extend(h2::frame(h2::RST_STREAM, 0, id, &[0, 0, 0, 8]));
                frames
            })
            .collect()
    });
}

pub(crate) fn streams_that_are_never_ended() {
    let watch = h2::call("/etcdserverpb.KV/Put");
    flood_case("HTTP/2 streams left open", |batch| {
        ids(batch)
            .flat_map(|id| h2::frame(h2::HEADERS, h2::END_HEADERS, id, &watch))
            .collect()
    });
}

/// Returns invalid requests with the server's answers.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let head = b"GET /version HTTP/1.1\r\nHost: a\r\n".to_vec();
    let many: Vec<u8> = (0..100_000)
        .flat_map(|i| format!("X-{i}: y\r\n").into_bytes())
        .collect();
    let long = [b"X-Long: ".to_vec(), vec![b'y'; 8 << 20]].concat();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    let noise = (0..65_536_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8);
    let mut bad_frame = h2::PREFACE.to_vec();
    bad_frame.extend([0xff; 4096]);
    vec![
        ("100,000 headers", [head.clone(), many].concat()),
        ("a header of 8 MiB", [head, long].concat()),
        (
            "a target of 8 MiB",
            [b"GET /".to_vec(), vec![b'a'; 8 << 20]].concat(),
        ),
        ("TLS hello", [hello, vec![0; 512]].concat()),
        ("noise", noise.collect()),
        ("zeros", vec![0; 1 << 20]),
        ("frames of 0xff", bad_frame),
    ]
}

/// Maximum memory in bytes of a connection without a complete head.
const HEAD_BYTES: u64 = 2 << 20;

/// Number of connections for each invalid input.
const TALKERS: usize = 10;

#[test]
fn nonsense_of_many_kinds() {
    let kinds = nonsense();
    let bound = SLACK_BYTES + (TALKERS * kinds.len()) as u64 * HEAD_BYTES;
    case("header bombs, noise, TLS", bound, |server| {
        let mut told = Vec::new();
        for (name, bytes) in &kinds {
            let ends = ends(TALKERS, || {
                let mut stream = connect(server);
                // The server may close the connection early.
                let _ = stream.write_all(bytes);
                verdict(&mut stream)
            });
            assert!(!ends.contains(&"open".to_owned()), "{name}: {ends:?}");
            told.push(format!("{name}: {}", ends.join(" or ")));
        }
        told.join(", ")
    });
}
