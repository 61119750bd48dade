//! What tells one pod of a cluster from another.

use crate::model::{Bootstrap, Ordinal, PeerTls, Role};

/// What tells one pod of a cluster from another.
#[derive(Clone, Debug)]
pub struct PodPlan {
    /// Its member.
    pub ordinal: Ordinal,
    /// What its flags say about the cluster.
    pub bootstrap: Bootstrap,
    /// How it speaks to others.
    pub peer_tls: PeerTls,
    /// Its label.
    pub role: Role,
}
