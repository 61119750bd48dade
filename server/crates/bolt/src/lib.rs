//! The file format of bbolt: pages of 4 KiB, each bucket a tree of them.
//!
//! A file is written in one pass, page after page, and read by walking from its root. Nothing is ever
//! changed in place, so there is no free page and no cache here. What the buckets hold is not known
//! here either.
//!
//! Reading order: `page` (the layout) → `writer` → `reader`.

#[cfg(test)]
mod crafted;
pub mod page;
mod reader;
mod writer;

pub use reader::{BoltError, BoltFile, Bucket, VisitRecord};
pub use writer::{Layout, WriteBytes, Writer};
