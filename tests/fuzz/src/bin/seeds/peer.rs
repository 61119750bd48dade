//! Frames, handshakes and requests as they come to the peer port.

use witan::peer::fuzz::message;

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
}
