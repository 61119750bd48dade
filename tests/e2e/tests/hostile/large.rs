//! One request with many bytes or parts, in every dialect that reads and writes text on a worker. Other clients of the worker
//! must be answered during the request.

use std::{
    io::{Read as _, Write as _},
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use witan_api::v3::etcdserverpb::{
    RequestOp, TxnRequest, kv_client::KvClient, request_op::Request,
};
use witan_e2e::{Launch, Server, grpc, requests, wait, websocket::Socket};

use crate::{
    h2,
    stage::{SLACK_BYTES, case, connect, grown, longest_wait, others_go_on},
};

/// A value of `--max-request-bytes` with which the parsing of one body takes a long time.
const REQUEST_BYTES: usize = 24 << 20;

fn start() -> Server {
    Launch::witan()
        .arg(format!("--max-request-bytes={REQUEST_BYTES}"))
        .start()
}

#[test]
fn large_bodies_are_parsed_on_another_thread() {
    let server = start();
    let numbers = format!(r#"{{"zz":[{}1]}}"#, "1,".repeat(REQUEST_BYTES - 64));
    for (path, body) in [("/v3/kv/range", &numbers), ("/v3beta/kv/range", &numbers)] {
        others_go_on(&server, path, || {
            server.answers(400, "POST", path, body);
        });
    }
    let form = format!("value=1&{}", "%61=%62&".repeat((9 << 20) / 8));
    for path in ["/v2/keys/a", "/v1/keys/a"] {
        others_go_on(&server, path, || {
            let answer = server.http("PUT", path, &form);
            assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        });
    }
}

/// Number of empty operations in a transaction. Each operation takes two bytes, and 200 bytes once it is decoded.
const EMPTY_OPS: usize = 200_000;

const EMPTY_TXNS: usize = 20;

#[test]
fn large_messages_are_decoded_a_few_at_a_time() {
    let bound = 8 * SLACK_BYTES;
    case("large messages over gRPC", bound, |server| {
        let txn = TxnRequest {
            success: vec![RequestOp::default(); EMPTY_OPS],
            ..Default::default()
        };
        let frames = h2::unary(1, "/etcdserverpb.KV/Txn", &txn);
        let streams: Vec<_> = (0..EMPTY_TXNS)
            .map(|_| {
                let mut stream = h2::open(server, None);
                stream.write_all(&frames).expect("it is sent");
                stream
            })
            .collect();
        for mut stream in streams {
            let ended = |kind, flags| kind == h2::HEADERS && flags & h2::END_STREAM != 0;
            while let (kind, flags, ..) = h2::read(&mut stream).expect("an answer")
                && !ended(kind, flags)
            {}
        }
        format!("{EMPTY_TXNS} x {EMPTY_OPS} operations: refused")
    });
}

const LISTED: usize = 250;
const LISTED_BYTES: usize = 1 << 20;

#[test]
fn a_list_takes_no_memory_in_addition_to_the_state() {
    let server = Launch::witan().start();
    let runtime = grpc::runtime();
    let channel = runtime.block_on(grpc::connect(&server.address()));
    let mut kv = KvClient::new(channel).max_decoding_message_size(usize::MAX);
    for at in 0..LISTED {
        let put = requests::put(format!("k{at:04}"), vec![7; LISTED_BYTES]);
        runtime.block_on(kv.put(put)).expect("the put is accepted");
    }
    // The next checkpoint would take additional memory.
    let done = server.http("POST", "/v3/maintenance/defragment", "{}");
    assert_eq!(done.status, 200, "{}", done.text());
    let all = requests::range("k", "l");
    let (listed, grown) = grown(&server, || runtime.block_on(kv.range(all)));
    assert_eq!(listed.expect("a list").into_inner().kvs.len(), LISTED);
    assert!(grown <= SLACK_BYTES, "it grew by {grown} bytes");
}

const SHORT_KEYS: usize = 200_000;
const SHORT_PUTS: usize = 125;

/// Memory in bytes that a list may take for each short key: the pair, its protobuf encoding, and its JSON.
const SHORT_KEY_BYTES: u64 = 600;

#[test]
fn a_list_of_short_keys_as_plain_text_takes_little_memory() {
    let server = Launch::witan().without_fsync().start();
    let runtime = grpc::runtime();
    let channel = runtime.block_on(grpc::connect(&server.address()));
    let mut kv = KvClient::new(channel);
    for first in (0..SHORT_KEYS).step_by(SHORT_PUTS) {
        let put = |at: usize| Request::RequestPut(requests::put(format!("k{at:06}"), "v"));
        let txn = requests::txn((first..first + SHORT_PUTS).map(put));
        runtime.block_on(kv.txn(txn)).expect("the puts are taken");
    }
    // The next checkpoint would take additional memory.
    server.answers(200, "POST", "/v3/maintenance/defragment", "{}");
    let all = r#"{"key":"k","range_end":"l"}"#;
    let path = "/v3/kv/range?encoding=utf8";
    let (listed, grown) = grown(&server, || server.answers(200, "POST", path, all));
    let count = format!(r#""count":"{SHORT_KEYS}""#);
    assert!(listed.text().ends_with(&format!("{count}}}")), "{count}");
    let bound = SLACK_BYTES + SHORT_KEYS as u64 * SHORT_KEY_BYTES;
    assert!(grown <= bound, "it grew by {grown} bytes");
}

#[test]
fn large_answers_are_rendered_on_another_thread() {
    let server = start();
    let value = "dmFs".repeat(1 << 20);
    for key in ["YQ==", "Yg=="] {
        let put = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
        server.v3("kv/put", &put);
    }
    let all = r#"{"request_range":{"key":"AA==","range_end":"AA=="}}"#;
    let txn = format!(r#"{{"success":[{}]}}"#, [all; 6].join(","));
    for path in ["/v3/kv/txn", "/v3beta/kv/txn"] {
        others_go_on(&server, path, || {
            let answer = server.answers(200, "POST", path, &txn);
            assert!(answer.body.len() > (6 * 8) << 20, "{}", answer.body.len());
        });
    }
}

/// Size in bytes of a v2 value. Each byte takes six bytes in a response.
const ESCAPED_BYTES: usize = 9 << 20;

#[test]
fn large_answers_of_v1_and_v2_are_rendered_on_another_thread() {
    let server = start();
    let put = |path: &str| {
        let form = format!("value={}", "<".repeat(ESCAPED_BYTES));
        server.http("PUT", path, &form)
    };
    let created = put("/v2/keys/d/a");
    let index = &created.json()["node"]["createdIndex"];
    let watch = format!("/v2/keys/d/a?wait=true&waitIndex={index}");
    let few = "value=y";
    let table = [
        ("GET", "/v2/keys/d?recursive=true", "", 200),
        ("GET", "/v2/keys/d/a", "", 200),
        ("GET", &watch, "", 200),
        ("PUT", "/v2/keys/d/a?prevValue=x", few, 412),
        ("DELETE", "/v2/keys/d/a?prevValue=x", "", 412),
        ("GET", "/v1/keys/d", "", 200),
        ("PUT", "/v1/keys/d/a", "value=y&prevValue=x", 400),
        // The response contains the replaced value.
        ("PUT", "/v2/keys/d/a", few, 200),
    ];
    for (method, path, body, status) in table {
        others_go_on(&server, path, || {
            if body == few && status == 200 {
                put(path);
            }
            let answer = server.http(method, path, body);
            assert_eq!(answer.status, status, "{method} {path}");
            let escaped = answer.body.len() / r"\u003c".len();
            assert_eq!(escaped / 1024, ESCAPED_BYTES / 1024, "{method} {path}");
        });
    }
}

/// Number of long values that differ only in their last bytes.
const ALIKE: usize = 1200;

/// Step between values, so that keys and values are ordered differently. Sorting ordered values takes few comparisons.
const STEP: usize = 7919;

#[test]
fn long_values_are_compared_on_another_thread() {
    let server = start();
    let text = |at: usize| STANDARD.encode(format!("{at:06}"));
    let value = "A".repeat(256 << 10);
    let put = |at: usize| {
        let (key, end) = (text(at), text(at * STEP % ALIKE));
        format!(r#"{{"request_put":{{"key":"{key}","value":"{value}{end}"}}}}"#)
    };
    for first in (0..ALIKE).step_by(20) {
        let puts: Vec<_> = (first..first + 20).map(put).collect();
        let txn = format!(r#"{{"success":[{}]}}"#, puts.join(","));
        server.v3("kv/txn", &txn);
    }
    let sort = r#""sort_target":"VALUE","sort_order":"DESCEND","limit":1"#;
    let range = format!(r#"{{"key":"AA==","range_end":"AA==",{sort}}}"#);
    // The sort alone takes 150 ms.
    wait::undisturbed(|| {
        let begun = Instant::now();
        let (answer, waited) =
            longest_wait(&server, || server.http("POST", "/v3/kv/range", &range));
        let took = begun.elapsed();
        let last = answer.text().contains(&text(ALIKE - 1));
        assert!(last, "{}", answer.status);
        if waited < took / 2 {
            return Ok(());
        }
        Err(format!("another client waited {waited:?} of {took:?}"))
    });
}

#[test]
fn a_large_response_over_a_websocket_does_not_delay_other_clients() {
    let server = start();
    let value = "dmFs".repeat(1 << 20);
    let keys = [
        "YQ==", "Yg==", "Yw==", "ZA==", "ZQ==", "Zg==", "Zw==", "aA==", "aQ==",
    ];
    for key in keys {
        let put = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
        server.v3("kv/put", &put);
    }
    others_go_on(&server, "a range over a WebSocket", || {
        let mut socket = Socket::open(&server.address(), "/v3/kv/range", &[]);
        let range = r#"{"key":"AA==","range_end":"AA=="}"#;
        socket.send(range).expect("it is sent");
        assert!(socket.text().len() > keys.len() * value.len());
    });
}

#[test]
fn many_requests_in_one_body_take_turns_with_others() {
    const REQUESTS: usize = 150_000;
    let server = start();
    let create = r#"{"create_request":{"key":"YQ=="}}"#;
    let body = format!("{}{create}", "{}".repeat(REQUESTS));
    others_go_on(&server, "/v3/watch", || {
        let mut stream = connect(&server);
        let head = "POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = format!("{head}{:x}\r\n{body}\r\n", body.len());
        stream.write_all(chunk.as_bytes()).expect("it is sent");
        let mut told = Vec::new();
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&told).contains("created") {
            let length = stream.read(&mut piece).expect("an answer");
            assert!(length > 0, "{}", String::from_utf8_lossy(&told));
            told.extend_from_slice(&piece[..length]);
        }
    });
}
