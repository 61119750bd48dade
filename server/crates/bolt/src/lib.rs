//! The file format of bbolt: pages of a fixed size (4 KiB if this crate writes them), with a tree of pages for each bucket. A
//! file is written from start to end, page by page, and read from its root. The crate does not change pages in place, so it
//! needs no free pages and no cache. It does not interpret the contents of buckets.
//!
//! Reading order: `page` (the layout), `writer`, `reader`.

#[cfg(test)]
mod crafted;
pub mod page;
mod reader;
mod writer;

pub use reader::{BoltError, BoltFile, Bucket, VisitRecord};
pub use writer::{Layout, WriteBytes, Writer};
