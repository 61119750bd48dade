//! The composition root: puts the crates in `server/crates` together to a member, and serves HTTP/1.1.
//!
//! Reading order: `program` (the binary: arguments, logs, exit codes) → `boot` (the life of a member) → `api` (the
//! frontend of HTTP/1.1) → `systemd`.
//!
//! Not here: what a member does. `ARCHITECTURE.md` lists the crates.

pub mod api;
pub mod boot;
pub mod program;
pub mod systemd;
