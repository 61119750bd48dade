//! The deterministic simulator: the real [`witan_replica`] core in virtual time, on an unreliable network and on disks that
//! lose power.
//!
//! Not here: clocks, threads, sockets, files and randomness from outside the seed. The same seed gives the same run, byte for
//! byte, in any process (`tests/determinism.rs`).
//!
//! A run has two phases. *Chaos*: messages are dropped, delayed, duplicated and reordered, links are cut in one or both
//! directions, and members crash between any two verbs of `Host` and restart from what their disk kept. *Heal and serve*: the
//! faults stop, and the cluster must work again within stated numbers of ticks. Every invariant is a file in [`invariants`] and
//! sees every fact of the run.
//!
//! Reading order: `world` (the event loop) → `member` → `inbox` (a round of its thread) → `host` (one turn) → `checkpoints`,
//! `transfer` (concurrent work) → `adopted` (initial states that differ) → `disk`, `net` (what can fail) → `chaos`, `mishaps`
//! (when it fails) → `workload`, `users`, `clients`, `oracle` (requests and expected answers) → `operator` (membership
//! changes), `disaster` (lost members), `releases` (upgrades) → `invariants` → `scenario`, `sweep` (many seeds).

mod adopted;
pub mod chaos;
mod checkpoints;
mod clients;
mod copies;
pub mod data_directory;
mod disaster;
pub mod disk;
pub mod host;
mod inbox;
pub mod invariants;
mod member;
mod mishaps;
pub mod net;
mod operator;
pub mod oracle;
pub mod recordings;
mod releases;
pub mod rng;
pub mod scenario;
mod sinks;
pub mod sweep;
pub mod trace;
mod transfer;
mod users;
pub mod workload;
pub mod world;
