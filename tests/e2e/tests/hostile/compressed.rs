//! Compressed requests are accepted as in etcd, but a decompressed message must not exceed the limit.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use flate2::{Compression, write::GzEncoder};
use prost::Message;
use witan_api::v3::etcdserverpb::{RangeRequest, StatusRequest};
use witan_e2e::{
    Launch, Server, requests,
    watching::{create, key},
};

use crate::{
    h2,
    stage::{SLACK_BYTES, case},
};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("a vector grows");
    encoder.finish().expect("a vector grows")
}

/// Returns the frames of a call whose message has the compression flag.
fn call(stream: u32, path: &str, encoding: &str, message: &[u8]) -> Vec<u8> {
    let mut block = h2::call(path);
    block.extend(h2::literal("grpc-encoding", encoding));
    let length = u32::try_from(message.len()).expect("small").to_be_bytes();
    let body = [&[1][..], &length, message].concat();
    let mut out = h2::frame(h2::HEADERS, h2::END_HEADERS, stream, &block);
    out.extend(h2::frame(h2::DATA, h2::END_STREAM, stream, &body));
    out
}

/// Reads the frames of a call until its stream ends or the server starts to answer.
fn answer(stream: &mut TcpStream, id: u32) -> String {
    let mut text = String::new();
    loop {
        let (kind, flags, of, payload) = h2::read(stream).expect("the connection is open");
        if of == id && matches!(kind, h2::HEADERS | h2::DATA) {
            text.push_str(&String::from_utf8_lossy(&payload));
            if flags & h2::END_STREAM != 0 || kind == h2::DATA && payload.len() > 5 {
                return text;
            }
        }
    }
}

/// Runs one call on a new connection. Returns its answer.
fn one(server: &Server, path: &str, encoding: &str, message: &[u8]) -> String {
    let mut stream = h2::open(server, None);
    stream
        .write_all(&call(1, path, encoding, message))
        .expect("a few bytes");
    answer(&mut stream, 1)
}

#[test]
fn every_kind_of_call_takes_gzip() {
    let watch = create(key("zip"));
    let put = requests::put("zip", "ped".repeat(1000));
    let range = RangeRequest { key: "zip".into(), ..Default::default() };
    let calls = [
        ("/etcdserverpb.KV/Put", gzip(&put.encode_to_vec())),
        ("/etcdserverpb.KV/Range", gzip(&range.encode_to_vec())),
        ("/etcdserverpb.KV/DeleteRange", gzip(b"\x0a\x03zip")),
        (
            "/etcdserverpb.Maintenance/Status",
            gzip(&StatusRequest::default().encode_to_vec()),
        ),
        ("/etcdserverpb.Watch/Watch", gzip(&watch.encode_to_vec())),
    ];
    let server = Launch::witan().start();
    for (path, message) in &calls {
        let answer = one(&server, path, "gzip", message);
        assert!(!answer.contains("grpc-message"), "{path}: {answer}");
    }
    let range = "/etcdserverpb.KV/Range";
    for (encoding, message, text) in [
        (
            "snappy",
            &b"x"[..],
            "Decompressor is not installed for grpc-encoding",
        ),
        (
            "identity",
            b"x",
            "compressed flag set with identity or empty encoding",
        ),
        ("gzip", b"no gzip", "failed to decompress"),
    ] {
        let answer = one(&server, range, encoding, message);
        assert!(answer.contains(text), "{encoding}: {answer}");
    }
}

/// Size of a compression bomb in bytes after decompression.
const BOMB_BYTES: u64 = 200 << 20;

const BOMBS: u32 = 50;

#[test]
fn a_bomb_is_refused_at_the_size_of_a_message() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    std::io::copy(&mut std::io::repeat(0).take(BOMB_BYTES), &mut encoder).expect("a vector grows");
    let bomb = encoder.finish().expect("a vector grows");
    case("gzip bombs", SLACK_BYTES, |server| {
        for path in ["/etcdserverpb.KV/Put", "/etcdserverpb.Watch/Watch"] {
            let mut stream = h2::open(server, None);
            for call in 0..BOMBS {
                let id = 2 * call + 1;
                let mut block = h2::call(path);
                block.extend(h2::literal("grpc-encoding", "gzip"));
                let length = u32::try_from(bomb.len()).expect("small").to_be_bytes();
                let body = [&[1][..], &length, &bomb].concat();
                stream
                    .write_all(&h2::frame(h2::HEADERS, h2::END_HEADERS, id, &block))
                    .expect("a few bytes");
                for part in body.chunks(h2::PAYLOAD_MAX) {
                    stream
                        .write_all(&h2::frame(h2::DATA, 0, id, part))
                        .expect("it is read");
                }
                let answer = answer(&mut stream, id);
                assert!(answer.contains("larger than max"), "{path}: {answer}");
            }
        }
        format!("{BOMBS} x 200 MiB on two kinds of calls: refused")
    });
}
