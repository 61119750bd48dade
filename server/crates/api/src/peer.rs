//! HTTP answers of the peer port: a member in the JSON of `/members`, and a state's hash in the JSON of `/members/statehash`.
//! The fields have the order on the wire.

use serde::{Deserialize, Deserializer, Serialize};

/// One member, with a numeric id. etcd has the same JSON in its backend and its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Member id.
    pub id: u64,
    /// URLs for other members.
    #[serde(rename = "peerURLs", deserialize_with = "nullable")]
    pub peer_urls: Vec<String>,
    /// Whether it is a learner; absent if it votes.
    #[serde(
        rename = "isLearner",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_learner: bool,
    /// Absent until the member has started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// URLs for clients; absent until the member has started.
    #[serde(
        rename = "clientURLs",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub client_urls: Vec<String>,
}

/// Deserializes a list that Go encodes as null if it is empty.
fn nullable<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Hash of a member's whole state at a log index, which members request from each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHash {
    /// Release that computed `others`. The layout of the hashed records can differ between releases.
    pub release: String,
    /// Raft index of the last entry that the state has applied.
    pub index: u64,
    /// v3 revision of the state.
    pub revision: i64,
    /// Compacted revision of the state.
    pub compact_revision: i64,
    /// etcd's `HashKV` of the state.
    pub keys: u32,
    /// Hash of everything else that members share: leases, the v2 tree, users, members, alarms.
    pub others: u32,
}

/// Shown as the cluster version until one is decided.
pub const NOT_DECIDED: &str = "not_decided";
