//! The representation of bytes in the gateway's JSON: base64, as in etcd, or plain strings with `?encoding=utf8`. With `utf8`,
//! bytes that are not valid UTF-8 are base64 in a field whose name ends with `SUFFIX`.

use serde::Serialize;
use witan_api::v3::{
    json::PlainText,
    shape::{FieldKind, FieldShape, MessageShape, Shaped},
};
use witan_gocompat::query::Query;

use super::error::GatewayError;

pub(super) const PARAMETER: &str = "encoding";
/// Suffix of a base64 field's name with `encoding=utf8`.
pub(super) const SUFFIX: &str = "_base64";

/// How a bytes field is represented in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Standard base64.
    Base64,
    /// Plain strings for valid UTF-8, and base64 in a suffixed field for other bytes.
    Utf8,
}

/// A field in a request, found by its name.
#[derive(Clone, Copy)]
pub(super) struct NamedField<'s> {
    pub(super) field: &'s FieldShape,
    pub(super) encoding: Encoding,
}

impl Encoding {
    pub(super) const NAMES: [&str; 2] = ["base64", "utf8"];

    /// Parses the query parameter `encoding`, by default `Base64`. Like Go, uses the first value. Fails for an unknown value.
    pub(super) fn from_query(query: &str) -> Result<Self, GatewayError> {
        if query.is_empty() {
            return Ok(Self::Base64);
        }
        match Query::of(query).all(PARAMETER).next() {
            None | Some("base64") => Ok(Self::Base64),
            Some("utf8") => Ok(Self::Utf8),
            Some(other) => Err(GatewayError::invalid(format!(
                "unknown {PARAMETER} {other:?}: \"base64\" and \"utf8\" are known"
            ))),
        }
    }

    /// Returns the field with this JSON or proto name. With `Utf8`, a bytes field's name plus `SUFFIX` also matches, and its
    /// value is base64. Returns `None` for an unknown name.
    pub(super) fn field<'s>(self, shape: &'s MessageShape, name: &[u8]) -> Option<NamedField<'s>> {
        let find = |name: &[u8]| {
            shape
                .fields
                .iter()
                .find(|field| field.json_name.as_bytes() == name || field.name.as_bytes() == name)
        };
        let named = |encoding| move |field| NamedField { field, encoding };
        let found = find(name).map(named(self));
        if found.is_some() || self == Self::Base64 {
            return found;
        }
        find(name.strip_suffix(SUFFIX.as_bytes())?)
            .filter(|field| matches!(field.kind, FieldKind::Bytes))
            .map(named(Self::Base64))
    }

    /// Appends a response as JSON.
    pub fn write<A: Shaped + Serialize>(
        self,
        answer: &A,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        match self {
            Self::Base64 => serde_json::to_writer(out, answer),
            Self::Utf8 => {
                let plain = PlainText { message: answer, suffix: SUFFIX };
                serde_json::to_writer(out, &plain)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use bytes::Bytes;
    use proptest::prelude::*;
    use witan_api::v3::{
        etcdserverpb::{
            Compare, DeleteRangeRequest, LeaseTimeToLiveResponse, PutRequest, RangeRequest,
            RangeResponse, RequestOp, TxnRequest, compare::TargetUnion, request_op::Request,
        },
        mvccpb::KeyValue,
    };

    use super::{
        super::{GatewayVersion, JsonFormat, decode},
        *,
    };

    fn written<A: Shaped + Serialize>(answer: &A) -> String {
        let mut out = Vec::new();
        Encoding::Utf8.write(answer, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Reads a body with plain strings in all gateway versions, asserts that the results are equal, and returns one of them.
    fn read<Q: Shaped + Default + prost::Message>(body: &str) -> Result<Q, GatewayError> {
        let read = [GatewayVersion::V3_6, GatewayVersion::V3_4].map(|gateway_version| {
            let form = JsonFormat { gateway_version, encoding: Encoding::Utf8 };
            decode::<Q>(body.as_bytes(), form)
        });
        let [present, former] = read;
        assert_eq!(
            present.as_ref().map(Q::encode_to_vec),
            former.as_ref().map(Q::encode_to_vec),
            "all gateway versions read {body} equally"
        );
        present
    }

    fn refused(body: &str) -> String {
        match read::<RangeRequest>(body) {
            Err(GatewayError::Status { text, .. }) => text,
            other => panic!("{body}: {other:?}"),
        }
    }

    fn assert_round_trip<M>(message: &M) -> Result<(), TestCaseError>
    where
        M: Shaped + Serialize + Default + prost::Message + PartialEq + Debug,
    {
        let json = written(message);
        let read = read::<M>(&json);
        prop_assert_eq!(read.as_ref(), Ok(message), "{}", json);
        Ok(())
    }

    #[test]
    fn the_query_parameter_selects_the_encoding() {
        for query in ["", "a=b", "encoding=base64", "encoding=base64&encoding=x"] {
            assert_eq!(Encoding::from_query(query), Ok(Encoding::Base64), "{query}");
        }
        for query in ["encoding=utf8", "a=b&encoding=utf8", "encoding=%75tf8"] {
            assert_eq!(Encoding::from_query(query), Ok(Encoding::Utf8), "{query}");
        }
        for (query, told) in [
            ("encoding=", "\"\""),
            ("encoding=hex", "\"hex\""),
            ("encoding=UTF8", "\"UTF8\""),
        ] {
            let text = format!("unknown encoding {told}: \"base64\" and \"utf8\" are known");
            assert_eq!(
                Encoding::from_query(query),
                Err(GatewayError::invalid(text))
            );
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_base64_in_a_suffixed_field() {
        let pair = |key: &'static str, value: &'static [u8]| KeyValue {
            key: key.into(),
            value: value.into(),
            ..KeyValue::default()
        };
        let range = RangeResponse {
            kvs: vec![pair("a", b"\xff\xef"), pair("b", b"c")],
            count: 2,
            ..RangeResponse::default()
        };
        let json =
            r#"{"kvs":[{"key":"a","value_base64":"/+8="},{"key":"b","value":"c"}],"count":"2"}"#;
        assert_eq!(written(&range), json);
        assert_eq!(read(json), Ok(range));
        let camel: RangeRequest = read(r#"{"key_base64":"_-8","rangeEnd_base64":"YQ=="}"#).unwrap();
        assert_eq!(camel.key[..], [0xff, 0xef]);
        assert_eq!(camel.range_end, "a");
    }

    #[test]
    fn a_list_is_plain_only_if_all_elements_are_utf8() {
        let mut lease = LeaseTimeToLiveResponse {
            keys: vec!["a".into(), "ä".into()],
            ..LeaseTimeToLiveResponse::default()
        };
        assert_eq!(written(&lease), r#"{"keys":["a","ä"]}"#);
        lease.keys.push(Bytes::from_static(b"\x80"));
        let json = r#"{"keys_base64":["YQ==","w6Q=","gA=="]}"#;
        assert_eq!(written(&lease), json);
        assert_eq!(read(json), Ok(lease));
    }

    #[test]
    fn errors_of_plain_bodies_are_reported() {
        for (body, expect) in [
            (
                r#"{"key":7}"#,
                "proto: (line 1:8): invalid value for bytes field key: 7",
            ),
            (
                r#"{"key_base64":"!!!!"}"#,
                r#"proto: (line 1:15): invalid value for bytes field key: "!!!!""#,
            ),
            (
                r#"{"key":"a","key_base64":"YQ=="}"#,
                r#"proto: (line 1:12): duplicate field "key_base64""#,
            ),
            // Half of a surrogate pair is not a character.
            (
                r#"{"key":"\ud800\u0041"}"#,
                r#"proto: syntax error (line 1:8): invalid escape code "\\u0041" in string"#,
            ),
        ] {
            assert_eq!(refused(body), expect, "{body}");
        }
        // Only bytes fields have a second name, and only with `encoding=utf8`.
        let range: RangeRequest = read(r#"{"limit_base64":"x"}"#).unwrap();
        assert_eq!(range, RangeRequest::default());
        let found = Encoding::Base64.field(RangeRequest::SHAPE, b"key_base64");
        assert!(found.is_none());
    }

    /// Generates UTF-8 or arbitrary bytes.
    fn some_bytes() -> impl Strategy<Value = Bytes> {
        prop_oneof![
            ".{0,6}".prop_map(Bytes::from),
            prop::collection::vec(any::<u8>(), 0..6).prop_map(Bytes::from),
        ]
    }

    /// Generates an operation, which can be a nested transaction.
    fn operation() -> impl Strategy<Value = Option<Request>> {
        let pair = (some_bytes(), some_bytes(), any::<u8>());
        let leaf = pair.prop_map(|(key, other, kind)| {
            Some(match kind % 3 {
                0 => Request::RequestPut(PutRequest { key, value: other, ..PutRequest::default() }),
                1 => Request::RequestRange(RangeRequest {
                    key,
                    range_end: other,
                    limit: i64::from(kind),
                    ..RangeRequest::default()
                }),
                _ => Request::RequestDeleteRange(DeleteRangeRequest {
                    key,
                    range_end: other,
                    ..DeleteRangeRequest::default()
                }),
            })
        });
        leaf.prop_recursive(3, 12, 3, |inner| {
            txn(inner).prop_map(|txn| Some(Request::RequestTxn(txn)))
        })
    }

    /// Generates a transaction with up to two comparisons, and up to two operations in each branch.
    fn txn(
        operation: impl Strategy<Value = Option<Request>> + Clone,
    ) -> impl Strategy<Value = TxnRequest> {
        let operation = operation.prop_map(|request| RequestOp { request });
        let operations = || prop::collection::vec(operation.clone(), 0..3);
        let compare = (some_bytes(), some_bytes()).prop_map(|(key, value)| Compare {
            key,
            target: 3,
            target_union: Some(TargetUnion::Value(value)),
            ..Compare::default()
        });
        let compares = prop::collection::vec(compare, 0..3);
        (compares, operations(), operations()).prop_map(|(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        })
    }

    proptest! {
        #[test]
        fn nested_transactions_round_trip(txn in txn(operation().boxed())) {
            assert_round_trip(&txn)?;
        }

        #[test]
        fn lists_round_trip(keys in prop::collection::vec(some_bytes(), 0..5)) {
            assert_round_trip(&LeaseTimeToLiveResponse { keys, ..LeaseTimeToLiveResponse::default() })?;
        }
    }
}
