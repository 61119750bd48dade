//! Tests of requests that are not gRPC.

use super::*;
use crate::limits::UNRESERVED_BYTES;

fn begin(client: &mut Client, stream: u32, path: &str) {
    let block = head(path, "content-type", "text/plain");
    client.send(frame::HEADERS, END_HEADERS, stream, &block);
}

#[test]
fn content_is_passed_on_as_it_arrives_and_is_not_counted_as_a_call() {
    let mut client = Client::plain();
    begin(&mut client, 1, "/content");
    let got = client.answer();
    assert_eq!((got.kind, got.flags), (frame::HEADERS, END_HEADERS));
    // The content has no message prefix, and the response has no gRPC status.
    for part in [&b"a"[..], b"", b"\xff\xff\xff\xff\xff\xff"] {
        client.send(frame::DATA, 0, 1, part);
        if !part.is_empty() {
            let got = client.answer();
            assert_eq!((got.kind, got.payload.as_slice()), (frame::DATA, part));
        }
    }
    client.send(frame::DATA, END_STREAM, 1, b"end");
    assert_eq!(client.answer().payload, b"end");
    let got = client.answer();
    assert!(got.is_end() && got.kind == frame::DATA, "{got:?}");
    let ledger = &client.ledger;
    assert_eq!((ledger.begun.get(), ledger.sent.get()), (0, 0));
    assert_eq!(client.connection.audit().streams, 0);
}

#[test]
fn content_larger_than_the_windows_is_delivered() {
    let mut client = Client::greeted(Config::default(), (1 << 31) - 1);
    client.number(frame::WINDOW_UPDATE, 0, (1 << 31) - 1 - 65_535);
    begin(&mut client, 1, "/content");
    let part = vec![b'x'; FRAME_SIZE];
    let mut echoed = 0;
    for _ in 0..4 * WINDOW_BYTES as usize / FRAME_SIZE {
        client.send(frame::DATA, 0, 1, &part);
        let got = client.all().into_iter();
        let data = got.filter(|got| got.kind == frame::DATA);
        echoed += data.map(|got| got.payload.len()).sum::<usize>();
    }
    assert_eq!(echoed, 4 * WINDOW_BYTES as usize);
}

#[test]
fn a_response_ends_although_its_trailers_have_no_fields() {
    let mut client = Client::plain();
    let block = head("/bare", "content-type", "text/plain");
    client.send(frame::HEADERS, END_HEADERS | END_STREAM, 1, &block);
    assert_eq!(client.answer().kind, frame::HEADERS);
    let got = client.answer();
    assert!(got.is_end() && got.kind == frame::DATA, "{got:?}");
    assert_eq!(client.connection.audit().streams, 0);
}

#[test]
fn a_client_that_expects_status_100_gets_it() {
    let mut client = Client::plain();
    let block = head("/content", "expect", "100-continue");
    client.send(frame::HEADERS, END_HEADERS, 1, &block);
    let [early, late] = [client.answer(), client.answer()];
    assert_eq!([early.kind, late.kind], [frame::HEADERS; 2]);
    assert_eq!(
        (early.flags, early.payload.as_slice()),
        (END_HEADERS, b"\x08\x03100".as_slice())
    );
}

#[test]
fn a_response_that_cannot_be_completed_is_reset() {
    let mut client = Client::plain();
    begin(&mut client, 1, "/broken");
    assert_eq!(client.answer().kind, frame::HEADERS);
    let got = client.answer();
    let internal = (Reason::Internal as u32).to_be_bytes();
    assert_eq!(
        (got.kind, got.payload.as_slice()),
        (frame::RST_STREAM, &internal[..])
    );
    // Content that is still in transit is ignored.
    client.send(frame::DATA, END_STREAM, 1, b"more");
    client.ask(3, "/echo", b"");
    assert_eq!(client.answer().stream, 3);
}

#[test]
fn requests_that_exceed_the_budget_are_reset() {
    let mut client = Client::plain();
    client.ledger.held_max[Resource::Requests as usize].set(0);
    // The client does not read, so the response soon stops, and the content of the request accumulates.
    client.reads = false;
    begin(&mut client, 1, "/content");
    for _ in 0..2 * crate::limits::OUTPUT_MAX / 1024 {
        client.send(frame::DATA, 0, 1, &[0; 1024]);
    }
    for _ in 0..UNRESERVED_BYTES / 1024 {
        client.send(frame::DATA, 0, 1, &[0; 1024]);
    }
    client.reads = true;
    let got = client.all();
    let reset = got.iter().find(|got| got.kind == frame::RST_STREAM);
    assert_eq!(reset.expect("a reset").number(), Reason::Calm as u32);
    assert_eq!(client.connection.audit().streams, 0);
}
