//! Counts by prefix in bounded memory. Sums are exact. Beyond `ROWS_MAX`, the rows with the smallest counts are added to a
//! remainder. A busy prefix therefore keeps its row even if its operations start late.

use std::{cmp::Reverse, collections::HashMap};

use witan_api::top::{KeySpace, TopCounts, TopRow};

/// Maximum number of rows of a tally; when it is exceeded, the rows with the smallest counts are added to the remainder. A row
/// takes a few hundred bytes, so the page stays below 4 MiB.
const ROWS_MAX: usize = 2048;
/// Number of path segments in a prefix. Kubernetes objects have two segments before their namespace.
const SEGMENTS: usize = 2;
/// Maximum size in bytes of a prefix; segments that end beyond this size are left out. A key can be up to 2 MiB long.
const PREFIX_BYTES_MAX: usize = 256;

/// Counts by prefix, with a remainder.
#[derive(Debug, Default)]
pub struct Tally {
    rows: HashMap<(KeySpace, Box<[u8]>), TopCounts>,
    others: TopCounts,
}

impl Tally {
    /// Adds `counts` to the row of the key's prefix. If there are more than `ROWS_MAX` rows, keeps only the half with the largest
    /// counts.
    pub fn add(&mut self, key_space: KeySpace, key: &[u8], counts: TopCounts) {
        let row = self.rows.entry((key_space, prefix(key).into()));
        *row.or_default() += counts;
        if self.rows.len() > ROWS_MAX {
            self.keep(ROWS_MAX / 2);
        }
    }

    /// Keeps the `rows` rows with the largest counts and adds the other rows to the remainder. There must be more than `rows`
    /// rows.
    fn keep(&mut self, rows: usize) {
        let mut all: Vec<_> = self.rows.drain().collect();
        all.select_nth_unstable_by_key(rows, |(_, counts)| Reverse(counts.total()));
        for (_, counts) in all.split_off(rows) {
            self.others += counts;
        }
        self.rows.extend(all);
    }

    /// Returns the rows, largest counts first, and the remainder, which is the sum of the counts of all dropped rows. Replaces
    /// invalid UTF-8 in prefixes.
    pub fn into_rows(self) -> (Vec<TopRow>, TopCounts) {
        let row = |((key_space, prefix), counts): ((_, Box<[u8]>), _)| TopRow {
            key_space,
            prefix: String::from_utf8_lossy(&prefix).into_owned(),
            counts,
        };
        let mut rows: Vec<_> = self.rows.into_iter().map(row).collect();
        rows.sort_by(|a, b| {
            let order = b.counts.total().cmp(&a.counts.total());
            order.then_with(|| (a.key_space, &a.prefix).cmp(&(b.key_space, &b.prefix)))
        });
        (rows, self.others)
    }
}

/// Returns the first [`SEGMENTS`] path segments of a key with their trailing slashes, at most [`PREFIX_BYTES_MAX`] bytes. A
/// leading slash is kept. A segment without a trailing slash is left out.
fn prefix(key: &[u8]) -> &[u8] {
    let key = &key[..key.len().min(PREFIX_BYTES_MAX)];
    let first = usize::from(key.first() == Some(&b'/'));
    let slashes = key.iter().enumerate().skip(first);
    let ends = slashes.filter(|(_, byte)| **byte == b'/');
    let end = ends.take(SEGMENTS).last().map(|(at, _)| at + 1);
    &key[..end.unwrap_or(first)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(writes: u64) -> TopCounts {
        TopCounts { writes, ..TopCounts::default() }
    }

    #[test]
    fn a_prefix_is_two_segments() {
        let long = ["/a/", &"b".repeat(PREFIX_BYTES_MAX), "/c"].concat();
        let fits = ["/a/", &"b".repeat(PREFIX_BYTES_MAX - 4), "/"].concat();
        let table = [
            ("/registry/pods/prod/web", "/registry/pods/"),
            ("/registry/ranges", "/registry/"),
            ("/registry", "/"),
            ("a/b/c", "a/b/"),
            ("plain", ""),
            ("", ""),
            ("//a", "//"),
            (&long, "/a/"),
            (&fits, &fits),
        ];
        for (key, expect) in table {
            assert_eq!(prefix(key.as_bytes()), expect.as_bytes(), "{key}");
        }
    }

    #[test]
    fn each_row_has_one_key_space_and_one_prefix() {
        let mut tally = Tally::default();
        for (space, key, count) in [
            (KeySpace::V3, "/a/b/c", 2),
            (KeySpace::V3, "/a/b/d", 3),
            (KeySpace::V2, "/a/b/d", 4),
            (KeySpace::V3, "/a/c/d", 1),
        ] {
            tally.add(space, key.as_bytes(), writes(count));
        }
        tally.keep(2);
        let (rows, others) = tally.into_rows();
        let row = |row: TopRow| (row.key_space, row.prefix, row.counts.writes);
        let rows: Vec<_> = rows.into_iter().map(row).collect();
        let prefix = || "/a/b/".to_owned();
        let expect = [(KeySpace::V3, prefix(), 5), (KeySpace::V2, prefix(), 4)];
        assert_eq!((rows.as_slice(), others), (expect.as_slice(), writes(1)));
    }

    /// The busiest prefix appears after many prefixes that are requested only once.
    #[test]
    fn memory_is_bounded_and_heavy_prefixes_survive() {
        let mut tally = Tally::default();
        let key = |at: usize| format!("/{at}/k");
        for at in 0..100_000 {
            tally.add(KeySpace::V3, key(at).as_bytes(), writes(1));
            if at >= 50_000 && at % 100 == 0 {
                tally.add(KeySpace::V3, b"/hot/k", writes(1));
            }
            assert!(tally.rows.len() <= ROWS_MAX);
        }
        let (rows, others) = tally.into_rows();
        assert_eq!((&*rows[0].prefix, rows[0].counts.writes), ("/hot/", 500));
        let all: u64 = rows.iter().map(|row| row.counts.writes).sum();
        assert!(rows.len() > ROWS_MAX / 2);
        assert_eq!(all + others.writes, 100_500);
    }
}
