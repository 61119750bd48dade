//! Known attacks on HTTP/2 servers since 2019 and their maximum effect on a connection. `server/crates/http2/docs/cve.md` maps
//! attacks to tests. A repeated attack is in `floods` if it must end the connection, and in `trifles` if it must not.

use std::time::{Duration, Instant};

use witan_http2::limits::{FAULTS_MAX, HEADER_LIST_BYTES_MAX};
use witan_http2_tests::{
    calls::{Call, LARGE_BYTES},
    conversation::{OUTPUT_BOUND, sound},
    frame::{Frame, block, code, flag, head, integer, kind, literal, message, setting},
    server::{Client, Server as _, Verdict},
    subject::Subject,
};

const HEADS: u8 = flag::END_HEADERS;
const END: u8 = flag::END_STREAM;
const STREAMS_MAX: u32 = 100;

fn client() -> Client<Subject> {
    Client::greeted(Subject::new(STREAMS_MAX), &[])
}

fn begin(stream: u32, call: Call) -> Frame {
    Frame::new(kind::HEADERS, HEADS, stream, block(&head(call.path())))
}

fn ask(stream: u32, call: Call) -> [Frame; 2] {
    let data = Frame::new(kind::DATA, END, stream, message(b"a message"));
    [begin(stream, call), data]
}

/// Checks that the connection still serves calls.
fn serves(client: &mut Client<Subject>, stream: u32) {
    client.send(&ask(stream, Call::Echo));
    assert!(client.answered(stream), "{:?}", client.seen.last());
    assert_eq!(client.wrong, None);
}

/// Frames that are sent repeatedly. Each repetition uses the next stream if the frames open one.
struct Repeated {
    what: &'static str,
    /// Frames that are sent once, before the repetitions.
    first: Vec<Frame>,
    again: Box<dyn Fn(u32) -> Vec<Frame>>,
    times: u32,
}

fn repeated(
    what: &'static str,
    first: Vec<Frame>,
    times: u32,
    again: impl Fn(u32) -> Vec<Frame> + 'static,
) -> Repeated {
    Repeated { what, first, again: Box::new(again), times }
}

/// Returns a header list that exceeds the limit, in as many frames as necessary.
fn large_list(stream: u32, end: &[u8]) -> Vec<Frame> {
    let mut large = block(&head(Call::Never.path()));
    for _ in 0..2 * HEADER_LIST_BYTES_MAX / 9000 {
        literal(b"a", &[b'x'; 9000], &mut large);
    }
    large.extend(end);
    let (first, rest) = large.split_at(16_000);
    let mut frames = vec![Frame::new(kind::HEADERS, END, stream, first)];
    let parts = rest.chunks(16_000);
    frames.extend(parts.map(|part| Frame::new(kind::CONTINUATION, 0, stream, part)));
    frames.last_mut().expect("it is long").flags = HEADS;
    frames
}

/// Returns attacks that end the connection after a maximum number of repetitions, with the error code if it is always the same.
fn floods() -> Vec<(Repeated, Option<u32>)> {
    const CALM: Option<u32> = Some(code::ENHANCE_YOUR_CALM);
    let continued = 2 * HEADER_LIST_BYTES_MAX as u32 / 9;
    let no_request = |stream| Frame::new(kind::HEADERS, HEADS, stream, block(&[("a", "b")]));
    let malformed = move |n: u32| vec![no_request(2 * n + 1)];
    let row = repeated("malformed requests", vec![], FAULTS_MAX, malformed);
    let mut rows = vec![(row, CALM)];
    for call in [Call::Never, Call::Parts, Call::Large] {
        let reset = |stream| Frame::number(kind::RST_STREAM, stream, code::CANCEL);
        let again = move |n: u32| vec![begin(2 * n + 1, call), reset(2 * n + 1)];
        rows.push((repeated("rapid resets", vec![], FAULTS_MAX, again), CALM));
    }
    // MadeYouReset: each of these frames makes the server reset a stream.
    let provocations: [fn(u32) -> Frame; 4] = [
        |stream| Frame::number(kind::WINDOW_UPDATE, stream, (1 << 31) - 1),
        |stream| Frame::new(kind::HEADERS, HEADS, stream, block(&[("a", "b")])),
        |stream| Frame::new(kind::PRIORITY, 0, stream, [0; 4]),
        |stream| Frame::new(kind::HEADERS, HEADS | END, stream, block(&[(":path", "/")])),
    ];
    for provoke in provocations {
        let again = move |n: u32| vec![begin(2 * n + 1, Call::Never), provoke(2 * n + 1)];
        rows.push((repeated("provoked resets", vec![], FAULTS_MAX, again), None));
    }
    // Some fragments are invalid and end the connection before their count does.
    for (fragment, code) in [
        (vec![], CALM),
        (vec![0; 1 << 14], CALM),
        (vec![0x20_u8; 1], None),
        (vec![0x82; 16], None),
        (block(&[("name", "x".repeat(8000))]), None),
    ] {
        let first = vec![Frame::new(kind::HEADERS, 0, 1, block(&head("/x")))];
        let frame = Frame::new(kind::CONTINUATION, 0, 1, fragment);
        let again = move |_: u32| vec![frame.clone()];
        rows.push((repeated("CONTINUATION", first, continued, again), code));
    }
    rows
}

/// Repeats the frames once more often than a flood may last. `appetite` is the number of bytes that the client reads before the
/// end.
fn send_flood(row: &Repeated, appetite: usize) -> Client<Subject> {
    let mut client = client();
    client.server.appetite = appetite;
    client.send(&row.first);
    for n in 0..=row.times {
        client.send(&(row.again)(n));
        client.seen.retain(|frame| frame.kind == kind::GOAWAY);
        let audit = client.server.audit();
        assert!(audit.output <= OUTPUT_BOUND, "{}: {audit:?}", row.what);
        if client.server.closed() || !client.seen.is_empty() {
            break;
        }
        assert!(audit.streams <= 1, "{}: {audit:?}", row.what);
        let ledger = &client.server.ledger;
        let running = ledger.begun.get() - ledger.over.get();
        assert!(running <= audit.streams, "{}: {running} calls", row.what);
    }
    client
}

#[test]
fn floods_end_the_connection() {
    for (row, code) in floods() {
        // The server may buffer the answers to this attack.
        let is_answered = row.what == "malformed requests";
        let appetites = if is_answered {
            &[usize::MAX, 0][..]
        } else {
            &[usize::MAX]
        };
        for appetite in appetites {
            let mut client = send_flood(&row, *appetite);
            client.server.appetite = usize::MAX;
            client.listen();
            client.server.run();
            client.listen();
            client.seen.retain(|frame| frame.kind == kind::GOAWAY);
            let (what, verdict) = (row.what, client.verdict());
            match code {
                Some(code) => assert_eq!(verdict, Verdict::Connection(code), "{what}"),
                None => assert!(matches!(verdict, Verdict::Connection(_)), "{what}"),
            }
            let ledger = client.server.ledger.clone();
            drop(client);
            assert_eq!(ledger.begun.get(), ledger.over.get(), "{what}");
            assert!(ledger.held.iter().all(|held| held.get() == 0), "{what}");
        }
    }
}

/// Returns attacks that the server tolerates this number of times.
fn trifles() -> Vec<Repeated> {
    let mut empty = Vec::new();
    (0..500).for_each(|_| literal(b"", b"", &mut empty));
    let entries: Vec<(u16, u32)> = (0..2400)
        .map(|n| (setting::INITIAL_WINDOW_SIZE, 65_535 - n % 7))
        .collect();
    let settings = Frame::settings(&entries);
    vec![
        repeated("SETTINGS", vec![], 20_000, |_| vec![Frame::settings(&[])]),
        repeated("SETTINGS", vec![], 200, move |_| vec![settings.clone()]),
        repeated("empty DATA", vec![], 10, |n| {
            let [begin, data] = ask(2 * n + 1, Call::Echo);
            let empty = Frame::new(kind::DATA, flag::PADDED, 2 * n + 1, [3, 0, 0, 0]);
            [vec![begin], vec![empty; 5000], vec![data]].concat()
        }),
        repeated("PRIORITY", vec![], 20_000, |n| {
            let parent = (n * 7919 % 20_000) << 1;
            let payload = [&parent.to_be_bytes()[..], &[n as u8]].concat();
            vec![Frame::new(kind::PRIORITY, 0, 2 * n + 1, payload)]
        }),
        repeated("WINDOW_UPDATE", vec![], 20_000, |_| {
            vec![Frame::number(kind::WINDOW_UPDATE, 0, 1)]
        }),
        repeated("empty names and values", vec![], 200, move |n| {
            let bytes = [&block(&head(Call::Never.path()))[..], &empty].concat();
            vec![Frame::new(kind::HEADERS, HEADS, 2 * n + 1, bytes)]
        }),
        repeated("lists that are too large", vec![], 200, |n| {
            large_list(2 * n + 1, b"")
        }),
        repeated("distinct names", vec![], 5000, |n| {
            let mut bytes = block(&head(Call::Echo.path()));
            literal(format!("name-{n}").as_bytes(), &[b'v'; 500], &mut bytes);
            let data = Frame::new(kind::DATA, END, 2 * n + 1, message(b""));
            vec![Frame::new(kind::HEADERS, HEADS, 2 * n + 1, bytes), data]
        }),
    ]
}

#[test]
fn trifles_leave_nothing_behind() {
    for row in trifles() {
        let mut client = client();
        for n in 0..row.times {
            client.send(&(row.again)(n));
            client.seen.clear();
        }
        let audit = client.server.audit();
        assert_eq!(
            (audit.streams, audit.requests.0),
            (0, 0),
            "{}: {audit:?}",
            row.what
        );
        serves(&mut client, 2 * row.times + 1);
        sound(&client);
    }
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

/// Returns the time that 50 SETTINGS frames with 2,700 entries take while `streams` answers wait.
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
    // Bypass the checker, which visits all streams.
    let begun = Instant::now();
    client.server.feed(&bytes);
    begun.elapsed()
}

#[test]
fn the_cost_of_settings_does_not_depend_on_open_streams() {
    // Visiting all streams for each entry would take 2,000 times as long.
    let (one, many) = (settings_beside(1), settings_beside(2000));
    assert!(
        many < 20 * one + Duration::from_millis(100),
        "{one:?} {many:?}"
    );
}

#[test]
fn continuations_of_many_connections_count_in_the_budget() {
    let mut client = Client::greeted(Subject::with(STREAMS_MAX, 64 << 10), &[]);
    client.send(&[Frame::new(kind::HEADERS, 0, 1, block(&head("/x")))]);
    // The budget and the free bytes are used up before the limit of one block.
    for _ in 0..7 {
        assert_eq!(client.verdict(), Verdict::Fine);
        client.send(&[Frame::new(kind::CONTINUATION, 0, 1, vec![0x20; 16_000])]);
    }
    assert_eq!(
        client.verdict(),
        Verdict::Connection(code::ENHANCE_YOUR_CALM)
    );
}

#[test]
fn a_frame_with_one_byte_of_data_holds_one_byte() {
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
fn references_to_a_large_field_expand_within_the_limit() {
    // HPACK bomb: one byte refers repeatedly to a field as large as the table.
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
fn a_refused_list_keeps_both_tables_in_sync() {
    // Entries of a refused list stay in the table for the client's next lists.
    let mut client = client();
    client.send(&large_list(1, b"\x40\x0ccontent-type\x10application/grpc"));
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
fn a_deadline_inside_a_message_keeps_the_counts_correct() {
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
    let mut client = client();
    client.server.appetite = 0;
    client.send(&[Frame::new(kind::PING, 0, 0, [0; 3])]);
    client.server.pass(Duration::from_secs(60));
    assert!(client.server.closed());
    assert_eq!(client.server.wakes_in(), None);
}
