//! How a member is started for the first time, or again.

use serde::{Deserialize, Serialize};

use super::{MemberId, Ordinal, PeerTls, Role};

/// The properties by which one pod of a cluster differs from another.
#[derive(Clone, Debug, PartialEq)]
pub struct PodPlan {
    /// The member's ordinal.
    pub ordinal: Ordinal,
    /// The flags about its cluster.
    pub bootstrap: Bootstrap,
    /// Its peer TLS.
    pub peer_tls: PeerTls,
    /// Its label.
    pub role: Role,
}

impl PodPlan {
    /// Returns the plan of a voter's pod.
    pub fn voter(ordinal: Ordinal, bootstrap: Bootstrap, peer_tls: PeerTls) -> Self {
        Self { ordinal, bootstrap, peer_tls, role: Role::Voter }
    }
}

/// A starting member's flags about its cluster. A member with data on its disk ignores them.
#[derive(Clone, Debug, PartialEq)]
pub enum Bootstrap {
    /// `--initial-cluster-state=new` with `members` ordinals from `first` on.
    New {
        /// The lowest ordinal.
        first: Ordinal,
        /// The number of members.
        members: u32,
    },
    /// `--discovery`.
    Discovery {
        /// The token's URL.
        url: String,
    },
    /// `--initial-cluster-state=existing` with all members, this one among them.
    Join {
        /// Each of them.
        members: Vec<JoinMember>,
    },
    /// As `Restart`, with `--force-new-cluster`: the member removes all others from its cluster, keeps its data and goes on
    /// alone.
    Forced,
    /// `--initial-cluster-state=existing` with this member alone: it starts from its disk, and refuses to start
    /// from an empty one.
    Restart,
}

/// A member as the flags of a joining member list it.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinMember {
    /// Its id.
    pub id: MemberId,
    /// The ordinal of its pod, which gives it its name.
    pub ordinal: Option<Ordinal>,
    /// The name that it has reported; empty until it has started.
    pub name: String,
    /// URLs for other members.
    pub peer_urls: Vec<String>,
}

/// The kind of a `Bootstrap`, as the pod's annotation `witan.dev/start` keeps it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants of `Bootstrap`")]
pub enum StartKind {
    New,
    Discovery,
    Join,
    Forced,
    Restart,
}

impl Bootstrap {
    /// Returns the kind of this start, without what belongs to it.
    pub fn kind(&self) -> StartKind {
        match self {
            Self::New { .. } => StartKind::New,
            Self::Discovery { .. } => StartKind::Discovery,
            Self::Join { .. } => StartKind::Join,
            Self::Forced => StartKind::Forced,
            Self::Restart => StartKind::Restart,
        }
    }
}
