//! The JSON mapping of protobuf, as the helper functions that the generated serde attributes name.
//!
//! Written: original field names, zero fields left out, 64-bit integers as strings, bytes as padded
//! standard base64, enums by name. Read: original or lowerCamel names, unknown fields ignored,
//! `null` for the default, integers as numbers or strings, base64 standard or URL-safe, padded or
//! not, enums by name or number. Only clients read in this way: the gateway reads bodies as etcd
//! does, by `shape`.

use std::{fmt, marker::PhantomData, str::FromStr};

use ::bytes::Bytes;
use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{authpb, etcdserverpb, mvccpb};

/// Whether a field has its default value, so that it is left out.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Deserializes a value; `null` gives the default.
pub fn nullable<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An integer type that JSON may give as a number or a string.
trait Integer: FromStr + TryFrom<i64> + TryFrom<u64> + Default {}
impl Integer for i64 {}
impl Integer for u64 {}
impl Integer for u32 {}
impl Integer for i32 {}

struct IntegerVisitor<T>(PhantomData<T>);

impl<T: Integer> de::Visitor<'_> for IntegerVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer or a string that holds one")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        T::try_from(value).map_err(|_| E::custom(format_args!("{value} is out of range")))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        T::try_from(value).map_err(|_| E::custom(format_args!("{value} is out of range")))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        // `1.0` and `1e3` are integers, too; above 2^53 a float does not identify an integer.
        #[expect(clippy::cast_possible_truncation, reason = "the numbers are small")]
        let whole = value as i64;
        #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
        let exact = whole as f64 == value && whole.unsigned_abs() <= 1 << 53;
        if exact {
            self.visit_i64(whole)
        } else {
            Err(E::invalid_type(de::Unexpected::Float(value), &self))
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        value
            .parse()
            .map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        Ok(T::default())
    }
}

macro_rules! integers {
    ($($module:ident $kind:ty, $out:ident;)*) => {$(
        #[doc = concat!("JSON form of `", stringify!($kind), "`.")]
        pub mod $module {
            use super::{Deserializer, IntegerVisitor, PhantomData, Serializer};

            /// Serializes the integer, one of 64 bits as a string.
            pub fn serialize<S: Serializer>(value: &$kind, serializer: S) -> Result<S::Ok, S::Error> {
                super::$out(value, serializer)
            }

            /// Deserializes the integer from a number or a string; `null` gives 0.
            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$kind, D::Error> {
                deserializer.deserialize_any(IntegerVisitor(PhantomData))
            }
        }
    )*};
}

integers! {
    int64 i64, as_string;
    uint64 u64, as_string;
    uint32 u32, as_number;
}

fn as_string<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_number<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.serialize(serializer)
}

/// JSON form of bytes.
pub mod bytes {
    use super::{Base64Visitor, Bytes, Deserializer, Engine, Serializer, general_purpose};

    /// Serializes bytes as padded standard base64.
    pub fn serialize<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&general_purpose::STANDARD.encode(value))
    }

    /// Deserializes bytes from base64, standard or URL-safe, padded or not; `null` gives no bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_any(Base64Visitor)
    }
}

/// JSON form of a list of bytes.
pub mod bytes_list {
    use super::{Base64, Bytes, Deserialize, Deserializer, Engine, Serializer, general_purpose};

    /// Serializes a list of bytes, each as padded standard base64.
    pub fn serialize<S: Serializer>(value: &[Bytes], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            value
                .iter()
                .map(|bytes| general_purpose::STANDARD.encode(bytes)),
        )
    }

    /// Deserializes a list of bytes, each from base64 of any form; `null` gives an empty list.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Bytes>, D::Error> {
        let list: Option<Vec<Base64>> = Option::deserialize(deserializer)?;
        Ok(list
            .unwrap_or_default()
            .into_iter()
            .map(|Base64(bytes)| bytes)
            .collect())
    }
}

struct Base64(Bytes);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bytes::deserialize(deserializer).map(Base64)
    }
}

struct Base64Visitor;

impl de::Visitor<'_> for Base64Visitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a base64 string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        decode_base64(text)
            .map_err(|at| E::custom(format_args!("illegal base64 data at input byte {at}")))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Bytes, E> {
        Ok(Bytes::new())
    }
}

/// Left-over bits in the last character are ignored, as Go does.
const LOOSE: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
const PADDED: GeneralPurposeConfig =
    LOOSE.with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
const BARE: GeneralPurposeConfig = LOOSE.with_decode_padding_mode(DecodePaddingMode::RequireNone);

/// Decodes base64, standard or URL-safe, with or without padding. The error is the offset of the
/// first invalid byte, or of the group that contains it.
fn decode_base64(text: &str) -> Result<Bytes, usize> {
    let alphabet = if text.contains(['-', '_']) {
        &URL_SAFE
    } else {
        &STANDARD
    };
    let config = if text.len().is_multiple_of(4) {
        PADDED
    } else {
        BARE
    };
    let engine = GeneralPurpose::new(alphabet, config);
    let decoded = if text.contains(['\n', '\r']) {
        engine.decode(text.replace(['\n', '\r'], ""))
    } else {
        engine.decode(text)
    };
    decoded.map(Bytes::from).map_err(|error| match error {
        base64::DecodeError::InvalidByte(at, _) => at,
        base64::DecodeError::InvalidLength(_)
        | base64::DecodeError::InvalidLastSymbol(..)
        | base64::DecodeError::InvalidPadding => text.len() / 4 * 4,
    })
}

/// An enum whose values have names in JSON.
pub trait NamedEnum: Sized + TryFrom<i32> {
    /// The value's name in the proto file.
    fn name(&self) -> &'static str;
    /// The number of the value of this name; `None` if the enum has no such value.
    fn number(name: &str) -> Option<i32>;
}

macro_rules! named {
    ($($kind:ty),* $(,)?) => {$(
        impl NamedEnum for $kind {
            fn name(&self) -> &'static str {
                self.as_str_name()
            }

            fn number(name: &str) -> Option<i32> {
                Self::from_str_name(name).map(i32::from)
            }
        }
    )*};
}

named! {
    authpb::permission::Type,
    mvccpb::event::EventType,
    etcdserverpb::AlarmType,
    etcdserverpb::alarm_request::AlarmAction,
    etcdserverpb::compare::CompareResult,
    etcdserverpb::compare::CompareTarget,
    etcdserverpb::downgrade_request::DowngradeAction,
    etcdserverpb::range_request::SortOrder,
    etcdserverpb::range_request::SortTarget,
    etcdserverpb::watch_create_request::FilterType,
}

/// An enum value, written by name, or as its number if that has no name; read from either.
struct EnumValue<T>(i32, PhantomData<T>);

impl<T: NamedEnum> Serialize for EnumValue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match T::try_from(self.0) {
            Ok(value) => serializer.serialize_str(value.name()),
            Err(_) => serializer.serialize_i32(self.0),
        }
    }
}

impl<'de, T: NamedEnum> Deserialize<'de> for EnumValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(EnumVisitor::<T>(PhantomData))?;
        Ok(Self(number, PhantomData))
    }
}

struct EnumVisitor<T>(PhantomData<T>);

impl<T: NamedEnum> de::Visitor<'_> for EnumVisitor<T> {
    type Value = i32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an enum value by name or number")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i32, E> {
        IntegerVisitor(PhantomData).visit_i64(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i32, E> {
        IntegerVisitor(PhantomData).visit_u64(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<i32, E> {
        IntegerVisitor(PhantomData).visit_f64(value)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<i32, E> {
        T::number(name).ok_or_else(|| E::invalid_value(de::Unexpected::Str(name), &self))
    }

    fn visit_unit<E: de::Error>(self) -> Result<i32, E> {
        Ok(0)
    }
}

/// Serializes the value of an enum by name, or as its number if that has no name.
pub fn enum_serialize<T: NamedEnum, S: Serializer>(
    value: &i32,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    EnumValue::<T>(*value, PhantomData).serialize(serializer)
}

/// Deserializes the value of an enum from its name or number; `null` gives 0.
pub fn enum_deserialize<'de, T: NamedEnum, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<i32, D::Error> {
    EnumValue::<T>::deserialize(deserializer).map(|value| value.0)
}

/// Serializes a list of enum values, each as [`enum_serialize`] does.
pub fn enum_list_serialize<T: NamedEnum, S: Serializer>(
    values: &[i32],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(
        values
            .iter()
            .map(|value| EnumValue::<T>(*value, PhantomData)),
    )
}

/// Deserializes a list of enum values, each as [`enum_deserialize`] does; `null` gives an empty list.
pub fn enum_list_deserialize<'de, T: NamedEnum, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<i32>, D::Error> {
    let values: Option<Vec<EnumValue<T>>> = Option::deserialize(deserializer)?;
    Ok(values
        .unwrap_or_default()
        .into_iter()
        .map(|value| value.0)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{super::etcdserverpb as pb, *};

    fn read<T: for<'de> Deserialize<'de>>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    fn write<T: Serialize>(value: &T) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn key_values_are_serialized_as_in_etcd() {
        let kv = mvccpb::KeyValue {
            key: "foo".into(),
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            value: "bar".into(),
            lease: 0,
        };
        let header = pb::ResponseHeader { cluster_id: u64::MAX, revision: 4, ..Default::default() };
        let put = pb::PutResponse { header: Some(header), prev_kv: Some(kv) };
        assert_eq!(
            write(&put),
            r#"{"header":{"cluster_id":"18446744073709551615","revision":"4"},"prev_kv":{"key":"Zm9v","create_revision":"2","mod_revision":"3","version":"2","value":"YmFy"}}"#
        );
    }

    #[test]
    fn integers_come_as_numbers_or_strings() {
        for json in ["7", "\"7\"", "7.0", "7e0"] {
            assert_eq!(
                read::<pb::RangeRequest>(&format!("{{\"limit\":{json}}}")).limit,
                7,
                "{json}"
            );
        }
        assert_eq!(
            read::<pb::RangeRequest>(r#"{"limit":"-9223372036854775808"}"#).limit,
            i64::MIN
        );
        assert_eq!(read::<pb::RangeRequest>(r#"{"limit":null}"#).limit, 0);
        for json in ["7.5", "\"x\"", "9223372036854775808", "true", "\"\""] {
            let read = serde_json::from_str::<pb::RangeRequest>(&format!("{{\"limit\":{json}}}"));
            assert!(read.is_err(), "{json}");
        }
    }

    #[test]
    fn base64_comes_in_four_forms() {
        for (text, bytes) in [
            ("Zm9v", &b"foo"[..]),
            ("/+8=", b"\xff\xef"),
            ("/+8", b"\xff\xef"),
            ("_-8=", b"\xff\xef"),
            ("_-8", b"\xff\xef"),
            ("", b""),
        ] {
            assert_eq!(
                read::<pb::RangeRequest>(&format!("{{\"key\":\"{text}\"}}")).key,
                bytes,
                "{text}"
            );
        }
        assert_eq!(decode_base64("!!!!"), Err(0));
        assert_eq!(decode_base64("Zm9v!"), Err(4));
        assert_eq!(decode_base64("Zm9\nv"), Ok("foo".into()));
    }

    #[test]
    fn enums_come_by_name_or_number() {
        let range: pb::RangeRequest = read(r#"{"sort_order":"DESCEND","sortTarget":3}"#);
        assert_eq!((range.sort_order, range.sort_target), (2, 3));
        assert_eq!(
            read::<pb::RangeRequest>(r#"{"sort_order":7}"#).sort_order,
            7
        );
        assert!(serde_json::from_str::<pb::RangeRequest>(r#"{"sort_order":"UP"}"#).is_err());
        let watch: pb::WatchCreateRequest = read(r#"{"filters":["NODELETE",0]}"#);
        assert_eq!(watch.filters, [1, 0]);
        assert_eq!(write(&watch), r#"{"filters":["NODELETE","NOPUT"]}"#);
    }

    #[test]
    fn a_txn_with_all_kinds_of_operations_reads_and_writes() {
        let json = r#"{"compare":[{"target":"VALUE","key":"dA==","value":"MA=="},{"key":"dA==","version":"0"}],"success":[{"request_put":{"key":"dA==","value":"MQ=="}},{"request_delete_range":{"key":"YQ=="}},{"request_txn":{"failure":[{"request_range":{"key":"dA=="}}]}}]}"#;
        let txn: pb::TxnRequest = read(json);
        assert_eq!(
            txn.compare[1].target_union,
            Some(pb::compare::TargetUnion::Version(0))
        );
        assert_eq!(txn.success.len(), 3);
        assert_eq!(write(&txn), json);
    }

    #[test]
    fn unknown_and_absent_fields_are_accepted() {
        let range: pb::RangeRequest = read(r#"{"key":"Zm9v","nonsense":{"a":[1]}}"#);
        assert_eq!(range.key, "foo");
        assert_eq!(read::<pb::RangeRequest>("{}"), pb::RangeRequest::default());
        assert_eq!(
            read::<pb::TxnRequest>(r#"{"success":[{}]}"#).success[0].request,
            None
        );
        assert_eq!(
            read::<pb::StatusRequest>(r#"{"x":1}"#),
            pb::StatusRequest {}
        );
    }

    #[test]
    fn camel_case_is_read_too() {
        let range: pb::RangeRequest = read(r#"{"rangeEnd":"Zm9v","countOnly":true}"#);
        assert_eq!((range.range_end, range.count_only), ("foo".into(), true));
    }
}
