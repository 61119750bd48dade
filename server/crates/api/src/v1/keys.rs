//! The answer of `/v1/keys` and `/v1/watch`: one object, or a list of them for a directory. The
//! order of the fields is the order on the wire; the server writes this shape by hand, because keys
//! and values are bytes, and a test of it reads what it wrote back through this type.

use serde::{Deserialize, Serialize};

/// A change of a key, or a key that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Response {
    /// `GET`, `SET` or `DELETE`.
    pub action: String,
    /// Full path.
    pub key: String,
    /// Left out when false.
    #[serde(skip_serializing_if = "is_default")]
    pub dir: bool,
    /// Value before the change; left out when there was none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prev_value: String,
    /// The value; left out when there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Whether the change created the key; left out when false.
    #[serde(skip_serializing_if = "is_default")]
    pub new_key: bool,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    /// Whole seconds that are left; left out when 0.
    #[serde(skip_serializing_if = "is_default")]
    pub ttl: i64,
    /// Index of the change; for a read, the current index of the store.
    pub index: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
