//! Serializes protobuf messages as JSON, with the functions that the generated serde attributes name: original field names,
//! zero fields omitted, 64-bit integers as strings, bytes as padded standard base64, enums by name.
//!
//! Not here: deserialization. The gateway reads bodies like etcd, with `shape`.

use std::{fmt, marker::PhantomData};

use ::bytes::Bytes;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

use super::{authpb, etcdserverpb, mvccpb};

/// Returns whether a field has its default value, so that it is omitted.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Serializes a 64-bit integer as a string.
pub fn integer<T: fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Serializes bytes as padded standard base64.
pub fn bytes<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(value))
}

/// Serializes a list of bytes, each like [`bytes()`].
pub fn bytes_list<S: Serializer>(value: &[Bytes], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(value.iter().map(|bytes| STANDARD.encode(bytes)))
}

/// An enum whose values have names in JSON.
pub trait NamedEnum: Sized + TryFrom<i32> {
    /// Returns the value's name in the proto file.
    fn name(&self) -> &'static str;
}

macro_rules! named {
    ($($kind:ty),* $(,)?) => {$(
        impl NamedEnum for $kind {
            fn name(&self) -> &'static str {
                self.as_str_name()
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

/// An enum value, serialized by name, or by number if it has none.
struct EnumValue<T>(i32, PhantomData<T>);

impl<T: NamedEnum> Serialize for EnumValue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match T::try_from(self.0) {
            Ok(value) => serializer.serialize_str(value.name()),
            Err(_) => serializer.serialize_i32(self.0),
        }
    }
}

/// Serializes an enum value by name, or by number if it has none.
pub fn named<T: NamedEnum, S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    EnumValue::<T>(*value, PhantomData).serialize(serializer)
}

/// Serializes a list of enum values, each like [`named()`].
pub fn named_list<T: NamedEnum, S: Serializer>(
    values: &[i32],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let values = values.iter();
    serializer.collect_seq(values.map(|value| EnumValue::<T>(*value, PhantomData)))
}

#[cfg(test)]
mod tests {
    use super::{
        super::etcdserverpb::{self as pb, compare::TargetUnion, request_op::Request},
        *,
    };

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
    fn enums_are_written_by_name_or_number() {
        let watch = pb::WatchCreateRequest { filters: vec![1, 0, 7], ..Default::default() };
        assert_eq!(write(&watch), r#"{"filters":["NODELETE","NOPUT",7]}"#);
    }

    #[test]
    fn a_txn_with_all_kinds_of_operations_is_written() {
        let op = |request| pb::RequestOp { request: Some(request) };
        let range = pb::RangeRequest { key: "t".into(), ..Default::default() };
        let delete = pb::DeleteRangeRequest { key: "a".into(), ..Default::default() };
        let put = pb::PutRequest { key: "t".into(), value: "1".into(), ..Default::default() };
        let inner = pb::TxnRequest {
            failure: vec![op(Request::RequestRange(range))],
            ..Default::default()
        };
        let compare = |target, union| pb::Compare {
            target,
            key: "t".into(),
            target_union: Some(union),
            ..Default::default()
        };
        let txn = pb::TxnRequest {
            compare: vec![
                compare(3, TargetUnion::Value("0".into())),
                compare(0, TargetUnion::Version(0)),
            ],
            success: vec![
                op(Request::RequestPut(put)),
                op(Request::RequestDeleteRange(delete)),
                op(Request::RequestTxn(inner)),
            ],
            failure: Vec::new(),
        };
        let json = r#"{"compare":[{"target":"VALUE","key":"dA==","value":"MA=="},{"key":"dA==","version":"0"}],"success":[{"request_put":{"key":"dA==","value":"MQ=="}},{"request_delete_range":{"key":"YQ=="}},{"request_txn":{"failure":[{"request_range":{"key":"dA=="}}]}}]}"#;
        assert_eq!(write(&txn), json);
    }
}
