//! HTTP answers of the peer port: a member in the JSON of `/members`, and the hash of a state in that of
//! `/members/statehash`. The order of the fields is the order on the wire.

use serde::{Deserialize, Deserializer, Serialize};

/// One member; its id is a number here. etcd has the same JSON in its backend and its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Member id.
    pub id: u64,
    /// Where other members reach it.
    #[serde(rename = "peerURLs", deserialize_with = "nullable")]
    pub peer_urls: Vec<String>,
    /// Whether it does not vote; absent if it does.
    #[serde(
        rename = "isLearner",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_learner: bool,
    /// Absent until the member has started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where clients reach it; absent until the member has started.
    #[serde(
        rename = "clientURLs",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub client_urls: Vec<String>,
}

/// Go writes an empty list as null.
fn nullable<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Hash of a member's whole state at a point of the log, as members ask each other for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHash {
    /// Release that computed `others`: the layout of the hashed records may differ between releases.
    pub release: String,
    /// Raft index of the last entry that the state has applied.
    pub index: u64,
    /// Its v3 revision.
    pub revision: i64,
    /// Its compacted revision.
    pub compact_revision: i64,
    /// etcd's `HashKV` of it.
    pub keys: u32,
    /// Hash of everything else that members share: leases, the v2 tree, users, members, alarms.
    pub others: u32,
}

/// The cluster version until one was decided.
pub const NOT_DECIDED: &str = "not_decided";
