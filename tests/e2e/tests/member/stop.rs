//! How the server stops: it completes answers in flight, ends long answers and returns exit code 0. A second signal stops the
//! server immediately.

use std::{
    io::ErrorKind,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use witan_e2e::{Launch, http, wait};

const WRITERS: u64 = 32;

/// Number of responses before the signal. The signal must arrive under full load.
const ANSWERS_BEFORE: u64 = 500;

/// Maximum duration of an immediate stop on two busy cores. A stop that waits takes ten seconds.
const PROMPT: Duration = Duration::from_secs(9);

#[test]
fn responses_in_flight_complete_and_their_writes_remain() {
    let mut server = Launch::witan().start();
    let address = server.address();
    let answers = AtomicU64::new(0);
    let last: Vec<u64> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let (address, answers) = (&address, &answers);
                    move || write_until_refused(address, writer, answers)
                })
            })
            .collect();
        wait::until_true("traffic", || {
            answers.load(Ordering::Relaxed) >= ANSWERS_BEFORE
        });
        let status = server.terminate();
        assert_eq!(status.code(), Some(0), "SIGTERM ends with exit code 0");
        writers
            .into_iter()
            .map(|writer| writer.join().expect("no torn answer"))
            .collect()
    });
    server.start_again();
    for (writer, acknowledged) in last.into_iter().enumerate() {
        let answer = server
            .http("GET", &format!("/v2/keys/w{writer}"), "")
            .json();
        let stored = answer["node"]["value"].as_str().unwrap_or("0");
        let stored: u64 = stored.parse().expect("a number");
        assert!(stored >= acknowledged, "{stored} < {acknowledged}");
    }
}

/// Writes 1, 2, 3 … until the server refuses a write or closes the connection. Returns the last acknowledged number. A
/// truncated answer is a failure, but a connection may end without a response.
fn write_until_refused(address: &str, writer: u64, answers: &AtomicU64) -> u64 {
    let Ok(mut connection) = http::Connection::open(address) else {
        return 0;
    };
    let mut acknowledged = 0;
    loop {
        let body = format!("value={}", acknowledged + 1);
        if connection
            .send("PUT", &format!("/v2/keys/w{writer}"), &[], body.as_bytes())
            .is_err()
        {
            return acknowledged;
        }
        match connection.head("PUT") {
            Ok(mut response) => {
                while let Some(piece) = connection.chunk().expect("a started answer is completed") {
                    response.body.extend(piece);
                }
                if response.status >= 400 {
                    // A refusal by the stopping server does not acknowledge the write.
                    return acknowledged;
                }
                response.json();
                acknowledged += 1;
                answers.fetch_add(1, Ordering::Relaxed);
                if response
                    .header("connection")
                    .is_some_and(|value| value == "close")
                {
                    return acknowledged;
                }
            }
            Err(error) => {
                let kinds = [
                    ErrorKind::UnexpectedEof,
                    ErrorKind::ConnectionReset,
                    ErrorKind::BrokenPipe,
                ];
                assert!(kinds.contains(&error.kind()), "{error}");
                return acknowledged;
            }
        }
    }
}

#[test]
fn long_polls_and_streams_end() {
    let mut server = Launch::witan().start();
    let targets = ["/v2/keys/a?wait=true", "/v2/keys/b?wait=true&stream=true"];
    let mut waiting = targets.map(|target| server.send("GET", target, ""));
    wait::until_true("both watch", || server.v2_watchers() == 2);
    let begun = Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    let took = begun.elapsed();
    assert!(took < PROMPT, "a watcher delayed the stop: {took:?}");
    for connection in &mut waiting {
        // The stream ends with an empty answer or none.
        let _ = connection.response("GET");
        assert!(connection.closed());
    }
}

#[test]
fn sigint_stops_the_server_like_sigterm() {
    let mut server = Launch::witan().start();
    server.signal("INT");
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn a_second_signal_stops_immediately() {
    let mut server = Launch::witan().start();
    // Half of a request keeps the server waiting.
    let mut half = server.connect();
    half.send_raw(b"PUT /v2/keys/half HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nvalue=")
        .expect("send");
    server.http("GET", "/version", "");
    server.signal("TERM");
    server.wait_log(0, "received signal; shutting down");
    let begun = Instant::now();
    // A second signal shortly after the first has no effect, so repeat it.
    wait::until_true("a second signal stops the server", || {
        let runs = server.runs();
        if runs {
            server.signal("TERM");
        }
        !runs
    });
    server.wait_exit();
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
}
