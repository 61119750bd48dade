//! Clients that break the protocol, or abuse it.

use super::*;

type Sent = (u8, u8, u32, Vec<u8>);

/// Frames that end the connection, and the reason that is given.
fn breaches() -> Vec<(&'static str, Vec<Sent>, Reason)> {
    let headers = |stream| (frame::HEADERS, END_HEADERS, stream, block("/never"));
    let one = |kind, stream, payload: &[u8]| vec![(kind, 0, stream, payload.to_vec())];
    vec![
        (
            "data without a stream",
            one(frame::DATA, 0, b""),
            Reason::Protocol,
        ),
        (
            "data before headers",
            one(frame::DATA, 1, b""),
            Reason::Protocol,
        ),
        ("a server's id", vec![headers(2)], Reason::Protocol),
        (
            "a stray continuation",
            one(frame::CONTINUATION, 1, b""),
            Reason::Protocol,
        ),
        (
            "an interrupted block",
            vec![
                (frame::HEADERS, 0, 1, vec![0x83]),
                (frame::PING, 0, 0, vec![0; 8]),
            ],
            Reason::Protocol,
        ),
        (
            "a broken block",
            vec![(frame::HEADERS, END_HEADERS, 1, vec![0x80])],
            Reason::Compression,
        ),
        (
            "a short ping",
            one(frame::PING, 0, &[0; 7]),
            Reason::FrameSize,
        ),
        (
            "a ping of a stream",
            one(frame::PING, 1, &[0; 8]),
            Reason::Protocol,
        ),
    ]
}

/// Invalid windows and settings, each with the reason that ends the connection.
fn wrong_numbers() -> Vec<(&'static str, Vec<Sent>, Reason)> {
    let headers = |stream| (frame::HEADERS, END_HEADERS, stream, block("/never"));
    let settings = |payload: &[u8]| (frame::SETTINGS, 0, 0, payload.to_vec());
    let one = |kind, stream, payload: &[u8]| vec![(kind, 0, stream, payload.to_vec())];
    let window = frame::WINDOW_UPDATE;
    vec![
        ("odd settings", vec![settings(&[0; 5])], Reason::FrameSize),
        (
            "settings of a stream",
            one(frame::SETTINGS, 1, &[0; 6]),
            Reason::Protocol,
        ),
        (
            "too large a window",
            vec![settings(&[0, 4, 0xff, 0, 0, 0])],
            Reason::FlowControl,
        ),
        (
            "too small a frame",
            vec![settings(&[0, 5, 0, 0, 0, 9])],
            Reason::Protocol,
        ),
        ("a push", one(frame::PUSH_PROMISE, 1, b""), Reason::Protocol),
        (
            "a window opened by nothing",
            one(window, 0, &[0; 4]),
            Reason::Protocol,
        ),
        (
            "an overflow",
            one(window, 0, &[0x7f, 0xff, 0xff, 0xff]),
            Reason::FlowControl,
        ),
        (
            "a window of no stream",
            one(window, 9, &[0, 0, 0, 1]),
            Reason::Protocol,
        ),
        (
            "a reset of no stream",
            one(frame::RST_STREAM, 9, &[0; 4]),
            Reason::Protocol,
        ),
        (
            "padding beyond the frame",
            vec![headers(1), (frame::DATA, frame::PADDED, 1, vec![9])],
            Reason::Protocol,
        ),
    ]
}

#[test]
fn protocol_errors_end_the_connection() {
    for (name, frames, reason) in breaches().into_iter().chain(wrong_numbers()) {
        let mut client = Client::plain();
        for (kind, flags, stream, payload) in frames {
            client.send(kind, flags, stream, &payload);
        }
        assert_eq!(client.disconnected(), reason as u32, "{name}");
    }
    let mut client = Client::new(Config::default());
    client.write(PREFACE);
    client.send(frame::PING, 0, 0, &[0; 8]);
    assert_eq!(
        client.disconnected(),
        Reason::Protocol as u32,
        "no settings"
    );
    let mut client = Client::plain();
    let head = [0, 0x40, 1, frame::DATA, 0, 0, 0, 0, 1];
    assert_eq!(head.len(), HEAD_BYTES);
    client.write(&head);
    assert_eq!(
        client.disconnected(),
        Reason::FrameSize as u32,
        "a large frame"
    );
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
    for _ in 0..=WINDOW_BYTES as usize / PAYLOAD_MAX {
        client.send(frame::DATA, 0, 1, &message(&[0; PAYLOAD_MAX - 5]));
    }
    let reset = client.all().pop().unwrap();
    assert_eq!((reset.kind, reset.stream), (frame::RST_STREAM, 1));
    assert_eq!(reset.number(), Reason::FlowControl as u32);
}

#[test]
fn floods_end_the_connection() {
    for path in ["/never", "/parts"] {
        let mut client = Client::plain();
        for n in 0..=FAULTS_MAX {
            let stream = 2 * n + 1;
            client.send(frame::HEADERS, END_HEADERS, stream, &block(path));
            client.number(frame::RST_STREAM, stream, 8);
        }
        assert_eq!(
            client.disconnected(),
            Reason::Calm as u32,
            "resets of {path}"
        );
    }
    let mut client = Client::plain();
    client.send(frame::HEADERS, END_HEADERS, 1, &block("/never"));
    for _ in 0..=EMPTY_MAX {
        client.send(frame::DATA, 0, 1, b"");
    }
    assert_eq!(client.disconnected(), Reason::Calm as u32, "empty frames");
    for (count, length) in [(CONTINUATIONS_MAX + 1, 0), (9, PAYLOAD_MAX)] {
        let mut client = Client::plain();
        client.send(frame::HEADERS, 0, 1, &block("/never"));
        for _ in 0..count {
            client.send(frame::CONTINUATION, 0, 1, &vec![0; length]);
        }
        assert_eq!(
            client.disconnected(),
            Reason::Calm as u32,
            "headers without end"
        );
    }
}
