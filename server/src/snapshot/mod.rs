//! A member's state in the shape of etcd 3.6's store: what is hashed, and what a snapshot holds.
//!
//! What does not live here: the state itself (`witan_replica::machine`), our own files (`storage`)
//! and the calls that clients make (`api/v3`).
//!
//! Reading order: `record` (one version as etcd stores it) → `schema` (all buckets) → `hash`.

mod hash;
mod record;
mod schema;

pub use hash::{of_keys, of_store};
