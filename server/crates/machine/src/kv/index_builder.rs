//! Builds the key index of a loaded history.
//!
//! The versions are added from the newest to the oldest, and only the first version of each key is kept. To bound memory, the
//! versions are sorted in chunks, and each chunk is merged into the existing pages.

use std::hint::black_box;

use super::{
    index::Index,
    leaf::{IndexEntry, LEAF_BYTES, Leaf, PackedEntry},
    sort::{self, SortKey},
};

/// Size in bytes of the rows that are sorted together, with their sort keys. A million keys need three chunks.
pub(super) const CHUNK_BYTES: usize = 16 << 20;

/// A chunk is at least as large as the existing pages divided by this number. Each merge copies the pages, so the number of
/// merges must grow more slowly than the number of keys.
const CHUNK_DIVISOR: usize = 4;

/// Size in bytes of a row and its sort key.
const ROW_BYTES: usize = size_of::<IndexRow<'static>>() + size_of::<SortKey>();

/// Number of keys that are prefetched together, because consecutive keys are scattered over all blocks.
const FETCHED: usize = 32;

/// A version to add to the index.
pub(super) struct IndexRow<'a> {
    key: &'a [u8],
    entry: PackedEntry,
    size: usize,
}

impl<'a> IndexRow<'a> {
    /// Creates the row of a version. `size` is the size of the version in bytes.
    pub(super) fn new(key: &'a [u8], entry: IndexEntry, size: usize) -> Self {
        let entry = entry.pack();
        Self { key, entry, size }
    }
}

impl AsRef<[u8]> for IndexRow<'_> {
    fn as_ref(&self) -> &[u8] {
        self.key
    }
}

/// Builds an index from the newest version of each key, including deletions, in full pages.
pub(super) struct IndexBuilder<'a> {
    chunk_bytes: usize,
    /// The chunk that is being filled.
    rows: Vec<IndexRow<'a>>,
    /// The pages of all earlier chunks, in key order.
    pages: Vec<Leaf>,
    /// The page that is being filled during a merge.
    filling: Leaf,
    /// Size in bytes of the pages' versions, except deletions.
    live_bytes: u64,
}

impl<'a> IndexBuilder<'a> {
    /// Creates a builder that sorts at least `chunk_bytes` bytes of rows together.
    pub(super) fn new(chunk_bytes: usize) -> Self {
        Self {
            chunk_bytes,
            rows: Vec::new(),
            pages: Vec::new(),
            filling: Leaf::default(),
            live_bytes: 0,
        }
    }

    /// Adds a version, after merging the chunk if it is full. All newer versions must already have been added.
    pub(super) fn add(&mut self, row: IndexRow<'a>) {
        let page_bytes = self.pages.len() * LEAF_BYTES;
        if self.rows.len() * ROW_BYTES >= self.chunk_bytes.max(page_bytes / CHUNK_DIVISOR) {
            self.merge();
        }
        self.rows.push(row);
    }

    /// Returns the index, and the size in bytes of the indexed versions, except deletions.
    pub(super) fn finish(mut self) -> (Index, u64) {
        self.merge();
        (Index::of_pages(self.pages), self.live_bytes)
    }

    /// Sorts the chunk and merges it into the pages. Frees each old page after its last key is copied.
    fn merge(&mut self) {
        let mut chunk = std::mem::take(&mut self.rows);
        let rows = &chunk[..];
        let tags = sort::sorted(rows);
        let sorted = tags.chunks(FETCHED).flat_map(move |tags| {
            // Fetch all rows of a group together, so that the cache misses overlap.
            let first = |tag: &SortKey| rows[tag.at()].key.first().copied().unwrap_or_default();
            black_box(tags.iter().fold(0, |sum, tag| sum ^ first(tag)));
            tags.iter().map(move |tag| &rows[tag.at()])
        });
        let mut last = None;
        let newest = sorted.filter(move |row| last.replace(row.key) != Some(row.key));
        let mut newest = newest.peekable();
        for page in std::mem::take(&mut self.pages) {
            for at in 0..page.len() {
                let key = page.key(at);
                while let Some(row) = newest.next_if(|row| row.key <= key) {
                    // The page has a newer version of the same key.
                    if row.key != key {
                        self.append_row(row);
                    }
                }
                self.append(key, page.entry(at));
            }
        }
        newest.for_each(|row| self.append_row(row));
        self.close_page();
        chunk.clear();
        self.rows = chunk;
    }

    /// Appends the key of a row, which is the newest version of the key.
    fn append_row(&mut self, row: &IndexRow<'_>) {
        let entry = IndexEntry::unpack(row.entry);
        if !entry.tombstone {
            self.live_bytes += row.size as u64;
        }
        self.append(row.key, entry);
    }

    /// Appends a key that is greater than all keys in the new pages. Starts a new page if the current page is full.
    fn append(&mut self, key: &[u8], entry: IndexEntry) {
        if !self.filling.has_room(key) {
            self.close_page();
        }
        self.filling.insert(self.filling.len(), key, entry);
    }

    /// Adds a copy of the current page without spare memory to the pages. Starts an empty page.
    fn close_page(&mut self) {
        self.pages.push(self.filling.clone());
        self.filling.clear();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::kv::{
        Compact, KeyRange, Kv, KvOperation,
        test_helpers::{apply, delete, put},
    };

    /// Usually generates short keys, but also keys so long that a few fill a page.
    fn key() -> impl Strategy<Value = String> {
        (0..200_usize).prop_map(|n| {
            let len = match n % 20 {
                0 => 800 + 20 * n,
                short => short,
            };
            format!("{n}-{}", "x".repeat(len))
        })
    }

    /// Generates the size of a put's value, or `None` for a deletion.
    fn write() -> impl Strategy<Value = Option<usize>> {
        prop_oneof![1 => Just(None), 3 => (0..3000_usize).prop_map(Some)]
    }

    /// Asserts that the index is sound. Returns all keys with their entries, in key order.
    fn entries(index: &Index) -> Vec<(Bytes, IndexEntry)> {
        index.check();
        let mut entries = Vec::new();
        index.visit(&KeyRange::From(b""), &mut |key, entry| {
            entries.push((Bytes::copy_from_slice(key), entry));
            true
        });
        entries
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_index_of_a_history_does_not_depend_on_the_chunks(
            writes in prop::collection::vec((key(), write()), 1..600),
            compacted in 0..600_usize,
            chunk_bytes in 1..10_000_usize,
        ) {
            let mut kv = Kv::default();
            for (at, (key, size)) in writes.iter().enumerate() {
                if let Some(size) = size {
                    put(&mut kv, key, *size);
                } else {
                    delete(&mut kv, key);
                }
                if at == compacted {
                    let revision = kv.revision().0;
                    apply(&mut kv, KvOperation::Compact(Compact { revision }));
                }
            }
            let (whole, whole_bytes, _) = kv.history.index(usize::MAX);
            let (merged, merged_bytes, _) = kv.history.index(chunk_bytes);
            prop_assert_eq!((merged.pages(), merged_bytes), (whole.pages(), whole_bytes));
            prop_assert!(entries(&merged) == entries(&whole));
            prop_assert_eq!(merged_bytes, kv.live_bytes);
            prop_assert!(entries(&merged) == entries(&kv.index));
        }
    }
}
