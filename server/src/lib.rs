//! The node: a replica with a disk, a network and four dialects.
//!
//! Reading order: `boot` (how everything is put together) → `bootstrap` (how a member starts) → `api` (the front of
//! HTTP/1.1) → `corruption` (compares the states of members) → `adopt` (goes on with
//! the data of etcd) → `follow` (copies a running etcd and takes its place; `api_client` reaches it) → `offline` (what needs no member) → `program` (the
//! binary). Below them, each in a crate of `server/crates`: `node` (the one handle that all dialects see), `v1`, `v2`, `v3`,
//! `discovery` (the dialects), `dialect` (what they have in common), `transport`
//! (one port, two stacks), `peer` (other members), `auth` (who sends a request), `storage` (log and checkpoint),
//! `snapshot` (the state as etcd stores it), `config`, `logging`, and `base` (memory in flight, panics, metrics).

pub mod adopt;
pub mod api;
mod api_client;
pub mod boot;
pub mod bootstrap;
pub mod corruption;
pub mod follow;
pub mod offline;
pub mod program;
pub mod systemd;
