//! Clauses of RFC 9113 that bind a server, each as frames and the verdicts that the clause allows,
//! put to the HTTP/2 code and to h2. `server/crates/http2/docs/rfc9113.md` says which test shows
//! which clause.
//!
//! Tests that need more than one look at the server are in `conversations`.
//!
//! What does *not* live here: what every frame of a server has to fulfil (`check`), which each of
//! these tests holds against all that comes back.

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

/// The headers of a call that is not answered, and goes on.
fn open(stream: u32) -> Frame {
    request(stream, HEADS, &head(Call::Never.path()))
}

/// The same of any fields and flags.
fn request(stream: u32, flags: u8, fields: &[(&str, String)]) -> Frame {
    Frame::new(kind::HEADERS, flags, stream, block(fields))
}

/// A whole request for what it says itself.
fn echo(stream: u32) -> [Frame; 2] {
    [
        request(stream, HEADS, &head(Call::Echo.path())),
        Frame::new(kind::DATA, END, stream, message(b"hello")),
    ]
}

/// The fields of a call, one of them changed, added at the end, or taken away.
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
    assert_eq!(client.wrong, None, "what a server sends");
    client
}

/// Both servers judge the frames as the clause allows.
#[track_caller]
fn judged(frames: &[Frame], allowed: &[Verdict]) {
    judged_apart(frames, allowed, allowed);
}

/// The same where h2 does otherwise; each use says why it may. Of h2 only the kind of the verdict
/// counts: it gives PROTOCOL_ERROR for most errors of a connection, whatever the clause says.
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
    // the connection goes on unless it is the one that failed
    if let Fine | Stream(..) = verdict {
        if frames.contains(&open(1)) {
            own.send(&[Frame::number(kind::RST_STREAM, 1, code::CANCEL)]);
        }
        own.send(&echo(101));
        assert!(own.answered(101), "it goes on: {:?}", own.seen);
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

// section 4: frames
clauses! {
    a_frame_of_an_unknown_kind_is_discarded:
        [Frame::new(99, 0xff, 0, vec![7; 100]), Frame::new(42, 0, 7, [])] => [Fine];
    undefined_flags_are_ignored:
        [Frame::new(kind::PING, 0xfe, 0, [1; 8]), request(1, HEADS | 0x52, &head("/test.S/Never"))] => [Fine];
    the_reserved_bit_is_ignored:
        [Frame::new(kind::PING, 0, 1 << 31, [1; 8]), open(1 | 1 << 31)] => [Fine];
    a_frame_beyond_the_announced_size_is_refused:
        [open(1), Frame::new(kind::DATA, 0, 1, vec![0; (1 << 14) + 1])] => [SIZE, Stream(1, code::FRAME_SIZE_ERROR)];
    a_header_frame_beyond_the_announced_size_is_refused:
        [Frame::new(kind::HEADERS, HEADS, 1, vec![0; (1 << 14) + 1])] => [SIZE];
    a_frame_of_the_announced_size_is_taken:
        [open(1), Frame::new(kind::DATA, 0, 1, [vec![0, 0, 0, 0x80, 0], vec![0; (1 << 14) - 5]].concat())] => [Fine];
    an_interrupted_block_is_refused:
        [request(1, 0, &head("/test.S/Never")), Frame::new(kind::PING, 0, 0, [0; 8])] => [PROTOCOL];
    a_block_that_another_stream_goes_on_with_is_refused:
        [request(1, 0, &head("/test.S/Never")), Frame::new(kind::CONTINUATION, HEADS, 3, [])] => [PROTOCOL];
    an_unknown_frame_inside_a_block_is_refused:
        [request(1, 0, &head("/test.S/Never")), Frame::new(99, 0, 0, [])] => [PROTOCOL];
    a_block_that_does_not_decode_ends_the_connection:
        [Frame::new(kind::HEADERS, HEADS, 1, [0x80])] => [COMPRESSION];
    a_block_in_many_frames_is_one_block:
        [
            Frame::new(kind::HEADERS, END, 1, []),
            Frame::new(kind::CONTINUATION, 0, 1, block(&head("/test.S/Never"))),
            Frame::new(kind::CONTINUATION, HEADS, 1, []),
        ] => [Fine];
}

// section 5: streams
clauses! {
    data_on_an_idle_stream_is_refused: [Frame::new(kind::DATA, 0, 1, [])] => [PROTOCOL];
    a_reset_of_an_idle_stream_is_refused: [Frame::number(kind::RST_STREAM, 1, 8)] => [PROTOCOL];
    a_window_of_an_idle_stream_is_refused: [Frame::number(kind::WINDOW_UPDATE, 1, 1)] => [PROTOCOL];
    data_on_a_servers_stream_is_refused: [open(5), Frame::new(kind::DATA, 0, 2, [])] => [PROTOCOL];
    a_reset_of_a_servers_stream_is_refused: [open(5), Frame::number(kind::RST_STREAM, 2, 8)] => [PROTOCOL];
    a_window_of_a_servers_stream_is_refused: [open(5), Frame::number(kind::WINDOW_UPDATE, 2, 1)] => [PROTOCOL];
    a_continuation_on_an_idle_stream_is_refused:
        [Frame::new(kind::CONTINUATION, HEADS, 1, [])] => [PROTOCOL];
    a_priority_on_an_idle_stream_is_taken:
        [Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 16])] => [Fine];
    data_after_the_end_of_the_request_is_refused:
        [request(1, HEADS | END, &head("/test.S/Never")), Frame::new(kind::DATA, 0, 1, [0])]
            => [STREAM_CLOSED, CLOSED];
    headers_after_the_end_of_the_request_are_refused:
        [request(1, HEADS | END, &head("/test.S/Never")), request(1, HEADS | END, &[])]
            => [STREAM_CLOSED, CLOSED];
    windows_priorities_and_resets_after_the_end_of_the_request_are_taken:
        [
            request(1, HEADS | END, &head("/test.S/Never")),
            Frame::number(kind::WINDOW_UPDATE, 1, 1),
            Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 16]),
            Frame::number(kind::RST_STREAM, 1, 8),
        ] => [Fine];
    data_after_a_reset_is_refused_or_dropped:
        [open(1), Frame::number(kind::RST_STREAM, 1, 8), Frame::new(kind::DATA, 0, 1, [0])]
            => [STREAM_CLOSED, CLOSED, Fine];
    headers_after_a_reset_are_refused_or_dropped:
        [open(1), Frame::number(kind::RST_STREAM, 1, 8), request(1, HEADS | END, &[])]
            => [STREAM_CLOSED, CLOSED, PROTOCOL, Fine];
    a_servers_id_is_refused: [open(2)] => [PROTOCOL];
    an_id_below_the_highest_is_refused: [open(5), open(3)] => [PROTOCOL, CLOSED];
    headers_on_stream_0_are_refused: [open(0)] => [PROTOCOL];
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

// section 6: kinds of frames
clauses! {
    data_on_stream_0_is_refused: [Frame::new(kind::DATA, 0, 0, [])] => [PROTOCOL];
    padding_as_long_as_data_is_refused:
        [open(1), Frame::new(kind::DATA, flag::PADDED, 1, [5, 0, 0, 0, 0])] => [PROTOCOL];
    padding_without_its_length_is_refused:
        [open(1), Frame::new(kind::DATA, flag::PADDED, 1, [])] => [PROTOCOL, SIZE];
    padding_as_long_as_headers_is_refused:
        [Frame::new(kind::HEADERS, HEADS | flag::PADDED, 1, [4, 0x83, 0x86, 0x84])] => [PROTOCOL];
    headers_too_short_for_their_priority_are_refused:
        [Frame::new(kind::HEADERS, HEADS | flag::PRIORITY, 1, [0; 4])] => [PROTOCOL, SIZE];
    a_priority_on_stream_0_is_refused:
        [Frame::new(kind::PRIORITY, 0, 0, [0; 5])] => [PROTOCOL];
    a_priority_of_a_wrong_length_is_refused:
        [open(1), Frame::new(kind::PRIORITY, 0, 1, [0; 4])] => [SIZE, Stream(1, code::FRAME_SIZE_ERROR)];
    a_priority_of_a_stream_that_depends_on_itself_is_refused:
        [open(1), Frame::new(kind::PRIORITY, 0, 1, [0x80, 0, 0, 1, 16])]
            => [PROTOCOL, Stream(1, code::PROTOCOL_ERROR)];
    a_reset_of_stream_0_is_refused: [Frame::number(kind::RST_STREAM, 0, 8)] => [PROTOCOL];
    a_reset_of_a_wrong_length_is_refused:
        [open(1), Frame::new(kind::RST_STREAM, 0, 1, [0; 3])] => [SIZE];
    settings_of_a_stream_are_refused: [Frame::new(kind::SETTINGS, 0, 1, [])] => [PROTOCOL];
    settings_of_a_wrong_length_are_refused: [Frame::new(kind::SETTINGS, 0, 0, [0; 7])] => [SIZE];
    an_acknowledgment_with_content_is_refused:
        [Frame::new(kind::SETTINGS, flag::ACK, 0, [0; 6])] => [SIZE];
    a_push_setting_of_2_is_refused: [Frame::settings(&[(setting::ENABLE_PUSH, 2)])] => [PROTOCOL];
    a_window_setting_above_the_maximum_is_refused:
        [Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)])] => [FLOW];
    a_frame_size_below_its_minimum_is_refused:
        [Frame::settings(&[(setting::MAX_FRAME_SIZE, (1 << 14) - 1)])] => [PROTOCOL];
    a_frame_size_above_its_maximum_is_refused:
        [Frame::settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)])] => [PROTOCOL];
    unknown_settings_are_ignored: [Frame::settings(&[(0xffff, 1), (0, 2)])] => [Fine];
    a_push_is_refused: [open(1), Frame::new(kind::PUSH_PROMISE, HEADS, 1, [0, 0, 0, 2])] => [PROTOCOL];
    a_ping_of_a_stream_is_refused: [Frame::new(kind::PING, 0, 1, [0; 8])] => [PROTOCOL];
    a_farewell_of_a_stream_is_refused: [Frame::new(kind::GOAWAY, 0, 1, [0; 8])] => [PROTOCOL];
    a_farewell_too_short_is_refused: [Frame::new(kind::GOAWAY, 0, 0, [0; 7])] => [SIZE];
    a_window_opened_by_0_is_refused: [Frame::number(kind::WINDOW_UPDATE, 0, 0)] => [PROTOCOL];
    a_window_of_a_stream_opened_by_0_is_refused:
        [open(1), Frame::number(kind::WINDOW_UPDATE, 1, 0)] => [STREAM_PROTOCOL, PROTOCOL];
    a_window_frame_of_a_wrong_length_is_refused:
        [Frame::new(kind::WINDOW_UPDATE, 0, 0, [0; 5])] => [SIZE];
    a_window_above_its_maximum_is_refused:
        [Frame::number(kind::WINDOW_UPDATE, 0, (1 << 31) - 1)] => [FLOW];
    a_window_of_a_stream_above_its_maximum_is_refused:
        [open(1), Frame::number(kind::WINDOW_UPDATE, 1, (1 << 31) - 1)]
            => [FLOW, Stream(1, code::FLOW_CONTROL_ERROR)];
    a_setting_that_lifts_a_window_above_its_maximum_is_refused:
        [
            open(1),
            Frame::number(kind::WINDOW_UPDATE, 1, (1 << 31) - 1 - 65_535),
            Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 65_536)]),
        ] => [FLOW];
    a_continuation_on_stream_0_is_refused:
        [request(1, 0, &head("/test.S/Never")), Frame::new(kind::CONTINUATION, HEADS, 0, [])] => [PROTOCOL];
    a_continuation_after_a_whole_block_is_refused:
        [open(1), Frame::new(kind::CONTINUATION, HEADS, 1, [])] => [PROTOCOL];
    unknown_error_codes_do_nothing:
        [open(1), Frame::number(kind::RST_STREAM, 1, 0xdead_beef)] => [Fine];
}

// section 8: requests
clauses! {
    trailers_that_are_not_the_end_are_refused:
        [open(1), request(1, HEADS, &[("a", "b".into())])] => [STREAM_PROTOCOL, PROTOCOL];
    content_beyond_its_length_is_refused:
        [
            request(1, HEADS, &with("content-length", "1")),
            Frame::new(kind::DATA, END, 1, [0; 2]),
        ] => [STREAM_PROTOCOL];
    content_short_of_its_length_is_refused:
        [
            request(1, HEADS, &with("content-length", "3")),
            Frame::new(kind::DATA, END, 1, [0; 2]),
        ] => [STREAM_PROTOCOL];
    no_content_of_a_length_is_refused:
        [request(1, HEADS | END, &with("content-length", "3"))] => [STREAM_PROTOCOL];
    a_scheme_that_is_none_is_refused: [request(1, HEADS, &with(":scheme", "ht p"))] => [STREAM_PROTOCOL];
    an_empty_path_is_refused: [request(1, HEADS, &with(":path", ""))] => [STREAM_PROTOCOL];
    a_request_without_method_is_refused: [request(1, HEADS, &without(":method"))] => [STREAM_PROTOCOL];
    a_request_without_scheme_is_refused: [request(1, HEADS, &without(":scheme"))] => [STREAM_PROTOCOL];
    a_request_without_path_is_refused: [request(1, HEADS, &without(":path"))] => [STREAM_PROTOCOL];
    an_answers_pseudo_header_is_refused:
        [request(1, HEADS, &[vec![(":status", "200".into())], head("/x")].concat())] => [STREAM_PROTOCOL];
    a_pseudo_header_twice_is_refused:
        [request(1, HEADS, &[vec![(":path", "/y".into())], head("/x")].concat())] => [STREAM_PROTOCOL];
    a_pseudo_header_after_a_field_is_refused:
        [request(1, HEADS, &[without(":path"), vec![(":path", "/y".into())]].concat())] => [STREAM_PROTOCOL];
    connection_fields_are_refused: [request(1, HEADS, &with("connection", "close"))] => [STREAM_PROTOCOL];
    a_transfer_encoding_is_refused:
        [request(1, HEADS, &with("transfer-encoding", "chunked"))] => [STREAM_PROTOCOL];
    an_upgrade_is_refused: [request(1, HEADS, &with("upgrade", "h2c"))] => [STREAM_PROTOCOL];
    a_keep_alive_is_refused: [request(1, HEADS, &with("keep-alive", "5"))] => [STREAM_PROTOCOL];
    a_proxy_connection_is_refused:
        [request(1, HEADS, &with("proxy-connection", "close"))] => [STREAM_PROTOCOL];
    a_te_that_is_not_trailers_is_refused: [request(1, HEADS, &with("te", "gzip"))] => [STREAM_PROTOCOL];
}

/// h2 takes a name or a value that cannot be for a fault of the code: the connection ends.
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

/// h2 leaves this to whoever reads the trailers.
#[test]
fn trailers_with_a_pseudo_header_are_refused() {
    let trailers = request(1, HEADS | END, &[(":path", "/x".to_owned())]);
    judged_apart(&[open(1), trailers], &[STREAM_PROTOCOL, PROTOCOL], &[Fine]);
}

/// h2 takes it.
#[test]
fn an_empty_scheme_is_refused() {
    let frame = request(1, HEADS, &with(":scheme", ""));
    judged_apart(&[frame], &[STREAM_PROTOCOL], &[Fine]);
}

/// h2 leaves this to whoever reads the authority.
#[test]
fn an_authority_with_a_line_feed_is_refused() {
    let frame = request(1, HEADS, &with(":authority", "a\nb"));
    judged_apart(
        &[frame],
        &[STREAM_PROTOCOL],
        &[STREAM_PROTOCOL, COMPRESSION, Fine],
    );
}

/// h2 does not look for pseudo-headers that it does not know: they are a fault of the code to it.
#[test]
fn an_undefined_pseudo_header_is_refused() {
    let fields = [vec![(":undefined", "1".to_owned())], head("/x")].concat();
    let frame = request(1, HEADS, &fields);
    judged_apart(
        &[frame],
        &[STREAM_PROTOCOL],
        &[COMPRESSION, STREAM_PROTOCOL],
    );
}
