//! Clauses of RFC 9113 that h2spec does not test and that apply to a server. Each one has frames and the permitted reactions of
//! the HTTP/2 code and of h2. Each error code also has a test, because h2spec accepts the end of a connection for any code.
//! `server/crates/http2/docs/rfc9113.md` maps clauses to tests.
//!
//! `check` contains the rules for every frame of a server, and all tests apply them.

mod conversations;

use witan_http2_tests::{
    calls::Call,
    frame::{Frame, PREFACE, block, code, flag, head, kind, literal, message, setting},
    reference::Reference,
    server::{Client, Server, Verdict},
    subject::Subject,
};

use Verdict::{Closed, Connection, Fine, Stream};

const PROTOCOL: Verdict = Connection(code::PROTOCOL_ERROR);
const SIZE: Verdict = Connection(code::FRAME_SIZE_ERROR);
const FLOW: Verdict = Connection(code::FLOW_CONTROL_ERROR);
const COMPRESSION: Verdict = Connection(code::COMPRESSION_ERROR);
const CLOSED: Verdict = Connection(code::STREAM_CLOSED);
const STREAM_PROTOCOL: Verdict = Stream(1, code::PROTOCOL_ERROR);
const STREAM_CLOSED: Verdict = Stream(1, code::STREAM_CLOSED);
const END: u8 = flag::END_STREAM;
const HEADS: u8 = flag::END_HEADERS;
const STREAMS_MAX: u32 = 8;

/// Returns the HEADERS frame of a call that gets no answer, without its end.
fn open(stream: u32) -> Frame {
    request(stream, HEADS, &head(Call::Never.path()))
}

/// Like [`open`], with any fields and flags.
fn request(stream: u32, flags: u8, fields: &[(&str, String)]) -> Frame {
    Frame::new(kind::HEADERS, flags, stream, block(fields))
}

/// Returns a complete request for an echo.
fn echo(stream: u32) -> [Frame; 2] {
    [
        request(stream, HEADS, &head(Call::Echo.path())),
        Frame::new(kind::DATA, END, stream, message(b"hello")),
    ]
}

/// Returns the fields of a call. The field `name` has the value `value`.
fn with(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    let mut fields = head(Call::Never.path());
    match fields.iter_mut().find(|(known, _)| *known == name) {
        Some(field) => field.1 = value.to_owned(),
        None => fields.push((name, value.to_owned())),
    }
    fields
}

fn without(name: &str) -> Vec<(&'static str, String)> {
    let mut fields = head(Call::Never.path());
    fields.retain(|(known, _)| *known != name);
    fields
}

fn play<S: Server>(server: S, frames: &[Frame]) -> Client<S> {
    let mut client = Client::greeted(server, &[]);
    client.send(frames);
    assert_eq!(client.wrong, None, "the server's frames");
    client
}

/// Checks that both servers react to the frames as the clause permits.
#[track_caller]
fn judged(frames: &[Frame], allowed: &[Verdict]) {
    judged_apart(frames, allowed, allowed);
}

/// Like [`judged`], for cases in which h2 may differ. Checks only the kind of h2's reaction, because h2 reports PROTOCOL_ERROR
/// for most connection errors.
#[track_caller]
fn judged_apart(frames: &[Frame], allowed: &[Verdict], by_h2: &[Verdict]) {
    let mut own = play(Subject::new(STREAMS_MAX), frames);
    let verdict = own.verdict();
    assert!(allowed.contains(&verdict), "{verdict:?}: {:?}", own.seen);
    let h2 = play(Reference::new(STREAMS_MAX), frames);
    let kinds: Vec<_> = by_h2.iter().map(std::mem::discriminant).collect();
    let kind = std::mem::discriminant(&h2.verdict());
    assert!(
        kinds.contains(&kind),
        "h2: {:?}: {:?}",
        h2.verdict(),
        h2.seen
    );
    // The connection must still work unless it failed.
    if let Fine | Stream(..) = verdict {
        if frames.contains(&open(1)) {
            own.send(&[Frame::number(kind::RST_STREAM, 1, code::CANCEL)]);
        }
        own.send(&echo(101));
        assert!(
            own.answered(101),
            "the connection does not work: {:?}",
            own.seen
        );
        assert_eq!(own.wrong, None);
    }
}

macro_rules! clauses {
    ($($name:ident: [$($frame:expr),* $(,)?] => [$($verdict:expr),* $(,)?];)*) => {
        $(
            #[test]
            fn $name() {
                judged(&[$($frame),*], &[$($verdict),*]);
            }
        )*
    };
}

// Section 4: frames.
clauses! {
    the_reserved_bit_is_ignored:
        [Frame::new(kind::PING, 0, 1 << 31, [1; 8]), open(1 | 1 << 31)] => [Fine];
    a_block_that_does_not_decode_ends_the_connection:
        [Frame::new(kind::HEADERS, HEADS, 1, [0x80])] => [COMPRESSION];
}

// Section 5: streams.
clauses! {
    data_on_a_servers_stream_is_refused: [open(5), Frame::new(kind::DATA, 0, 2, [])] => [PROTOCOL];
    a_reset_of_a_servers_stream_is_refused: [open(5), Frame::number(kind::RST_STREAM, 2, 8)] => [PROTOCOL];
    a_window_of_a_servers_stream_is_refused: [open(5), Frame::number(kind::WINDOW_UPDATE, 2, 1)] => [PROTOCOL];
    a_priority_on_an_idle_stream_is_taken:
        [Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 16])] => [Fine];
    data_after_the_end_of_the_request_is_refused:
        [request(1, HEADS | END, &head("/test.S/Never")), Frame::new(kind::DATA, 0, 1, [0])]
            => [STREAM_CLOSED, CLOSED];
    windows_priorities_and_resets_after_the_end_of_the_request_are_taken:
        [
            request(1, HEADS | END, &head("/test.S/Never")),
            Frame::number(kind::WINDOW_UPDATE, 1, 1),
            Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 16]),
            Frame::number(kind::RST_STREAM, 1, 8),
        ] => [Fine];
    windows_and_priorities_of_an_answered_stream_are_taken:
        [
            echo(1)[0].clone(),
            echo(1)[1].clone(),
            Frame::number(kind::WINDOW_UPDATE, 1, 1),
            Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 16]),
            Frame::number(kind::RST_STREAM, 1, 8),
        ] => [Fine];
    a_ping_of_a_wrong_length_is_refused: [Frame::new(kind::PING, 0, 0, [0; 7])] => [SIZE];
}

// Section 6: kinds of frames.
clauses! {
    data_on_stream_0_is_refused: [Frame::new(kind::DATA, 0, 0, [])] => [PROTOCOL];
    padding_without_its_length_is_refused:
        [open(1), Frame::new(kind::DATA, flag::PADDED, 1, [])] => [PROTOCOL, SIZE];
    headers_too_short_for_their_priority_are_refused:
        [Frame::new(kind::HEADERS, HEADS | flag::PRIORITY, 1, [0; 4])] => [PROTOCOL, SIZE];
    a_farewell_too_short_is_refused: [Frame::new(kind::GOAWAY, 0, 0, [0; 7])] => [SIZE];
    a_window_above_its_maximum_is_refused:
        [Frame::number(kind::WINDOW_UPDATE, 0, (1 << 31) - 1)] => [FLOW];
    a_setting_that_lifts_a_window_above_its_maximum_is_refused:
        [
            open(1),
            Frame::number(kind::WINDOW_UPDATE, 1, (1 << 31) - 1 - 65_535),
            Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 65_536)]),
        ] => [FLOW];
}

// Section 8: requests.
clauses! {
    no_content_of_a_length_is_refused:
        [request(1, HEADS | END, &with("content-length", "3"))] => [STREAM_PROTOCOL];
    a_scheme_that_is_none_is_refused: [request(1, HEADS, &with(":scheme", "ht p"))] => [STREAM_PROTOCOL];
    a_transfer_encoding_is_refused:
        [request(1, HEADS, &with("transfer-encoding", "chunked"))] => [STREAM_PROTOCOL];
    an_upgrade_is_refused: [request(1, HEADS, &with("upgrade", "h2c"))] => [STREAM_PROTOCOL];
    a_keep_alive_is_refused: [request(1, HEADS, &with("keep-alive", "5"))] => [STREAM_PROTOCOL];
    a_proxy_connection_is_refused:
        [request(1, HEADS, &with("proxy-connection", "close"))] => [STREAM_PROTOCOL];
}

/// h2 treats an invalid name or value as an internal error and ends the connection.
#[test]
fn names_and_values_with_forbidden_bytes_are_refused() {
    let cases: [(&[u8], &[u8]); 8] = [
        (b"Upper", b"x"),
        (b"a b", b"x"),
        (b"a:b", b"x"),
        (b"a\x7f", b"x"),
        (b"\xc3\xa4", b"x"),
        (b"a", b"line\nfeed"),
        (b"a", b"carriage\rreturn"),
        (b"a", b"nu\0l"),
    ];
    for (name, value) in cases {
        let mut bytes = block(&head(Call::Never.path()));
        literal(name, value, &mut bytes);
        let frame = Frame::new(kind::HEADERS, HEADS, 1, bytes);
        judged_apart(
            &[frame],
            &[STREAM_PROTOCOL],
            &[STREAM_PROTOCOL, COMPRESSION, PROTOCOL],
        );
    }
}

/// h2 accepts an empty scheme.
#[test]
fn an_empty_scheme_is_refused() {
    let frame = request(1, HEADS, &with(":scheme", ""));
    judged_apart(&[frame], &[STREAM_PROTOCOL], &[Fine]);
}

/// h2 leaves this check to the reader of the authority.
#[test]
fn an_authority_with_a_line_feed_is_refused() {
    let frame = request(1, HEADS, &with(":authority", "a\nb"));
    judged_apart(
        &[frame],
        &[STREAM_PROTOCOL],
        &[STREAM_PROTOCOL, COMPRESSION, Fine],
    );
}
