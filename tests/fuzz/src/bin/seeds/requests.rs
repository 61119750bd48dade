//! Requests that were recorded from real clients of real etcd.

use std::collections::BTreeSet;

use prost::Message;
use serde::Serialize;
use serde_json::Value;
use witan_api::v3::{
    etcdserverpb::{self as pb, request_op::Request},
    shape::Shaped,
};
use witan_v3::fuzz::gateway_body;

use super::Corpus;

/// Inputs of one target that come from pairs.
const INPUTS_MAX: usize = 44;

/// Requests that no pair has.
const CALLS: &[(&str, &str, &str)] = &[
    (
        "kv/txn",
        "compares",
        r#"{"compare":[{"target":"VALUE","key":"dA==","value":"MA=="},{"key":"dA==","version":"0","result":"GREATER"},{"target":"MOD","key":"YQ==","range_end":"YWE=","mod_revision":"3","result":3},{"target":"LEASE","key":"YQ==","lease":"7"},{"target":"CREATE","key":"YQ==","create_revision":"2","result":"LESS"}],"success":[{"request_put":{"key":"dA==","value":"MQ=="}},{"request_delete_range":{"key":"YQ==","range_end":"AA==","prev_kv":true}}],"failure":[{"requestRange":{"key":"dA==","rangeEnd":"dQ==","limit":"3"}}]}"#,
    ),
    (
        "kv/txn",
        "nested",
        r#"{"success":[{"request_txn":{"success":[{"request_txn":{"failure":[{"request_put":{"key":"YQ=="}}]}}],"failure":[{"request_put":{"key":"Yg=="}}]}},{"request_put":{"key":"Yw=="}},{}]}"#,
    ),
    (
        "kv/range",
        "all-options",
        r#"{"key":"AA==","range_end":"AA==","limit":10,"revision":"-1","sort_order":"DESCEND","sort_target":"MOD","serializable":true,"keys_only":true,"count_only":false,"min_mod_revision":1,"max_mod_revision":"9","min_create_revision":1.0,"max_create_revision":9e0}"#,
    ),
    (
        "kv/range",
        "numbers",
        r#"{"key":"/+8=","limit":"9223372036854775807","revision":-9223372036854775808,"sort_target":4,"x":null}"#,
    ),
    (
        "kv/put",
        "all-options",
        r#"{"key":"_-8","value":"Zm9\nv","lease":"1234","prev_kv":true,"ignore_value":false,"ignore_lease":null}"#,
    ),
    (
        "kv/deleterange",
        "range",
        r#"{"key":"YQ==","range_end":"Yg==","prev_kv":true}"#,
    ),
    (
        "kv/compaction",
        "physical",
        r#"{"revision":"5","physical":true}"#,
    ),
    (
        "cluster/member/add",
        "learner",
        r#"{"peerURLs":["http://127.0.0.1:2380"],"isLearner":true}"#,
    ),
    (
        "cluster/member/remove",
        "id",
        r#"{"ID":"18446744073709551615"}"#,
    ),
    (
        "cluster/member/update",
        "urls",
        r#"{"ID":"1","peerURLs":["http://a:1","http://b:2"]}"#,
    ),
    ("cluster/member/promote", "id", r#"{"ID":1}"#),
    (
        "cluster/member/list",
        "linearizable",
        r#"{"linearizable":true}"#,
    ),
    (
        "maintenance/alarm",
        "activate",
        r#"{"action":"ACTIVATE","memberID":"3","alarm":"NOSPACE"}"#,
    ),
    (
        "watch",
        "filters",
        r#"{"key":"Zm9v","start_revision":"3","filters":["NODELETE",0],"progress_notify":true}"#,
    ),
    (
        "answer",
        "txn",
        r#"{"header":{"cluster_id":"1","revision":"4"},"succeeded":true,"responses":[{"response_range":{"kvs":[{"key":"Zm9v","value":"YmFy","version":"1"}],"more":true,"count":"2"}}]}"#,
    ),
];

struct Pair {
    name: String,
    method: String,
    target: String,
    body: String,
    media_type: String,
}

/// The request as it stands on the wire.
fn http(pair: &Pair) -> Vec<u8> {
    let (method, target, body) = (&pair.method, &pair.target, &pair.body);
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost:2379\r\n");
    if !pair.media_type.is_empty() {
        head.push_str(&format!("Content-Type: {}\r\n", pair.media_type));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    format!("{head}\r\n{body}").into()
}

/// The beginning of a gRPC client's connection: preface, settings, and the head of a call.
fn http2() -> Vec<u8> {
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    out.extend_from_slice(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100]);
    let mut head = vec![0x83, 0x86];
    for (name, value) in [
        (4_u8, "/etcdserverpb.KV/Range"),
        (1, "localhost"),
        (31, "application/grpc"),
    ] {
        // an indexed name and a literal value, as HPACK has them
        if name < 16 {
            head.push(name);
        } else {
            head.extend_from_slice(&[15, name - 15]);
        }
        head.push(u8::try_from(value.len()).expect("short"));
        head.extend_from_slice(value.as_bytes());
    }
    let length = u8::try_from(head.len()).expect("short");
    out.extend_from_slice(&[0, 0, length, 1, 4, 0, 0, 0, 1]);
    out.extend_from_slice(&head);
    out.extend_from_slice(&[0, 0, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0x0a, 1, b'k']);
    out
}

/// The shape of a request, all but names and values, which tells it from the requests before it.
fn shape(pair: &Pair) -> String {
    let letters = |text: &str| text.replace(|c: char| c.is_ascii_alphanumeric(), "");
    let names: Vec<&str> = pair
        .target
        .split(['?', '&'])
        .skip(1)
        .chain(pair.body.split('&'))
        .map(|part| part.split('=').next().unwrap_or_default())
        .collect();
    let depth = letters(pair.target.split('?').next().unwrap_or_default());
    format!("{} {depth} {names:?}", pair.method)
}

fn read(line: &str) -> Option<Pair> {
    let pair: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| pair[name].as_str().unwrap_or_default().to_owned();
    Some(Pair {
        name: text("n"),
        method: text("method"),
        target: text("path"),
        body: text("body"),
        media_type: text("ctype"),
    })
}

pub(super) fn add(corpus: &mut Corpus, pairs: &str) {
    let pairs: Vec<Pair> = pairs.lines().filter_map(read).collect();
    let mut seen = BTreeSet::new();
    let mut put = |target: &'static str, pair: &Pair, bytes: Vec<u8>| {
        let many = corpus.keys().filter(|key| key.0 == target).count();
        if many < INPUTS_MAX && seen.insert((target, shape(pair))) {
            corpus.insert((target, format!("pair-{}", pair.name)), bytes);
        }
    };
    for pair in &pairs {
        let path = pair.target.split('?').next().unwrap_or_default();
        let (method, body) = (&pair.method, &pair.body);
        put("path", pair, path.into());
        if !pair.target.contains("wait") {
            put("port", pair, http(pair));
        }
        if path.starts_with("/v2/keys") {
            let line = format!("{method} {}\n{body}", pair.target);
            put("keys", pair, line.into());
        } else if path.starts_with("/v2/members") && !body.is_empty() {
            put("members", pair, body.clone().into());
        } else if let Some(call) = path.strip_prefix("/v3beta/").or(path.strip_prefix("/v3/")) {
            put("gateway", pair, format!("{call}\n{body}").into());
        }
    }
    corpus.insert(("port", "grpc-range".into()), http2());
    let v1 = "POST /v1/keys/foo HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nvalue=bar\r\n0\r\n\r\n";
    corpus.insert(("port", "v1-chunked".into()), v1.into());
    let two = "GET /v1/keys/foo HTTP/1.1\r\nHost: a\r\n\r\nGET /health HTTP/1.0\r\n\r\n";
    corpus.insert(("port", "pipelined".into()), two.into());
    for (call, name, body) in CALLS {
        let name = format!("{}-{name}", call.replace('/', "-"));
        corpus.insert(("gateway", name.clone()), format!("{call}\n{body}").into());
        if let Some(bytes) = protobuf(call, body.as_bytes()) {
            corpus.insert(("protobuf", name), bytes);
        }
    }
    for depth in [40, 48, 49, 50] {
        let bytes = [b"t", nested(depth).encode_to_vec().as_slice()].concat();
        corpus.insert(("protobuf", format!("nested-{depth}")), bytes);
    }
    for (number, pair) in pairs
        .iter()
        .filter(|pair| pair.target.starts_with("/v3"))
        .enumerate()
    {
        let call = pair.target.splitn(3, '/').nth(2).unwrap_or_default();
        if let Some(bytes) = protobuf(call, pair.body.as_bytes()).filter(|_| number < INPUTS_MAX) {
            corpus.insert(("protobuf", format!("pair-{}", pair.name)), bytes);
        }
    }
}

/// A put below so many transactions.
fn nested(depth: usize) -> pb::TxnRequest {
    let op = if depth == 0 {
        Request::RequestPut(pb::PutRequest { key: "k".into(), ..pb::PutRequest::default() })
    } else {
        Request::RequestTxn(nested(depth - 1))
    };
    pb::TxnRequest {
        success: vec![pb::RequestOp { request: Some(op) }],
        ..pb::TxnRequest::default()
    }
}

/// The same request as a gRPC client sends it.
fn protobuf(call: &str, body: &[u8]) -> Option<Vec<u8>> {
    fn encoded<Q>(body: &[u8]) -> Option<Vec<u8>>
    where
        Q: Message + Serialize + Shaped + Default,
    {
        let message = gateway_body::<Q>(body, false).ok()?;
        Some(message.encode_to_vec())
    }
    let (kind, bytes) = match call {
        "kv/range" => (b'r', encoded::<pb::RangeRequest>(body)?),
        "kv/put" => (b'p', encoded::<pb::PutRequest>(body)?),
        "kv/deleterange" => (b'd', encoded::<pb::DeleteRangeRequest>(body)?),
        "kv/txn" => (b't', encoded::<pb::TxnRequest>(body)?),
        "kv/compaction" => (b'c', encoded::<pb::CompactionRequest>(body)?),
        "cluster/member/add" => (b'm', encoded::<pb::MemberAddRequest>(body)?),
        "maintenance/alarm" => (b'a', encoded::<pb::AlarmRequest>(body)?),
        _ => return None,
    };
    Some([&[kind], bytes.as_slice()].concat())
}
