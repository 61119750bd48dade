//! Shared by every layer of the server: accounts of connections, panics, and the registry of metrics. It knows no protocol, no disk and no raft.
//!
//! Reading order: `account` (what a connection uses of the limits of the process) → `panics` (what one ends) →
//! `metrics` (the registry, the process) → `sync`, `version`.

pub mod account;
pub mod metrics;
pub mod panics;
pub mod sync;
pub mod version;
