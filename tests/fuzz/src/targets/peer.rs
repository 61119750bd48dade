//! What comes to the peer port: frames, handshakes, answers, requests of HTTP.

use witan::peer::fuzz::{answer, frames, handshake, message, page};

/// The same bytes as each of them.
pub(super) fn stream(bytes: &[u8]) {
    let (again, left) = frames(bytes);
    assert!(bytes.starts_with(&again), "encode(decode(x))");
    if let Ok(left) = left {
        assert_eq!(again.len() + left, bytes.len(), "nothing is skipped");
    }
    let whole = message(bytes);
    assert_eq!(frames(&whole), (whole, Ok(0)), "decode(encode(x))");
    if let Some((again, taken)) = handshake(bytes) {
        assert_eq!(again, bytes, "encode(decode(x))");
        assert!(!taken, "a cluster without members takes no stream");
    }
    if let Some(again) = answer(bytes) {
        assert_eq!(answer(&again), Some(again), "decode(encode(x))");
    }
    let page = page(bytes);
    let head = page.split_once("\r\n\r\n").expect("a whole head").0;
    assert!(head.starts_with("HTTP/1.1 ") && head.is_ascii(), "{head}");
}
