//! Writes a bbolt file from start to end, page by page. Only one page per level of the tree is in memory.
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

/// Size in bytes to which a leaf is filled, with overflow pages. On average, half a record's space stays empty at the end of a
/// leaf. Records of 2 KiB are common, so leaves of one page would waste a lot of space.
const LEAF_BYTES: usize = 4 * PAGE_BYTES;

/// Page number of the freelist, which is empty.
const FREE_PAGE: u64 = METAS;

/// Transaction id of the first meta page. The second meta page has the previous id.
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

    /// Writes the file. `fill` must add the same buckets and records as in [`Layout::of`]; fails at the end if they result in
    /// another layout.
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
    /// The next page number.
    next: u64,
    /// The current bucket's pages that are being filled: a leaf, and one branch per level above it.
    levels: Vec<OpenPage>,
    /// Name of the current bucket.
    name: Option<Vec<u8>>,
    /// Names and encoded values of the finished buckets.
    done: Vec<(Vec<u8>, [u8; BUCKET_BYTES])>,
    buffer: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Creates a writer whose first page has the number `next`.
    fn at(next: u64, out: &'a mut WriteBytes<'a>) -> Self {
        Self {
            out,
            next,
            levels: vec![OpenPage::default()],
            name: None,
            done: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Starts a bucket. Names must ascend, which is not checked.
    pub fn bucket(&mut self, name: &[u8]) -> io::Result<()> {
        self.end_bucket()?;
        self.name = Some(name.to_vec());
        Ok(())
    }

    /// Adds a record to the last started bucket. Keys must ascend, which is not checked.
    pub fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.push(0, 0, key, value)
    }

    /// Adds an element to the page at a level. Writes the page first if the element does not fit. `about` contains the flags of
    /// a leaf element or the page number of a branch element.
    fn push(&mut self, level: usize, about: u64, key: &[u8], value: &[u8]) -> io::Result<()> {
        if level == self.levels.len() {
            self.levels.push(OpenPage::default());
        }
        // A page accepts any first element, with overflow pages if needed. A branch also accepts any second element, because
        // branches with a single child would make the tree endlessly deep.
        let (elements_min, bytes_max) = match level {
            0 => (1, LEAF_BYTES),
            _ => (2, PAGE_BYTES),
        };
        let page = &self.levels[level];
        let bytes = page.bytes() + ELEMENT_BYTES + key.len() + value.len();
        if page.elements.len() >= elements_min && bytes > bytes_max {
            self.flush(level)?;
        }
        let page = &mut self.levels[level];
        page.elements
            .push((about, key.len() as u32, value.len() as u32));
        page.data.extend_from_slice(key);
        page.data.extend_from_slice(value);
        Ok(())
    }

    /// Writes the page at a level and adds it to the branch above.
    fn flush(&mut self, level: usize) -> io::Result<()> {
        let (page, first_key) = self.write_page(level)?;
        self.push(level + 1, page, &first_key, &[])
    }

    /// Writes the tree's remaining pages and returns the number of its root page.
    fn root(&mut self) -> io::Result<u64> {
        let mut level = 0;
        while level + 1 < self.levels.len() {
            self.flush(level)?;
            level += 1;
        }
        let (root, _) = self.write_page(level)?;
        self.levels.truncate(1);
        Ok(root)
    }

    /// Ends the current bucket, if there is one: writes its remaining pages and records its root.
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
            self.push(0, u64::from(IS_BUCKET), &name, &value)?;
        }
        let root = self.root()?;
        let end = self.next;
        Ok(Layout { root, end })
    }

    /// Writes the page at a level, with its overflow pages, and clears it. Returns the page's number and its first key.
    fn write_page(&mut self, level: usize) -> io::Result<(u64, Vec<u8>)> {
        let (page, buffer) = (&mut self.levels[level], &mut self.buffer);
        let pages = page.bytes().div_ceil(PAGE_BYTES);
        let id = self.next;
        let header = PageHeader {
            id,
            kind: if level == 0 { LEAF } else { BRANCH },
            count: page.elements.len() as u16,
            overflow: (pages - 1) as u32,
        };
        buffer.clear();
        buffer.extend_from_slice(&header.encode());
        let mut at = page.bytes() - page.data.len();
        for (about, key, value) in &page.elements {
            // The position is relative to the element itself.
            let position = (at - buffer.len()) as u32;
            if level == 0 {
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
        (self.out)(buffer)?;
        self.next += pages as u64;
        let first = page.elements.first();
        let first_key = first.map_or(0, |(_, key, _)| *key as usize);
        let first_key = page.data[..first_key].to_vec();
        page.elements.clear();
        page.data.clear();
        Ok((id, first_key))
    }
}

/// A page that is being filled.
#[derive(Default)]
struct OpenPage {
    /// For each element, its flags (in a leaf) or its page (in a branch), and the lengths of its key and value.
    elements: Vec<(u64, u32, u32)>,
    data: Vec<u8>,
}

impl OpenPage {
    /// Returns the size in bytes of the page with its header and elements.
    fn bytes(&self) -> usize {
        HEADER_BYTES + self.elements.len() * ELEMENT_BYTES + self.data.len()
    }
}
