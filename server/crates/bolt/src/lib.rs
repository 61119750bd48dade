//! The file format of bbolt: 4 KiB pages, with a tree of pages per bucket.
//!
//! A file is written in one pass, page by page, and read by walking from its root. Nothing is changed in place, so there are no
//! free pages and no cache. The contents of buckets are opaque.
//!
//! Reading order: `page` (the layout) → `writer` → `reader`.

#[cfg(test)]
mod crafted;
pub mod page;
mod reader;
mod writer;

pub use reader::{BoltError, BoltFile, Bucket, VisitRecord};
pub use writer::{Layout, WriteBytes, Writer};
