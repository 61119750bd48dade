//! The range of keys that a request means: how `key` and `range_end` are read, for all operations.

/// The end of a range that means "all keys from the first on".
const UNBOUNDED: &[u8] = b"\0";

/// A range of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRange<'a> {
    /// One key.
    One(&'a [u8]),
    /// All keys from this on.
    From(&'a [u8]),
    /// From the first, up to and without the second. Empty if the second is not above the first.
    Between(&'a [u8], &'a [u8]),
}

impl<'a> KeyRange<'a> {
    /// Reads the ends of a range as a request means them: without `range_end` one key, with `\0` all keys
    /// from `key` on.
    pub(crate) fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        if range_end.is_empty() {
            KeyRange::One(key)
        } else if range_end == UNBOUNDED {
            KeyRange::From(key)
        } else {
            KeyRange::Between(key, range_end)
        }
    }

    /// The first key that can be in it.
    pub(crate) fn first(&self) -> &'a [u8] {
        match self {
            KeyRange::One(key) | KeyRange::From(key) | KeyRange::Between(key, _) => key,
        }
    }

    /// Whether a key at or above the first one lies before the end.
    pub(crate) fn reaches(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::One(one) => key == *one,
            KeyRange::From(_) => true,
            KeyRange::Between(_, end) => key < *end,
        }
    }
}
