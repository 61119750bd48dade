//! Clients that begin a handshake and do not go on.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use witan_e2e::{Kind, Tool, wait::PATIENCE};

use super::stage::Stage;

/// Clients that dally; more than there are workers.
const CLIENTS: usize = 64;

/// How long a handshake may take, and that it may not be cut much shorter.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The beginning of a ClientHello.
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
    let put = stage.etcdctl(Tool::Etcdctl36, None, &["put", "k", "v"]);
    assert_eq!(put.stdout, "OK\n", "{}", put.stderr);
    assert!(began.elapsed() < HANDSHAKE, "{:?}", began.elapsed());
    for client in &mut clients {
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).unwrap(), 0, "{rest:?}");
    }
    let took = began.elapsed();
    assert!(took > HANDSHAKE * 8 / 10, "{took:?}");
    assert_eq!(stage.failures("timeout"), CLIENTS as u64);
}
