//! The node: a replica with a disk, a network and four dialects.
//!
//! Reading order: `boot` (how everything is put together) → `node` (the one handle that all
//! dialects see) → `api` (v1, v2, v3, gateway, ops) → `transport` (one port, two stacks) → `peer` (other members) → `corruption` (compares their states) →
//! `auth` (who sends a request) → `budget` (bytes in flight) → `storage` (log and checkpoint) → `snapshot` (the state as etcd stores it) → `config` → `metrics`, `logging` → `offline` (what needs no member) → `panics` (what one ends) → `program` (the binary).

pub mod api;
pub mod auth;
pub mod boot;
pub mod bootstrap;
pub mod budget;
pub mod client_network;
pub mod config;
pub mod corruption;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod offline;
pub mod panics;
pub mod peer;
pub mod program;
pub mod snapshot;
pub mod storage;
pub mod systemd;
pub mod transport;
pub mod version;
