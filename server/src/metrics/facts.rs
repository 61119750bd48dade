//! Values that are copied into series at each scrape.

use witan_replica::machine::alarm::Alarm;

use super::SpaceFacts;

/// State of the node and of a view at a scrape.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Own member id.
    pub member_id: u64,
    /// Whether a leader is known.
    pub has_leader: bool,
    /// Whether it is this member.
    pub is_leader: bool,
    /// Whether this member does not vote.
    pub is_learner: bool,
    /// Commit index.
    pub committed: u64,
    /// Applied index.
    pub applied: u64,
    /// `MAJOR.MINOR.0` as decided by the cluster, empty before that.
    pub cluster_version: String,
    /// Version of the API that is served.
    pub server_version: &'static str,
    /// Quota in bytes, `None` for unlimited.
    pub quota_bytes: Option<u64>,
    /// The disk, and v2.
    pub space: SpaceFacts,
    /// v3 revision.
    pub revision: i64,
    /// v3 compacted revision, -1 for never.
    pub compacted: i64,
    /// Live v3 keys.
    pub keys: usize,
    /// v3 size.
    pub size_bytes: u64,
    /// v3 size of what is live.
    pub size_in_use_bytes: u64,
    /// Alarms that stand.
    pub alarms: Vec<Alarm>,
    /// Ids of all members.
    pub members: Vec<u64>,
}
