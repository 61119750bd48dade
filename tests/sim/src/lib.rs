//! The deterministic simulator: the real [`witan_replica`] core in virtual time, with an unreliable network and power cuts.
//!
//! A run uses no clocks, threads, sockets or files, and no randomness except the seed. The same seed produces the same run,
//! byte for byte, in any process (`tests/determinism.rs`).
//!
//! A run has two phases. *Chaos*: messages are dropped, delayed, duplicated and reordered, and links are cut in one or both
//! directions. Members crash between any two calls of `Host` and restart from their disks. *Heal and serve*: the faults stop,
//! and the cluster must work again within stated numbers of ticks. An invariant is a file in `invariants`, which receives every
//! fact of the run. If the world itself detects the violations, `invariants` contains only the name of the invariant.
//!
//! Reading order: `world` (the event loop) → `member` → `inbox` (a round of its thread) → `host` (one turn) → `checkpoints`,
//! `transfer` (concurrent work) → `adopted` (different initial states), `copies` (copied disks) → `disk`, `net` (components
//! that fail) → `residency` (values that are only on disk) → `chaos`, `mishaps` (times of failures) → `workload`, `users`,
//! `clients`, `oracle` (requests and expected answers) → `operator` (membership changes), `disaster` (lost members), `releases`
//! (upgrades) → `invariants` → `scenario`, `sweep` (many seeds) → `main.rs` (`--reproduce`).

mod adopted;
mod chaos;
mod checkpoints;
mod clients;
mod copies;
pub mod counts;
pub mod data_directory;
mod disaster;
mod disk;
mod host;
mod inbox;
mod invariants;
mod member;
mod mishaps;
mod net;
mod operator;
mod oracle;
pub mod recordings;
mod releases;
pub mod residency;
pub mod rng;
pub mod scenario;
mod sinks;
pub mod sweep;
mod trace;
mod transfer;
mod users;
mod workload;
pub mod world;
