//! The cluster of a member, as the member reports it.

/// The cluster of a member, as it says itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Said {
    /// Its id. Different ids among the pods of one cluster mean that their disks hold different data.
    pub cluster_id: u64,
    /// Members in its list.
    pub members: usize,
    /// Its log and its key space had nothing but what a new member begins with, and no quorum confirmed a read at it, when it
    /// was asked.
    pub blank: bool,
}
