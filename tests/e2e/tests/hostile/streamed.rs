//! JSON that arrives in many one-byte pieces. Before the sender is authenticated, the server reads each byte only once. Other
//! clients are not delayed.

use std::{
    io::{Read as _, Write as _},
    thread,
    time::Duration,
};

use witan_e2e::{Launch, Server, process, websocket::Socket};

use crate::stage::{connect, longest_wait};

const PIECES: usize = 60_000;

/// Maximum time that another client waits on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A message that every stream accepts or ignores.
const CREATE: &str = r#"{"create_request":{"key":"YQ=="}}"#;

/// Sends a JSON value whose string is in pieces of one byte, then [`CREATE`]. Returns the beginning of the response.
fn in_pieces(server: &Server, path: &str, pieces: usize) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let begin = "7\r\n{\"zz\":\"\r\n";
    let create = format!("{:x}\r\n{CREATE}\r\n", CREATE.len());
    let end = format!("1\r\n\"\r\n1\r\n}}\r\n{create}0\r\n\r\n");
    let request = [&head, begin, &"1\r\na\r\n".repeat(pieces), &end].concat();
    let mut stream = connect(server);
    let mut writer = stream.try_clone().expect("a descriptor more");
    thread::scope(|scope| {
        // The server may stop reading.
        scope.spawn(move || {
            let _ = writer.write_all(request.as_bytes());
        });
        let mut begun = [0; 9];
        stream.read_exact(&mut begun).expect("an answer");
        String::from_utf8_lossy(&begun).into_owned()
    })
}

#[test]
fn a_value_in_many_chunks_is_scanned_once() {
    let server = Launch::witan().start();
    for path in ["/v3/watch", "/v3/lease/keepalive", "/v3beta/watch"] {
        let spent = |pieces| {
            let begun = process::cpu(server.pid());
            let told = in_pieces(&server, path, pieces);
            assert!(told.starts_with("HTTP/1.1 "), "{path}: {told}");
            process::cpu(server.pid()) - begun
        };
        let few = spent(PIECES / 10);
        let (many, waited) = longest_wait(&server, || spent(PIECES));
        // Other clients also use CPU time.
        let bound = few * 30 + Duration::from_secs(2);
        assert!(many <= bound, "{path}: {many:?}, {few:?} for a tenth");
        assert!(waited <= WAIT_MAX, "{path}: others waited {waited:?}");
    }
}

#[test]
fn white_space_in_many_messages_is_scanned_once() {
    let server = Launch::witan().start();
    let mut socket = Socket::open(&server.address(), "/v3/watch", &[]);
    let begun = process::cpu(server.pid());
    let ((), waited) = longest_wait(&server, || {
        socket.send("{\"zz\":[").expect("it is sent");
        for _ in 0..PIECES / 4 {
            socket.send(" ").expect("it is sent");
        }
        socket.send("] nope}").expect("it is sent");
        assert!(socket.text().contains("invalid character"), "an answer");
    });
    let spent = process::cpu(server.pid()) - begun;
    assert!(spent <= Duration::from_secs(8), "{spent:?} of CPU");
    assert!(waited <= WAIT_MAX, "another client waited {waited:?}");
}
