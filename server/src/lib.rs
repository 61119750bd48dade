//! The composition root, which assembles a member from the crates in `server/crates` and serves HTTP/1.1.
//!
//! Reading order: `program` (the binary: arguments, logs, exit codes) → `boot` (the life of a member) → `api` (the frontend of
//! HTTP/1.1) → `systemd`.

pub mod api;
pub mod boot;
pub mod program;
pub mod systemd;
