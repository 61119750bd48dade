//! JSON of `/v1/stats/*`. Fields have the order on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `/v1/stats/self`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct V1SelfStats {
    /// `leader`, `follower` or `candidate`.
    pub state: String,
    /// When the process started, in RFC 3339.
    pub start_time: String,
    /// The leader.
    pub leader_info: V1LeaderInfo,
    /// Number of append messages received.
    pub recv_append_request_cnt: u64,
    /// Number of append messages sent.
    pub send_append_request_cnt: u64,
}

/// The leader as a member sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1LeaderInfo {
    /// The leader's name; empty if unknown.
    pub leader: String,
    /// Time for which the member has known this leader, as a Go duration.
    pub uptime: String,
}

/// `/v1/stats/leader`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1LeaderStats {
    /// Name of the leader, which is the responding member.
    pub leader: String,
    /// Followers by name, without measurements.
    pub followers: BTreeMap<String, ()>,
}

/// `/v1/stats/store`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct V1StoreStats {
    /// Number of reads by this member since its process started, including v2 reads.
    pub gets: u64,
    /// Number of writes without a condition, including v2 writes.
    pub sets: u64,
    /// Number of deletes, including v2 deletes.
    pub deletes: u64,
    /// Number of writes with a condition, including v2 writes.
    pub test_and_sets: u64,
}
