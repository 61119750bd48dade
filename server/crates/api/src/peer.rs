//! What the peer port answers over HTTP: a member in the JSON of `/members`. The order of the fields is
//! the order on the wire.

use serde::{Deserialize, Serialize};

/// One member; its id is a number here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Member id.
    pub id: u64,
    /// Where other members reach it.
    #[serde(rename = "peerURLs")]
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
    #[serde(rename = "clientURLs", default, skip_serializing_if = "Vec::is_empty")]
    pub client_urls: Vec<String>,
}

/// The cluster version until one was decided.
pub const NOT_DECIDED: &str = "not_decided";
