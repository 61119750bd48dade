//! Headers without an end, noise, and other protocols. `tests/http2/tests/cve.rs` tests floods of HTTP/2 frames.

use std::io::Write as _;

use crate::{
    h2,
    stage::{SLACK_BYTES, case, connect, ends, verdict},
};

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
