//! The identity of a data directory: the owner of the data, and their format.

use witan_machine::member::MemberId;

/// Version of the format of everything in the member's folder. Every change that another release could not read
/// increments it.
pub const FORMAT: u32 = 3;

/// The member and cluster whose data a directory holds, and its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataIdentity {
    /// Cluster id.
    pub cluster_id: u64,
    /// Member id.
    pub member_id: MemberId,
    /// Version of the format on disk, [`FORMAT`] for what this release writes.
    pub format: u32,
}

impl DataIdentity {
    /// Makes the identity of a member's data in the format of this release.
    pub fn new(cluster_id: u64, member_id: MemberId) -> Self {
        Self { cluster_id, member_id, format: FORMAT }
    }
}
