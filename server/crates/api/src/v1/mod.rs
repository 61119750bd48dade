//! The v1 dialect: JSON over HTTP as etcd 0.1 spoke it. Shapes, names and the error table live
//! here; parsing and rendering do not (they are the server's).
//!
//! Field order and omission rules are part of the contract: clients compare bytes.

pub mod error;
pub mod stats;

/// Prefix of the key space.
pub const KEYS: &str = "/v1/keys";
/// Prefix of long polls.
pub const WATCH: &str = "/v1/watch";
/// Read-only directory of the key space with a file for each member, by name.
pub const MACHINE_RECORDS: &str = "/_etcd/machines";
/// First components of keys that cannot be written.
pub const KEYWORDS: [&str; 2] = ["_etcd", "ephemeralNodes"];
