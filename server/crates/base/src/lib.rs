//! Parts that every layer of the server shares: accounts of connections, panics, and the registry of metrics. They are
//! independent of protocols, disks and raft.
//!
//! Reading order: `account` (use of the process's limits by connections) → `panics` (containment of panics) → `metrics` (the
//! registry, metrics of the process) → `sync`, `version`.

pub mod account;
pub mod metrics;
pub mod panics;
pub mod sync;
pub mod version;
