//! Shared by every layer of the server: client networks, memory of requests, panics, and the registry of metrics. It knows no protocol, no disk and no raft.
//!
//! Reading order: `client_network` (whose request it is) → `budget` (bytes in flight) → `panics` (what one ends) →
//! `metrics` (the registry, the process) → `sync`, `version`.

pub mod budget;
pub mod client_network;
pub mod metrics;
pub mod panics;
pub mod sync;
pub mod version;
