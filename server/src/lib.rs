//! The server: a replica with a disk, a network and four dialects.
//!
//! Reading order: `boot` (composition root) → `api` (HTTP/1.1 frontend) →
//! `offline` (commands without a member) → `program` (the binary).
//!
//! Lower layers are crates in `server/crates`: `node` (the handle that all dialects use), `v1`, `v2`, `v3`, `discovery` (the
//! dialects), `dialect` (their common parts), `transport` (listeners and protocols), `peer` (other members), `auth`
//! (authentication), `storage` (log and checkpoint), `snapshot` (the state in etcd's format), `config`, `logging`, and `base`
//! (memory in flight, panics, metrics).

pub mod api;
pub mod boot;
pub mod offline;
pub mod program;
pub mod systemd;
