//! A connection as hostile and as ordinary clients see it: frames written by hand.

use std::{collections::VecDeque, future::poll_fn, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    task::JoinHandle,
};
use tonic::transport::server::TcpConnectInfo;

use super::{
    Around, Body, Connection, Head, Incoming, PREFACE,
    frame::{self, ACK, END_HEADERS, END_STREAM, Frame, HEAD_BYTES, PAYLOAD_MAX, Reason},
    limits::{CONTINUATIONS_MAX, EMPTY_MAX, FAULTS_MAX, HEADERS_MAX},
    receive::{ALIVE, STOPPING},
};
use crate::{
    budget::Traffic,
    config::Connections,
    metrics::Metrics,
    transport::{
        Calls, Outgoing,
        grpc::{Ends, Rules},
        limits::WINDOW_BYTES,
    },
};

/// `/echo` answers its message, `/large` a message of as many bytes as its message says, anything
/// else never answers.
#[derive(Clone)]
struct Stub;

impl Calls for Stub {
    fn whole(&self, head: &Head) -> bool {
        head.path() != "/parts"
    }

    async fn call(self, request: Incoming) -> Outgoing {
        let Body::Whole(body) = request.body else {
            return std::future::pending().await;
        };
        match request.head.path() {
            "/echo" => Outgoing::Message(body.to_vec()),
            "/large" => Outgoing::Message(vec![b'x'; body.len() << 10]),
            _ => std::future::pending().await,
        }
    }
}

mod hostile;

struct Client {
    io: DuplexStream,
    input: Vec<u8>,
    server: JoinHandle<()>,
    stop: Rc<tokio::sync::Notify>,
}

/// A frame that came.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Client {
    fn new(settings: Connections) -> Self {
        let (io, far) = tokio::io::duplex(1 << 20);
        let around = Around {
            calls: Stub,
            rules: Rc::new(Rules {
                metrics: Metrics::new(),
                message_max: 2 << 20,
                expected: Duration::MAX,
                traffic: Traffic::new(&Metrics::new()),
            }),
            ends: Ends {
                tcp: TcpConnectInfo {
                    local_addr: None,
                    remote_addr: None,
                },
                certificate: None,
            },
        };
        let mut connection = Connection::new(far, around, &settings);
        let stop = Rc::new(tokio::sync::Notify::new());
        let stopped = stop.clone();
        let server = actix_rt::spawn(async move {
            tokio::select! {
                done = poll_fn(|cx| connection.poll(cx)) => return done.unwrap(),
                () = stopped.notified() => connection.stop(),
            }
            poll_fn(|cx| connection.poll(cx)).await.unwrap();
        });
        Self {
            io,
            input: Vec::new(),
            server,
            stop,
        }
    }

    /// A client that has greeted and was greeted.
    async fn greeted(settings: Connections, windows: u32) -> Self {
        let mut client = Self::new(settings);
        let mut hello = PREFACE.to_vec();
        frame::settings(&mut hello, &[(frame::INITIAL_WINDOW_SIZE, windows)]);
        client.io.write_all(&hello).await.unwrap();
        assert_eq!(client.next().await.kind, frame::SETTINGS);
        let wider = client.next().await;
        assert_eq!((wider.kind, wider.stream), (frame::WINDOW_UPDATE, 0));
        let ack = client.next().await;
        assert_eq!((ack.kind, ack.flags), (frame::SETTINGS, ACK));
        client
    }

    async fn plain() -> Self {
        Self::greeted(Connections::default(), 65_535).await
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::head(&mut bytes, payload.len(), kind, flags, stream);
        bytes.extend_from_slice(payload);
        // an error says that the server has closed, which the next read tells, too
        let _ = self.io.write_all(&bytes).await;
    }

    async fn number(&mut self, kind: u8, stream: u32, value: u32) {
        self.send(kind, 0, stream, &value.to_be_bytes()).await;
    }

    async fn ask(&mut self, stream: u32, path: &str, message: &[u8]) {
        self.send(frame::HEADERS, END_HEADERS, stream, &block(path))
            .await;
        let mut body = vec![0];
        body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend_from_slice(message);
        self.send(frame::DATA, END_STREAM, stream, &body).await;
    }

    /// The next frame, or nothing if the server has closed.
    async fn try_next(&mut self) -> Option<Got> {
        loop {
            if let Some((frame, length)) = Frame::first(&self.input).unwrap() {
                let got = Got {
                    kind: frame.kind,
                    flags: frame.flags,
                    stream: frame.stream,
                    payload: frame.payload.to_vec(),
                };
                self.input.drain(..length);
                return Some(got);
            }
            if self.io.read_buf(&mut self.input).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn next(&mut self) -> Got {
        self.try_next().await.expect("the connection is open")
    }

    /// The next frame that is not about the request's windows.
    async fn answer(&mut self) -> Got {
        loop {
            let got = self.next().await;
            if got.kind != frame::WINDOW_UPDATE {
                return got;
            }
        }
    }

    /// Reads until the server says why it ends, and that it does end.
    async fn ended(mut self) -> u32 {
        let mut reason = None;
        while let Some(got) = self.try_next().await {
            if got.kind == frame::GOAWAY {
                reason = Some(u32::from_be_bytes(*got.payload[4..].first_chunk().unwrap()));
            }
        }
        self.server.await.unwrap();
        reason.expect("a word about the end")
    }
}

fn block(path: &str) -> Vec<u8> {
    // POST, http, then literals
    let mut out = vec![0x83, 0x86];
    for (name, value) in [(":path", path), ("content-type", "application/grpc")] {
        out.push(0);
        for text in [name, value] {
            out.push(u8::try_from(text.len()).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

#[actix_rt::test]
async fn calls_are_answered_even_if_their_bytes_come_one_by_one() {
    let mut client = Client::plain().await;
    for stream in [1, 3] {
        client.ask(stream, "/echo", b"hello").await;
        let got = client.next().await;
        assert_eq!(
            (got.kind, got.flags, got.stream),
            (frame::HEADERS, END_HEADERS, stream)
        );
        let got = client.next().await;
        assert_eq!((got.kind, got.flags), (frame::DATA, 0));
        assert_eq!(got.payload, b"\0\0\0\0\x05hello");
        let got = client.next().await;
        assert_eq!(
            (got.kind, got.flags),
            (frame::HEADERS, END_HEADERS | END_STREAM)
        );
    }
    let mut bytes = Vec::new();
    frame::ping(&mut bytes, 0, *b"01234567");
    let block = block("/echo");
    frame::head(
        &mut bytes,
        block.len(),
        frame::HEADERS,
        END_HEADERS | END_STREAM,
        5,
    );
    bytes.extend_from_slice(&block);
    for byte in bytes {
        client.io.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let got = client.next().await;
    assert_eq!((got.kind, got.flags), (frame::PING, ACK));
    assert_eq!(got.payload, b"01234567");
    assert_eq!(client.next().await.stream, 5);
}

#[actix_rt::test]
async fn an_answer_waits_for_the_windows() {
    let mut client = Client::greeted(Connections::default(), 10).await;
    // 85 KiB, more than the connection's window
    client.ask(1, "/large", &[0; 80]).await;
    assert_eq!(client.next().await.kind, frame::HEADERS);
    assert_eq!(client.next().await.payload.len(), 10);
    // another stream is answered meanwhile
    client.ask(3, "/echo", b"12345").await;
    let kinds: Vec<_> = [
        client.next().await,
        client.next().await,
        client.next().await,
    ]
    .map(|got| (got.stream, got.kind))
    .into();
    assert_eq!(
        kinds,
        [(3, frame::HEADERS), (3, frame::DATA), (3, frame::HEADERS)]
    );
    client.number(frame::WINDOW_UPDATE, 1, 100_000).await;
    let mut received = 10;
    while received + 10 < 65_535 {
        let got = client.next().await;
        assert!(got.payload.len() <= PAYLOAD_MAX);
        assert_eq!((got.kind, got.stream), (frame::DATA, 1));
        received += got.payload.len();
    }
    assert_eq!(received + 10, 65_535);
    client.number(frame::WINDOW_UPDATE, 0, 100_000).await;
    loop {
        let got = client.next().await;
        if got.kind == frame::HEADERS {
            assert_eq!(got.flags, END_HEADERS | END_STREAM);
            break;
        }
        received += got.payload.len();
    }
    assert_eq!(received, 85 << 10);
}

#[actix_rt::test]
async fn a_smaller_initial_window_may_make_a_window_negative() {
    let mut client = Client::greeted(Connections::default(), 1000).await;
    client.ask(1, "/large", &[0; 2]).await;
    assert_eq!(client.next().await.kind, frame::HEADERS);
    assert_eq!(client.next().await.payload.len(), 1000);
    let window = |bytes: u32| {
        let mut payload = frame::INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        payload.extend_from_slice(&bytes.to_be_bytes());
        payload
    };
    client.send(frame::SETTINGS, 0, 0, &window(400)).await;
    assert_eq!(client.next().await.kind, frame::SETTINGS);
    client.number(frame::WINDOW_UPDATE, 1, 700).await;
    assert_eq!(client.next().await.payload.len(), 100);
    client.send(frame::SETTINGS, 0, 0, &window(500)).await;
    let kinds = [client.next().await, client.next().await].map(|got| got.kind);
    assert!(kinds.contains(&frame::SETTINGS) && kinds.contains(&frame::DATA));
}

#[actix_rt::test]
async fn streams_beyond_the_limit_are_refused() {
    let settings = Connections {
        max_concurrent_streams: 2,
        ..Connections::default()
    };
    let mut client = Client::greeted(settings, 65_535).await;
    for stream in [1, 3, 5] {
        client.ask(stream, "/never", b"").await;
    }
    let got = client.next().await;
    assert_eq!((got.kind, got.stream), (frame::RST_STREAM, 5));
    assert_eq!(got.payload, (Reason::Refused as u32).to_be_bytes());
    // one that ends makes room
    client.number(frame::RST_STREAM, 1, 8).await;
    client.ask(7, "/echo", b"").await;
    assert_eq!(client.next().await.stream, 7);
}

#[actix_rt::test]
async fn a_large_message_is_taken_and_a_larger_one_refused_at_its_beginning() {
    let mut client = Client::plain().await;
    let message = vec![b'm'; (1 << 20) + 300_000];
    client
        .send(frame::HEADERS, END_HEADERS, 1, &block("/never"))
        .await;
    let mut opened = [0, 0];
    let mut sent = 0;
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&message);
    for chunk in body.chunks(PAYLOAD_MAX) {
        while sent + chunk.len() > WINDOW_BYTES as usize + opened[0].min(opened[1]) {
            let got = client.next().await;
            assert_eq!(got.kind, frame::WINDOW_UPDATE);
            opened[got.stream as usize] +=
                u32::from_be_bytes(*got.payload.first_chunk().unwrap()) as usize;
        }
        client.send(frame::DATA, 0, 1, chunk).await;
        sent += chunk.len();
    }
    client
        .send(frame::HEADERS, END_HEADERS, 3, &block("/echo"))
        .await;
    client.send(frame::DATA, 0, 3, b"\0\xff\0\0\0").await;
    let got = client.answer().await;
    assert_eq!((got.kind, got.stream), (frame::HEADERS, 3));
    assert_eq!(got.flags, END_HEADERS | END_STREAM);
    let text = String::from_utf8_lossy(&got.payload).into_owned();
    assert!(
        text.contains("received%20message%20larger%20than%20max"),
        "{text}"
    );
    // the rest of the message is not wanted, and does no harm
    let got = client.answer().await;
    assert_eq!((got.kind, got.stream), (frame::RST_STREAM, 3));
    assert_eq!(got.payload, (Reason::NoError as u32).to_be_bytes());
    client.send(frame::DATA, END_STREAM, 3, b"rest").await;
    client.ask(5, "/echo", b"").await;
    assert_eq!(client.answer().await.stream, 5);
}

#[actix_rt::test]
async fn a_stop_completes_what_is_in_flight() {
    let mut client = Client::plain().await;
    client
        .send(frame::HEADERS, END_HEADERS, 1, &block("/echo"))
        .await;
    client.stop.notify_one();
    let got = client.next().await;
    assert_eq!(got.kind, frame::GOAWAY);
    assert_eq!(got.payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let got = client.next().await;
    assert_eq!(
        (got.kind, got.payload.as_slice()),
        (frame::PING, STOPPING.as_slice())
    );
    // on its way before the client knew
    client.ask(3, "/echo", b"late").await;
    assert_eq!(client.next().await.stream, 3);
    let rest = [client.next().await, client.next().await].map(|got| got.kind);
    assert_eq!(rest, [frame::DATA, frame::HEADERS]);
    client.send(frame::PING, ACK, 0, &STOPPING).await;
    let got = client.next().await;
    assert_eq!(
        (got.kind, &got.payload[..4]),
        (frame::GOAWAY, [0, 0, 0, 3].as_slice())
    );
    client.ask(5, "/echo", b"too late").await;
    let got = client.next().await;
    assert_eq!((got.kind, got.stream), (frame::RST_STREAM, 5));
    client
        .send(frame::DATA, END_STREAM, 1, b"\0\0\0\0\x01x")
        .await;
    let kinds = [
        client.next().await,
        client.next().await,
        client.next().await,
    ];
    assert!(kinds.iter().all(|got| got.stream == 1), "{kinds:?}");
    assert_eq!(client.try_next().await, None);
    client.server.await.unwrap();
}

#[actix_rt::test]
async fn a_client_that_answers_stays_and_a_silent_one_goes() {
    let settings = Connections {
        keepalive_interval: Some(Duration::from_millis(20)),
        keepalive_timeout: Duration::from_millis(200),
        ..Connections::default()
    };
    let mut client = Client::greeted(settings, 65_535).await;
    client.ask(1, "/never", b"").await;
    for _ in 0..3 {
        let got = client.next().await;
        assert_eq!(
            (got.kind, got.payload.as_slice()),
            (frame::PING, ALIVE.as_slice())
        );
        client.send(frame::PING, ACK, 0, &ALIVE).await;
    }
    assert_eq!(client.next().await.kind, frame::PING);
    assert_eq!(client.try_next().await, None);
    client.server.await.unwrap();
}
