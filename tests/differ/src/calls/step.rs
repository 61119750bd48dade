//! One call and its line in a report.
//!
//! ```text
//! lease/grant {"ID":1,"TTL":6000}
//! auth/authenticate {"name":"ann","password":"ann"}
//! ann: kv/put {"key":"YQ=="}
//! ```
//! A caller presents the token from the last authentication of that name.

use std::fmt;

use serde_json::Value;

/// A call of the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The calling user, or `None` for a call without a token.
    pub(super) caller: Option<String>,
    /// The path below `/v3/`.
    pub(super) path: String,
    pub(super) body: Value,
}

impl Call {
    pub(super) fn new(path: &str, body: Value) -> Self {
        Self { caller: None, path: path.into(), body }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(caller) = &self.caller {
            write!(f, "{caller}: ")?;
        }
        write!(f, "{} {}", self.path, self.body)
    }
}
