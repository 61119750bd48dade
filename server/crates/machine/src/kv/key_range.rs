//! The key range of a request, in `key` and `range_end` form.

/// The `range_end` that means all keys at or above `key`.
const UNBOUNDED: &[u8] = b"\0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRange<'a> {
    One(&'a [u8]),
    /// All keys at or above this key.
    From(&'a [u8]),
    /// From the first key (inclusive) to the second (exclusive). Empty if the second key is not above the first.
    Between(&'a [u8], &'a [u8]),
}

impl<'a> KeyRange<'a> {
    /// Creates a range from a request. An empty `range_end` means a single key, and `\0` means all keys at or above `key`.
    pub(crate) fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        if range_end.is_empty() {
            KeyRange::One(key)
        } else if range_end == UNBOUNDED {
            KeyRange::From(key)
        } else {
            KeyRange::Between(key, range_end)
        }
    }

    /// Returns the lowest key that the range may contain.
    pub(crate) fn first(&self) -> &'a [u8] {
        match self {
            KeyRange::One(key) | KeyRange::From(key) | KeyRange::Between(key, _) => key,
        }
    }

    /// Returns whether `key` is before the range's end. `key` must not be below the first key.
    pub(crate) fn reaches(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::One(one) => key == *one,
            KeyRange::From(_) => true,
            KeyRange::Between(_, end) => key < *end,
        }
    }
}
