//! Clauses of RFC 9113 that need a conversation: windows, settings, tables, shutdown.

use super::*;

#[test]
fn an_invalid_preface_ends_the_connection() {
    for bytes in [
        [PREFACE, b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0"].concat(),
        // An acknowledgment alone is not a valid preface.
        [
            PREFACE,
            b"\0\0\0\x04\x01\0\0\0\0",
            b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ]
        .concat(),
    ] {
        let mut own = Client::new(Subject::new(STREAMS_MAX));
        own.raw(&bytes);
        assert!(
            [PROTOCOL, Closed].contains(&own.verdict()),
            "{:?}",
            own.seen
        );
    }
}

#[test]
fn a_block_announces_a_smaller_table() {
    let mut own = Client::greeted(Subject::new(STREAMS_MAX), &[]);
    own.send(&echo(1));
    own.send(&echo(3));
    own.send(&[Frame::settings(&[(setting::HEADER_TABLE_SIZE, 0)])]);
    own.send(&echo(5));
    assert!(
        own.answered(1) && own.answered(3) && own.answered(5),
        "{:?}",
        own.seen
    );
    assert_eq!(own.wrong, None);
}

#[test]
fn data_after_a_reset_is_dropped_and_counts_for_the_connection_window() {
    let mut own = Client::greeted(Subject::new(STREAMS_MAX), &[]);
    own.send(&[request(1, HEADS, &without(":path"))]);
    assert_eq!(own.verdict(), STREAM_PROTOCOL);
    // Dropped bytes return to the window, even many times its size.
    for _ in 0..1000 {
        own.send(&[Frame::new(kind::DATA, 0, 1, vec![0; 1 << 14])]);
        if own.verdict() != STREAM_PROTOCOL {
            break;
        }
    }
    let window: u32 = own
        .of(kind::WINDOW_UPDATE, 0)
        .iter()
        .map(|f| f.number_at(0))
        .sum();
    // The server may disconnect a client that never stops, but not because of flow control.
    assert!(![FLOW].contains(&own.verdict()), "{:?}", own.verdict());
    assert!(window > 0);
    assert_eq!(own.wrong, None);
}

#[test]
fn values_with_surrounding_whitespace_are_refused() {
    for value in [" x", "x ", "\tx", "x\t"] {
        let frame = request(1, HEADS, &with("a", value));
        // h2 leaves this check to the reader of the value.
        judged_apart(&[frame], &[STREAM_PROTOCOL], &[Fine]);
    }
}

/// The request has neither scheme nor path, and this server is not a proxy.
#[test]
fn a_connect_is_refused() {
    let fields = [
        (":method", "CONNECT".to_owned()),
        (":authority", "host:1".to_owned()),
    ];
    judged_apart(&[request(1, HEADS, &fields)], &[STREAM_PROTOCOL], &[Fine]);
}

#[test]
fn a_reset_is_not_answered() {
    let reset = Frame::number(kind::RST_STREAM, 1, code::CANCEL);
    let own = play(
        Subject::new(STREAMS_MAX),
        &[open(1), reset.clone(), reset.clone(), reset],
    );
    assert_eq!(own.verdict(), Fine);
    assert!(own.of(kind::RST_STREAM, 1).is_empty());
}

#[test]
fn a_shutdown_sends_goaway_twice_and_answers_accepted_requests() {
    let mut own = play(Subject::new(STREAMS_MAX), &[echo(1)[0].clone()]);
    own.server.shut_down();
    own.listen();
    let goodbye = own.of(kind::GOAWAY, 0)[0].clone();
    assert_eq!(
        (goodbye.number_at(0), goodbye.number_at(4)),
        ((1 << 31) - 1, code::NO_ERROR)
    );
    let ping = own.of(kind::PING, 0)[0].clone();
    // The client sent this frame before it knew.
    own.send(&echo(3));
    own.send(&[Frame::new(kind::PING, flag::ACK, 0, ping.payload)]);
    assert_eq!(own.of(kind::GOAWAY, 0)[1].number_at(0), 3);
    own.send(&echo(5));
    assert_eq!(own.verdict(), Stream(5, code::REFUSED_STREAM));
    own.send(&[echo(1)[1].clone()]);
    assert!(own.answered(1) && own.answered(3), "{:?}", own.seen);
    assert!(own.server.closed());
    assert_eq!(own.wrong, None);
}

#[test]
fn the_last_stream_of_goaway_never_rises() {
    let mut own = play(Subject::new(STREAMS_MAX), &[open(1)]);
    own.server.shut_down();
    own.listen();
    let ping = own.of(kind::PING, 0)[0].clone();
    own.send(&[Frame::new(kind::PING, flag::ACK, 0, ping.payload), open(3)]);
    own.send(&[Frame::new(kind::PING, 0, 0, [0; 7])]);
    let last: Vec<u32> = own
        .of(kind::GOAWAY, 0)
        .iter()
        .map(|frame| frame.number_at(0))
        .collect();
    assert_eq!(last, [(1 << 31) - 1, 1, 1]);
}
