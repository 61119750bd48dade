//! JSON of `/v2/stats/*`. The fields have the order on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `/v2/stats/self`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfStats {
    /// Member name.
    pub name: String,
    /// Member id, hex.
    pub id: String,
    /// `StateLeader`, `StateFollower`, `StateCandidate` or `StatePreCandidate`.
    pub state: String,
    /// When the process started, RFC 3339.
    pub start_time: String,
    /// The leader.
    pub leader_info: LeaderInfo,
    /// Append messages received.
    pub recv_append_request_cnt: u64,
    /// Recent append messages received per second; omitted if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub recv_pkg_rate: f64,
    /// Recent bytes received per second; omitted if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub recv_bandwidth_rate: f64,
    /// Append messages sent.
    pub send_append_request_cnt: u64,
    /// Recent append messages sent per second; omitted if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub send_pkg_rate: f64,
    /// Recent bytes sent per second; omitted if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub send_bandwidth_rate: f64,
}

/// The leader as a member sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaderInfo {
    /// Member id in hexadecimal; empty if unknown.
    pub leader: String,
    /// How long it has been the leader, as a Go duration.
    pub uptime: String,
    /// When this member first saw it as leader, RFC 3339.
    pub start_time: String,
}

/// `/v2/stats/leader`, which only the leader answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeaderStats {
    /// Id of the answering member, which is the leader, in hexadecimal.
    pub leader: String,
    /// Followers by id.
    pub followers: BTreeMap<String, FollowerStats>,
}

/// A follower as the leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FollowerStats {
    /// Round-trip times, in milliseconds.
    pub latency: LatencyStats,
    /// Append messages by result.
    pub counts: CountsStats,
}

/// Round trips of append messages in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyStats {
    /// The latest round trip.
    pub current: f64,
    /// Mean of all round trips.
    pub average: f64,
    /// Standard deviation of all round trips.
    pub standard_deviation: f64,
    /// Shortest round trip; 2^63 before the first one.
    pub minimum: f64,
    /// Longest round trip.
    pub maximum: f64,
}

/// Append messages by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsStats {
    /// Append messages that were not delivered.
    pub fail: u64,
    /// Append messages that were delivered.
    pub success: u64,
}

/// `/v2/stats/store`, and the counts of a store in a snapshot. Early snapshots lack some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names of etcd's JSON")]
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
    /// Watches open now.
    pub watchers: u64,
}

/// `/v2/stats/leader` of a member that is not the leader (403).
pub const NOT_LEADER: &str = "not current leader";

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}
