//! Limits of requests answer as etcd's do: the same requests, a little below and a little above each
//! limit, to our server and to etcd 3.6 and 3.4, over gRPC and as JSON.

use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, transport::Channel};
use witan_api::v3::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    kv_client::KvClient, request_op::Request,
};
use witan_e2e::{Kind, Launch, Server, grpc};

/// `--max-request-bytes`.
const REQUEST_BYTES: usize = 2000;

/// The bytes that etcd adds to it to get the largest gRPC message.
const MESSAGE_ALLOWANCE_BYTES: usize = 512 << 10;

/// An allowance for the bytes that etcd puts around a request, which vary by one or two.
const ENVELOPE_BYTES: usize = 32;

type Said = Result<(), (Code, String)>;

fn put(bytes: usize) -> PutRequest {
    let put = |value: usize| PutRequest {
        key: "k".into(),
        value: vec![b'v'; value].into(),
        ..Default::default()
    };
    // so that the message has exactly so many bytes
    let over = put(bytes).encoded_len() - bytes;
    put(bytes - over)
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn puts(count: usize) -> Vec<RequestOp> {
    let one = |i: usize| PutRequest { key: format!("txn/{i}").into(), ..Default::default() };
    (0..count)
        .map(|i| op(Request::RequestPut(one(i))))
        .collect()
}

fn compares(count: usize) -> Vec<Compare> {
    let one = |i: usize| Compare { key: format!("txn/{i}").into(), ..Default::default() };
    (0..count).map(one).collect()
}

fn ranges(count: usize) -> Vec<RequestOp> {
    let range = || RangeRequest { key: "k".into(), ..Default::default() };
    (0..count)
        .map(|_| op(Request::RequestRange(range())))
        .collect()
}

/// Transactions with `--max-txn-ops=4`, by what they are.
fn txns() -> Vec<(&'static str, TxnRequest)> {
    let nested = |inner: usize| {
        let txn = TxnRequest { success: puts(inner), ..Default::default() };
        vec![op(Request::RequestTxn(txn))]
    };
    let txn = |compare, success, failure| TxnRequest { compare, success, failure };
    let large = || vec![op(Request::RequestPut(put(REQUEST_BYTES)))];
    vec![
        ("4 puts", txn(vec![], puts(4), vec![])),
        ("5 puts", txn(vec![], puts(5), vec![])),
        ("5 puts otherwise", txn(vec![], vec![], puts(5))),
        ("4 and 4", txn(compares(4), puts(4), puts(4))),
        ("5 comparisons", txn(compares(5), vec![], vec![])),
        ("5 ranges", txn(vec![], ranges(5), vec![])),
        ("3 nested in 1", txn(vec![], nested(3), vec![])),
        ("4 nested in 1", txn(vec![], nested(4), vec![])),
        ("large", txn(vec![], large(), vec![])),
    ]
}

fn said<T>(answer: Result<T, tonic::Status>) -> Said {
    answer
        .map(drop)
        .map_err(|status| (status.code(), status.message().to_owned()))
}

async fn over_grpc(channel: Channel) -> Vec<(String, Said)> {
    let mut client = KvClient::new(channel).max_encoding_message_size(usize::MAX);
    let message_max = REQUEST_BYTES + MESSAGE_ALLOWANCE_BYTES;
    let mut told = Vec::new();
    for bytes in [
        REQUEST_BYTES - ENVELOPE_BYTES,
        REQUEST_BYTES,
        message_max,
        message_max + 1,
        10 * message_max,
    ] {
        let answer = client.put(put(bytes)).await;
        told.push((format!("put of {bytes}"), said(answer)));
    }
    for bytes in [REQUEST_BYTES - 100, REQUEST_BYTES, message_max + 100] {
        let key = vec![b'k'; bytes];
        let delete = DeleteRangeRequest { key: key.clone().into(), ..Default::default() };
        told.push((
            format!("delete of {bytes}"),
            said(client.delete_range(delete).await),
        ));
        let range = RangeRequest { key: key.into(), ..Default::default() };
        told.push((format!("range of {bytes}"), said(client.range(range).await)));
    }
    for (name, txn) in txns() {
        told.push((name.to_owned(), said(client.txn(txn).await)));
    }
    told
}

/// The answer's status and, of an error, what clients look at.
fn as_json(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let answer = server.http("POST", &format!("/v3/{path}"), &body.to_string());
    let json = answer.json();
    (
        answer.status,
        json!([json["code"], json["message"], json["error"]]),
    )
}

fn over_json(server: &Server) -> Vec<(String, (u16, Value))> {
    let mut told = Vec::new();
    for bytes in [
        REQUEST_BYTES - 100,
        REQUEST_BYTES,
        REQUEST_BYTES + MESSAGE_ALLOWANCE_BYTES + 100,
    ] {
        // base64 of zeros
        let value = "A".repeat(bytes.next_multiple_of(12) / 3 * 4);
        let body = json!({ "key": "a2tr", "value": value });
        told.push((format!("put of {bytes}"), as_json(server, "kv/put", &body)));
    }
    for count in [4, 5] {
        let ops: Vec<Value> = (0..count)
            .map(|i| json!({ "request_put": { "key": format!("a2t{i}") } }))
            .collect();
        let body = json!({ "success": ops });
        told.push((format!("{count} puts"), as_json(server, "kv/txn", &body)));
    }
    told
}

#[test]
fn too_large_requests_have_etcds_errors() {
    let runtime = grpc::runtime();
    let [ours, present, former] = [Kind::Witan, Kind::Etcd36, Kind::Etcd34].map(|kind| {
        let server = Launch::new(kind)
            .arg(format!("--max-request-bytes={REQUEST_BYTES}"))
            .arg("--max-txn-ops=4")
            .start();
        let grpc =
            runtime.block_on(async { over_grpc(grpc::connect(&server.address()).await).await });
        (grpc, over_json(&server))
    });
    assert_eq!(ours.0, present.0);
    assert_eq!(ours.0, former.0);
    for ((name, (status, said)), theirs) in ours.1.iter().zip(&present.1) {
        // etcd 3.4 has `error`, 3.6 has not: here it repeats the message for clients of 3.4
        assert_eq!(said[2], said[1], "{name}");
        let without = json!([said[0], said[1], Value::Null]);
        assert_eq!(&(name.clone(), (*status, without)), theirs);
    }
    let code = |name: &str| {
        let found = ours.0.iter().find(|(known, _)| known == name);
        found
            .and_then(|(_, said)| said.clone().err())
            .map(|(code, _)| code)
    };
    assert_eq!(code("put of 2000"), Some(Code::InvalidArgument));
    assert_eq!(code("put of 526289"), Some(Code::ResourceExhausted));
    assert_eq!(
        (code("4 puts"), code("5 puts")),
        (None, Some(Code::InvalidArgument))
    );
}
