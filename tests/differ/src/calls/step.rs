//! One call, and its line in a script.
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

    /// Parses the line of a call. Fails for any other line.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let bad = || format!("no call: {line}");
        let (head, body) = line.split_once(" {").ok_or_else(bad)?;
        let body = serde_json::from_str(&format!("{{{body}")).map_err(|_| bad())?;
        let (caller, path) = match head.split_once(": ") {
            Some((caller, path)) => (Some(caller.to_owned()), path),
            None => (None, head),
        };
        Ok(Self { caller, ..Self::new(path, body) })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_read_what_they_print() {
        for line in [
            "auth/enable {}",
            r#"ann: kv/put {"key":"YQ==","value":"YQ=="}"#,
        ] {
            assert_eq!(Call::parse(line).unwrap().to_string(), line);
        }
        assert!(Call::parse("kv/put").is_err());
    }
}
