//! Protocol violations to which the RFC lets the server choose a reaction. `tests/http2/tests` covers clauses and known
//! attacks.

use super::*;

#[test]
fn a_frame_that_is_too_large_is_refused_by_its_header() {
    let mut client = Client::plain();
    let head = [0, 0x40, 1, frame::DATA, 0, 0, 0, 0, 1];
    assert_eq!(head.len(), HEAD_BYTES);
    client.write(&head);
    assert_eq!(client.disconnected(), Reason::FrameSize as u32);
}

#[test]
fn a_client_cannot_send_beyond_its_window() {
    let mut client = Client::plain();
    client.send(frame::HEADERS, END_HEADERS, 1, &block("/deaf"));
    // The call does not read, so the window is not reopened.
    for _ in 0..WINDOW_BYTES as usize / PAYLOAD_MAX {
        client.send(frame::DATA, 0, 1, &message(&[0; PAYLOAD_MAX - 5]));
    }
    let before = client.all();
    assert!(before.iter().all(|got| got.kind != frame::RST_STREAM));
    client.send(frame::DATA, 0, 1, &[0]);
    let reset = client.all().pop().unwrap();
    assert_eq!((reset.kind, reset.stream), (frame::RST_STREAM, 1));
    assert_eq!(reset.number(), Reason::FlowControl as u32);
}
