//! Clients that do not complete a handshake, and clients that never start one.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use witan_e2e::{Kind, wait::PATIENCE};

use super::stage::Stage;

/// Number of waiting clients. It exceeds the number of workers.
const CLIENTS: usize = 64;

/// Maximum duration of a handshake. The server must not end it much earlier.
const HANDSHAKE: Duration = Duration::from_secs(10);

const BEGUN: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

#[test]
fn unfinished_handshakes_block_no_other_client_and_time_out() {
    let stage = Stage::start(Kind::Witan, &[]);
    let began = Instant::now();
    let mut clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|number| {
            let mut client = TcpStream::connect(("127.0.0.1", stage.port)).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(&BEGUN[..number % BEGUN.len()]).unwrap();
            client
        })
        .collect();
    let put = stage.etcdctl(None, &["put", "k", "v"]);
    assert_eq!(put.stdout, "OK\n", "{}", put.stderr);
    assert!(began.elapsed() < HANDSHAKE, "{:?}", began.elapsed());
    for client in &mut clients {
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).unwrap(), 0, "{rest:?}");
    }
    let took = began.elapsed();
    assert!(took > HANDSHAKE * 8 / 10, "{took:?}");
    let all = CLIENTS as u64;
    assert_eq!(stage.failures("timeout", all), all);
}

/// Any client that reaches the port can cause failed handshakes.
#[test]
fn failed_handshakes_do_not_fill_the_log() {
    const FAILURES: u64 = 300;
    const LINES_A_SECOND: u64 = 10;
    let stage = Stage::start(Kind::Witan, &[]);
    let began = Instant::now();
    let fail = || {
        let mut client = TcpStream::connect(("127.0.0.1", stage.port)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("HTTPS server"), "{answer}");
    };
    (0..FAILURES).for_each(|_| fail());
    assert_eq!(stage.failures("not_tls", FAILURES), FAILURES);
    let seconds = began.elapsed().as_secs() + 1;
    let lines = |part: &str| {
        let log = stage.server.log();
        log.iter().filter(|line| line.contains(part)).count() as u64
    };
    let logged = lines("rejected connection");
    let bound = LINES_A_SECOND * (seconds + 1);
    assert!((1..=bound).contains(&logged), "{logged} in {seconds} s");
    // A later line contains the number of failures since then.
    witan_e2e::wait::until_true("a line with the number of failures", || {
        fail();
        lines("rejected connection") > logged
    });
    assert!(lines("\"left_out\":0") < lines("rejected connection"));
}
