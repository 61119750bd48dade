//! The v1 dialect: JSON over HTTP as in etcd 0.1. Here: shapes, names and the error table. The server parses and renders.
//!
//! Field order and omission rules are part of the contract: clients compare bytes.

pub mod error;
pub mod stats;

/// Prefix of the key space.
pub const KEYS: &str = "/v1/keys";
/// Prefix of long polls.
pub const WATCH: &str = "/v1/watch";
/// Read-only directory of the key space with a file per member, by name.
pub const MACHINE_RECORDS: &str = "/_etcd/machines";
/// First components of keys that are read-only.
pub const KEYWORDS: [&str; 2] = ["_etcd", "ephemeralNodes"];
