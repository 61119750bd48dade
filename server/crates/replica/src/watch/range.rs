//! A range of watched keys, owned and cheap to share.

use std::sync::Arc;

/// The `range_end` that means all keys at or above `key`.
const UNBOUNDED: &[u8] = b"\0";

/// The end of a range, ordered by kind, then by key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RangeEnd {
    /// The range contains only its first key.
    One,
    /// The range ends before this key.
    At(Arc<[u8]>),
    /// The range has no end.
    Never,
}

/// A watched key range. Ranges are ordered by first key, then by end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchRange {
    /// The first key.
    pub key: Arc<[u8]>,
    /// The end of the range.
    pub end: RangeEnd,
}

impl WatchRange {
    /// Creates a range from the `key` and `range_end` of a v3 request. An empty `range_end` means a single key, `\0` no end.
    pub fn new(key: &[u8], range_end: &[u8]) -> Self {
        let end = match range_end {
            [] => RangeEnd::One,
            UNBOUNDED => RangeEnd::Never,
            end => RangeEnd::At(end.into()),
        };
        Self { key: key.into(), end }
    }

    /// Returns whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, RangeEnd::At(end) if *end <= self.key)
    }

    /// Returns whether a key is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::One => *key == *self.key,
            RangeEnd::Never | RangeEnd::At(_) => *self.key <= *key && self.end.is_above(key),
        }
    }
}

impl RangeEnd {
    /// Returns whether `key` is before this end, if it is at or above the range's first key. Returns `false` for
    /// [`RangeEnd::One`].
    pub(super) fn is_above(&self, key: &[u8]) -> bool {
        match self {
            RangeEnd::One => false,
            RangeEnd::At(end) => *key < **end,
            RangeEnd::Never => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_range_contains_the_keys_of_its_request() {
        let table: &[(&str, &str, &str, bool)] = &[
            ("a", "", "a", true),
            ("a", "", "aa", false),
            ("a", "\0", "zz", true),
            ("b", "\0", "a", false),
            ("a", "c", "a", true),
            ("a", "c", "b", true),
            ("a", "c", "c", false),
            ("c", "a", "b", false),
        ];
        for (key, end, asked, expect) in table {
            let span = WatchRange::new(key.as_bytes(), end.as_bytes());
            assert_eq!(
                span.contains(asked.as_bytes()),
                *expect,
                "{key} {end} {asked}"
            );
        }
        assert!(WatchRange::new(b"c", b"a").is_empty());
        assert!(WatchRange::new(b"a", b"a").is_empty());
        assert!(!WatchRange::new(b"a", b"\0").is_empty());
        assert!(!WatchRange::new(b"a", b"").is_empty());
    }
}
