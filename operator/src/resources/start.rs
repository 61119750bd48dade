//! The differences between the pods of a cluster.

use crate::model::{Bootstrap, Ordinal, PeerTls, Role};

/// The properties by which one pod of a cluster differs from another.
#[derive(Clone, Debug)]
pub struct PodPlan {
    /// Its member.
    pub ordinal: Ordinal,
    /// The flags about the cluster.
    pub bootstrap: Bootstrap,
    /// Its peer TLS.
    pub peer_tls: PeerTls,
    /// Its label.
    pub role: Role,
}
