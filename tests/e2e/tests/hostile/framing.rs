//! Requests with an ambiguous end, and requests to switch to another protocol. The server refuses them, or reads only the body
//! that belongs to them.

use std::io::Write as _;

use witan_e2e::{Launch, Server, process};

use crate::stage::{connect, rest, verdict};

/// Sends bytes. Returns the status lines and bodies of the responses until the server closes the connection or has answered the
/// last request.
fn said(server: &Server, request: &[u8]) -> String {
    let mut stream = connect(server);
    stream.write_all(request).expect("the request is sent");
    stream
        .write_all(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("the last request is sent");
    String::from_utf8_lossy(&rest(&mut stream).0).into_owned()
}

fn value(server: &Server, key: &str) -> Option<String> {
    let answer = server.http("GET", &format!("/v2/keys/{key}"), "");
    let value = answer.json()["node"]["value"].as_str().map(str::to_owned);
    value.filter(|_| answer.status == 200)
}

/// Creates a request whose body grows when its `<` are escaped. A reader with the wrong length would read the end of the body
/// as a request. `pad` precedes the length of the body in the head.
fn speaking(pad: &str) -> Vec<u8> {
    let inner = "PUT /v2/keys/smuggled HTTP/1.1\r\nHost: xy\r\nContent-Length: 0\r\n\r\n";
    let body = format!("value=a {}\r\n{inner}", "<".repeat(inner.len() / 2));
    let head =
        "PUT /v2/keys/outer HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded";
    format!(
        "{head}\r\nContent-Length: {pad}{}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// `actix_refuses_heads_of_ambiguous_framing` in `server/crates/transport/src/tests.rs` tests heads that are always refused.
#[test]
fn bytes_of_a_body_are_not_read_as_a_request() {
    let server = Launch::witan().start();
    for pad in [" ", "\t", "0"] {
        for times in [200, 255, 256, 300, 1000, 5000] {
            let pad = pad.repeat(times);
            let told = said(&server, &speaking(&pad));
            let refused = told.starts_with("HTTP/1.1 400");
            let taken = told.starts_with("HTTP/1.1 20");
            assert!(refused || taken, "{told}");
            assert_eq!(value(&server, "smuggled"), None, "{times} times {pad:?}");
        }
    }
}

/// The bytes after such a request are not a body, so the response must not wait for their end.
#[test]
fn an_upgrade_outside_the_gateway_is_ignored() {
    let server = Launch::witan().start();
    for (path, expect) in [("/v3x", "404 Not Found"), ("/v3/../version", "200 OK")] {
        let mut stream = connect(&server);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("it is sent");
        assert_eq!(verdict(&mut stream), expect, "{path}");
    }
}

/// Parsing a content type with many parameters must not take long.
#[test]
fn a_long_content_type_costs_little() {
    const REQUESTS: usize = 10;
    let server = Launch::witan().start();
    let parameters: String = (0..17_000).map(|at| format!(";{at:x}=1")).collect();
    let spent = |header: &str| {
        let begun = process::cpu(server.pid());
        for _ in 0..REQUESTS {
            let headers = [(header, &*format!("a/b{parameters}")), ("X", "y")];
            let answer = server.http_with(&headers, "PUT", "/v2/keys/a", "value=1");
            assert!(matches!(answer.status, 200 | 201 | 400));
        }
        process::cpu(server.pid()) - begun
    };
    let (usual, long) = (spent("X-Filler"), spent("Content-Type"));
    let bound = usual * 3 + std::time::Duration::from_millis(100);
    assert!(long <= bound, "{long:?} of CPU, usually {usual:?}");
}

#[test]
fn a_malformed_chunk_is_answered() {
    let server = Launch::witan().start();
    let form = "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked";
    for body in [
        "-1\r\n\r\n",
        "zz\r\n",
        "10000000000000005\r\nvalue",
        "7\r\nvalue=aXX0\r\n\r\n",
        "7\r\nvalue=a\r\n0\r\nA: b\n\n",
    ] {
        for line in ["PUT /v2/keys/a", "POST /v3/kv/range"] {
            let request = format!("{line} HTTP/1.1\r\nHost: x\r\n{form}\r\n\r\n{body}");
            let mut stream = connect(&server);
            stream.write_all(request.as_bytes()).expect("it is sent");
            let (answer, ended) = rest(&mut stream);
            let answer = String::from_utf8_lossy(&answer);
            assert!(ended, "{request}: {answer}");
            assert!(answer.starts_with("HTTP/1.1 400"), "{request}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{request}: {answer}");
        }
    }
    assert_eq!(value(&server, "a"), None);
}
