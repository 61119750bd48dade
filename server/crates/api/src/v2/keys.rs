//! The response of `/v2/keys`: one event per line. The order of the fields is the order on the
//! wire.
//!
//! Keys and values are bytes in the store; on the wire they are text, so what is not UTF-8 has
//! become U+FFFD here. The server writes this shape by hand for that reason, and a test of it
//! reads what it wrote back through these types.

use serde::{Deserialize, Serialize};

/// A change of a node, or a node that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// `get`, `set`, `create`, `update`, `compareAndSwap`, `compareAndDelete`, `delete`, `expire`.
    pub action: String,
    /// The node after the change, or as read; left out if the request has `noValueOnSuccess`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
    /// The node before the change, if there was one; always without `nodes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_node: Option<Node>,
}

/// One node of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Node {
    /// Full path; left out for the root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Value of a file, possibly empty; left out for directories and deleted files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Left out when false.
    #[serde(skip_serializing_if = "is_default")]
    pub dir: bool,
    /// RFC 3339 in UTC with up to nine digits of fraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    /// Remaining seconds, rounded up; left out when 0.
    #[serde(skip_serializing_if = "is_default")]
    pub ttl: i64,
    /// Visible children; left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// Index of the last change; left out for the root.
    #[serde(skip_serializing_if = "is_default")]
    pub modified_index: u64,
    /// Index of creation; left out for the root.
    #[serde(skip_serializing_if = "is_default")]
    pub created_index: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
