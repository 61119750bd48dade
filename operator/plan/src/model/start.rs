//! How a member is started.

use serde::{Deserialize, Serialize};

use super::{MemberId, Ordinal, PeerTls, Role};

/// The properties that differ between the pods of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct PodPlan {
    /// The member's ordinal.
    pub ordinal: Ordinal,
    /// The flags that determine how the member bootstraps or joins its cluster.
    pub bootstrap: Bootstrap,
    /// Its peer TLS.
    pub peer_tls: PeerTls,
    /// The value of its label `witan.dev/role`.
    pub role: Role,
}

impl PodPlan {
    /// Returns the plan of a voter's pod.
    pub fn voter(ordinal: Ordinal, bootstrap: Bootstrap, peer_tls: PeerTls) -> Self {
        Self { ordinal, bootstrap, peer_tls, role: Role::Voter }
    }
}

/// How a member starts. A member with data on its disk ignores these flags.
#[derive(Clone, Debug, PartialEq)]
pub enum Bootstrap {
    /// `--initial-cluster-state=new` with `members` ordinals, from `first` on.
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
    /// `--initial-cluster-state=existing` with all members, including this one.
    Join {
        /// All members.
        members: Vec<JoinMember>,
    },
    /// Like `Restart`, with `--force-new-cluster`: the member removes all others from its cluster and continues alone with its
    /// data.
    Forced,
    /// `--initial-cluster-state=existing` with this member alone: it starts from its disk, and refuses to start from an empty
    /// disk.
    Restart,
}

/// A member in the flags of a joining member.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinMember {
    /// Its id.
    pub id: MemberId,
    /// The ordinal of its pod, which determines its name.
    pub ordinal: Option<Ordinal>,
    /// The name that it has reported; empty until it has started.
    pub name: String,
    /// URLs for other members.
    pub peer_urls: Vec<String>,
}

/// The kind of a `Bootstrap`, as the pod's annotation `witan.dev/start` records it.
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
    /// Returns the kind of this start.
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
