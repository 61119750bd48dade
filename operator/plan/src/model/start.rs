//! How a member is started.

use serde::{Deserialize, Serialize};

use super::{MemberId, Ordinal, PeerTls, Role};

/// The properties in which the pods of a cluster differ.
#[derive(Clone, Debug, PartialEq)]
pub struct PodPlan {
    pub ordinal: Ordinal,
    /// The flags that determine how the member bootstraps or joins its cluster.
    pub bootstrap: Bootstrap,
    pub peer_tls: PeerTls,
    /// Value of the label `witan.dev/role`.
    pub role: Role,
}

impl PodPlan {
    /// Creates the plan of a voter's pod.
    pub fn voter(ordinal: Ordinal, bootstrap: Bootstrap, peer_tls: PeerTls) -> Self {
        Self { ordinal, bootstrap, peer_tls, role: Role::Voter }
    }
}

/// The flags with which a member starts. A member with data on its disk ignores all of them except `--force-new-cluster`.
#[derive(Clone, Debug, PartialEq)]
pub enum Bootstrap {
    /// `--initial-cluster` with `members` consecutive ordinals, starting at `first`.
    New { first: Ordinal, members: u32 },
    /// `--discovery`.
    Discovery { url: String },
    /// `--initial-cluster-state=existing` with all members, including the new member.
    Join { members: Vec<JoinMember> },
    /// Like `Restart`, but with `--force-new-cluster`: the member removes all other members and continues alone with its data.
    Forced,
    /// `--initial-cluster-state=existing` with this member alone. The member starts from its disk and refuses an empty disk.
    Restart,
}

/// An entry in the member list that a joining member gets in its flags.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinMember {
    pub id: MemberId,
    /// The ordinal of the member's pod. It determines the name. `None` if the member is not a pod of this cluster.
    pub ordinal: Option<Ordinal>,
    /// The name that the member has reported; empty until the member has started.
    pub name: String,
    pub peer_urls: Vec<String>,
}

/// The variant of a [`Bootstrap`], as the pod annotation `witan.dev/start` records it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartKind {
    New,
    Discovery,
    Join,
    Forced,
    Restart,
}

impl Bootstrap {
    /// Returns whether the member forms a new cluster if its disk is empty, until the annotation
    /// `witan.dev/initial-cluster-state` of its pod becomes `existing`.
    pub fn forms_cluster(&self) -> bool {
        matches!(self, Self::New { .. } | Self::Discovery { .. })
    }

    /// Returns the variant without its fields.
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
