//! The v2 dialect: JSON over HTTP as in etcd 2.2 to 3.5. Here: shapes, names and the error table. The server parses, validates
//! and renders.
//!
//! Field order and omission rules are part of the contract: clients compare bytes.

pub mod auth;
pub mod error;
pub mod members;
pub mod stats;

/// Prefix of the key space.
pub const KEYS: &str = "/v2/keys";
/// Prefix of the member list.
pub const MEMBERS: &str = "/v2/members";

/// Header: cluster id in lower-case hexadecimal without leading zeros. On every answer below [`KEYS`] and [`MEMBERS`].
pub const CLUSTER_ID_HEADER: &str = "x-etcd-cluster-id";
/// Header: the store's index on reads and watches, the event's on writes, the error's on errors.
pub const INDEX_HEADER: &str = "x-etcd-index";
/// Header: committed raft index of the answering member; absent on errors.
pub const RAFT_INDEX_HEADER: &str = "x-raft-index";
/// Header: raft term of the answering member; absent on errors.
pub const RAFT_TERM_HEADER: &str = "x-raft-term";
