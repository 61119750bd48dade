//! What a member says of its cluster.

/// The cluster of a member, as it says itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Said {
    /// Its id. Another one than that of the others means that the disks of this cluster hold different data.
    pub cluster_id: u64,
    /// Members in its list.
    pub members: usize,
    /// Its log and its key space had nothing but what a new member begins with, and no quorum confirmed a read at it, when it
    /// was asked.
    pub blank: bool,
}
