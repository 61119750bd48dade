//! Whose data a data directory holds, and in which format.

/// Version of everything below the member's folder. Raised by every change that an older release
/// could not read.
pub const FORMAT: u32 = 2;

/// Whose data a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataIdentity {
    /// Cluster id.
    pub cluster_id: u64,
    /// Member id.
    pub member_id: u64,
    /// Version of the format on disk, [`FORMAT`] for what this release writes.
    pub format: u32,
}

impl DataIdentity {
    /// The identity under which this release writes data of a member.
    pub fn new(cluster_id: u64, member_id: u64) -> Self {
        Self {
            cluster_id,
            member_id,
            format: FORMAT,
        }
    }
}
