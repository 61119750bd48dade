//! Clients that break the protocol where the RFC leaves the server a choice, or the choice is in how much it reads. The
//! clauses and the known attacks are in `tests/http2/tests`.

use super::*;

#[test]
fn a_frame_that_is_too_large_is_refused_by_its_head() {
    let mut client = Client::plain();
    let head = [0, 0x40, 1, frame::DATA, 0, 0, 0, 0, 1];
    assert_eq!(head.len(), HEAD_BYTES);
    client.write(&head);
    assert_eq!(client.disconnected(), Reason::FrameSize as u32);
}

#[test]
fn stream_errors_end_the_stream() {
    let mut client = Client::plain();
    client.send(frame::HEADERS, END_HEADERS, 1, &[0x83]);
    let mut expected = VecDeque::from([(1, Reason::Protocol)]);
    client.ask(3, "/never", b"");
    client.number(frame::WINDOW_UPDATE, 3, 0);
    expected.push_back((3, Reason::Protocol));
    client.ask(5, "/never", b"");
    client.number(frame::WINDOW_UPDATE, 5, (1 << 31) - 1);
    expected.push_back((5, Reason::FlowControl));
    client.ask(7, "/never", b"");
    client.send(frame::DATA, 0, 7, b"more");
    expected.push_back((7, Reason::StreamClosed));
    for (stream, reason) in expected {
        let got = client.next();
        assert_eq!((got.kind, got.stream), (frame::RST_STREAM, stream));
        assert_eq!(got.payload, (reason as u32).to_be_bytes());
    }
    client.ask(9, "/echo", b"still there");
    assert_eq!(client.next().stream, 9);
}

#[test]
fn a_client_cannot_send_beyond_its_window() {
    let mut client = Client::plain();
    client.send(frame::HEADERS, END_HEADERS, 1, &block("/deaf"));
    // the call does not read it, so the window is not opened again
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
