//! Derives a conversation with the HTTP/2 code from bytes and checks its invariants. The fuzzer uses it.

use crate::{
    frame::{Frame, PREFACE},
    script::{Choices, Reach, Step, Writer},
    server::{Client, Server as _},
    subject::Subject,
};

/// Maximum number of a client's streams.
const STREAMS_MAX: u32 = 12;

/// Number of bytes of each kind that the service grants. It is low enough for refusals.
const BUDGET: usize = 400_000;

const STEPS_MAX: usize = 200;

/// Maximum size of the output in bytes. Calls and acknowledgments each stop at a bound, which one step may exceed.
pub const OUTPUT_BOUND: usize = 2 * witan_http2::limits::OUTPUT_MAX + (128 << 10);

/// Maximum number of request bytes in all windows, with the overhead of the messages.
const REQUESTS_BOUND: usize = 8 << 20;

/// Runs a conversation. Panics if an invariant is violated.
pub fn hold(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut client = Client::new(Subject::with(STREAMS_MAX, BUDGET));
    let mut greeting = PREFACE.to_vec();
    Frame::settings(&[]).write(&mut greeting);
    client.raw(&greeting);
    let mut writer = Writer::new(Reach::All);
    for _ in 0..STEPS_MAX {
        if choices.is_empty() || client.server.closed() {
            break;
        }
        match writer.step(&mut choices) {
            Step::Send(frames) => client.send(&frames),
            Step::Raw(bytes) => client.raw(&bytes),
            Step::Pass(time) => client.server.pass(time),
            Step::Take(None) => client.server.appetite = usize::MAX,
            Step::Take(Some(more)) => client.server.appetite = more,
            Step::ShutDown => client.server.shut_down(),
        }
        client.listen();
        bounded(&client);
    }
    end(client);
}

/// Checks that no frame was wrong, that the counts are correct sums, and that the output is within its bound.
pub fn sound(client: &Client<Subject>) {
    assert_eq!(client.wrong, None, "the server's frames");
    let audit = client.server.audit();
    for (counted, sum) in [audit.requests, audit.answers, audit.calls, audit.deadlines] {
        assert_eq!(counted, sum, "{audit:?}");
    }
    assert!(audit.output <= OUTPUT_BOUND, "{audit:?}");
}

/// Like [`sound`]. Also checks the bounds of a conversation.
fn bounded(client: &Client<Subject>) {
    sound(client);
    let audit = client.server.audit();
    assert!(audit.requests.0 <= REQUESTS_BOUND, "{audit:?}");
    assert!(audit.streams <= STREAMS_MAX as usize, "{audit:?}");
    assert!(audit.send_queue <= 2 * audit.streams + 64, "{audit:?}");
    let window = i64::from(witan_http2::limits::WINDOW_BYTES);
    assert!(audit.receive_window <= window, "{audit:?}");
    let ledger = &client.server.ledger;
    let running = ledger.begun.get() - ledger.over.get();
    assert!(running <= audit.streams, "{running} calls of {audit:?}");
    assert!(ledger.ended.get() <= ledger.over.get());
    assert!(ledger.held.iter().all(|held| held.get() <= BUDGET));
}

/// Checks that each call ends exactly once and releases its resources.
fn end(mut client: Client<Subject>) {
    client.server.appetite = usize::MAX;
    client.listen();
    bounded(&client);
    let ledger = client.server.ledger.clone();
    drop(client);
    assert_eq!(
        ledger.begun.get(),
        ledger.over.get(),
        "each call ends exactly once"
    );
    let held: Vec<usize> = ledger.held.iter().map(std::cell::Cell::get).collect();
    assert_eq!(held, [0, 0, 0], "all resources are released");
}
