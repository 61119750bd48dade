//! Input of the peer port: frames, handshakes, answers, snapshots.

use witan_peer::fuzz::{
    answer, frames, handshake, message, snapshot_part, snapshot_records, snapshot_stream,
};

use crate::input::Input;

/// Decodes the same bytes as each kind of input.
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
        assert!(!taken, "a cluster without members accepts no stream");
    }
    if let Some(again) = answer(bytes) {
        assert_eq!(answer(&again), Some(again), "decode(encode(x))");
    }
}

/// The input is a step, then a part of a snapshot. The part is also read as a stream of records, split every `step` bytes.
pub(super) fn snapshot(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let step = usize::from(input.byte()).max(1);
    let part = input.rest();
    if let Some(again) = snapshot_part(part) {
        assert_eq!(snapshot_part(&again), Some(again), "decode(encode(x))");
    }
    let stream = part.get(9..).unwrap_or_default();
    let whole = snapshot_records([stream]);
    assert_eq!(
        snapshot_records(stream.chunks(step)),
        whole,
        "the result does not depend on the parts"
    );
    if let Ok((records, ended)) = whole {
        let again = snapshot_stream(&records);
        assert!(stream.starts_with(&again), "encode(decode(x))");
        assert_eq!(again.len() == stream.len(), ended, "nothing is skipped");
    }
}
