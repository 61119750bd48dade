//! Tests of both dialects.

use prost::Message as _;
use witan_api::v3::{
    etcdserverpb::{PutRequest, RangeRequest, TxnRequest},
    shape::Shaped,
};

use super::*;

const JSONPB: JsonDialect = JsonDialect::Jsonpb;
const PROTOJSON: JsonDialect = JsonDialect::Protojson(Encoding::Base64);

fn told<M: Shaped>(dialect: JsonDialect, body: &str) -> String {
    read(body.as_bytes(), M::SHAPE, dialect).expect_err(body)
}

fn range(dialect: JsonDialect, body: &str) -> RangeRequest {
    let bytes = read(body.as_bytes(), RangeRequest::SHAPE, dialect).expect(body);
    RangeRequest::decode(bytes.as_slice()).unwrap()
}

#[test]
fn errors_of_jsonpb_have_the_observed_texts() {
    let go = |what: &str, name: &str| {
        format!("json: cannot unmarshal {what} into Go value of type {name}")
    };
    let order = "etcdserverpb.RangeRequest_SortOrder";
    for (body, expect) in [
        (
            r#"{"key":"!!!!"}"#,
            "illegal base64 data at input byte 0".into(),
        ),
        (r#"{"key":1}"#, go("number", "[]uint8")),
        (r#"{"key":[97,"a",300]}"#, go("string", "uint8")),
        (r#"{"key":[300]}"#, go("number 300", "uint8")),
        (
            r#"{"limit":"x"}"#,
            "invalid character 'x' looking for beginning of value".into(),
        ),
        (r#"{"limit":""}"#, "unexpected end of JSON input".into()),
        (r#"{"limit":1.5}"#, go("number 1.5", "int64")),
        (r#"{"limit":{}}"#, go("object", "int64")),
        (
            r#"{"sort_order":"UP"}"#,
            format!("unknown value \"UP\" for enum {order}"),
        ),
        // escapes are not undone
        (
            r#"{"sort_order":"N\u004fNE"}"#,
            format!(r#"unknown value "N\\u004fNE" for enum {order}"#),
        ),
        (r#"{"sort_order":true}"#, go("bool", order)),
        (r#"{"keys_only":1}"#, go("number", "bool")),
        ("[]", go("array", "map[string]json.RawMessage")),
        // fields are in the order of the proto
        (r#"{"limit":[],"key":1}"#, go("number", "[]uint8")),
    ] {
        assert_eq!(told::<RangeRequest>(JSONPB, body), expect, "{body}");
    }
    assert_eq!(
        told::<TxnRequest>(JSONPB, r#"{"compare":5}"#),
        go("number", "[]json.RawMessage")
    );
}

#[test]
fn jsonpb_takes_what_it_can() {
    let body = r#"{"key":"YQ==","key":[98,99],"limit":" 7","sort_order":1,"rangeEnd":"Yg==","range_end":"Yw=="}"#;
    let range = range(JSONPB, body);
    assert_eq!(range.key, "bc");
    assert_eq!((range.limit, range.sort_order), (7, 1));
    assert_eq!(range.range_end, "b");
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
        told::<TxnRequest>(JSONPB, &nested(40)),
        "exceeded max depth for its length"
    );
}

#[test]
fn errors_of_protojson_have_the_observed_texts() {
    for (body, expect) in [
        (
            r#"{"key":"!!!!"}"#,
            r#"(line 1:8): invalid value for bytes field key: "!!!!""#,
        ),
        (
            r#"{"limit":[]}"#,
            "(line 1:10): invalid value for int64 field limit: [",
        ),
        (
            "\n {\"limit\":\n\n  true}",
            "(line 3:3): invalid value for int64 field limit: true",
        ),
        (
            r#"{"sort_order":true}"#,
            "(line 1:15): invalid value for enum field sortOrder: true",
        ),
        (
            r#"{"key":"YQ==","key":"YQ=="}"#,
            r#"(line 1:15): duplicate field "key""#,
        ),
        (
            r#"{"ä€😀":1,"limit":"ä"}"#,
            r#"(line 1:18): invalid value for int64 field limit: "ä""#,
        ),
    ] {
        assert_eq!(
            told::<RangeRequest>(PROTOJSON, body),
            format!("proto: {expect}"),
            "{body}"
        );
    }
    for (body, expect) in [
        ("[]", "(line 1:1): unexpected token ["),
        (r#""x""#, r#"(line 1:1): unexpected token "x""#),
        (
            "{\"x\":\"\\ud800\\u0041\"}",
            r#"(line 1:6): invalid escape code "\\u0041" in string"#,
        ),
    ] {
        let told = told::<RangeRequest>(PROTOJSON, body);
        assert_eq!(told, format!("proto: syntax error {expect}"), "{body}");
    }
    let twice = r#"{"success":[{"request_put":{},"request_range":{}}]}"#;
    assert_eq!(
        told::<TxnRequest>(PROTOJSON, twice),
        "proto: (line 1:31): error parsing \"request_range\", oneof etcdserverpb.RequestOp.request is already set"
    );
    assert_eq!(
        told::<PutRequest>(PROTOJSON, r#"{"x":"\ud800"}"#),
        "proto: unexpected EOF"
    );
}

#[test]
fn unknown_fields_are_ignored() {
    let body =
        r#"{"a":{"b":["\n",1e999]},"sort_order":"UP","rangeEnd":"_-8","sort_target":"MOD"} x"#;
    let range = range(PROTOJSON, body);
    assert_eq!((range.sort_order, range.sort_target), (0, 3));
    assert_eq!(range.range_end[..], [0xff, 0xef]);
}

#[test]
fn invalid_json_is_refused() {
    for body in [
        r#"{"limit":1]"key":"YQ=="}"#,
        r#"{"limit":1"#,
        r#"{"limit" 1}"#,
        r#"{"limit":1,}"#,
        r#"{"x":[1}}"#,
        "{\"key\":\"\n\"}",
    ] {
        let read = read(body.as_bytes(), RangeRequest::SHAPE, PROTOJSON);
        assert!(read.is_err(), "{body}: {read:?}");
    }
    let read = read(br#"{"success":[{}}]}"#, TxnRequest::SHAPE, PROTOJSON);
    assert!(read.is_err(), "{read:?}");
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| {
        let open = r#"{"success":[{"request_txn":"#.repeat(depth);
        format!("{open}{{}}{}", "}]}".repeat(depth))
    };
    let bytes = read(nested(49).as_bytes(), TxnRequest::SHAPE, PROTOJSON).unwrap();
    assert!(TxnRequest::decode(bytes.as_slice()).is_ok());
    assert_eq!(
        told::<TxnRequest>(PROTOJSON, &nested(50)),
        "proto: exceeded max recursion depth"
    );
}
