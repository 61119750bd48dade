//! The keys, each with the location of its newest version.
//!
//! A persistent map contains the pages by their lowest keys. The first page's lowest key is empty, so every key has a page.

use std::{ops::Bound, sync::Arc};

use bytes::Bytes;
use imbl::OrdMap;

use super::{
    key_range::KeyRange,
    leaf::{IndexEntry, LEAF_BYTES, Leaf},
    version::Location,
};

/// One step of a walk over the live keys in a range.
pub(super) enum WalkStep<'a> {
    /// A live key and the location of its newest version.
    Live(&'a [u8], Location),
    /// A number of keys whose newest version is a deletion.
    Deleted(usize),
}

/// A count of keys in a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Number of keys whose newest version is not a deletion.
    pub(super) live: usize,
    pub(super) all: usize,
}

impl Count {
    /// A count above the count of any range.
    pub(super) const MAX: Count = Count { live: usize::MAX, all: usize::MAX };

    /// Counts one key with this newest version. Ignores `None`, which is a key that is not in the index.
    fn add(&mut self, entry: Option<IndexEntry>) {
        if let Some(entry) = entry {
            self.live += usize::from(!entry.tombstone);
            self.all += 1;
        }
    }
}

/// Returns whether a range that starts at position `from` of a page contains the entire page.
fn is_whole(leaf: &Leaf, from: usize, span: &KeyRange<'_>) -> bool {
    let last = leaf.len().checked_sub(1);
    from == 0 && last.is_none_or(|last| span.reaches(leaf.key(last)))
}

/// The key index. A clone takes O(1).
#[derive(Clone, Debug)]
pub(super) struct Index {
    leaves: OrdMap<Bytes, Arc<Leaf>>,
    live: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self { leaves: OrdMap::unit(Bytes::new(), Arc::default()), live: 0 }
    }
}

impl Index {
    /// Creates an index from its pages in key order. At least one page is required, and only the first page may be empty.
    pub(super) fn of_pages(pages: Vec<Leaf>) -> Self {
        let live = pages.iter().map(|page| page.live() as usize).sum();
        let leaves = pages.into_iter().enumerate().map(|(at, page)| {
            let low = match at {
                0 => Bytes::new(),
                _ => Bytes::copy_from_slice(page.key(0)),
            };
            (low, Arc::new(page))
        });
        Self { leaves: leaves.collect(), live }
    }

    pub(super) fn pages(&self) -> usize {
        self.leaves.len()
    }

    /// Returns the number of keys whose newest version is not a deletion.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Returns a key's entry, which may be a deletion. Returns `None` if no version of the key remains.
    pub(super) fn get(&self, key: &[u8]) -> Option<IndexEntry> {
        let (_, leaf) = self.leaf(key);
        leaf.search(key).ok().map(|at| leaf.entry(at))
    }

    /// Returns the page that contains or would contain `key`, preceded by the lowest key of that page.
    fn leaf(&self, key: &[u8]) -> (&Bytes, &Arc<Leaf>) {
        self.leaves
            .get_prev(key)
            .expect("the first page begins at the empty key")
    }

    /// Sets a key's entry. Adds the key if it is missing, and splits its page if the key does not fit.
    pub(super) fn put(&mut self, key: &[u8], entry: IndexEntry) {
        let (low, leaf) = self
            .leaves
            .get_prev_mut(key)
            .expect("the first page begins at the empty key");
        match leaf.search(key) {
            Ok(at) => {
                self.live -= usize::from(!leaf.entry(at).tombstone);
                Arc::make_mut(leaf).set(at, entry);
            }
            Err(at) if leaf.has_room(key) => Arc::make_mut(leaf).insert(at, key, entry),
            Err(at) => {
                let low = low.clone();
                let full = leaf.clone();
                self.split_page(low, &full, at, (key, entry));
            }
        }
        self.live += usize::from(!entry.tombstone);
    }

    /// Splits the full page whose lowest key is `low`, and inserts the key `new`, whose position in that page would be `at`. At
    /// either end, the new key starts a new page, so that ascending and descending writes leave full pages. At any other
    /// position, halves the page.
    fn split_page(&mut self, low: Bytes, full: &Leaf, at: usize, new: (&[u8], IndexEntry)) {
        let (key, entry) = new;
        let mut alone = Leaf::default();
        alone.insert(0, key, entry);
        if at == full.len() {
            self.leaves.insert(low, Arc::new(full.slice(0, full.len())));
            self.leaves
                .insert(Bytes::copy_from_slice(key), Arc::new(alone));
        } else if at == 0 {
            let first = Bytes::copy_from_slice(full.key(0));
            self.leaves
                .insert(first, Arc::new(full.slice(0, full.len())));
            self.leaves.insert(low, Arc::new(alone));
        } else {
            let middle = full.len() / 2;
            let first = Bytes::copy_from_slice(full.key(middle));
            let (mut left, mut right) = (full.slice(0, middle), full.slice(middle, full.len()));
            let (half, at) = if at <= middle {
                (&mut left, at)
            } else {
                (&mut right, at - middle)
            };
            let fits = half.has_room(key);
            if fits {
                half.insert(at, key, entry);
            }
            self.leaves.insert(low.clone(), Arc::new(left));
            self.leaves.insert(first.clone(), Arc::new(right));
            if !fits {
                // With long keys, the half may still be full, but it has fewer keys than the page had.
                let low = if key < &first[..] { low } else { first };
                let full = self
                    .leaves
                    .get(&low)
                    .expect("the page was just inserted")
                    .clone();
                let at = full.search(key).expect_err("the key is new");
                self.split_page(low, &full, at, new);
            }
        }
    }

    /// Removes a key if it exists. Merges the key's page with the previous page if the key's page has become small.
    pub(super) fn remove(&mut self, key: &[u8]) {
        let (low, leaf) = self
            .leaves
            .get_prev_mut(key)
            .expect("the first page begins at the empty key");
        let Ok(at) = leaf.search(key) else { return };
        self.live -= usize::from(!leaf.entry(at).tombstone);
        Arc::make_mut(leaf).remove(at);
        if leaf.used() < LEAF_BYTES / 4 && !low.is_empty() {
            let (low, leaf) = (low.clone(), leaf.clone());
            self.merge_into_previous(&low, &leaf);
        }
    }

    /// Merges a small page into the previous page if both together fill at most half a page, or if the small page is empty.
    /// The small page must not be the first page.
    fn merge_into_previous(&mut self, low: &Bytes, leaf: &Leaf) {
        let below = (Bound::Unbounded, Bound::Excluded(&low[..]));
        let (before_low, before) = self
            .leaves
            .range::<_, [u8]>(below)
            .next_back()
            .expect("the page is not the first one");
        if before.used() + leaf.used() <= LEAF_BYTES / 2 || leaf.len() == 0 {
            let (before_low, joined) = (before_low.clone(), before.concat(leaf));
            self.leaves.insert(before_low, Arc::new(joined));
            self.leaves.remove(low);
        }
    }

    /// Calls `visit` with each key in the range, including deleted keys, in key order, until `visit` returns false.
    pub(super) fn visit<'a>(
        &'a self,
        span: &KeyRange<'_>,
        visit: &mut dyn FnMut(&'a [u8], IndexEntry) -> bool,
    ) {
        if let KeyRange::One(key) = span {
            let (_, leaf) = self.leaf(key);
            if let Ok(at) = leaf.search(key) {
                visit(leaf.key(at), leaf.entry(at));
            }
            return;
        }
        for (leaf, from) in self.leaves_of(span) {
            for at in from..leaf.len() {
                let key = leaf.key(at);
                if !span.reaches(key) || !visit(key, leaf.entry(at)) {
                    return;
                }
            }
        }
    }

    /// Calls `visit` with live keys and numbers of deleted keys, in key order, until `visit` returns false. A page without live
    /// keys is passed as one number. The numbers depend on the layout of pages, but their sum before a live key does not.
    pub(super) fn visit_live<'a>(
        &'a self,
        span: &KeyRange<'_>,
        visit: &mut dyn FnMut(WalkStep<'a>) -> bool,
    ) {
        let one = |key, entry: IndexEntry| {
            if entry.tombstone {
                WalkStep::Deleted(1)
            } else {
                WalkStep::Live(key, entry.location)
            }
        };
        if let KeyRange::One(_) = span {
            return self.visit(span, &mut |key, entry| visit(one(key, entry)));
        }
        for (leaf, from) in self.leaves_of(span) {
            if leaf.live() == 0 && is_whole(leaf, from, span) {
                if !visit(WalkStep::Deleted(leaf.len())) {
                    return;
                }
                continue;
            }
            for at in from..leaf.len() {
                let key = leaf.key(at);
                if !span.reaches(key) || !visit(one(key, leaf.entry(at))) {
                    return;
                }
            }
        }
    }

    /// Counts the live keys and all keys (including deleted ones) in a range. Stops at the end of a page if either count has
    /// reached the corresponding count in `enough`, so the result may exceed `enough`.
    pub(super) fn count(&self, span: &KeyRange<'_>, enough: Count) -> Count {
        let mut count = Count::default();
        if let KeyRange::One(key) = span {
            count.add(self.get(key));
            return count;
        }
        for (leaf, from) in self.leaves_of(span) {
            if count.live >= enough.live || count.all >= enough.all {
                return count;
            }
            if is_whole(leaf, from, span) {
                count.live += leaf.live() as usize;
                count.all += leaf.len();
                continue;
            }
            for at in from..leaf.len() {
                if !span.reaches(leaf.key(at)) {
                    return count;
                }
                count.add(Some(leaf.entry(at)));
            }
        }
        count
    }

    /// Iterates over the pages from the start of a range to the end of the index, each with its start position.
    fn leaves_of<'a>(&'a self, span: &KeyRange<'_>) -> impl Iterator<Item = (&'a Leaf, usize)> {
        let key = span.first();
        let (low, leaf) = self.leaf(key);
        let from = leaf.search(key).unwrap_or_else(|at| at);
        let above = (Bound::Excluded(&low[..]), Bound::Unbounded);
        let rest = self
            .leaves
            .range::<_, [u8]>(above)
            .map(|(_, leaf)| (leaf.as_ref(), 0));
        std::iter::once((leaf.as_ref(), from)).chain(rest)
    }

    /// Asserts the invariants of the index.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut before: Option<Vec<u8>> = None;
        let mut live = 0;
        for (low, leaf) in &self.leaves {
            let counted = (0..leaf.len())
                .filter(|at| !leaf.entry(*at).tombstone)
                .count();
            assert_eq!(
                counted,
                leaf.live() as usize,
                "live keys of the page at {low:?}"
            );
            assert_eq!(
                leaf.used(),
                leaf.slice(0, leaf.len()).used(),
                "bytes of the page at {low:?}"
            );
            live += counted;
            for at in 0..leaf.len() {
                assert!(leaf.key(at) >= &low[..], "a key below its page");
                assert!(
                    before.as_deref().is_none_or(|b| b < leaf.key(at)),
                    "keys ascend"
                );
                before = Some(leaf.key(at).to_vec());
            }
        }
        assert_eq!(live, self.live);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(block: u64, tombstone: bool) -> IndexEntry {
        IndexEntry {
            location: Location { block, slot: block as u16 % 7 },
            tombstone,
        }
    }

    /// Generates clustered short keys, and keys so long that a few fill a page.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            30 => (0..3000_u16).prop_map(|n| format!("key-{n:05}").into_bytes()),
            1 => (0..3000_u16, 800..5000_usize).prop_map(|(n, len)| {
                let mut key = format!("key-{n:05}").into_bytes();
                key.resize(len, b'x');
                key
            }),
        ]
    }

    type Mirror = std::collections::BTreeMap<Vec<u8>, IndexEntry>;

    /// Asserts that the index is sound and contains exactly the mirror's entries.
    fn assert_equal(index: &Index, mirror: &Mirror) {
        index.check();
        let mut found = Vec::new();
        index.visit(&KeyRange::From(b""), &mut |key, entry| {
            found.push((key.to_vec(), entry));
            true
        });
        let expected: Vec<_> = mirror.iter().map(|(k, e)| (k.clone(), *e)).collect();
        assert!(
            found == expected,
            "{} keys where {} are",
            found.len(),
            expected.len()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_index_is_a_sorted_map(
            puts in prop::collection::vec((key(), any::<bool>()), 1..2500),
            spans in prop::collection::vec((key(), key()), 8),
        ) {
            let mut index = Index::default();
            let mut mirror = Mirror::new();
            for (at, (key, tombstone)) in puts.iter().enumerate() {
                let entry = entry(at as u64, *tombstone);
                index.put(key, entry);
                mirror.insert(key.clone(), entry);
            }
            assert_equal(&index, &mirror);
            for (from, to) in &spans {
                for span in [KeyRange::One(from), KeyRange::From(from), KeyRange::Between(from, to)] {
                    let inside = || mirror.iter().filter(|(key, _)| *key >= from && span.reaches(key));
                    let alive = inside().filter(|(_, e)| !e.tombstone);
                    let count = Count { live: alive.clone().count(), all: inside().count() };
                    prop_assert_eq!(index.count(&span, Count::MAX), count);
                    let some = index.count(&span, Count { live: 50, all: 100 });
                    prop_assert!(some == count || some.live >= 50 || some.all >= 100);
                    let (mut seen, mut deleted) = (Vec::new(), 0);
                    index.visit_live(&span, &mut |walked| {
                        match walked {
                            WalkStep::Live(key, location) => seen.push((key.to_vec(), location)),
                            WalkStep::Deleted(keys) => deleted += keys,
                        }
                        true
                    });
                    let alive: Vec<_> = alive.map(|(key, e)| (key.clone(), e.location)).collect();
                    prop_assert!(seen == alive && deleted == count.all - count.live);
                }
            }
            let frozen = index.clone();
            let before = mirror.clone();
            for (key, _) in puts.iter().skip(puts.len() / 10) {
                index.remove(key);
                mirror.remove(key);
                prop_assert_eq!(index.get(key), None);
            }
            assert_equal(&index, &mirror);
            assert_equal(&frozen, &before);
        }
    }

    #[test]
    fn ascending_and_descending_fills_leave_full_pages() {
        let pages = |keys: &mut dyn Iterator<Item = u32>| {
            let mut index = Index::default();
            keys.for_each(|n| index.put(format!("key-{n:012}").as_bytes(), entry(1, false)));
            index.check();
            index.leaves.len()
        };
        let per_page = LEAF_BYTES / 25;
        let full = 10_000_usize.div_ceil(per_page);
        assert!(pages(&mut (0..10_000)) <= full + 1);
        assert!(pages(&mut (0..10_000).rev()) <= full + 1);
    }
}
