//! Tests crafted files that could make the reader use more memory than the file's size.

use std::{fs, path::PathBuf};

use super::{
    page::{
        BRANCH, ELEMENT_BYTES, HEADER_BYTES, IS_BUCKET, LEAF, MetaPage, PAGE_BYTES, PageHeader,
    },
    reader::{BoltFile, Bucket},
};

const PAGES: u64 = 64;

/// A file of empty pages whose root is page 2.
struct Crafted {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Crafted {
    /// Builds the file in memory. [`Self::open`] writes it to the temporary directory.
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let mut bytes = vec![0; PAGES as usize * PAGE_BYTES];
        let meta = MetaPage {
            root: 2,
            free: u64::MAX,
            end: PAGES,
            transaction: 0,
            page_bytes: PAGE_BYTES as u64,
        };
        bytes[..PAGE_BYTES].copy_from_slice(&meta.page());
        Self {
            path: std::env::temp_dir().join(format!("bolt-crafted-{name}-{id}")),
            bytes,
        }
    }

    /// Writes a page: its header, its elements, and the bytes `rest` after them.
    fn page(&mut self, header: PageHeader, elements: &[[u32; 4]], rest: &[u8]) {
        let mut page = header.encode().to_vec();
        for number in elements.iter().flatten() {
            page.extend_from_slice(&number.to_le_bytes());
        }
        page.extend_from_slice(rest);
        let at = header.id as usize * PAGE_BYTES;
        self.bytes[at..at + page.len()].copy_from_slice(&page);
    }

    fn open(&self) -> BoltFile {
        fs::write(&self.path, &self.bytes).expect("the file is written");
        BoltFile::open(&self.path, self.bytes.len() as u64).expect("the crafted file opens")
    }
}

impl Drop for Crafted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Each branch has all later pages of the file as its overflow and refers to the next branch.
#[test]
fn the_overflow_of_a_page_counts_as_visited() {
    let mut crafted = Crafted::new("overflow");
    for id in 2..PAGES - 1 {
        let header = PageHeader {
            id,
            kind: BRANCH,
            count: 1,
            overflow: (PAGES - id - 1) as u32,
        };
        crafted.page(header, &[[0, 0, id as u32 + 1, 0]], &[]);
    }
    let leaf = PageHeader { id: PAGES - 1, kind: LEAF, count: 0, overflow: 0 };
    crafted.page(leaf, &[], &[]);
    let refused = crafted.open().buckets().unwrap_err();
    assert!(refused.to_string().starts_with("page 3: "), "{refused}");
    assert!(
        refused.to_string().ends_with("visited more than once"),
        "{refused}"
    );
}

/// Each branch refers to the next branch, and the last branch refers to a leaf. The tree is therefore as deep as the file has
/// pages.
#[test]
fn a_tree_can_be_as_deep_as_the_file_has_pages() {
    let mut crafted = Crafted::new("deep");
    for id in 2..PAGES - 1 {
        let header = PageHeader { id, kind: BRANCH, count: 1, overflow: 0 };
        crafted.page(header, &[[0, 0, id as u32 + 1, 0]], &[]);
    }
    let leaf = PageHeader { id: PAGES - 1, kind: LEAF, count: 1, overflow: 0 };
    crafted.page(leaf, &[[0, ELEMENT_BYTES as u32, 1, 1]], b"ab");
    let mut read = Vec::new();
    let walked = crafted.open().records(&Bucket::Root(2), &mut |key, value| {
        read.push((key.to_vec(), value.to_vec()));
        Ok(())
    });
    walked.unwrap();
    assert_eq!(read, [(b"a".to_vec(), b"b".to_vec())]);
}

/// The queue of page numbers never exceeds the number of pages.
#[test]
fn a_branch_with_more_children_than_the_file_has_pages_is_refused() {
    let mut crafted = Crafted::new("wide");
    let header = PageHeader { id: 2, kind: BRANCH, count: PAGES as u16, overflow: 0 };
    crafted.page(header, &[[0, 0, 3, 0]; PAGES as usize], &[]);
    let refused = crafted.open().buckets().unwrap_err().to_string();
    assert!(refused.ends_with("too many child pages"), "{refused}");
}

/// Two records of a leaf share the bytes of their values.
#[test]
fn overlapping_records_are_refused() {
    let mut crafted = Crafted::new("overlap");
    let header = PageHeader { id: 3, kind: LEAF, count: 2, overflow: 0 };
    let position = 2 * ELEMENT_BYTES as u32;
    let element = |at: u32, key: u32| [0, position - at * ELEMENT_BYTES as u32 + key, 1, 100];
    let rest: Vec<u8> = b"ab".iter().copied().chain([7; 200]).collect();
    crafted.page(header, &[element(0, 0), element(1, 1)], &rest);
    let read = |crafted: &Crafted| {
        let mut bytes = 0;
        let walked = crafted.open().records(&Bucket::Root(3), &mut |key, value| {
            bytes += key.len() + value.len();
            Ok(())
        });
        (walked.map_err(|error| error.to_string()), bytes)
    };
    assert_eq!(
        read(&crafted),
        (Err("page 3: its records overlap".into()), 101)
    );
    let apart: Vec<u8> = [b"a", &[7; 100][..], b"b", &[7; 100][..]].concat();
    crafted.page(header, &[element(0, 0), element(1, 101)], &apart);
    assert_eq!(read(&crafted), (Ok(()), 202));
}

#[test]
fn a_nested_bucket_longer_than_a_page_is_refused() {
    let mut crafted = Crafted::new("inline");
    let header = PageHeader { id: 2, kind: LEAF, count: 1, overflow: 3 };
    let long = (2 * PAGE_BYTES) as u32;
    let element = [IS_BUCKET, ELEMENT_BYTES as u32, 1, long];
    crafted.page(header, &[element], b"b");
    let refused = crafted.open().buckets().unwrap_err();
    assert!(refused.to_string().ends_with("is too long"), "{refused}");
    assert_eq!(HEADER_BYTES + ELEMENT_BYTES, 32);
}

fn meta(transaction: u64, root: u64, page_bytes: u64) -> [u8; PAGE_BYTES] {
    MetaPage { root, free: u64::MAX, end: PAGES, transaction, page_bytes }.page()
}

#[test]
fn the_newer_valid_meta_page_is_used() {
    let mut crafted = Crafted::new("metas");
    let root = |crafted: &Crafted| {
        let named = crafted.open().buckets().unwrap();
        named.first().map(|(name, _)| name[0])
    };
    for (page, name) in [(2, b"a"), (3, b"b")] {
        let header = PageHeader { id: page, kind: LEAF, count: 1, overflow: 0 };
        let rest = [&name[..], &3_u64.to_le_bytes(), &[0; 8]].concat();
        crafted.page(header, &[[IS_BUCKET, ELEMENT_BYTES as u32, 1, 16]], &rest);
    }
    // Write a value to page 4 that looks like a newer meta page of a file with larger pages.
    crafted.bytes[4 * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(&meta(
        99,
        7,
        4 * PAGE_BYTES as u64,
    ));
    let page_bytes = PAGE_BYTES as u64;
    crafted.bytes[..PAGE_BYTES].copy_from_slice(&meta(6, 2, page_bytes));
    crafted.bytes[PAGE_BYTES..2 * PAGE_BYTES].copy_from_slice(&meta(5, 3, page_bytes));
    assert_eq!(root(&crafted), Some(b'a'));
    crafted.bytes[PAGE_BYTES..2 * PAGE_BYTES].copy_from_slice(&meta(7, 3, page_bytes));
    assert_eq!(root(&crafted), Some(b'b'));
    // Damage the page, as if the process had ended while it wrote the page.
    crafted.bytes[PAGE_BYTES + 60] ^= 1;
    assert_eq!(root(&crafted), Some(b'a'));
    crafted.bytes[PAGE_BYTES + 60] ^= 1;
    crafted.bytes[60] ^= 1;
    assert_eq!(root(&crafted), Some(b'b'));
}
