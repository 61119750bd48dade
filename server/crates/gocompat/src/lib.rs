//! Prints and parses text, JSON, media types, paths, queries and URLs exactly like Go's standard library, because clients
//! compare responses byte by byte.
//!
//! Reading order: `text` → `json` (`progress` reads, `write` prints) → `path` → `query`, `url` → `mime`.

pub mod json;
pub mod mime;
pub mod path;
pub mod query;
pub mod text;
pub mod url;
