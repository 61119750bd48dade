//! A set of keys, stored as ranges: the union of several permissions.

use bytes::Bytes;

use crate::kv::KeyRange;

/// Sorted ranges that do not overlap or touch. Ends are exclusive; `None` means no end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RangeSet(Vec<(Bytes, Option<Bytes>)>);

impl RangeSet {
    /// Creates the set from pairs of `key` and `range_end`. Merges ranges that overlap or touch.
    pub(super) fn of<'a>(ranges: impl Iterator<Item = (&'a Bytes, &'a Bytes)>) -> Self {
        let mut ranges: Vec<(Bytes, Option<Bytes>)> = ranges
            .map(|(key, range_end)| (key.clone(), end(key, range_end)))
            .collect();
        ranges.sort_by(|a, b| a.0.cmp(&b.0));
        let mut merged: Vec<(Bytes, Option<Bytes>)> = Vec::new();
        for (first, end) in ranges {
            match merged.last_mut() {
                Some((_, last)) if last.as_ref().is_none_or(|last| first <= *last) => {
                    if last.is_some() && extends_beyond(end.as_ref(), last.as_ref()) {
                        *last = end;
                    }
                }
                Some(_) | None => merged.push((first, end)),
            }
        }
        Self(merged)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the set contains every key in a range. An empty range is treated as its first key.
    pub(super) fn cover(&self, key: &[u8], range_end: &[u8]) -> bool {
        match self.end_of(key) {
            None => false,
            Some(None) => true,
            Some(Some(end)) => match KeyRange::new(key, range_end) {
                KeyRange::One(_) => true,
                KeyRange::From(_) => false,
                KeyRange::Between(_, last) => last <= end,
            },
        }
    }

    /// Returns whether the set contains all keys of another set. `first_from` returns the other set's first key at or above its
    /// argument, or `None`. The number of calls is at most this set's number of ranges plus one.
    pub(super) fn cover_all<'a>(
        &self,
        mut first_from: impl FnMut(&Bytes) -> Option<&'a Bytes>,
    ) -> bool {
        let mut from = &Bytes::new();
        while let Some(key) = first_from(from) {
            match self.end_of(key) {
                None => return false,
                Some(None) => return true,
                Some(Some(end)) => from = end,
            }
        }
        true
    }

    /// Returns the end of the range that contains a key (`Some(None)` if the range has no end), or `None` if there is no such
    /// range.
    fn end_of(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        let behind = self.0.partition_point(|(first, _)| *first <= key);
        let (_, end) = self.0.get(behind.checked_sub(1)?)?;
        let holds = end.as_ref().is_none_or(|end| key < end);
        holds.then_some(end.as_ref())
    }
}

/// Returns the exclusive end of a range in request form, or `None` if the range has no end. A single key ends at its successor.
fn end(key: &Bytes, range_end: &Bytes) -> Option<Bytes> {
    match KeyRange::new(key, range_end) {
        KeyRange::One(key) => Some([key, b"\0"].concat().into()),
        KeyRange::From(_) => None,
        KeyRange::Between(..) => Some(range_end.clone()),
    }
}

/// Returns whether the end `a` is after the end `b`; `None` means no end.
fn extends_beyond(a: Option<&Bytes>, b: Option<&Bytes>) -> bool {
    match (a, b) {
        (None, Some(_)) => true,
        (_, None) => false,
        (Some(a), Some(b)) => a > b,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn spans(ranges: &[(&'static str, &'static str)]) -> RangeSet {
        let ranges: Vec<(Bytes, Bytes)> = ranges
            .iter()
            .map(|(key, end)| (Bytes::from(*key), Bytes::from(*end)))
            .collect();
        RangeSet::of(ranges.iter().map(|(key, end)| (key, end)))
    }

    #[test]
    fn adjacent_ranges_are_merged() {
        let spans = spans(&[("c", "e"), ("a", "c"), ("b", ""), ("x", "\0")]);
        assert_eq!(spans.0.len(), 2);
        for (key, end) in [("a", "e"), ("a", ""), ("d", ""), ("x", "\0"), ("y", "z")] {
            assert!(spans.cover(key.as_bytes(), end.as_bytes()), "{key} {end}");
        }
        for (key, end) in [("e", ""), ("a", "f"), ("a", "\0"), ("A", "b"), ("w", "y")] {
            assert!(!spans.cover(key.as_bytes(), end.as_bytes()), "{key} {end}");
        }
    }

    #[test]
    fn a_single_key_range_covers_one_key() {
        let spans = spans(&[("k", "")]);
        assert!(spans.cover(b"k", b"") && spans.cover(b"k", b"k\0"));
        for (key, end) in [("k\0", ""), ("k", "l"), ("k", "\0"), ("j", "")] {
            assert!(!spans.cover(key.as_bytes(), end.as_bytes()), "{key} {end}");
        }
    }

    #[test]
    fn a_range_within_a_longer_one_does_not_shorten_it() {
        let spans = spans(&[("a", "\0"), ("b", "c"), ("a", "b")]);
        assert!(spans.cover(b"z", b"\0"));
        assert_eq!(spans.0.len(), 1);
    }

    #[test]
    fn a_key_is_looked_up_at_most_once_per_range() {
        let spans = spans(&[("a", "c"), ("d", ""), ("k", "l"), ("x", "\0")]);
        let covered = |keys: &[String]| {
            let keys: BTreeSet<Bytes> = keys.iter().map(|key| key.clone().into()).collect();
            let mut looks = 0;
            let covered = spans.cover_all(|from| {
                looks += 1;
                keys.range::<Bytes, _>(from..).next()
            });
            let one_by_one = keys.iter().all(|key| spans.cover(key, b""));
            assert_eq!(covered, one_by_one, "{keys:?}");
            assert!(looks <= spans.0.len() + 1, "{looks} looks");
            covered
        };
        assert!(covered(&[]));
        let mut keys: Vec<String> = (0..10_000).map(|at| format!("b{at:05}")).collect();
        assert!(covered(&keys));
        keys.extend((0..10_000).map(|at| format!("k{at:05}")));
        keys.extend(["d", "x", "y"].map(String::from));
        assert!(covered(&keys));
        for stranger in ["", "A", "c", "d0", "j", "l", "w"] {
            keys.push(stranger.into());
            assert!(!covered(&keys), "{stranger}");
            keys.pop();
        }
    }

    #[test]
    fn an_empty_set_covers_no_key() {
        assert!(!RangeSet::default().cover(b"a", b""));
    }
}
