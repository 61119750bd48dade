//! The random differential test, which sends a seeded sequence of requests to Witan and to a real etcd. Every answer must be
//! the same, apart from times, ids and deliberate differences.
//!
//! `witan-e2e` starts the servers and contains the clients.
//!
//! Reading order: `rng` → `coverage` (a run must cover every code) → `report` (the results of a sequence) → `shrink` → `script`
//! (the form of a kept difference) → `plan` (the command line) → `engine` (all of it for any dialect). The dialects define the
//! requests and which answers are equal: `v2`, `v3` (the key space), `watch` (v3's streams), `calls` (leases; users and roles).

pub mod calls;
pub mod coverage;
pub mod engine;
pub mod plan;
pub mod report;
pub mod rng;
pub mod script;
pub mod shrink;
pub mod v2;
pub mod v3;
pub mod watch;
