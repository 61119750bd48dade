//! The v1 dialect: JSON over HTTP as in etcd 0.1. Contains names and the error table. The server parses requests and renders
//! responses.
//!
//! The order of fields and the rules for omitted fields are part of the contract, because clients compare bytes.

pub mod error;

/// Prefix of the key space.
pub const KEYS: &str = "/v1/keys";
/// Prefix of the paths of watches.
pub const WATCH: &str = "/v1/watch";
/// Read-only directory in the key space, with one file for each member name.
pub const MACHINE_RECORDS: &str = "/_etcd/machines";
/// First segments of read-only keys.
pub const KEYWORDS: [&str; 2] = ["_etcd", "ephemeralNodes"];
