//! Prints and parses text, JSON, media types, paths, queries and URLs exactly as Go's standard library does, for servers whose
//! clients compare responses byte by byte.
//!
//! Reading order: `text` → `json` (`progress` reads, `write` prints) → `path` → `query`, `url` → `mime`.

pub mod json;
pub mod mime;
pub mod path;
pub mod query;
pub mod text;
pub mod url;
