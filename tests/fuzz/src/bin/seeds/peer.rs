//! Creates corpus files for the peer port: frames, handshakes, requests and parts of snapshots.

use witan_peer::fuzz::{message, snapshot_stream};

use super::Corpus;

pub(crate) fn add(corpus: &mut Corpus) {
    let mut hello = Vec::new();
    for id in [
        0xcdf8_1819_4e3a_8c32_u64,
        0x8e9e_05c5_2164_694d,
        0x7e27_6521_22e8_b2ae,
    ] {
        hello.extend_from_slice(&id.to_be_bytes());
    }
    hello.push(1);
    hello.extend_from_slice(b"0.1.0");
    let mut refusal = vec![2];
    refusal.extend_from_slice(&7_u64.to_be_bytes());
    let frames = [message(b""), message(&hello), message(&[7; 300])].concat();
    let cut = frames[..frames.len() - 1].to_vec();
    for (name, bytes) in [
        ("handshake", hello),
        ("refusal", refusal),
        ("frames", frames),
        ("frames-cut", cut),
        (
            "members",
            b"GET /members HTTP/1.1\r\nHost: m0\r\n\r\n".to_vec(),
        ),
        ("version", b"POST /version?a=b HTTP/1.0\r\n\r\n".to_vec()),
    ] {
        corpus.insert(("peer", name.into()), bytes);
    }
    // A step, a kind and an index.
    let mut records = vec![7, 3];
    records.extend_from_slice(&0_u64.to_be_bytes());
    let pairs = [("ka", "counters"), ("kb", ""), ("v", "position")];
    let pairs = pairs.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()));
    records.extend(snapshot_stream(&pairs));
    let half = records[..records.len() - 3].to_vec();
    let mut long = records.clone();
    long.extend_from_slice(&[0xff; 9]);
    for (name, bytes) in [
        (
            "begin",
            vec![1, 1, 0x08, 1, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x18, 9],
        ),
        ("resume", vec![1, 2, 0x08, 5, 0x10, 9, 0x1a, 2, b'k', b'a']),
        ("records", records),
        ("records-half", half),
        ("records-too-long", long),
        ("end", vec![1, 4, 0x08, 3, 0x10, 40, 0x1d, 1, 2, 3, 4]),
        ("refused", vec![1, 6, 0x1a, 4, b'f', b'u', b'l', b'l']),
    ] {
        corpus.insert(("snapshot", name.into()), bytes);
    }
}
