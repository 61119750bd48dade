//! Writes a bbolt file in one pass, page by page. Only one page per level of the tree is in memory.
//!
//! The first two pages contain the root and the length of the file. Therefore, a first pass without output computes the layout
//! ([`Layout::of`]), and the second pass must add the same records.

use std::io;

use super::page::{
    BRANCH, BUCKET_BYTES, ELEMENT_BYTES, FREE, HEADER_BYTES, IS_BUCKET, LEAF, METAS, MetaPage,
    PAGE_BYTES, PageHeader,
};

/// Receives bytes of the file in order.
pub type WriteBytes<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// The root and the length of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    root: u64,
    end: u64,
}

/// Size in bytes to which a leaf is filled, with overflow pages. Half a record's space stays empty at the end of a leaf on
/// average. Records of 2 KiB are common, so leaves of one page would waste much space.
const LEAF_BYTES: usize = 4 * PAGE_BYTES;

/// Number of the freelist's page. The freelist is empty.
const FREE_PAGE: u64 = METAS;

/// Number of the transaction of the first meta page. The second one has the previous transaction.
const TRANSACTION: u64 = 2;

impl Layout {
    /// Computes the layout of the file that `fill` writes.
    pub fn of(fill: impl FnOnce(&mut Writer<'_>) -> io::Result<()>) -> io::Result<Self> {
        let mut nowhere = |_: &[u8]| Ok(());
        let mut writer = Writer::at(FREE_PAGE + 1, &mut nowhere);
        fill(&mut writer)?;
        writer.finish()
    }

    /// Returns the size of the entire file in bytes.
    pub fn bytes(self) -> u64 {
        self.end * PAGE_BYTES as u64
    }

    /// Writes the file. Fails if `fill` does not add the same buckets and records as in [`Layout::of`].
    pub fn write(
        self,
        out: &mut WriteBytes<'_>,
        fill: impl FnOnce(&mut Writer<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        for transaction in [TRANSACTION, TRANSACTION - 1] {
            let meta = MetaPage {
                root: self.root,
                free: FREE_PAGE,
                end: self.end,
                transaction,
                page_bytes: PAGE_BYTES as u64,
            };
            out(&meta.page())?;
        }
        let free = PageHeader { id: FREE_PAGE, kind: FREE, count: 0, overflow: 0 };
        let mut page = [0; PAGE_BYTES];
        page[..HEADER_BYTES].copy_from_slice(&free.encode());
        out(&page)?;
        let mut writer = Writer::at(FREE_PAGE + 1, out);
        fill(&mut writer)?;
        if writer.finish()? == self {
            Ok(())
        } else {
            Err(io::Error::other(
                "the written file differs from the computed layout",
            ))
        }
    }
}

/// Writes buckets in the order of their names, each with its records in the order of their keys.
pub struct Writer<'a> {
    out: &'a mut WriteBytes<'a>,
    next: u64,
    /// The current bucket's pages that are being filled.
    tree: OpenPages,
    name: Option<Vec<u8>>,
    /// Names and encoded values of the finished buckets.
    done: Vec<(Vec<u8>, [u8; BUCKET_BYTES])>,
    buffer: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Creates a writer whose next page has the number `next`.
    fn at(next: u64, out: &'a mut WriteBytes<'a>) -> Self {
        Self {
            out,
            next,
            tree: OpenPages::default(),
            name: None,
            done: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Starts a bucket. Names must ascend.
    pub fn bucket(&mut self, name: &[u8]) -> io::Result<()> {
        self.end_bucket()?;
        self.name = Some(name.to_vec());
        Ok(())
    }

    /// Adds a record to the bucket. Keys must ascend.
    pub fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.leaf_element(0, key, value)
    }

    /// Adds an element to the leaf. Writes the leaf first if the element does not fit.
    fn leaf_element(&mut self, flags: u32, key: &[u8], value: &[u8]) -> io::Result<()> {
        let leaf = &self.tree.leaf;
        if !leaf.fits(key.len() + value.len(), LEAF_BYTES) {
            self.flush_leaf()?;
        }
        self.tree.leaf.push(u64::from(flags), key, value);
        Ok(())
    }

    /// Writes the leaf and adds it to the branch above, which is also written if it is full.
    fn flush_leaf(&mut self) -> io::Result<()> {
        let mut id = write_page(
            &self.tree.leaf,
            LEAF,
            &mut self.next,
            &mut self.buffer,
            self.out,
        )?;
        let mut first = self.tree.leaf.take_first();
        for level in 0.. {
            if level == self.tree.branches.len() {
                self.tree.branches.push(OpenPage::default());
            }
            let branch = &mut self.tree.branches[level];
            // Branches with a single child would make the tree endlessly deep.
            if branch.count() < 2 || branch.fits(first.len(), PAGE_BYTES) {
                branch.push(id, &first, &[]);
                return Ok(());
            }
            let full = write_page(branch, BRANCH, &mut self.next, &mut self.buffer, self.out)?;
            let full_first = branch.take_first();
            branch.push(id, &first, &[]);
            (id, first) = (full, full_first);
        }
        Ok(())
    }

    /// Writes the tree's remaining pages and returns the number of its root page.
    fn root(&mut self) -> io::Result<u64> {
        if self.tree.branches.is_empty() {
            return self.flush_only_leaf();
        }
        if self.tree.leaf.count() > 0 {
            self.flush_leaf()?;
        }
        let mut level = 0;
        loop {
            let last = level + 1 == self.tree.branches.len();
            let branch = &mut self.tree.branches[level];
            if last && branch.count() == 1 {
                // The only child contains the entire tree and is its root.
                let root = branch.elements[0].0;
                self.tree = OpenPages::default();
                return Ok(root);
            }
            let id = write_page(branch, BRANCH, &mut self.next, &mut self.buffer, self.out)?;
            let first = branch.take_first();
            level += 1;
            if last {
                self.tree = OpenPages::default();
                return Ok(id);
            }
            self.tree.branches[level].push(id, &first, &[]);
        }
    }

    /// Writes the only leaf of a bucket and returns its number, because the leaf is the root.
    fn flush_only_leaf(&mut self) -> io::Result<u64> {
        let leaf = &mut self.tree.leaf;
        let id = write_page(leaf, LEAF, &mut self.next, &mut self.buffer, self.out)?;
        self.tree = OpenPages::default();
        Ok(id)
    }

    /// Writes any remaining pages of the current bucket and records the bucket's root.
    fn end_bucket(&mut self) -> io::Result<()> {
        let Some(name) = self.name.take() else {
            return Ok(());
        };
        let root = self.root()?;
        let mut value = [0; BUCKET_BYTES];
        value[..8].copy_from_slice(&root.to_le_bytes());
        self.done.push((name, value));
        Ok(())
    }

    /// Ends the last bucket, writes the root bucket, which contains all buckets, and returns the layout.
    fn finish(mut self) -> io::Result<Layout> {
        self.end_bucket()?;
        for (name, value) in std::mem::take(&mut self.done) {
            self.leaf_element(IS_BUCKET, &name, &value)?;
        }
        let root = self.root()?;
        let end = self.next;
        Ok(Layout { root, end })
    }
}

/// A bucket's pages that are being filled: a leaf, and one branch per level above it.
#[derive(Default)]
struct OpenPages {
    leaf: OpenPage,
    branches: Vec<OpenPage>,
}

#[derive(Default)]
struct OpenPage {
    /// For each element, its flags (in a leaf) or its page (in a branch), and the lengths of key and value.
    elements: Vec<(u64, u32, u32)>,
    data: Vec<u8>,
}

impl OpenPage {
    fn count(&self) -> usize {
        self.elements.len()
    }

    /// Returns whether an element with `bytes` bytes of key and value fits into a page of `of` bytes. An empty page takes any
    /// element, with overflow pages.
    fn fits(&self, bytes: usize, of: usize) -> bool {
        let elements = (self.count() + 1) * ELEMENT_BYTES;
        self.elements.is_empty() || HEADER_BYTES + elements + self.data.len() + bytes <= of
    }

    /// Adds an element. `about` is the flags of a leaf element or the page of a branch element.
    fn push(&mut self, about: u64, key: &[u8], value: &[u8]) {
        self.elements
            .push((about, key.len() as u32, value.len() as u32));
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
    }

    /// Clears the page and returns its first key.
    fn take_first(&mut self) -> Vec<u8> {
        let length = self.elements.first().map_or(0, |(_, key, _)| *key as usize);
        let first = self.data[..length].to_vec();
        self.elements.clear();
        self.data.clear();
        first
    }
}

/// Writes a page with its overflow pages and returns its number. Advances `next` past these pages.
fn write_page(
    page: &OpenPage,
    kind: u16,
    next: &mut u64,
    buffer: &mut Vec<u8>,
    out: &mut WriteBytes<'_>,
) -> io::Result<u64> {
    let used = HEADER_BYTES + page.count() * ELEMENT_BYTES + page.data.len();
    let pages = used.div_ceil(PAGE_BYTES);
    let header = PageHeader {
        id: *next,
        kind,
        count: page.count() as u16,
        overflow: (pages - 1) as u32,
    };
    buffer.clear();
    buffer.extend_from_slice(&header.encode());
    let mut at = HEADER_BYTES + page.count() * ELEMENT_BYTES;
    for (about, key, value) in &page.elements {
        // The position is relative to the element itself.
        let position = (at - buffer.len()) as u32;
        if kind == LEAF {
            buffer.extend_from_slice(&(*about as u32).to_le_bytes());
            buffer.extend_from_slice(&position.to_le_bytes());
            buffer.extend_from_slice(&key.to_le_bytes());
            buffer.extend_from_slice(&value.to_le_bytes());
        } else {
            buffer.extend_from_slice(&position.to_le_bytes());
            buffer.extend_from_slice(&key.to_le_bytes());
            buffer.extend_from_slice(&about.to_le_bytes());
        }
        at += (key + value) as usize;
    }
    buffer.extend_from_slice(&page.data);
    buffer.resize(pages * PAGE_BYTES, 0);
    out(buffer)?;
    let id = *next;
    *next += pages as u64;
    Ok(id)
}
