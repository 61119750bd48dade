//! Clients that request much data and never read it.

use std::{io::Write as _, net::TcpStream};

use witan_e2e::{Server, grpc, watching::put};

use crate::stage::{SLACK_BYTES, at_once, case, connect, descriptors, patiently};

/// Memory bound in bytes for HTTP/1 clients with successive requests. Each client has one response, which briefly exists a second
/// time, in parts and as bytes of the connection.
const HTTP1_BYTES: u64 = SLACK_BYTES + DATA_BYTES + 3 * (CLIENTS * ANSWER_BYTES) as u64;

const VALUE_BYTES: usize = 256 << 10;
const VALUES: usize = 4;
const ANSWER_BYTES: usize = VALUES * VALUE_BYTES * 4 / 3;

/// Memory in bytes of the data in both key spaces, with log, history and checkpoint.
const DATA_BYTES: u64 = 48 << 20;

const CLIENTS: usize = 24;
const PIPELINED: usize = 32;

fn fill(server: &Server) {
    let value = "v".repeat(VALUE_BYTES);
    let form = format!("value={value}");
    let runtime = grpc::runtime();
    let channel = runtime.block_on(grpc::connect(&server.address()));
    for i in 0..VALUES {
        server.answers(201, "PUT", &format!("/v2/keys/big/{i}"), &form);
        runtime.block_on(put(&channel, &format!("big/{i}"), value.clone()));
    }
}

fn until_dropped(server: &Server, before: usize, streams: Vec<TcpStream>) {
    patiently("they are closed", || descriptors(server) <= before + 5);
    drop(streams);
}

pub(crate) fn http1_answers_unread() {
    case("HTTP/1 answers never read", HTTP1_BYTES, |server| {
        fill(server);
        let before = descriptors(server);
        let streams = at_once(CLIENTS, |i| {
            let mut stream = connect(server);
            let get = if i % 2 == 0 {
                "GET /v2/keys/big?recursive=true HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()
            } else {
                let body = r#"{"key":"AA==","range_end":"AA=="}"#;
                let length = body.len();
                format!(
                    "POST /v3/kv/range HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
                )
            };
            let _ = stream.write_all(get.repeat(PIPELINED).as_bytes());
            stream
        });
        until_dropped(server, before, streams);
        format!("{CLIENTS} clients x {PIPELINED} x 1 MiB: closed")
    });
}

const EVENTS: usize = 24;

pub(crate) fn v2_streams_unread() {
    case("v2 watch streams never read", HTTP1_BYTES, |server| {
        let before = descriptors(server);
        let ask =
            "GET /v2/keys/big?wait=true&stream=true&recursive=true HTTP/1.1\r\nHost: a\r\n\r\n";
        let streams = at_once(CLIENTS, |_| {
            let mut stream = connect(server);
            stream.write_all(ask.as_bytes()).expect("sent");
            stream
        });
        let value = "v".repeat(VALUES * VALUE_BYTES);
        for i in 0..EVENTS {
            let answer = server.http("PUT", "/v2/keys/big/x", &format!("value={i}{value}"));
            assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        }
        until_dropped(server, before, streams);
        format!("{CLIENTS} streams, {EVENTS} events of 1 MiB: closed")
    });
}
