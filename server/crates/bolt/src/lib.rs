//! The file format of bbolt: 4 KiB pages, with a tree of pages per bucket.
//!
//! A file is written in one pass, page by page, and read from its root. No page is changed in place, so the crate needs no
//! free pages and no cache. It does not interpret the contents of buckets.
//!
//! Reading order: `page` (the layout) → `writer` → `reader`.

#[cfg(test)]
mod crafted;
pub mod page;
mod reader;
mod writer;

pub use reader::{BoltError, BoltFile, Bucket, VisitRecord};
pub use writer::{Layout, WriteBytes, Writer};
