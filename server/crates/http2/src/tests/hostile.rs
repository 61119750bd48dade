//! Protocol violations for which the RFC lets the server choose its reaction, and resets by a client that does not read.
//! `tests/http2/tests` covers the RFC's clauses and known attacks.

use super::*;
use crate::limits::{FAULTS_MAX, OUTPUT_MAX, TURN_CALLS};

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
    for _ in 0..WINDOW_BYTES as usize / FRAME_SIZE {
        client.send(frame::DATA, 0, 1, &message(&[0; FRAME_SIZE - 5]));
    }
    let before = client.all();
    assert!(before.iter().all(|got| got.kind != frame::RST_STREAM));
    client.send(frame::DATA, 0, 1, &[0]);
    let reset = client.all().pop().unwrap();
    assert_eq!((reset.kind, reset.stream), (frame::RST_STREAM, 1));
    assert_eq!(reset.number(), Reason::FlowControl as u32);
}

#[test]
fn calls_that_are_reset_before_they_are_polled_leave_the_list() {
    const CALLS: u32 = 100;
    for has_other_stream in [false, true] {
        let mut client = Client::greeted(Config::default(), 1 << 20);
        client.number(frame::WINDOW_UPDATE, 0, 1 << 20);
        client.reads = false;
        let mut streams = (1_u32..).step_by(2);
        let mut next = || streams.next().expect("a stream id");
        // No call is polled while the output is full.
        while client.connection.audit().output < OUTPUT_MAX {
            client.ask(next(), "/echo", &[0; 10_000]);
        }
        if has_other_stream {
            client.ask(next(), "/never", b"");
        }
        for _ in 0..FAULTS_MAX / CALLS {
            let calls: Vec<u32> = (0..CALLS).map(|_| next()).collect();
            let requests = calls.iter().flat_map(|id| request(*id, "/echo", b""));
            let resets = calls
                .iter()
                .flat_map(|id| frame(frame::RST_STREAM, 0, *id, &8_u32.to_be_bytes()));
            let frames: Vec<u8> = requests.chain(resets).collect();
            client.write(&frames);
        }
        let audit = client.connection.audit();
        assert_eq!(audit.streams, usize::from(has_other_stream));
        assert!(audit.lists_capacity < TURN_CALLS, "{audit:?}");
        client.reads = true;
        client.ask(next(), "/echo", b"");
        assert_eq!(client.ledger.ended.borrow().last(), Some(&0));
    }
}
