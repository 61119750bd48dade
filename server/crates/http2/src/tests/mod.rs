//! Tests a connection from the client's side, with hand-written frames and simulated time, and without a socket.

use std::{
    collections::VecDeque,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use crate::{
    Config, Connection, KeepAlive, PREFACE, Resource,
    connection::{KEEP_ALIVE, SHUTTING_DOWN},
    frame::{self, ACK, END_HEADERS, END_STREAM, FRAME_SIZE, Frame, HEAD_BYTES, Reason},
    limits::WINDOW_BYTES,
};

mod bounds;
mod driven;
mod hostile;
mod plain;
mod stub;

use stub::Ledger;
pub(crate) use stub::Stub;

/// Counts how often the connection was woken.
#[derive(Debug, Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Client {
    connection: Connection<Stub>,
    ledger: Rc<Ledger>,
    now: Instant,
    /// Sent bytes that the server has not processed yet.
    unsent: Vec<u8>,
    input: VecDeque<ReceivedFrame>,
    unparsed: Vec<u8>,
    /// Whether the client reads the server's output.
    reads: bool,
    woken: Arc<Woken>,
}

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
struct ReceivedFrame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl ReceivedFrame {
    fn number(&self) -> u32 {
        u32::from_be_bytes(*self.payload.last_chunk().unwrap())
    }

    fn is_end(&self) -> bool {
        matches!(self.kind, frame::DATA | frame::HEADERS) && self.flags & END_STREAM != 0
    }
}

impl Client {
    /// Creates a client that has not sent anything yet.
    fn new(config: Config) -> Self {
        let stub = Stub::default();
        let (ledger, now) = (stub.0.clone(), Instant::now());
        let mut connection = Connection::new(stub, config, now);
        let woken = Arc::<Woken>::default();
        connection.register(&Waker::from(woken.clone()));
        Self {
            connection,
            ledger,
            now,
            unsent: Vec::new(),
            input: VecDeque::new(),
            unparsed: Vec::new(),
            reads: true,
            woken,
        }
    }

    /// Creates a client that has exchanged settings with the server. Its stream windows are `windows` bytes.
    fn greeted(config: Config, windows: u32) -> Self {
        let mut client = Self::new(config);
        let mut hello = PREFACE.to_vec();
        frame::settings(&mut hello, &[(frame::INITIAL_WINDOW_SIZE, windows)]);
        client.write(&hello);
        assert_eq!(client.next().kind, frame::SETTINGS);
        let wider = client.next();
        assert_eq!((wider.kind, wider.stream), (frame::WINDOW_UPDATE, 0));
        let ack = client.next();
        assert_eq!((ack.kind, ack.flags), (frame::SETTINGS, ACK));
        client.send(frame::SETTINGS, ACK, 0, b"");
        client
    }

    fn plain() -> Self {
        Self::greeted(Config::default(), 65_535)
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.turns();
    }

    /// Runs the connection until it is idle.
    fn turns(&mut self) {
        for turn in 0.. {
            assert!(turn < 100_000, "the connection never becomes idle");
            let mut more = self.connection.run(self.now);
            if self.reads && !self.connection.output().is_empty() {
                let output = self.connection.output().to_vec();
                self.connection.sent(output.len());
                self.parse(&output);
                more = true;
            }
            if self.connection.wants_input() && !self.unsent.is_empty() {
                let taken = self.connection.receive(self.now, &self.unsent);
                self.unsent.drain(..taken);
                more = true;
            }
            if !more {
                break;
            }
        }
        self.check();
    }

    /// Checks invariants that hold after every turn.
    fn check(&self) {
        let audit = self.connection.audit();
        for (counted, sum) in [audit.requests, audit.answers, audit.calls, audit.deadlines] {
            assert_eq!(counted, sum, "{audit:?}");
        }
        let window = audit.receive_window + audit.unacknowledged as i64;
        assert_eq!(window, i64::from(WINDOW_BYTES));
        assert!(audit.output <= OUTPUT_BOUND, "{audit:?}");
        let wake_at = self.connection.wake_at();
        assert!(wake_at.is_none_or(|at| at > self.now), "a timer is late");
        let calls = self.ledger.ended.borrow().len() + audit.streams;
        assert!(self.ledger.begun.get() <= calls, "a call ends once");
    }

    /// Appends the complete frames of the connection's output to `input` and keeps an incomplete frame for the next call.
    fn parse(&mut self, output: &[u8]) {
        self.unparsed.extend_from_slice(output);
        let mut used = 0;
        while let Some((frame, length)) = Frame::first(&self.unparsed[used..]).unwrap() {
            self.input.push_back(ReceivedFrame {
                kind: frame.kind,
                flags: frame.flags,
                stream: frame.stream,
                payload: frame.payload.to_vec(),
            });
            used += length;
        }
        self.unparsed.drain(..used);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.turns();
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, stream, payload));
    }

    fn number(&mut self, kind: u8, stream: u32, value: u32) {
        self.send(kind, 0, stream, &value.to_be_bytes());
    }

    fn ask(&mut self, stream: u32, path: &str, message: &[u8]) {
        self.write(&request(stream, path, message));
    }

    fn try_next(&mut self) -> Option<ReceivedFrame> {
        self.turns();
        self.input.pop_front()
    }

    fn next(&mut self) -> ReceivedFrame {
        self.try_next().expect("a frame")
    }

    /// Returns the next frame that is not a WINDOW_UPDATE.
    fn answer(&mut self) -> ReceivedFrame {
        loop {
            let got = self.next();
            if got.kind != frame::WINDOW_UPDATE {
                return got;
            }
        }
    }

    fn all(&mut self) -> Vec<ReceivedFrame> {
        self.turns();
        self.input.drain(..).collect()
    }

    /// Returns the error code with which the server ends the connection.
    fn disconnected(mut self) -> u32 {
        let goaway = self
            .all()
            .into_iter()
            .rfind(|got| got.kind == frame::GOAWAY);
        assert!(self.connection.is_closed());
        self.connection.audit();
        goaway.expect("a GOAWAY frame").number()
    }
}

/// Upper bound of the output in bytes.
const OUTPUT_BOUND: usize = 2 * crate::limits::OUTPUT_MAX + (64 << 10);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::head(&mut bytes, payload.len(), kind, flags, stream);
    bytes.extend_from_slice(payload);
    bytes
}

fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), content].concat()
}

/// Encodes a complete gRPC request with one message.
fn request(stream: u32, path: &str, content: &[u8]) -> Vec<u8> {
    let head = frame(frame::HEADERS, END_HEADERS, stream, &block(path));
    [
        head,
        frame(frame::DATA, END_STREAM, stream, &message(content)),
    ]
    .concat()
}

/// Encodes a short field as a literal that is not added to the table.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        out.push(u8::try_from(text.len()).unwrap());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// Builds the header block of a POST over http, with one additional field.
fn head(path: &str, name: &str, value: &str) -> Vec<u8> {
    [
        vec![0x83, 0x86],
        literal(":path", path),
        literal(name, value),
    ]
    .concat()
}

fn block(path: &str) -> Vec<u8> {
    head(path, "content-type", "application/grpc")
}

#[test]
fn calls_are_answered_however_their_bytes_are_split() {
    let calls = [1, 3].map(|stream| request(stream, "/echo", b"hello"));
    let bytes = calls.concat();
    for size in 1..bytes.len() {
        let mut client = Client::plain();
        bytes.chunks(size).for_each(|part| client.write(part));
        assert_eq!(*client.ledger.ended.borrow(), [0, 0], "chunks of {size}");
    }
}

#[test]
fn an_answer_waits_for_the_windows() {
    let mut client = Client::greeted(Config::default(), 10);
    // The message of 85 KiB does not fit into the connection's window.
    client.ask(1, "/large", &[0; 80]);
    assert_eq!(client.next().kind, frame::HEADERS);
    assert_eq!(client.next().payload.len(), 10);
    // The server responds to another stream in between.
    client.ask(3, "/echo", b"12345");
    let kinds: Vec<_> = [client.next(), client.next(), client.next()]
        .map(|got| (got.stream, got.kind))
        .into();
    assert_eq!(
        kinds,
        [(3, frame::HEADERS), (3, frame::DATA), (3, frame::HEADERS)]
    );
    client.number(frame::WINDOW_UPDATE, 1, 100_000);
    let mut received = 10;
    while received + 10 < 65_535 {
        let got = client.next();
        assert!(got.payload.len() <= FRAME_SIZE);
        assert_eq!((got.kind, got.stream), (frame::DATA, 1));
        received += got.payload.len();
    }
    assert_eq!(received + 10, 65_535);
    client.number(frame::WINDOW_UPDATE, 0, 100_000);
    loop {
        let got = client.next();
        if got.kind == frame::HEADERS {
            assert_eq!(got.flags, END_HEADERS | END_STREAM);
            break;
        }
        received += got.payload.len();
    }
    assert_eq!(received, 85 << 10);
}

#[test]
fn a_large_message_is_accepted_and_a_larger_message_is_refused_at_its_start() {
    let mut client = Client::plain();
    let message = vec![b'm'; (1 << 20) + 300_000];
    client.send(frame::HEADERS, END_HEADERS, 1, &block("/never"));
    let mut opened = [0, 0];
    let mut sent = 0;
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&message);
    for chunk in body.chunks(FRAME_SIZE) {
        while sent + chunk.len() > WINDOW_BYTES as usize + opened[0].min(opened[1]) {
            let got = client.next();
            assert_eq!(got.kind, frame::WINDOW_UPDATE);
            opened[got.stream as usize] +=
                u32::from_be_bytes(*got.payload.first_chunk().unwrap()) as usize;
        }
        client.send(frame::DATA, 0, 1, chunk);
        sent += chunk.len();
    }
    client.send(frame::HEADERS, END_HEADERS, 3, &block("/echo"));
    client.send(frame::DATA, 0, 3, b"\0\xff\0\0\0");
    let got = client.answer();
    assert_eq!((got.kind, got.stream), (frame::HEADERS, 3));
    assert_eq!(got.flags, END_HEADERS | END_STREAM);
    let text = String::from_utf8_lossy(&got.payload).into_owned();
    assert!(text.contains("TooLarge"), "{text}");
    // The server ignores the rest of the message.
    let got = client.answer();
    assert_eq!((got.kind, got.stream), (frame::RST_STREAM, 3));
    assert_eq!(got.payload, (Reason::NoError as u32).to_be_bytes());
    client.send(frame::DATA, END_STREAM, 3, b"rest");
    client.ask(5, "/echo", b"");
    assert_eq!(client.answer().stream, 5);
}

#[test]
fn a_client_that_answers_pings_stays_and_a_silent_client_is_disconnected() {
    let settings = Config {
        keepalive: Some(KeepAlive {
            interval: Duration::from_millis(20),
            timeout: Duration::from_millis(200),
        }),
        ..Config::default()
    };
    let mut client = Client::greeted(settings, 65_535);
    client.ask(1, "/never", b"");
    for _ in 0..3 {
        client.wait(Duration::from_millis(20));
        let got = client.next();
        assert_eq!(
            (got.kind, got.payload.as_slice()),
            (frame::PING, KEEP_ALIVE.as_slice())
        );
        client.send(frame::PING, ACK, 0, &KEEP_ALIVE);
    }
    client.wait(Duration::from_millis(20));
    assert_eq!(client.next().kind, frame::PING);
    client.wait(Duration::from_millis(199));
    assert!(!client.connection.is_closed());
    client.wait(Duration::from_millis(1));
    assert!(client.connection.is_closed());
}
