//! A request's key range: interprets `key` and `range_end` for all operations.

/// The `range_end` that means "all keys starting with the first key".
const UNBOUNDED: &[u8] = b"\0";

/// A range of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRange<'a> {
    /// A single key.
    One(&'a [u8]),
    /// All keys at or above this key.
    From(&'a [u8]),
    /// From the first key (inclusive) to the second (exclusive). Empty if the second key is not above the first.
    Between(&'a [u8], &'a [u8]),
}

impl<'a> KeyRange<'a> {
    /// Interprets the ends of a requested range: a single key without `range_end`, and all keys from `key` on with `\0`.
    pub(crate) fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        if range_end.is_empty() {
            KeyRange::One(key)
        } else if range_end == UNBOUNDED {
            KeyRange::From(key)
        } else {
            KeyRange::Between(key, range_end)
        }
    }

    /// Returns the first key that can be in the range.
    pub(crate) fn first(&self) -> &'a [u8] {
        match self {
            KeyRange::One(key) | KeyRange::From(key) | KeyRange::Between(key, _) => key,
        }
    }

    /// Returns whether a key at or above the range's first key is before its end.
    pub(crate) fn reaches(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::One(one) => key == *one,
            KeyRange::From(_) => true,
            KeyRange::Between(_, end) => key < *end,
        }
    }
}
