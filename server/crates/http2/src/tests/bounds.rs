//! Tests of the limits on what one client can do to other clients and to the server's memory.

use super::*;
use crate::limits::{OUTPUT_MAX, RESERVE_STEP_BYTES, TURN_CALLS, UNRESERVED_BYTES};

#[test]
fn settings_do_not_affect_the_window_of_an_ended_stream() {
    let mut client = Client::plain();
    client.ask(1, "/never", b"");
    client.number(frame::WINDOW_UPDATE, 1, (1 << 31) - 1 - 65_535);
    client.number(frame::RST_STREAM, 1, 8);
    let mut setting = frame::INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    setting.extend_from_slice(&65_536_u32.to_be_bytes());
    client.send(frame::SETTINGS, 0, 0, &setting);
    assert_eq!(client.all().pop().unwrap().kind, frame::SETTINGS);
}

#[test]
fn small_unread_answers_are_counted() {
    let mut client = Client::greeted(Config::default(), (1 << 31) - 1);
    client.number(frame::WINDOW_UPDATE, 0, (1 << 31) - 1 - 65_535);
    client.ledger.held_max[Resource::Answers as usize].set(1 << 20);
    client.reads = false;
    for n in 0..2000 {
        client.ask(2 * n + 1, "/large", &[0; 3]);
    }
    let audit = client.connection.audit();
    assert!(audit.output <= OUTPUT_BOUND, "{audit:?}");
    assert!(audit.answers.0 <= 2 << 20, "{audit:?}");
    client.reads = true;
    client.turns();
    let ended = client.ledger.ended.borrow().clone();
    let refused = ended.iter().filter(|code| **code == 8).count();
    assert!(
        refused < 2000 && ended.len() == 2000,
        "{refused} of {}",
        ended.len()
    );
}

#[test]
fn a_message_is_counted_until_its_call_has_an_answer() {
    const CALLS: u32 = 2000;
    let message = vec![7; 1 << 10];
    let mut client = Client::plain();
    client.ledger.held_max[Resource::Requests as usize].set(1 << 20);
    for n in 0..CALLS {
        client.ask(2 * n + 1, "/never", &message);
    }
    let running = client.connection.audit();
    assert!(
        (1 << 20..2 << 20).contains(&running.requests.0),
        "{running:?}"
    );
    let ended = client.ledger.ended.borrow().len();
    assert_eq!(
        ended + running.streams,
        CALLS as usize,
        "the other calls are refused"
    );
    // A call that ends frees memory.
    client.number(frame::RST_STREAM, 1, 8);
    let before = client.connection.audit().requests.0;
    client.all();
    client.ask(2 * CALLS + 1, "/echo", &message[..1000]);
    assert_eq!(client.all().len(), 3);
    assert_eq!(client.connection.audit().requests.0, before);
}

#[test]
fn a_message_is_counted_while_its_response_is_streamed() {
    let mut client = Client::greeted(Config::default(), 0);
    for n in 0..100 {
        client.ask(2 * n + 1, "/made", &[7; 1 << 10]);
    }
    let streams = client.connection.audit();
    assert_eq!(streams.streams, 100, "{streams:?}");
    assert!(streams.requests.0 >= 100 << 10, "{streams:?}");
    for n in 0..100 {
        client.number(frame::RST_STREAM, 2 * n + 1, 8);
    }
    assert_eq!(client.connection.audit().requests.0, 0);
}

/// A call that reads a stream can stay open for a long time and takes more memory than a unary call.
#[test]
fn every_call_that_reads_a_stream_is_counted() {
    let mut client = Client::plain();
    let held = |client: &Client| client.ledger.held[Resource::Calls as usize].get();
    client.ask(1, "/never", b"");
    assert_eq!(held(&client), 0);
    client.send(frame::HEADERS, END_HEADERS, 3, &block("/deaf"));
    assert_eq!(held(&client), 1);
    client.number(frame::RST_STREAM, 3, 8);
    assert_eq!(held(&client), 0);
}

/// Sends a message of this size in a request that does not end, so its call never starts.
fn call_with(client: &mut Client, stream: u32, bytes: usize) {
    client.send(frame::HEADERS, END_HEADERS, stream, &block("/never"));
    for part in message(&vec![7; bytes]).chunks(FRAME_SIZE) {
        client.send(frame::DATA, 0, stream, part);
    }
}

#[test]
fn a_refused_step_is_replaced_by_the_missing_bytes() {
    for (bytes, answers) in [(20_000, 0), (40_000, 1)] {
        let mut client = Client::plain();
        client.ledger.held_max[Resource::Requests as usize].set(30_000);
        call_with(&mut client, 1, UNRESERVED_BYTES + bytes);
        assert_eq!(client.ledger.ended.borrow().len(), answers, "{bytes}");
    }
}

#[test]
fn unused_memory_is_released() {
    let mut client = Client::plain();
    call_with(&mut client, 1, UNRESERVED_BYTES);
    call_with(&mut client, 3, 6 * RESERVE_STEP_BYTES);
    client.number(frame::RST_STREAM, 3, 8);
    let held = client.ledger.held[Resource::Requests as usize].get();
    assert!(0 < held && held < 5 * RESERVE_STEP_BYTES, "{held} bytes");
}

#[test]
fn resets_and_pings_are_read_while_an_answer_is_sent() {
    let mut client = Client::greeted(Config::default(), (1 << 31) - 1);
    client.number(frame::WINDOW_UPDATE, 0, (1 << 31) - 1 - 65_535);
    client.reads = false;
    client.ask(1, "/large", &[0; 2000]);
    assert!(client.connection.audit().output >= OUTPUT_MAX);
    client.send(frame::PING, 0, 0, b"are you?");
    client.number(frame::RST_STREAM, 1, 8);
    assert_eq!(client.connection.audit().streams, 0);
    client.reads = true;
    let got = client.all();
    let bytes: usize = got.iter().map(|got| got.payload.len()).sum();
    assert!(bytes <= OUTPUT_BOUND, "{bytes}");
    assert_eq!(got.last().map(|got| got.kind), Some(frame::PING));
}

#[test]
fn a_running_call_is_answered_while_large_answers_are_sent() {
    const LARGE: u32 = 4;
    let mut client = Client::greeted(Config::default(), (1 << 31) - 1);
    client.number(frame::WINDOW_UPDATE, 0, (1 << 31) - 1 - 65_535);
    client.send(frame::HEADERS, END_HEADERS, 1, &block("/parts"));
    client.all();
    let mut bytes: Vec<_> = (1..=LARGE)
        .flat_map(|n| request(2 * n + 1, "/large", &[0; 2000]))
        .collect();
    bytes.extend(frame(frame::DATA, END_STREAM, 1, &message(b"small")));
    client.write(&bytes);
    let got = client.all();
    let end = got.iter().position(|got| got.stream == 1 && got.is_end());
    let before = &got[..end.expect("a response")];
    let bytes: usize = before.iter().map(|got| got.payload.len()).sum();
    // Before the response, each large call takes one turn to run and one turn to send a part of its response.
    let bound = 2 * (LARGE as usize + 1) * OUTPUT_MAX;
    assert!(bytes <= bound, "{bytes} bytes before the response");
}

#[test]
fn a_large_answer_is_sent_while_many_calls_are_answered() {
    const SOCKET_BYTES: usize = 64 << 10;
    let mut client = Client::greeted(Config::default(), (1 << 31) - 1);
    client.number(frame::WINDOW_UPDATE, 0, (1 << 31) - 1 - 65_535);
    client.reads = false;
    client.ask(1, "/large", &[0; 2000]);
    // Start more calls than the socket accepts responses for.
    for round in 0..200 {
        let first = 3 + round * 20;
        let calls = (0..10).flat_map(|n| request(first + 2 * n, "/echo", &[7; 10_000]));
        let calls: Vec<_> = calls.collect();
        client.write(&calls);
        let output = client.connection.output();
        let taken = output[..SOCKET_BYTES.min(output.len())].to_vec();
        client.connection.sent(taken.len());
        client.parse(&taken);
        client.turns();
    }
    let of_large = client.input.iter().filter(|got| got.stream == 1);
    let bytes: usize = of_large.map(|got| got.payload.len()).sum();
    assert!(bytes >= 2000 << 10, "{bytes} bytes of the response");
}

#[test]
fn a_response_produced_during_sending_counts_from_the_start() {
    const KIB: usize = 2000;
    let mut client = Client::plain();
    client.ask(1, "/made", &[0; KIB - 5]);
    let (held, _) = client.connection.audit().answers;
    assert!(held > (KIB << 10) - OUTPUT_MAX, "{held} bytes");
    client.number(frame::WINDOW_UPDATE, 0, 1 << 20);
    client.number(frame::WINDOW_UPDATE, 1, 1 << 20);
    client.all();
    let (rest, _) = client.connection.audit().answers;
    assert!(rest <= held - (1 << 20), "{rest} bytes");
    client.ledger.held_max[Resource::Answers as usize].set(2 * held);
    client.ask(3, "/made", &[0; 2 * KIB]);
    assert_eq!(*client.ledger.ended.borrow(), [8], "exceeds the budget");
    client.number(frame::WINDOW_UPDATE, 0, 1 << 20);
    client.number(frame::WINDOW_UPDATE, 1, 1 << 20);
    client.all();
    assert_eq!(*client.ledger.ended.borrow(), [8, 0]);
    assert_eq!(client.connection.audit().answers.0, 0);
}

#[test]
fn unread_acknowledgments_are_bounded() {
    let mut client = Client::plain();
    client.ask(1, "/never", b"");
    client.reads = false;
    let echo = request(3, "/echo", b"");
    client.write(&echo);
    // Responses reset the number of early pings.
    let mut stream = 5;
    for _ in 0..2000 {
        let mut batch = frame(frame::PING, 0, 0, b"12345678").repeat(2);
        batch.extend(request(stream, "/echo", b""));
        stream += 2;
        client.write(&batch);
    }
    assert!(!client.unsent.is_empty() || client.connection.is_closed());
    assert!(client.connection.audit().output <= 2 * OUTPUT_MAX + 1024);
}

#[test]
fn unfinished_messages_of_streams_are_counted() {
    let mut client = Client::plain();
    client.ledger.held_max[Resource::Requests as usize].set(4 << 20);
    let mut sent = 0;
    for n in 0..40 {
        let stream = 2 * n + 1;
        let mut frames = frame(frame::HEADERS, END_HEADERS, stream, &block("/parts"));
        frames.extend(frame(frame::DATA, 0, stream, &[0, 0, 16, 0, 0]));
        for _ in 0..15 {
            frames.extend(frame(frame::DATA, 0, stream, &[7; FRAME_SIZE]));
        }
        sent += 15 * FRAME_SIZE;
        client.write(&frames);
        assert!(client.connection.audit().requests.0 <= 5 << 20);
    }
    assert!(sent > 2 * (4 << 20));
    assert!(client.ledger.ended.borrow().contains(&8));
}

#[test]
fn messages_that_their_call_does_not_take_keep_the_window_closed() {
    let mut client = Client::plain();
    client.send(frame::HEADERS, END_HEADERS, 1, &block("/deaf"));
    // The charge for a message includes an overhead.
    let empty = frame(frame::DATA, 0, 1, &[0; 5 * 3000]).repeat(10);
    client.write(&empty);
    let (held, _) = client.connection.audit().requests;
    assert!(held >= 30_000 * 96, "{held}");
    let opened = client.all().into_iter().any(|got| got.stream == 1);
    assert!(!opened, "the window must stay closed");
}

#[test]
fn a_message_larger_than_the_window_is_delivered() {
    let mut client = Client::plain();
    client.send(frame::HEADERS, END_HEADERS, 1, &block("/parts"));
    let large = message(&vec![7; 3 << 20]);
    for (n, part) in large.chunks(FRAME_SIZE).enumerate() {
        let end = (n + 1) * FRAME_SIZE >= large.len();
        client.send(frame::DATA, if end { END_STREAM } else { 0 }, 1, part);
    }
    // The response waits for the windows.
    assert_eq!(*client.ledger.received.borrow(), [3 << 20]);
    client.number(frame::WINDOW_UPDATE, 0, 8 << 20);
    client.number(frame::WINDOW_UPDATE, 1, 8 << 20);
    assert!(client.all().last().is_some_and(ReceivedFrame::is_end));
    assert_eq!(*client.ledger.ended.borrow(), [0]);
}

#[test]
fn a_turn_is_bounded_regardless_of_the_input() {
    let mut client = Client::plain();
    let pings = frame(0x42, 0, 0, b"").repeat(100_000);
    let taken = client.connection.receive(client.now, &pings);
    assert!(taken < pings.len() / 4, "{taken} of {}", pings.len());
    assert!(!client.connection.wants_input());
    client.connection.run(client.now);
    assert!(client.connection.wants_input());
}

#[test]
fn a_turn_produces_few_large_responses() {
    for path in ["/large", "/made"] {
        let mut client = Client::greeted(Config::default(), (1 << 31) - 1);
        let calls: Vec<u8> = (0..20)
            .flat_map(|n| request(2 * n + 1, path, &[0; 1000]))
            .collect();
        let taken = client.connection.receive(client.now, &calls);
        client.connection.run(client.now);
        let (held, _) = client.connection.audit().answers;
        assert!(held <= 2 * (1000 << 10), "{held} bytes");
        // All calls are eventually answered.
        client.unsent = calls[taken..].to_vec();
        client.number(frame::WINDOW_UPDATE, 0, 64 << 20);
        client.turns();
        assert_eq!(*client.ledger.ended.borrow(), [0; 20]);
    }
}

#[test]
fn waiting_input_is_processed_although_nothing_can_be_sent() {
    // The streams' windows are open, but the first response uses up the connection's window.
    let mut client = Client::greeted(Config::default(), (1 << 31) - 1);
    let large = message(&[0; 80_000]);
    for stream in [1, 3] {
        client.send(frame::HEADERS, END_HEADERS, stream, &block("/parts"));
        for part in large.chunks(FRAME_SIZE) {
            client.send(frame::DATA, 0, stream, part);
        }
        assert!(client.connection.wants_input(), "stream {stream}");
    }
}

#[test]
fn refusals_before_the_client_knows_the_limit_are_not_faults() {
    let config = Config { streams_max: 10, ..Config::default() };
    let mut client = Client::new(config);
    let mut hello = PREFACE.to_vec();
    frame::settings(&mut hello, &[]);
    client.write(&hello);
    let settings = client.next();
    let announced = settings
        .payload
        .chunks(6)
        .any(|entry| entry == [0, 3, 0, 0, 0, 10]);
    assert!(announced, "{settings:?}");
    let refused = |client: &mut Client| {
        client
            .all()
            .iter()
            .filter(|got| got.kind == frame::RST_STREAM)
            .inspect(|got| assert_eq!(got.number(), Reason::Refused as u32))
            .count()
    };
    for n in 0..10_000 {
        client.send(frame::HEADERS, END_HEADERS, 2 * n + 1, &block("/never"));
    }
    assert_eq!(refused(&mut client), 9990);
    assert_eq!(client.connection.audit().faults, 0);
    client.send(frame::SETTINGS, ACK, 0, b"");
    client.send(frame::HEADERS, END_HEADERS, 20_001, &block("/never"));
    assert_eq!(refused(&mut client), 1);
    assert_eq!(client.connection.audit().faults, 1);
}

#[test]
fn a_large_header_list_is_accepted_and_a_larger_list_gets_an_error() {
    let field = |bytes: usize| {
        let mut field = b"\x00\x01x\x7f".to_vec();
        let mut left = bytes - 0x7f;
        while left >= 0x80 {
            field.push((left % 0x80) as u8 | 0x80);
            left /= 0x80;
        }
        field.push(left as u8);
        field.extend(vec![b'y'; bytes]);
        field
    };
    let send = |client: &mut Client, stream, block: &[u8]| {
        let mut parts = block.chunks(FRAME_SIZE).peekable();
        let mut kind = frame::HEADERS;
        while let Some(part) = parts.next() {
            let last = if parts.peek().is_none() {
                END_HEADERS
            } else {
                0
            };
            client.send(kind, last, stream, part);
            kind = frame::CONTINUATION;
        }
        if !client.connection.is_closed() {
            client.send(frame::DATA, END_STREAM, stream, &message(b"x"));
        }
    };
    let mut client = Client::plain();
    send(&mut client, 1, &[block("/echo"), field(20_000)].concat());
    assert!(client.all().iter().any(ReceivedFrame::is_end));
    send(&mut client, 3, &[block("/echo"), field(70_000)].concat());
    let got = client.answer();
    assert_eq!((got.kind, got.stream), (frame::HEADERS, 3));
    assert!(got.payload.ends_with(b"431"), "{got:?}");
}

#[test]
fn frames_in_transit_for_an_ended_call_are_ignored() {
    let mut client = Client::plain();
    client.send(frame::HEADERS, END_HEADERS, 1, &block("/echo"));
    client.send(frame::DATA, 0, 1, b"\0\xff\0\0\0");
    client.all();
    // This frame was already in transit when the response was sent.
    client.send(frame::DATA, 0, 1, &[0; 1000]);
    client.send(frame::DATA, END_STREAM, 1, &[0; 1000]);
    assert_eq!(client.try_next(), None);
    // DATA after the stream's end was not in transit.
    client.send(frame::DATA, 0, 1, &[0; 1000]);
    assert_eq!(client.disconnected(), Reason::StreamClosed as u32);
}

#[test]
fn headers_on_ended_and_on_unused_streams_are_distinguished() {
    for (stream, reason) in [(1, Reason::StreamClosed), (3, Reason::Protocol)] {
        let mut client = Client::plain();
        for used in [1, 5] {
            client.ask(used, "/echo", b"");
        }
        client.all();
        let flags = END_HEADERS | END_STREAM;
        client.send(frame::HEADERS, flags, stream, &block("/echo"));
        assert_eq!(client.disconnected(), reason as u32, "stream {stream}");
    }
}

#[test]
fn a_body_must_match_its_content_length() {
    for (length, reason) in [
        ("9", None),
        ("10", Some(Reason::Protocol)),
        ("8", Some(Reason::Protocol)),
    ] {
        let mut client = Client::plain();
        let head = [block("/echo"), literal("content-length", length)].concat();
        client.send(frame::HEADERS, END_HEADERS, 1, &head);
        client.send(frame::DATA, END_STREAM, 1, &message(b"1234"));
        let last = client.all().pop().unwrap();
        match reason {
            None => assert!(last.is_end()),
            Some(reason) => assert_eq!(
                (last.kind, last.number()),
                (frame::RST_STREAM, reason as u32)
            ),
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_disconnected() {
    let mut client = Client::greeted(Config::default(), 0);
    client.ask(1, "/large", &[0; 64]);
    for _ in 0..6 {
        client.wait(Duration::from_secs(10));
        assert!(!client.connection.is_closed());
    }
    client.wait(Duration::from_secs(10));
    assert_eq!(client.disconnected(), Reason::Calm as u32);
}

#[test]
fn a_message_that_arrives_too_slowly_is_refused() {
    let mut client = Client::plain();
    client.send(frame::HEADERS, END_HEADERS, 1, &block("/echo"));
    client.send(frame::DATA, 0, 1, b"\0\0\0\x01\0");
    client.wait(Duration::from_secs(29));
    assert_eq!(client.try_next(), None);
    client.wait(Duration::from_secs(11));
    assert!(client.next().is_end());
    assert_eq!(*client.ledger.ended.borrow(), [4]);
    // Each message of a stream has its own time limit, and no message is required.
    let mut client = Client::plain();
    client.send(frame::HEADERS, END_HEADERS, 1, &block("/parts"));
    client.wait(Duration::from_secs(3600));
    client.send(frame::DATA, 0, 1, &[message(b"one"), vec![0, 0]].concat());
    client.wait(Duration::from_secs(29));
    assert!(client.ledger.ended.borrow().is_empty());
    client.wait(Duration::from_secs(11));
    assert_eq!(*client.ledger.ended.borrow(), [4]);
}

#[test]
fn an_ended_stream_leaves_the_send_queue() {
    let mut client = Client::greeted(Config::default(), 1 << 20);
    // Use up the connection's window.
    client.ask(1, "/large", &[0; 64]);
    let head = [block("/large"), literal("grpc-timeout", "1m")].concat();
    for n in 1..3000 {
        client.send(frame::HEADERS, END_HEADERS, 2 * n + 1, &head);
        client.send(frame::DATA, END_STREAM, 2 * n + 1, &message(b"12"));
        client.wait(Duration::from_millis(1));
    }
    let audit = client.connection.audit();
    assert!(audit.send_queue <= 2 * audit.streams + 100, "{audit:?}");
}

#[test]
fn the_lists_of_streams_shrink_when_they_are_empty() {
    const CALLS: u32 = 3000;
    let capacity = |client: &Client| client.connection.audit().lists_capacity;
    // The output is full, so most calls wait to be polled.
    let mut ready = Client::greeted(Config::default(), 1 << 20);
    ready.number(frame::WINDOW_UPDATE, 0, 1 << 30);
    ready.reads = false;
    // All calls but the first wait for the connection's window.
    let mut queued = Client::greeted(Config::default(), 1 << 20);
    queued.ask(1, "/large", &[0; 64]);
    for n in 1..CALLS {
        ready.ask(2 * n + 1, "/large", &[0; 3]);
        queued.ask(2 * n + 1, "/large", &[0; 3]);
    }
    for client in [&ready, &queued] {
        assert!(capacity(client) > 4 * TURN_CALLS, "{}", capacity(client));
    }
    ready.reads = true;
    ready.turns();
    queued.number(frame::WINDOW_UPDATE, 0, 1 << 30);
    for client in [&ready, &queued] {
        assert_eq!(client.connection.audit().streams, 0);
        assert!(capacity(client) <= 4 * TURN_CALLS, "{}", capacity(client));
    }
}

#[test]
fn a_call_that_wakes_often_is_listed_once() {
    let mut client = Client::plain();
    client.send(frame::HEADERS, END_HEADERS, 1, &block("/parts"));
    client.all();
    let before = client.woken.0.load(Ordering::SeqCst);
    let many = frame(frame::DATA, 0, 1, &message(b"m")).repeat(100);
    let taken = client.connection.receive(client.now, &many);
    assert_eq!(taken, many.len());
    let woken = client.woken.0.load(Ordering::SeqCst) - before;
    assert!((1..=2).contains(&woken), "{woken}");
}

#[test]
fn requests_that_are_not_calls_are_refused() {
    for (name, value, code) in [
        (":method", "GET", "405"),
        ("grpc-timeout", "5x", "400"),
        ("grpc-encoding", "snappy", "UnknownEncoding"),
    ] {
        let mut client = Client::plain();
        let mut head = block("/echo");
        if name == ":method" {
            // Replace the method POST with GET.
            head[0] = 0x82;
        } else {
            head.extend(literal(name, value));
        }
        client.send(frame::HEADERS, END_HEADERS | END_STREAM, 1, &head);
        let got = client.next();
        assert!(got.is_end(), "{name}: {got:?}");
        let text = String::from_utf8_lossy(&got.payload).into_owned();
        assert!(
            text.contains(code) && text.contains("grpc-status"),
            "{name}: {text}"
        );
    }
}
