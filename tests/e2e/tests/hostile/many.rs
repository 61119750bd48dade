//! Thousands of idle and waiting connections.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Mutex, MutexGuard, PoisonError},
};

use witan_e2e::Server;

use crate::stage::{SLACK_BYTES, case, connect, raise_descriptors, rest};

const IDLE: usize = 10_000;
const WAITING: usize = 15_000;
const CONNECTION_BYTES: u64 = 32 << 10;

/// Number of descriptors that the server reserves for everything except its client URLs. This process needs fewer.
const OWN_DESCRIPTORS: u64 = 1000;

/// Lets one case run at a time, because two cases need more sockets than this process may open.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns `wanted`, or the number that the machine allows if that is lower.
fn allowed(wanted: usize) -> usize {
    let hard = raise_descriptors();
    usize::try_from(hard.saturating_sub(OWN_DESCRIPTORS)).map_or(wanted, |may| may.min(wanted))
}

fn bound(connections: usize) -> u64 {
    SLACK_BYTES + connections as u64 * CONNECTION_BYTES
}

fn connections(server: &Server, count: usize, ask: &str) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut stream = connect(server);
            stream.write_all(ask.as_bytes()).expect("sent");
            stream
        })
        .collect()
}

#[test]
fn ten_thousand_idle() {
    let _alone = alone();
    let count = allowed(IDLE);
    case("idle connections", bound(count), |server| {
        let ask = "GET /version HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut streams = connections(server, count, ask);
        // All connections were served and are open. Send another request on the last one.
        for stream in &mut streams {
            let mut answer = [0; 15];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
        }
        let last = streams.last_mut().expect("there are some");
        last.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .expect("it is still open");
        let (text, ended) = rest(last);
        assert!(ended && text.windows(15).any(|part| part == b"HTTP/1.1 200 OK"));
        format!("{count} of {IDLE} held")
    });
}

#[test]
fn fifteen_thousand_waiting() {
    let _alone = alone();
    let count = allowed(WAITING);
    case("waiting v2 GETs", bound(count), |server| {
        let ask = "GET /v2/keys/awaited?wait=true HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let mut streams = connections(server, count, ask);
        crate::stage::patiently("all of them wait", || {
            server.metric("etcd_debugging_store_watchers") == Some(count as f64)
        });
        server.answers(201, "PUT", "/v2/keys/awaited", "value=now");
        for stream in &mut streams {
            let (text, ended) = rest(stream);
            let text = String::from_utf8_lossy(&text);
            assert!(ended && text.contains("\"value\":\"now\""), "{text}");
        }
        format!("{count} of {WAITING} waited, all were answered")
    });
}

#[test]
fn more_connections_than_descriptors() {
    let launch = witan_e2e::Launch::witan().files_soft(300);
    let count = 600;
    crate::stage::case_on(
        launch,
        "more connections than descriptors",
        bound(count),
        |server| {
            let streams: Vec<TcpStream> = (0..count).map(|_| connect(server)).collect();
            drop(streams);
            format!("{count} of 300 descriptors: served after others had left")
        },
    );
}
