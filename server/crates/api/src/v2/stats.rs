//! JSON of `/v2/stats/*`. Fields have the order on the wire.

#![expect(missing_docs, reason = "the names come from etcd's JSON")]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `/v2/stats/self`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfStats {
    pub name: String,
    /// Member ID in hexadecimal.
    pub id: String,
    /// `StateLeader`, `StateFollower`, `StateCandidate` or `StatePreCandidate`.
    pub state: String,
    /// When the process started, in RFC 3339.
    pub start_time: String,
    pub leader_info: LeaderInfo,
    pub recv_append_request_cnt: u64,
    /// Recent rate of received append messages per second; omitted if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub recv_pkg_rate: f64,
    /// Recent receive rate in bytes per second; omitted if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub recv_bandwidth_rate: f64,
    pub send_append_request_cnt: u64,
    /// Recent rate of sent append messages per second; omitted if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub send_pkg_rate: f64,
    /// Recent send rate in bytes per second; omitted if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub send_bandwidth_rate: f64,
}

/// The leader as a member sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaderInfo {
    /// Member ID in hexadecimal; empty if unknown.
    pub leader: String,
    /// How long the member has known this leader, as a Go duration.
    pub uptime: String,
    /// When this member learned of this leader, in RFC 3339.
    pub start_time: String,
}

/// `/v2/stats/leader`, served only by the leader.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeaderStats {
    /// ID of the leader, which is the responding member, in hexadecimal.
    pub leader: String,
    /// Followers by hexadecimal ID.
    pub followers: BTreeMap<String, FollowerStats>,
}

/// A follower as seen by the leader.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FollowerStats {
    pub latency: LatencyStats,
    pub counts: CountsStats,
}

/// Round-trip times of append messages in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyStats {
    pub current: f64,
    pub average: f64,
    pub standard_deviation: f64,
    /// Shortest round-trip time; 2^63 if there was no round trip.
    pub minimum: f64,
    pub maximum: f64,
}

/// Numbers of append messages by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsStats {
    /// Number of messages that were not delivered.
    pub fail: u64,
    /// Number of messages that were delivered.
    pub success: u64,
}

/// `/v2/stats/store` and the counters of a v2 store in a snapshot. Snapshots of early etcd releases lack some counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StoreStats {
    pub gets_success: u64,
    pub gets_fail: u64,
    pub sets_success: u64,
    pub sets_fail: u64,
    pub delete_success: u64,
    pub delete_fail: u64,
    pub update_success: u64,
    pub update_fail: u64,
    pub create_success: u64,
    pub create_fail: u64,
    pub compare_and_swap_success: u64,
    pub compare_and_swap_fail: u64,
    pub compare_and_delete_success: u64,
    pub compare_and_delete_fail: u64,
    pub expire_count: u64,
    /// Number of open watches.
    pub watchers: u64,
}

/// Error 403: this member is not the leader.
pub const NOT_LEADER: &str = "not current leader";

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde requires this signature"
)]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}
