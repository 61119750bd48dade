//! Attacks on HTTP/2 servers that are known since 2019: what each may make a connection hold or
//! do. `server/crates/http2/docs/cve.md` says which attack each of these tests is.
//!
//! What does *not* live here: attacks on the program, with its sockets and its memory
//! (`tests/e2e/tests/hostile`).

use std::time::{Duration, Instant};

use witan_http2::limits::{FAULTS_MAX, HEADER_LIST_BYTES_MAX, OUTPUT_MAX, SETTINGS_BURST};
use witan_http2_tests::{
    calls::{Call, LARGE_BYTES},
    frame::{Frame, block, code, flag, head, integer, kind, literal, message, setting},
    server::{Client, Server as _, Verdict},
    subject::Subject,
};

const CALM: Verdict = Verdict::Connection(code::ENHANCE_YOUR_CALM);
const HEADS: u8 = flag::END_HEADERS;
const END: u8 = flag::END_STREAM;
const STREAMS_MAX: u32 = 100;

/// All that may wait to be sent: what is in flight of answers, of acknowledgments, and one step
/// beyond each.
const OUTPUT_BOUND: usize = 2 * OUTPUT_MAX + (128 << 10);

fn client() -> Client<Subject> {
    Client::greeted(Subject::new(STREAMS_MAX), &[])
}

/// A client that takes nothing of what comes.
fn deaf(settings: &[(u16, u32)]) -> Client<Subject> {
    let mut client = Client::greeted(Subject::new(STREAMS_MAX), settings);
    client.server.appetite = 0;
    client
}

fn begin(stream: u32, call: Call) -> Frame {
    Frame::new(kind::HEADERS, HEADS, stream, block(&head(call.path())))
}

fn ask(stream: u32, call: Call) -> [Frame; 2] {
    let data = Frame::new(kind::DATA, END, stream, message(b"a message"));
    [begin(stream, call), data]
}

/// Sends the frame again and again until the connection has judged, at most so many times.
fn until_judged(
    client: &mut Client<Subject>,
    times: u32,
    frames: impl Fn(u32) -> Vec<Frame>,
) -> u32 {
    for n in 0..times {
        client.send(&frames(n));
        if client.verdict() != Verdict::Fine || client.server.closed() {
            return n;
        }
    }
    times
}

/// The connection is as good as new.
fn serves(client: &mut Client<Subject>, stream: u32) {
    client.send(&ask(stream, Call::Echo));
    assert!(client.answered(stream), "{:?}", client.seen.last());
    assert_eq!(client.wrong, None);
}

fn sound(client: &Client<Subject>) {
    let audit = client.server.audit();
    assert!(audit.output <= OUTPUT_BOUND, "{audit:?}");
    assert_eq!(audit.requests.0, audit.requests.1, "{audit:?}");
    assert_eq!(audit.answers.0, audit.answers.1, "{audit:?}");
    assert_eq!(audit.calls.0, audit.calls.1, "{audit:?}");
    assert_eq!(audit.deadlines.0, audit.deadlines.1, "{audit:?}");
    assert_eq!(client.wrong, None);
}

#[test]
fn data_dribble_holds_one_answer_a_stream() {
    let mut client = Client::greeted(
        Subject::new(STREAMS_MAX),
        &[(setting::INITIAL_WINDOW_SIZE, 0)],
    );
    for n in 0..STREAMS_MAX {
        client.send(&ask(2 * n + 1, Call::Large));
    }
    let before = client.server.audit();
    assert!(
        before.answers.0 <= STREAMS_MAX as usize * (LARGE_BYTES + 4096),
        "{before:?}"
    );
    for round in 0..20 {
        for n in 0..STREAMS_MAX {
            client.send(&[Frame::number(kind::WINDOW_UPDATE, 2 * n + 1, 1)]);
        }
        let data = client
            .seen
            .iter()
            .filter(|f| f.kind == kind::DATA && !f.payload.is_empty());
        assert_eq!(data.count(), (round + 1) * STREAMS_MAX as usize);
        sound(&client);
    }
    assert!(client.server.audit().answers.0 <= before.answers.0);
}

#[test]
fn pings_that_are_not_taken_stop_the_reading() {
    let mut client = deaf(&[]);
    let ping = Frame::new(kind::PING, 0, 0, [7; 8]);
    for _ in 0..1000 {
        client.send(&vec![ping.clone(); 100]);
        sound(&client);
    }
}

#[test]
fn priorities_leave_nothing_behind() {
    let mut client = client();
    for n in 0..20_000_u32 {
        let parent = (n * 7919 % 20_000) << 1;
        let payload = [&parent.to_be_bytes()[..], &[n as u8]].concat();
        client.send(&[Frame::new(kind::PRIORITY, 0, 2 * n + 1, payload)]);
    }
    assert_eq!(client.server.audit().streams, 0);
    serves(&mut client, 40_001);
    sound(&client);
}

#[test]
fn resets_that_are_provoked_are_counted() {
    // MadeYouReset: each of these ends a stream by the server's hand
    let provocations: [fn(u32) -> Frame; 4] = [
        |stream| Frame::number(kind::WINDOW_UPDATE, stream, (1 << 31) - 1),
        |stream| Frame::new(kind::HEADERS, HEADS, stream, block(&[("a", "b")])),
        |stream| Frame::new(kind::PRIORITY, 0, stream, [0; 4]),
        |stream| Frame::new(kind::HEADERS, HEADS | END, stream, block(&[(":path", "/")])),
    ];
    for (which, provoke) in provocations.iter().enumerate() {
        let mut client = client();
        let mut judged = false;
        for n in 0..=FAULTS_MAX {
            let stream = 2 * n + 1;
            client.send(&[begin(stream, Call::Never), provoke(stream)]);
            client.seen.retain(|frame| frame.kind == kind::GOAWAY);
            assert!(client.server.audit().streams <= 1);
            judged = client.server.closed() || !client.seen.is_empty();
            if judged {
                break;
            }
        }
        assert!(judged, "provocation {which}");
        assert_eq!(
            client.server.ledger.begun.get(),
            client.server.ledger.over.get()
        );
    }
}

#[test]
fn malformed_requests_are_counted_whether_or_not_their_resets_are_taken() {
    for appetite in [0, usize::MAX] {
        let mut client = client();
        client.server.appetite = appetite;
        for n in 0..=FAULTS_MAX {
            client.send(&[Frame::new(
                kind::HEADERS,
                HEADS,
                2 * n + 1,
                block(&[("a", "b")]),
            )]);
            client.seen.retain(|frame| frame.kind == kind::GOAWAY);
            assert!(client.server.audit().output <= OUTPUT_BOUND);
        }
        client.server.appetite = usize::MAX;
        client.listen();
        client.server.run();
        client.listen();
        assert_eq!(client.verdict(), CALM);
    }
}

#[test]
fn rapid_resets_are_counted_and_their_calls_are_over() {
    for call in [Call::Never, Call::Parts, Call::Large] {
        let mut client = client();
        let reset = |stream| Frame::number(kind::RST_STREAM, stream, code::CANCEL);
        let sent = until_judged(&mut client, 2 * FAULTS_MAX, |n| {
            vec![begin(2 * n + 1, call), reset(2 * n + 1)]
        });
        assert!(sent <= FAULTS_MAX, "{sent}");
        assert_eq!(client.verdict(), CALM);
        let ledger = client.server.ledger.clone();
        assert_eq!(ledger.begun.get(), ledger.over.get());
        drop(client);
        assert!(ledger.held.iter().all(|held| held.get() == 0));
    }
}

#[test]
fn resets_never_let_more_calls_run_than_streams_are_allowed() {
    let mut client = client();
    for n in 0..1000 {
        let stream = 2 * n + 1;
        client.send(&ask(stream, Call::Never));
        let ledger = &client.server.ledger;
        assert!(ledger.begun.get() - ledger.over.get() <= STREAMS_MAX as usize);
        if n % 2 == 0 {
            client.send(&[Frame::number(kind::RST_STREAM, stream, code::CANCEL)]);
        }
    }
}

#[test]
fn settings_floods_end_the_connection() {
    let entries: Vec<(u16, u32)> = (0..2400)
        .map(|n| (setting::INITIAL_WINDOW_SIZE, n % 7))
        .collect();
    for settings in [Frame::settings(&[]), Frame::settings(&entries)] {
        let mut client = client();
        let sent = until_judged(&mut client, 4 * SETTINGS_BURST, |_| vec![settings.clone()]);
        assert!(sent <= 2 * SETTINGS_BURST, "{sent}");
        assert_eq!(client.verdict(), CALM);
        let mut client = deaf(&[]);
        client.send(&vec![settings; 2000]);
        assert!(client.server.audit().output <= OUTPUT_BOUND);
    }
}

/// Time that 50 SETTINGS frames of 2,700 entries take beside so many answers that wait.
fn settings_beside(streams: u32) -> Duration {
    let mut client = Client::greeted(Subject::new(10_000), &[(setting::INITIAL_WINDOW_SIZE, 0)]);
    for n in 0..streams {
        client.send(&ask(2 * n + 1, Call::Echo));
    }
    assert_eq!(client.server.audit().streams, streams as usize);
    let entries: Vec<_> = (0..2700)
        .map(|n| (setting::INITIAL_WINDOW_SIZE, n & 1 ^ 1))
        .collect();
    let mut bytes = Vec::new();
    for _ in 0..50 {
        Frame::settings(&entries).write(&mut bytes);
    }
    // past the checker, which does walk all streams
    let begun = Instant::now();
    client.server.feed(&bytes);
    begun.elapsed()
}

#[test]
fn settings_beside_many_streams_cost_as_much_as_beside_one() {
    // each entry once walked all streams: that would be 2,000 times as much
    let (one, many) = (settings_beside(1), settings_beside(2000));
    assert!(
        many < 20 * one + Duration::from_millis(100),
        "{one:?} {many:?}"
    );
}

#[test]
fn empty_names_and_values_leave_nothing_behind() {
    let mut client = client();
    for n in 0..200 {
        let mut bytes = block(&head(Call::Never.path()));
        for _ in 0..500 {
            literal(b"", b"", &mut bytes);
        }
        client.send(&[Frame::new(kind::HEADERS, HEADS, 2 * n + 1, bytes)]);
        assert_eq!(
            (
                client.server.audit().streams,
                client.server.audit().requests.0
            ),
            (0, 0)
        );
    }
    serves(&mut client, 1001);
}

#[test]
fn answers_behind_a_closed_socket_stay_where_they_are() {
    // both windows are open, the socket takes nothing
    let mut client = deaf(&[(setting::INITIAL_WINDOW_SIZE, 1 << 30)]);
    client.send(&[Frame::number(kind::WINDOW_UPDATE, 0, 1 << 30)]);
    for n in 0..STREAMS_MAX {
        client.send(&ask(2 * n + 1, Call::Large));
        sound(&client);
    }
    let audit = client.server.audit();
    assert!(
        audit.answers.0 <= STREAMS_MAX as usize * (LARGE_BYTES + 4096),
        "{audit:?}"
    );
}

#[test]
fn answers_without_room_are_refused() {
    let mut client = Client::greeted(
        Subject::with(STREAMS_MAX, 1 << 20),
        &[(setting::INITIAL_WINDOW_SIZE, 0)],
    );
    for n in 0..STREAMS_MAX {
        client.send(&ask(2 * n + 1, Call::Large));
        let held = client.server.ledger.held[1].get();
        assert!(held <= 1 << 20, "{held}");
    }
    let refused = client
        .seen
        .iter()
        .filter(|f| f.kind == kind::HEADERS && f.has(END));
    assert!(refused.count() > STREAMS_MAX as usize / 2);
    sound(&client);
}

#[test]
fn a_client_that_takes_nothing_is_cut() {
    for settings in [vec![], vec![(setting::INITIAL_WINDOW_SIZE, 0)]] {
        let mut client = deaf(&settings);
        client.send(&ask(1, Call::Large));
        let mut passed = Duration::ZERO;
        while !client.server.closed() && passed < Duration::from_secs(600) {
            client.server.pass(Duration::from_secs(10));
            passed += Duration::from_secs(10);
        }
        assert!(client.server.closed(), "{passed:?}");
    }
}

#[test]
fn empty_frames_are_counted() {
    let mut first = client();
    first.send(&[begin(1, Call::Never)]);
    let sent = until_judged(&mut first, 2 * FAULTS_MAX, |_| {
        vec![Frame::new(kind::DATA, 0, 1, [])]
    });
    assert!(sent <= FAULTS_MAX);
    assert_eq!(first.verdict(), CALM);
    let mut padded = client();
    padded.send(&[begin(1, Call::Never)]);
    let frame = Frame::new(kind::DATA, flag::PADDED, 1, [3, 0, 0, 0]);
    let sent = until_judged(&mut padded, 2 * FAULTS_MAX, |_| vec![frame.clone()]);
    assert!(sent <= FAULTS_MAX);
    assert_eq!(padded.verdict(), CALM);
}

#[test]
fn continuations_without_end_are_counted() {
    // some end the block before their number counts, by what they say
    for (fragment, calm) in [
        (vec![], true),
        (vec![0; 1 << 14], true),
        (vec![0x20_u8; 1], false),
        (vec![0x82; 16], false),
        (block(&[("name", "x".repeat(8000))]), false),
    ] {
        let mut client = client();
        client.send(&[Frame::new(kind::HEADERS, 0, 1, block(&head("/x")))]);
        let go_on = Frame::new(kind::CONTINUATION, 0, 1, fragment);
        let sent = until_judged(&mut client, 100_000, |_| vec![go_on.clone()]);
        assert!(sent as usize <= 2 * HEADER_LIST_BYTES_MAX / 9, "{sent}");
        let verdict = client.verdict();
        assert!(matches!(verdict, Verdict::Connection(_)), "{verdict:?}");
        assert!(!calm || verdict == CALM, "{verdict:?}");
    }
}

#[test]
fn continuations_of_many_connections_are_in_the_budget() {
    let mut client = Client::greeted(Subject::with(STREAMS_MAX, 64 << 10), &[]);
    client.send(&[Frame::new(kind::HEADERS, 0, 1, block(&head("/x")))]);
    for _ in 0..32 {
        client.send(&[Frame::new(kind::CONTINUATION, 0, 1, vec![0x20; 16_000])]);
        let held = client.server.ledger.held[0].get();
        assert!(held <= 64 << 10, "{held}");
    }
}

#[test]
fn one_byte_of_data_a_frame_is_one_byte_held() {
    let mut client = client();
    client.send(&[
        begin(1, Call::Parts),
        Frame::new(kind::DATA, 0, 1, message(&vec![0; 60_000])[..5].to_vec()),
    ]);
    let before = client.server.audit().requests.0;
    for _ in 0..20_000 {
        client.send(&[Frame::new(kind::DATA, 0, 1, [0])]);
    }
    let more = client.server.audit().requests.0 - before;
    assert!(more <= 4 * 20_000, "{more} bytes for 20000");
    sound(&client);
}

#[test]
fn messages_of_nothing_are_charged_for_what_they_take() {
    // an empty message takes memory, too
    let mut client = Client::greeted(
        Subject::with(STREAMS_MAX, 1 << 20),
        &[(setting::INITIAL_WINDOW_SIZE, 0)],
    );
    client.send(&[begin(1, Call::Parts)]);
    let many = message(b"").repeat(3000);
    for _ in 0..100 {
        client.send(&[Frame::new(kind::DATA, 0, 1, many.clone())]);
        assert!(client.server.ledger.held[0].get() <= 1 << 20);
        sound(&client);
    }
}

#[test]
fn an_index_of_a_large_field_unfolds_within_the_bound() {
    // the bomb of HPACK: a field of the table's size, named again and again by one byte
    let mut client = client();
    let mut bytes = block(&head(Call::Never.path()));
    bytes.push(0x40);
    integer(1, 7, 0, &mut bytes);
    bytes.push(b'x');
    integer(4000, 7, 0, &mut bytes);
    bytes.extend([b'y'; 4000]);
    client.send(&[Frame::new(kind::HEADERS, HEADS, 1, bytes)]);
    for n in 1..50 {
        let mut bomb = block(&head(Call::Never.path()));
        bomb.extend(vec![0xbe; 16_000]);
        client.send(&[Frame::new(kind::HEADERS, HEADS, 2 * n + 1, bomb)]);
        let held = client.server.audit().requests.0;
        assert!(held <= 2 * HEADER_LIST_BYTES_MAX, "{held}");
    }
    serves(&mut client, 1001);
}

#[test]
fn a_list_that_is_too_large_leaves_the_tables_alike() {
    // entries of a refused list count for the client's next lists
    let mut client = client();
    let mut large = block(&head(Call::Never.path()));
    for _ in 0..2 * HEADER_LIST_BYTES_MAX / 9000 {
        literal(b"a", &[b'x'; 9000], &mut large);
    }
    large.extend(b"\x40\x0ccontent-type\x10application/grpc");
    let (first, rest) = large.split_at(16_000);
    let mut frames = vec![Frame::new(kind::HEADERS, 0, 1, first)];
    frames.extend(
        rest.chunks(16_000)
            .map(|part| Frame::new(kind::CONTINUATION, 0, 1, part)),
    );
    frames.last_mut().expect("it is long").flags = HEADS;
    client.send(&frames);
    let mut fields = head(Call::Echo.path());
    fields.retain(|(name, _)| *name != "content-type");
    let mut again = block(&fields);
    again.push(0xbe);
    client.send(&[
        Frame::new(kind::HEADERS, HEADS, 3, again),
        Frame::new(kind::DATA, END, 3, message(b"hello")),
    ]);
    assert_eq!(client.of(kind::DATA, 3).len(), 1, "{:?}", client.seen);
}

#[test]
fn integers_of_many_bytes_are_refused() {
    for zeros in [10, 1000, 16_000] {
        let mut client = client();
        let bytes = [&[0xff][..], &vec![0x80; zeros], &[0]].concat();
        client.send(&[Frame::new(kind::HEADERS, HEADS, 1, bytes)]);
        assert_eq!(
            client.verdict(),
            Verdict::Connection(code::COMPRESSION_ERROR)
        );
    }
}

#[test]
fn distinct_names_are_not_remembered() {
    let mut client = client();
    for n in 0..5000 {
        let mut fields = head(Call::Echo.path());
        let name = format!("name-{n}");
        let mut bytes = block(&fields);
        literal(name.as_bytes(), &[b'v'; 500], &mut bytes);
        fields.clear();
        let data = Frame::new(kind::DATA, END, 2 * n + 1, message(b""));
        client.send(&[Frame::new(kind::HEADERS, HEADS, 2 * n + 1, bytes), data]);
        client.seen.clear();
    }
    let audit = client.server.audit();
    assert_eq!((audit.streams, audit.requests.0), (0, 0), "{audit:?}");
    assert_eq!(client.wrong, None);
}

#[test]
fn an_invalid_binary_field_does_not_end_the_connection() {
    let mut client = client();
    let mut bytes = block(&head(Call::Echo.path()));
    literal(b"trace-bin", b"!!not base64!!", &mut bytes);
    client.send(&[
        Frame::new(kind::HEADERS, HEADS, 1, bytes),
        Frame::new(kind::DATA, END, 1, message(b"hello")),
    ]);
    assert!(client.answered(1));
    serves(&mut client, 3);
}

#[test]
fn a_head_is_not_that_of_an_earlier_stream() {
    let mut client = client();
    for n in 0..20 {
        let call = if n % 2 == 0 { Call::Echo } else { Call::Large };
        client.send(&[Frame::number(kind::WINDOW_UPDATE, 0, LARGE_BYTES as u32)]);
        client.send(&ask(2 * n + 1, call));
        client.send(&[Frame::number(
            kind::WINDOW_UPDATE,
            2 * n + 1,
            LARGE_BYTES as u32,
        )]);
        let bytes: usize = client
            .of(kind::DATA, 2 * n + 1)
            .iter()
            .map(|f| f.payload.len())
            .sum();
        assert_eq!(bytes, if n % 2 == 0 { 14 } else { LARGE_BYTES + 5 });
    }
    sound(&client);
}

#[test]
fn streams_that_were_refused_are_not_counted_as_open() {
    let mut client = client();
    for n in 0..2 * STREAMS_MAX {
        let mut large = block(&head(Call::Never.path()));
        for _ in 0..2 * HEADER_LIST_BYTES_MAX / 9000 {
            literal(b"a", &[b'x'; 9000], &mut large);
        }
        let (first, rest) = large.split_at(16_000);
        let mut frames = vec![Frame::new(kind::HEADERS, END, 2 * n + 1, first)];
        frames.extend(
            rest.chunks(16_000)
                .map(|p| Frame::new(kind::CONTINUATION, 0, 2 * n + 1, p)),
        );
        frames.last_mut().expect("it is long").flags = HEADS;
        client.send(&frames);
    }
    assert_eq!(client.server.audit().streams, 0);
    serves(&mut client, 9001);
}

#[test]
fn deadlines_in_mid_message_leave_the_count_right() {
    let mut client = client();
    for n in 0..50 {
        let mut fields = head(Call::Echo.path());
        fields.push(("grpc-timeout", "1S".into()));
        let part = message(&[0; 30_000])[..20_000].to_vec();
        client.send(&[
            Frame::new(kind::HEADERS, HEADS, 2 * n + 1, block(&fields)),
            Frame::new(kind::DATA, 0, 2 * n + 1, part[..10_000].to_vec()),
        ]);
        client.server.pass(Duration::from_secs(2));
        client.listen();
        assert!(client.answered(2 * n + 1));
        client.send(&[Frame::new(
            kind::DATA,
            0,
            2 * n + 1,
            part[10_000..].to_vec(),
        )]);
        sound(&client);
        assert_eq!(client.server.audit().requests.0, 0);
    }
    serves(&mut client, 1001);
}

#[test]
fn a_failed_connection_closes() {
    let mut client = deaf(&[]);
    client.send(&[Frame::new(kind::PING, 0, 0, [0; 3])]);
    client.server.pass(Duration::from_secs(60));
    assert!(client.server.closed());
    assert_eq!(client.server.wakes_in(), None);
}

#[test]
fn a_client_that_stops_in_mid_message_is_answered_and_let_go() {
    let mut client = client();
    client.send(&[
        begin(1, Call::Echo),
        Frame::new(kind::DATA, 0, 1, [0, 0, 0]),
    ]);
    let mut passed = 0;
    while !client.answered(1) && passed < 120 {
        client.server.pass(Duration::from_secs(1));
        client.listen();
        passed += 1;
    }
    assert!(client.answered(1) && passed >= 20, "{passed} s");
    assert_eq!(client.server.audit().streams, 0);
}
