//! Parses v1's form fields. As in old versions of Go, `;` also separates pairs, and pairs with bad escapes are ignored.

use bytes::Bytes;

use witan_gocompat::path::{self, Plus};

/// A form field that v1 knows, in the order of [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum V1Field {
    Value,
    Ttl,
    PrevValue,
    Index,
}

const NAMES: [&[u8]; 4] = [b"value", b"ttl", b"prevValue", b"index"];

/// The first value of each known field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct V1Fields {
    values: [Option<Bytes>; NAMES.len()],
}

impl V1Fields {
    /// Parses a form body, if any, and a query. The body takes precedence, and then the first value of a field.
    pub(super) fn new(form: Option<&[u8]>, query: &[u8]) -> Self {
        let mut fields = Self::default();
        for text in form.into_iter().chain([query]) {
            for pair in text.split(|byte| matches!(byte, b'&' | b';')) {
                fields.enter(pair);
            }
        }
        fields
    }

    /// Returns a field's value, or `None` if it is missing.
    pub(super) fn get(&self, field: V1Field) -> Option<&Bytes> {
        self.values[field as usize].as_ref()
    }

    /// Returns a field's value, or `None` if it is empty or missing.
    pub(super) fn get_nonempty(&self, field: V1Field) -> Option<&Bytes> {
        self.get(field).filter(|value| !value.is_empty())
    }

    /// Stores the value of a `name=value` pair, unless the field is unknown or already set. Ignores pairs with invalid escapes.
    fn enter(&mut self, pair: &[u8]) {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        let Ok(name) = path::unescape(name, Plus::IsSpace) else {
            return;
        };
        let Some(at) = NAMES.iter().position(|known| *known == name) else {
            return;
        };
        if let Ok(value) = path::unescape(value, Plus::IsSpace) {
            self.values[at].get_or_insert(value.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_comes_before_the_query_and_the_first_value_counts() {
        let fields = V1Fields::new(
            Some(b"value=a+b%26&value=z;ttl=%zz"),
            b"value=q&ttl=5&Index=1",
        );
        assert_eq!(fields.get(V1Field::Value).unwrap(), "a b&");
        assert_eq!(fields.get(V1Field::Ttl).unwrap(), "5");
        assert_eq!(fields.get(V1Field::Index), None);
        let empty = V1Fields::new(None, b"prevValue");
        assert_eq!(empty.get(V1Field::PrevValue).unwrap(), "");
        assert_eq!(empty.get_nonempty(V1Field::PrevValue), None);
    }
}
