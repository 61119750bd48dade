//! Tests the limits on depth and size. `tests/differ` compares accepted and refused bodies with etcd.

use prost::Message as _;
use witan_api::v3::{etcdserverpb::TxnRequest, shape::Shaped};

use super::*;

const JSONPB: JsonDialect = JsonDialect::Jsonpb;
const PROTOJSON: JsonDialect = JsonDialect::Protojson(Encoding::Base64);

fn told(dialect: JsonDialect, body: &str) -> String {
    read(body.as_bytes(), TxnRequest::SHAPE, dialect).expect_err(body)
}

#[test]
fn scanning_deep_and_large_bodies_is_bounded() {
    let large = "x".repeat(2 << 20);
    let nested = |depth: usize| {
        let open = r#"{"success":[{"request_txn":"#.repeat(depth);
        format!("{open}{{\"x\":\"{large}\"}}{}", "}]}".repeat(depth))
    };
    assert!(read(nested(5).as_bytes(), TxnRequest::SHAPE, JSONPB).is_ok());
    assert_eq!(
        told(JSONPB, &nested(40)),
        "exceeded max depth for its length"
    );
}

#[test]
fn nesting_depth_is_bounded() {
    let nested = |depth: usize| {
        let open = r#"{"success":[{"request_txn":"#.repeat(depth);
        format!("{open}{{}}{}", "}]}".repeat(depth))
    };
    let bytes = read(nested(49).as_bytes(), TxnRequest::SHAPE, PROTOJSON).unwrap();
    assert!(TxnRequest::decode(bytes.as_slice()).is_ok());
    assert_eq!(
        told(PROTOJSON, &nested(50)),
        "proto: exceeded max recursion depth"
    );
}

#[test]
fn only_the_last_members_that_are_fields_are_kept() {
    let others = r#""x":0,"success":0,"#.repeat(1000);
    let body = format!(r#"{{{others}"success":[]}}"#);
    let mut reader = Reader {
        dialect: JSONPB,
        body: body.as_bytes(),
        scanner: Scanner::new(body.as_bytes()),
        out: MessageWriter::default(),
        left: SCANNED_BYTES_MAX,
    };
    let members = reader.members(TxnRequest::SHAPE).unwrap();
    let [(name, place)] = &members[..] else {
        panic!("{members:?}");
    };
    assert_eq!((&**name, &body[place.clone()]), (&b"success"[..], "[]"));
}
