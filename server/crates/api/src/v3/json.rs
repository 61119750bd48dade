//! Serializes protobuf messages as JSON, with functions for the generated serde attributes. Fields have their original names, and
//! zero fields are omitted. 64-bit integers become strings, bytes become padded standard base64, and enums become names.
//!
//! Not here: deserialization. The gateway parses bodies with `shape`.

use std::{fmt, marker::PhantomData};

use ::bytes::Bytes;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

use super::{authpb, etcdserverpb, mvccpb};

/// Returns whether a field has its default value, which is omitted.
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

/// Serializes a list of byte strings like [`bytes()`].
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

/// An enum value that serializes as its name, or as its number if the value has no name.
struct EnumValue<T>(i32, PhantomData<T>);

impl<T: NamedEnum> Serialize for EnumValue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match T::try_from(self.0) {
            Ok(value) => serializer.serialize_str(value.name()),
            Err(_) => serializer.serialize_i32(self.0),
        }
    }
}

/// Serializes an enum value as its name, or as its number if the value has no name.
pub fn named<T: NamedEnum, S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    EnumValue::<T>(*value, PhantomData).serialize(serializer)
}

/// Serializes a list of enum values like [`named()`].
pub fn named_list<T: NamedEnum, S: Serializer>(
    values: &[i32],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let values = values.iter();
    serializer.collect_seq(values.map(|value| EnumValue::<T>(*value, PhantomData)))
}
