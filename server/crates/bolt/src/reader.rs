//! Reads a bbolt file by walking its pages from the root.
//!
//! A file is untrusted: every number is checked before it is used. The number of pages in the file bounds the pages that a walk
//! reads (with their overflow) and the page numbers that it queues. Keys must ascend and records must not overlap, so a file
//! yields no more bytes and buckets than it contains. Only one page is in memory at a time. Every defect is a [`BoltError`],
//! which names the page if the page is invalid.

use std::{fs, io, os::unix::fs::FileExt as _, path::Path};

use super::page::{
    BRANCH, BUCKET_BYTES, ELEMENT_BYTES, HEADER_BYTES, IS_BUCKET, LEAF, METAS, MetaPage,
    PAGE_SIZES, PageHeader, u32_at, u64_at,
};

/// The reason why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BoltError {
    /// The file cannot be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file, a page or a record is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The caller does not know a record, because a later release wrote it.
    #[error("{0}")]
    Later(String),
}

/// Callback for records, with a key and its value. An error that it returns ends the walk.
pub type VisitRecord<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), BoltError> + 'a;

/// An opened file.
#[derive(Debug)]
pub struct BoltFile {
    file: fs::File,
    meta: MetaPage,
}

/// The location of a bucket's records.
#[derive(Clone, Debug)]
pub enum Bucket {
    /// In the tree below this page.
    Root(u64),
    /// In this inline page, copied from the leaf that contains it.
    Inline(Vec<u8>),
}

impl BoltFile {
    /// Opens a file and reads its meta pages. Bytes after the first `length` do not belong to the file. Fails if the file has
    /// fewer pages than the newest meta page says.
    pub fn open(path: &Path, length: u64) -> Result<Self, BoltError> {
        let file = fs::File::open(path)?;
        let meta = newest_meta(&file, length)?;
        if meta
            .end
            .checked_mul(meta.page_bytes)
            .is_none_or(|end| end > length)
        {
            return Err(BoltError::Invalid(format!(
                "it ends at byte {length}, before the end of its {} pages",
                meta.end
            )));
        }
        Ok(Self { file, meta })
    }

    /// Returns the size in bytes of all pages of the file.
    pub fn bytes(&self) -> u64 {
        self.meta.end * self.meta.page_bytes
    }

    /// Reads the names and locations of all buckets, ordered by name.
    pub fn buckets(&self) -> Result<Vec<(Vec<u8>, Bucket)>, BoltError> {
        let mut found = Vec::new();
        let root = Bucket::Root(self.meta.root);
        self.walk(&root, true, &mut |name, value| {
            let root = u64_at(value, 0);
            let bucket = match (root, value.get(BUCKET_BYTES..)) {
                (Some(0), Some(page)) if page.len() as u64 > self.meta.page_bytes => {
                    Err("a bucket inside a page is too long")
                }
                (Some(0), Some(page)) => Ok(Bucket::Inline(page.to_vec())),
                (Some(root), Some(_)) => Ok(Bucket::Root(root)),
                _ => Err("a bucket has no root page"),
            };
            let bucket = bucket.map_err(|defect| BoltError::Invalid(defect.into()))?;
            found.push((name.to_vec(), bucket));
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `each` with every record of a bucket, in key order. Fails at a nested bucket and at the first error of `each`.
    pub fn records(&self, bucket: &Bucket, each: &mut VisitRecord<'_>) -> Result<(), BoltError> {
        self.walk(bucket, false, each)
    }

    /// Calls `each` with every record of a bucket. If `has_buckets`, fails unless every record is a nested bucket; otherwise
    /// fails if any record is a nested bucket.
    fn walk(
        &self,
        bucket: &Bucket,
        has_buckets: bool,
        each: &mut VisitRecord<'_>,
    ) -> Result<(), BoltError> {
        let mut walk = TreeWalk {
            file: self,
            has_buckets,
            pages_left: self.meta.end,
            last: None,
            each,
        };
        match bucket {
            Bucket::Root(root) => walk.tree(*root),
            Bucket::Inline(page) => {
                let header = PageHeader::decode(page).ok_or_else(|| short(0))?;
                if header.kind != LEAF {
                    return Err(wrong(0, "the inline bucket has no leaf page"));
                }
                walk.leaf(0, page, header.count)
            }
        }
    }

    /// Reads a page's header. Fails if the header has another number, or if the page or its overflow is not inside the file.
    fn header(&self, page: u64) -> Result<PageHeader, BoltError> {
        if !(METAS..self.meta.end).contains(&page) {
            return Err(wrong(page, "its page number is out of range"));
        }
        let at = page * self.meta.page_bytes;
        let mut head = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut head, at)?;
        let header = PageHeader::decode(&head).ok_or_else(|| short(page))?;
        let pages = header.pages();
        if header.id != page {
            return Err(wrong(page, "its header has the number of another page"));
        }
        if page + pages > self.meta.end {
            return Err(wrong(page, "it is too long"));
        }
        Ok(header)
    }

    /// Reads a page with its overflow. `header` is the page's header.
    fn read(&self, page: u64, header: &PageHeader) -> Result<Vec<u8>, BoltError> {
        let mut bytes = vec![0; (header.pages() * self.meta.page_bytes) as usize];
        self.file
            .read_exact_at(&mut bytes, page * self.meta.page_bytes)?;
        Ok(bytes)
    }
}

/// Finds the valid meta page with the higher transaction. The second meta page is one page size after the first, but only meta
/// pages contain that size. If the first meta page is damaged, takes the first offset at which a valid meta page states that
/// offset as its page size. The first offset is used, because later data may look like a meta page. If both meta pages are
/// damaged, returns the defect of the first one.
fn newest_meta(file: &fs::File, length: u64) -> Result<MetaPage, BoltError> {
    let parse_at = |at: u64| -> Result<Result<MetaPage, &'static str>, BoltError> {
        let mut page = [0; META_PAGE_BYTES];
        if at + META_PAGE_BYTES as u64 > length {
            return Ok(Err("it is too short"));
        }
        file.read_exact_at(&mut page, at)?;
        Ok(MetaPage::parse(&page))
    };
    let first = parse_at(0)?;
    for at in PAGE_SIZES {
        let Ok(second) = parse_at(at)? else { continue };
        match first {
            Ok(first) if first.page_bytes != at => {}
            Ok(_) | Err(_) if second.page_bytes != at => {}
            Ok(first) if first.transaction > second.transaction => return Ok(first),
            Ok(_) | Err(_) => return Ok(second),
        }
    }
    first.map_err(|reason| BoltError::Invalid(reason.into()))
}

const META_PAGE_BYTES: usize = HEADER_BYTES + super::page::META_BYTES;

/// Creates the error for an invalid page. The number of an inline page is 0.
fn wrong(page: u64, defect: &str) -> BoltError {
    BoltError::Invalid(format!("page {page}: {defect}"))
}

/// Creates the error for a page that is shorter than its header requires.
fn short(page: u64) -> BoltError {
    wrong(page, "it ends too early")
}

struct TreeWalk<'a, 'e> {
    file: &'a BoltFile,
    /// Whether each record is a nested bucket, as in the root bucket.
    has_buckets: bool,
    pages_left: u64,
    last: Option<Vec<u8>>,
    each: &'a mut VisitRecord<'e>,
}

impl TreeWalk<'_, '_> {
    /// Visits the records on a page and on all pages below it, at any depth. Fails if more pages are visited or queued than the
    /// file has.
    fn tree(&mut self, root: u64) -> Result<(), BoltError> {
        let mut waiting = vec![root];
        while let Some(page) = waiting.pop() {
            let header = self.file.header(page)?;
            let again = || wrong(page, "it is visited more than once");
            let left = self.pages_left.checked_sub(header.pages());
            self.pages_left = left.ok_or_else(again)?;
            let bytes = self.file.read(page, &header)?;
            match header.kind {
                LEAF => self.leaf(page, &bytes, header.count)?,
                BRANCH => {
                    let child = |at: usize| u64_at(&bytes, HEADER_BYTES + at * ELEMENT_BYTES + 8);
                    let children = (0..usize::from(header.count)).map(child);
                    let children: Option<Vec<u64>> = children.collect();
                    let children = children.ok_or_else(|| short(page))?;
                    if (waiting.len() + children.len()) as u64 > self.pages_left {
                        return Err(wrong(page, "it has too many child pages"));
                    }
                    // The first child is visited next.
                    waiting.extend(children.into_iter().rev());
                }
                _ => return Err(wrong(page, "it is neither a branch nor a leaf")),
            }
        }
        Ok(())
    }

    /// Visits the records of a leaf and checks their bounds and order. `count` is their number in the page's header.
    fn leaf(&mut self, page: u64, bytes: &[u8], count: u16) -> Result<(), BoltError> {
        let mut free_from = 0;
        for index in 0..usize::from(count) {
            let element = HEADER_BYTES + index * ELEMENT_BYTES;
            let field = |offset| u32_at(bytes, element + offset).ok_or_else(|| short(page));
            let flags = field(0)?;
            let begin = element + field(4)? as usize;
            let middle = begin + field(8)? as usize;
            let end = middle + field(12)? as usize;
            if (flags == IS_BUCKET) != self.has_buckets {
                return Err(wrong(page, "it mixes buckets and records"));
            }
            let key = bytes.get(begin..middle).ok_or_else(|| short(page))?;
            let value = bytes.get(middle..end).ok_or_else(|| short(page))?;
            if begin < free_from {
                return Err(wrong(page, "its records overlap"));
            }
            free_from = end;
            if self.last.as_deref().is_some_and(|last| last >= key) {
                return Err(wrong(page, "its keys are not in ascending order"));
            }
            let last = self.last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(key);
            (self.each)(key, value)?;
        }
        Ok(())
    }
}
