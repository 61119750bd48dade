//! The random differential: one seeded sequence of requests goes to Witan and to a real etcd, and
//! every answer must be the same after clocks and ids are mapped.
//!
//! What does *not* live here: how servers are started and spoken to (`witan-e2e`), and pages or
//! recorded answers that people wrote down (its tests).
//!
//! Reading order: `rng` → `coverage` (a run must reach every code) → `shrink` → `script` (what a
//! difference is kept as) → `plan` (what a command line asks for) → `v2`, `v3` (a dialect each), `watch` (v3's streams).

pub mod coverage;
pub mod plan;
pub mod rng;
pub mod script;
pub mod shrink;
pub mod v2;
pub mod v3;
pub mod watch;
