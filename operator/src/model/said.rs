//! What a member says of its cluster.

/// The cluster of a member, as it says itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Said {
    /// Its id. Another one than that of the others means that the disks of this cluster hold different data.
    pub cluster_id: u64,
    /// Members in its list.
    pub members: usize,
    /// It has applied nothing but the list of members that it began with: its disk has never been that of a cluster with a
    /// quorum.
    pub blank: bool,
}
