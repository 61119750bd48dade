//! Tests the limits on depth and size. `tests/differ` checks that etcd accepts and refuses the same bodies.

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

#[test]
fn base64_can_contain_line_breaks_and_errors_have_gos_offset() {
    for text in ["YQ==", "YQ=\n=", "Y\r\nQ==\n"] {
        let decoded = base64::decode_standard_base64(text.as_bytes());
        assert_eq!(decoded, Ok(b"a".to_vec()), "{text:?}");
    }
    let unpadded = base64::decode_any_base64(b"YW\n_");
    assert_eq!(
        unpadded, None,
        "the length with the line break is that of padded text"
    );
    assert_eq!(base64::decode_any_base64(b"YW\n\nI"), Some(b"ab".to_vec()));
    for (text, offset) in [
        ("Y", 0),
        ("YQ", 0),
        ("YQ=", 3),
        ("YQ=x", 2),
        ("YQ==x", 4),
        ("YWI=\n=", 5),
        ("=", 0),
        ("YQ-_", 2),
    ] {
        let decoded = base64::decode_standard_base64(text.as_bytes());
        assert_eq!(decoded, Err(offset), "{text:?}");
    }
}
