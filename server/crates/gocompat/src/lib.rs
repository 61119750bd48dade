//! What programs of Go do to bytes, for servers whose clients compare answers byte by byte: text, JSON,
//! media types, paths, queries and URLs as Go's standard library prints and reads them.
//!
//! What does *not* live here: what the texts mean.
//!
//! Reading order: `text` → `json` (`progress` reads, `write` prints) → `path` → `query`, `url` → `mime`.

pub mod json;
pub mod mime;
pub mod path;
pub mod query;
pub mod text;
pub mod url;
