//! The cluster of a member, as the member reports it.

/// A member's report about its cluster.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Said {
    /// Its id. Different ids among the pods of one cluster mean that their disks hold different data.
    pub cluster_id: u64,
    /// Members in its list.
    pub members: usize,
    /// Its log and its key space were those of a new member, and no quorum confirmed a read at it, when it was asked.
    pub blank: bool,
}
