//! Serializes protobuf messages as JSON, using the tables of their fields. Fields have their original names, and zero fields
//! are omitted. 64-bit integers become strings, bytes become padded standard base64, and enums become names.
//!
//! Not here: deserialization. The gateway parses bodies with `shape`.

use std::{borrow::Cow, iter};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::encoding::{WireType, decode_key, decode_varint};
use serde::{
    Serialize, Serializer,
    ser::{Error as _, SerializeMap as _},
};

use super::shape::{FieldKind, MessageShape, Shaped};

/// Serializes a message with its `bytes` fields as plain strings. If any value of such a field is not valid UTF-8, all values
/// of the field are base64, and its name gets a suffix.
#[derive(Debug)]
pub struct PlainText<'a, M> {
    /// The message.
    pub message: &'a M,
    /// The suffix of the names of base64 fields.
    pub suffix: &'a str,
}

/// Serializes a message. With `suffix`, serializes it as [`PlainText`].
pub(super) fn serialize<M: Shaped, S: Serializer>(
    message: &M,
    suffix: Option<&str>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let encoded = &message.encode_to_vec();
    let message = EncodedMessage { encoded, shape: M::SHAPE, suffix };
    message.serialize(serializer)
}

/// A message in its protobuf encoding, which omits zero fields.
struct EncodedMessage<'a> {
    encoded: &'a [u8],
    shape: &'a MessageShape,
    suffix: Option<&'a str>,
}

/// The elements of a list in an encoded message.
struct List<'a> {
    encoded: &'a [u8],
    number: u32,
    kind: FieldKind,
    suffix: Option<&'a str>,
}

/// A single value or an element of a list.
struct Value<'a> {
    wire: WireValue<'a>,
    kind: FieldKind,
    suffix: Option<&'a str>,
}

/// A value as protobuf encodes it.
#[derive(Clone, Copy)]
struct WireValue<'a> {
    /// The value of an integer, a bool or an enum. For all other kinds, the length of `bytes`.
    integer: u64,
    /// The content of a string, a `bytes` field, a message or a list of integers; otherwise empty.
    bytes: &'a [u8],
}

/// Returns the values of the field with this number in an encoded message, up to the first bytes that cannot be decoded.
fn values(mut rest: &[u8], number: u32) -> impl Iterator<Item = WireValue<'_>> {
    let fields = iter::from_fn(move || next_field(&mut rest));
    fields.filter_map(move |(found, wire)| (found == number).then_some(wire))
}

/// Reads a field's number and value. Returns `None` at the end of the message, or if the remaining bytes cannot be decoded.
/// Supports only the wire types of the kinds in [`FieldKind`].
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u32, WireValue<'a>)> {
    // At the end, `decode_key` would create an error, which takes longer than reading a field.
    if rest.is_empty() {
        return None;
    }
    let (number, wire_type) = decode_key(rest).ok()?;
    let integer = decode_varint(rest).ok()?;
    let mut bytes: &[u8] = &[];
    if wire_type == WireType::LengthDelimited {
        (bytes, *rest) = rest.split_at_checked(usize::try_from(integer).ok()?)?;
    }
    Some((number, WireValue { integer, bytes }))
}

impl<M: Shaped> Serialize for PlainText<'_, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self.message, Some(self.suffix), serializer)
    }
}

impl Serialize for EncodedMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (encoded, suffix) = (self.encoded, self.suffix);
        let mut json = serializer.serialize_map(None)?;
        for field in self.shape.fields {
            let number = field.number;
            let Some(wire) = values(encoded, number).next() else {
                continue;
            };
            let (mut name, mut kind) = (Cow::Borrowed(field.name), field.kind);
            if let (FieldKind::Bytes, Some(suffix)) = (kind, suffix) {
                if values(encoded, number).all(|wire| str::from_utf8(wire.bytes).is_ok()) {
                    kind = FieldKind::String;
                } else {
                    name += suffix;
                }
            }
            if field.list {
                json.serialize_entry(&name, &List { encoded, number, kind, suffix })?;
            } else {
                json.serialize_entry(&name, &Value { wire, kind, suffix })?;
            }
        }
        json.end()
    }
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, suffix) = (self.kind, self.suffix);
        let values = values(self.encoded, self.number);
        match kind {
            FieldKind::String | FieldKind::Bytes | FieldKind::Message(_) => {
                serializer.collect_seq(values.map(|wire| Value { wire, kind, suffix }))
            }
            // In the packed encoding, one field contains all integers of a list.
            FieldKind::Bool
            | FieldKind::Int64
            | FieldKind::Uint64
            | FieldKind::Uint32
            | FieldKind::Enum(_) => serializer.collect_seq(values.flat_map(|packed| {
                let mut rest = packed.bytes;
                let integers = iter::from_fn(move || decode_varint(&mut rest).ok());
                integers.map(move |integer| Value {
                    wire: WireValue { integer, bytes: &[] },
                    kind,
                    suffix,
                })
            })),
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let WireValue { integer, bytes } = self.wire;
        match self.kind {
            FieldKind::Bool => serializer.serialize_bool(integer != 0),
            FieldKind::Int64 => serializer.collect_str(&integer.cast_signed()),
            FieldKind::Uint64 => serializer.collect_str(&integer),
            FieldKind::Uint32 => serializer.serialize_u64(integer),
            FieldKind::String => {
                serializer.serialize_str(str::from_utf8(bytes).map_err(S::Error::custom)?)
            }
            FieldKind::Bytes => serializer.serialize_str(&STANDARD.encode(bytes)),
            FieldKind::Enum(shape) => {
                // Protobuf extends a negative value to 64 bits.
                let value = integer as i32;
                match shape.values.iter().find(|(_, known)| *known == value) {
                    Some((name, _)) => serializer.serialize_str(name),
                    None => serializer.serialize_i32(value),
                }
            }
            FieldKind::Message(shape) => {
                let suffix = self.suffix;
                EncodedMessage { encoded: bytes, shape, suffix }.serialize(serializer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            etcdserverpb::{
                Compare, LeaseTimeToLiveResponse, RangeRequest, RequestOp, ResponseHeader,
                ResponseOp, TxnResponse, WatchCreateRequest, compare::TargetUnion,
                request_op::Request, response_op::Response,
            },
            mvccpb::{Event, KeyValue},
        },
        *,
    };

    fn json(message: &impl Serialize) -> String {
        serde_json::to_string(message).unwrap()
    }

    #[test]
    fn zero_fields_are_omitted_and_integers_are_strings() {
        assert_eq!(json(&ResponseHeader::default()), "{}");
        let header = ResponseHeader {
            cluster_id: u64::MAX,
            revision: -7,
            ..ResponseHeader::default()
        };
        assert_eq!(
            json(&header),
            r#"{"cluster_id":"18446744073709551615","revision":"-7"}"#
        );
    }

    #[test]
    fn nested_messages_and_oneofs_keep_empty_values() {
        let response = Some(Response::ResponseTxn(TxnResponse::default()));
        let responses = vec![ResponseOp { response }, ResponseOp::default()];
        let txn = TxnResponse { succeeded: true, responses, ..TxnResponse::default() };
        assert_eq!(
            json(&txn),
            r#"{"succeeded":true,"responses":[{"response_txn":{}},{}]}"#
        );
        let request = Some(Request::RequestRange(RangeRequest::default()));
        let range = RequestOp { request };
        assert_eq!(json(&range), r#"{"request_range":{}}"#);
        let compare = Compare {
            target_union: Some(TargetUnion::Version(0)),
            ..Compare::default()
        };
        assert_eq!(json(&compare), r#"{"version":"0"}"#);
    }

    #[test]
    fn enums_are_names_and_unknown_values_are_numbers() {
        let event = |r#type| {
            let kv = KeyValue { key: "a".into(), ..KeyValue::default() };
            json(&Event { r#type, kv: Some(kv), prev_kv: None })
        };
        assert_eq!(event(0), r#"{"kv":{"key":"YQ=="}}"#);
        assert_eq!(event(1), r#"{"type":"DELETE","kv":{"key":"YQ=="}}"#);
        assert_eq!(event(-3), r#"{"type":-3,"kv":{"key":"YQ=="}}"#);
        let filters = vec![1, 0, 9];
        assert_eq!(
            json(&WatchCreateRequest { filters, ..WatchCreateRequest::default() }),
            r#"{"filters":["NODELETE","NOPUT",9]}"#
        );
    }

    #[test]
    fn lists_of_bytes_keep_empty_elements() {
        let keys = vec!["a".into(), "".into()];
        let lease = LeaseTimeToLiveResponse { id: 1, keys, ..LeaseTimeToLiveResponse::default() };
        assert_eq!(json(&lease), r#"{"ID":"1","keys":["YQ==",""]}"#);
    }
}
