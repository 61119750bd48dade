//! The file format of bbolt, in which etcd keeps its store: pages of 4 KiB, each bucket a tree of them.
//!
//! A file is written in one pass, page after page, and read by walking from its root. Nothing is ever
//! changed in place, so there is no free page and no cache here. What the buckets hold is not known
//! here either.
//!
//! Reading order: `page` (the layout) → `writer` → `reader`.

#[cfg(test)]
mod crafted;
mod page;
mod reader;
mod writer;

pub use reader::Broken;
pub(super) use reader::{Bucket, Each, File};
pub use writer::Out;
pub(super) use writer::{Layout, Writer};
