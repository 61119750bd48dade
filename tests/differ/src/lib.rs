//! The random differential: one seeded sequence of requests goes to Witan and to a real etcd, and
//! every answer must be the same after clocks and ids are mapped.
//!
//! What does *not* live here: how servers are started and spoken to (`witan-e2e`), and pages or
//! recorded answers that people wrote down (its tests).
//!
//! Reading order: `rng` → `coverage` (a run must reach every code) → `report` (what a sequence came
//! to, a difference) → `shrink` → `script` (what a difference is kept as) → `plan` (what a command
//! line asks for) → `engine` (all of that for any dialect). The dialects say what is asked and what
//! counts as the same: `v2`, `v3` (the key space), `watch` (v3's streams), `calls` (leases; users and
//! roles).

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
