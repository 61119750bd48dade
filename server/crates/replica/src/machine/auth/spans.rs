//! What several ranges of keys cover together.

use bytes::{BufMut as _, Bytes, BytesMut};

/// The end of a range that means "all keys from the first on".
pub(super) const UNBOUNDED: &[u8] = b"\0";

/// Ranges in order that neither overlap nor touch. The end is not part of a range; `None` is
/// behind all keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans(Vec<(Bytes, Option<Bytes>)>);

impl Spans {
    /// Of first keys and ends as permissions have them.
    pub(super) fn of<'a>(ranges: impl Iterator<Item = (&'a Bytes, &'a Bytes)>) -> Self {
        let mut ranges: Vec<(Bytes, Option<Bytes>)> = ranges
            .map(|(key, range_end)| (key.clone(), end(key, range_end)))
            .collect();
        ranges.sort_by(|a, b| a.0.cmp(&b.0));
        let mut merged: Vec<(Bytes, Option<Bytes>)> = Vec::new();
        for (first, end) in ranges {
            match merged.last_mut() {
                Some((_, last)) if last.as_ref().is_none_or(|last| first <= *last) => {
                    if last.is_some() && later(end.as_ref(), last.as_ref()) {
                        *last = end;
                    }
                }
                Some(_) | None => merged.push((first, end)),
            }
        }
        Self(merged)
    }

    /// Whether every key of a range lies in them. One that can hold none counts as its first key.
    pub(super) fn cover(&self, key: &[u8], range_end: &[u8]) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= key);
        let Some((_, last)) = behind.checked_sub(1).and_then(|place| self.0.get(place)) else {
            return false;
        };
        let Some(last) = last else { return true };
        let holds_first = key < last;
        if range_end.is_empty() {
            holds_first
        } else {
            holds_first && range_end != UNBOUNDED && range_end <= &last[..]
        }
    }
}

/// The end of a range that is never empty; the key behind one key is that key and a zero byte.
fn end(key: &Bytes, range_end: &Bytes) -> Option<Bytes> {
    if range_end.is_empty() {
        let mut next = BytesMut::with_capacity(key.len() + 1);
        next.put_slice(key);
        next.put_u8(0);
        Some(next.freeze())
    } else if range_end == UNBOUNDED {
        None
    } else {
        Some(range_end.clone())
    }
}

fn later(a: Option<&Bytes>, b: Option<&Bytes>) -> bool {
    match (a, b) {
        (None, Some(_)) => true,
        (_, None) => false,
        (Some(a), Some(b)) => a > b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(ranges: &[(&'static str, &'static str)]) -> Spans {
        let ranges: Vec<(Bytes, Bytes)> = ranges
            .iter()
            .map(|(key, end)| (Bytes::from(*key), Bytes::from(*end)))
            .collect();
        Spans::of(ranges.iter().map(|(key, end)| (key, end)))
    }

    #[test]
    fn neighbors_cover_together_what_neither_covers_alone() {
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
    fn one_key_is_that_key_alone() {
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
    fn nothing_covers_nothing() {
        assert!(!Spans::default().cover(b"a", b""));
    }
}
