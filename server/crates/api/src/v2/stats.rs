//! JSON of `/v2/stats/store`. Fields have the order on the wire.

#![expect(missing_docs, reason = "the names come from etcd's JSON")]

use serde::{Deserialize, Serialize};

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
