//! Decodes URL queries and form bodies to the fields that `/v2/keys` supports. `parse` validates their values.

use bytes::Bytes;

use witan_gocompat::{
    path::{self, Plus},
    text,
};

/// The parameters of `/v2/keys`, in the order of [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum V2Field {
    PrevIndex,
    WaitIndex,
    Recursive,
    Sorted,
    Wait,
    Dir,
    Quorum,
    Stream,
    PrevValue,
    NoValueOnSuccess,
    Ttl,
    PrevExist,
    Refresh,
    Value,
}

pub(crate) const NAMES: [(&str, V2Field); 14] = [
    ("prevIndex", V2Field::PrevIndex),
    ("waitIndex", V2Field::WaitIndex),
    ("recursive", V2Field::Recursive),
    ("sorted", V2Field::Sorted),
    ("wait", V2Field::Wait),
    ("dir", V2Field::Dir),
    ("quorum", V2Field::Quorum),
    ("stream", V2Field::Stream),
    ("prevValue", V2Field::PrevValue),
    ("noValueOnSuccess", V2Field::NoValueOnSuccess),
    ("ttl", V2Field::Ttl),
    ("prevExist", V2Field::PrevExist),
    ("refresh", V2Field::Refresh),
    ("value", V2Field::Value),
];

impl V2Field {
    pub(crate) fn name(self) -> &'static str {
        NAMES[self as usize].0
    }
}

/// The first value of each known parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct V2Fields {
    values: [Option<Bytes>; NAMES.len()],
}

impl V2Fields {
    /// Returns a parameter's first value, or `None` if it is missing.
    pub(crate) fn get(&self, field: V2Field) -> Option<&Bytes> {
        self.values[field as usize].as_ref()
    }

    /// Parses form-encoded text (a body or a query) into the fields. A field that is already set keeps its value, because the
    /// body is parsed before the query. Names are case-sensitive, and unknown names are ignored.
    ///
    /// Returns Go's error text for a semicolon, or else for the first bad escape. Parses the other pairs even after an error.
    pub(crate) fn read(&mut self, text: &[u8]) -> Result<(), String> {
        let mut fault = None;
        for pair in text.split(|&b| b == b'&') {
            if pair.contains(&b';') {
                fault = Some("invalid semicolon separator in query".to_owned());
                continue;
            }
            if let Err(error) = self.read_pair(pair) {
                fault.get_or_insert(error);
            }
        }
        fault.map_or(Ok(()), Err)
    }

    /// Stores a `name=value` pair, unless the field is unknown or already set. Returns Go's error text for a bad escape.
    fn read_pair(&mut self, pair: &[u8]) -> Result<(), String> {
        if pair.is_empty() {
            return Ok(());
        }
        let (name, value) = match pair.iter().position(|&b| b == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        let name = unescape(name)?;
        let value = unescape(value)?;
        let known = NAMES
            .iter()
            .find(|(known, _)| known.as_bytes() == name.as_slice());
        if let Some((_, field)) = known {
            self.values[*field as usize].get_or_insert(value.into());
        }
        Ok(())
    }
}

/// Decodes `%XX` escapes, and `+` as a space. Returns Go's error text for the first bad escape.
fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    path::unescape(text, Plus::IsSpace)
        .map_err(|bad| format!("invalid URL escape {}", text::quote(bad)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_order_of_the_fields() {
        for (at, (name, field)) in NAMES.iter().enumerate() {
            assert_eq!(*field as usize, at);
            assert_eq!(field.name(), *name);
        }
    }
}
