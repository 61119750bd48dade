//! JSON responses of the peer port: members (`/members`) and state hashes (`/members/statehash`).

use serde::{Deserialize, Deserializer, Serialize};

/// A member with a numeric ID. etcd uses the same JSON in its backend and its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Member ID.
    pub id: u64,
    /// URLs for other members.
    #[serde(rename = "peerURLs", deserialize_with = "nullable")]
    pub peer_urls: Vec<String>,
    /// Whether the member is a learner; omitted if false.
    #[serde(
        rename = "isLearner",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_learner: bool,
    /// Name; omitted until the member has started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// URLs for clients; omitted until the member has started.
    #[serde(
        rename = "clientURLs",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub client_urls: Vec<String>,
}

/// Deserializes a list. Go encodes a nil list as `null`, which becomes an empty list.
fn nullable<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The hash of a member's state at a log index. Members compare these hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHash {
    /// Release that computed the hash. Members require this field but do not compare it.
    pub release: String,
    /// Raft index of the last applied entry.
    pub index: u64,
    /// v3 revision.
    pub revision: i64,
    /// Compacted revision.
    pub compact_revision: i64,
    /// Hash of the keys, as computed by etcd's `HashKV`.
    pub keys: u32,
    /// Hash of all other replicated state: leases, the v2 tree, users, members, alarms.
    pub others: u32,
}

/// The value of the cluster version until the leader has decided it.
pub const NOT_DECIDED: &str = "not_decided";
