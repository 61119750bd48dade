//! The v2 dialect: JSON over HTTP as in etcd 2.2 to 3.5. Contains types, names and the error table, but no parsing.
//!
//! The order of fields and the rules for omitted fields are part of the contract, because clients compare bytes.

pub mod auth;
pub mod error;
pub mod members;
pub mod stats;

/// Prefix of the key space.
pub const KEYS: &str = "/v2/keys";
/// Prefix of the member list.
pub const MEMBERS: &str = "/v2/members";

/// Header of all responses below [`KEYS`] and [`MEMBERS`]: cluster ID in lower-case hexadecimal without leading zeros.
pub const CLUSTER_ID_HEADER: &str = "x-etcd-cluster-id";
/// Header with the index of the store for reads and watches, of the event for writes, and of the error for errors.
pub const INDEX_HEADER: &str = "x-etcd-index";
/// Header with the committed Raft index of the responding member; absent in errors.
pub const RAFT_INDEX_HEADER: &str = "x-raft-index";
/// Header with the Raft term of the responding member; absent in errors.
pub const RAFT_TERM_HEADER: &str = "x-raft-term";
