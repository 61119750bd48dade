//! The file format of bbolt: pages of 4 KiB, each bucket a tree of them.
//!
//! A file is written in one pass, page after page, and read by walking from its root. Nothing is changed in place, so
//! there are no free pages and no cache. The contents of buckets are opaque.
//!
//! Reading order: `page` (the layout) → `writer` → `reader`.

#[cfg(test)]
mod crafted;
pub mod page;
mod reader;
mod writer;

pub use reader::{BoltError, BoltFile, Bucket, VisitRecord};
pub use writer::{Layout, WriteBytes, Writer};
