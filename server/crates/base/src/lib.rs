//! Parts shared by every layer of the server, independent of protocols, disks and Raft.
//!
//! Reading order: `account` → `panics` → `metrics` → `memory_limit` → `sync`, `version`.

pub mod account;
pub mod memory_limit;
pub mod metrics;
pub mod panics;
pub mod sync;
pub mod version;
