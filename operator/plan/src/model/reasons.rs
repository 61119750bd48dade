//! Why a member is removed, a pod is stopped, or a pod is not ready.

use super::Notice;

/// Why a member is removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Removal {
    /// The spec requests fewer members.
    ScaleIn,
    /// The member did not recover in time, and has no disk.
    Silent,
    /// The member's process ended with an exit code that reports an unusable disk.
    BadDisk,
    /// An EtcdOperation replaces the member.
    Asked,
    /// The member's disk is lost.
    DiskLost,
    /// The member's node has not reported for `selfHealing.nodeLostAfter`.
    NodeLost,
    /// The member's data differs from the other members' data.
    Corrupt,
    /// The member has no disk of its own, so a new template requires a new member.
    Ephemeral,
    /// The member's claim cannot be changed to match the spec, or an EtcdOperation migrates all members to new claims.
    Migrated,
    /// The member is a learner that does not answer, and its claim must be replaced.
    LearnerOnOldClaim,
    /// The member is a learner that does not answer, and a voter must be removed.
    StuckLearner,
}

impl Removal {
    /// Returns the notice of a member's removal. `member` is the member's name.
    pub(super) fn notice(self, member: String) -> Notice {
        let (reason, because, warning) = match self {
            Removal::ScaleIn => (
                "MemberRemoved",
                "spec.replicas is lower than the number of members",
                false,
            ),
            Removal::Silent => ("ReplacingDeadMember", "it did not recover in time", true),
            Removal::BadDisk => (
                "ReplacingDeadMember",
                "its process reports that its disk cannot be used; the disk is kept until a new member votes",
                true,
            ),
            Removal::Asked => ("ReplacingMember", "an EtcdOperation replaces it", false),
            Removal::DiskLost => ("ReplacingDeadMember", "its disk is lost", true),
            Removal::NodeLost => (
                "ReplacingDeadMember",
                "its node has not reported for spec.selfHealing.nodeLostAfter",
                true,
            ),
            Removal::Corrupt => (
                "ReplacingCorruptMember",
                "its data differs from the data of the other members",
                true,
            ),
            Removal::Ephemeral => (
                "MemberRemoved",
                "it has no disk, and its template or peer TLS changed",
                false,
            ),
            Removal::LearnerOnOldClaim => (
                "LearnerRemoved",
                "it does not answer, and its claim must be replaced",
                false,
            ),
            Removal::StuckLearner => (
                "LearnerRemoved",
                "it does not answer, and a voter must be replaced first",
                true,
            ),
            Removal::Migrated => (
                "StorageMigrated",
                "a member with a claim that matches spec.storage votes in its place",
                false,
            ),
        };
        let message = format!("removing member {member}: {because}");
        Notice { reason, member: Some(member), message, warning }
    }
}

/// Why a pod is stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// The pod's member was removed, or the pod never was a member.
    NotAMember,
    /// The spec requests fewer members, and this one is removed next.
    ScaleIn,
    /// The template changed.
    Outdated,
    /// The member's peer listener changes between clear text and TLS.
    PeerTls,
    /// The pod has ended and will not be restarted.
    Ended,
    /// The member's flags do not fit the present state of the cluster.
    WrongStart,
    /// The member has been silent for longer than allowed, and may recover on another node.
    Silent,
    /// The annotation `witan.dev/fenced-members` names the member.
    Fenced,
    /// `spec.replicas` is 0.
    Hibernated,
    /// An EtcdOperation forces a new cluster from another member.
    Recovery,
    /// The cluster restarts from a backup, or returns to earlier disks.
    Restore,
}

impl Stop {
    pub(super) fn notice(self, pod: String) -> Notice {
        let (reason, because) = match self {
            Stop::NotAMember => ("PodRemoved", "it is not a pod of a member"),
            Stop::ScaleIn => (
                "MemberStopped",
                "spec.replicas is lower than the number of members",
            ),
            Stop::Outdated => ("MemberUpdated", "its template changed"),
            Stop::PeerTls => (
                "MemberUpdated",
                "its peer port changes between plaintext and TLS",
            ),
            Stop::Ended => (
                "MemberRestarted",
                "its container has terminated and is not restarted",
            ),
            Stop::WrongStart => (
                "MemberRestarted",
                "its flags do not match the current state of the cluster",
            ),
            Stop::Silent => (
                "MemberRestarted",
                "it does not answer, and there is no evidence that its disk is bad",
            ),
            Stop::Fenced => (
                "MemberFenced",
                "the annotation witan.dev/fenced-members names it",
            ),
            Stop::Recovery => (
                "MemberStopped",
                "an EtcdOperation forces a new cluster from another member",
            ),
            Stop::Hibernated => ("MemberHibernated", "spec.replicas is 0"),
            Stop::Restore => (
                "MemberStopped",
                "an EtcdOperation restores the cluster; its disk is kept",
            ),
        };
        let message = format!("stopping pod {pod}: {because}");
        Notice { reason, member: Some(pod), message, warning: false }
    }
}

/// Why a pod is not ready although its member may be healthy. An obstacle is reported, but the member is not replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// No node has the capacity for the pod, or its volume cannot be attached.
    Unschedulable,
    /// The pod's image cannot be pulled, or its configuration (a secret, a volume) is missing.
    CannotStart,
    /// The container was killed at its memory limit.
    OutOfMemory,
    /// The pod's node does not report: the containers are ready, and the pod is not.
    NodeNotReady,
    /// The containers are ready, but a readiness gate of the pod is not.
    ReadinessGate,
}

impl Obstacle {
    /// Returns the reason of the condition, and the text that follows the member's name.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Obstacle::Unschedulable => (
                "Unschedulable",
                "cannot be scheduled: no node has enough free resources, or its volume cannot be attached",
            ),
            Obstacle::CannotStart => (
                "CannotStart",
                "cannot start: its image cannot be pulled, or a secret or volume is missing",
            ),
            Obstacle::OutOfMemory => (
                "OutOfMemory",
                "was killed at its memory limit: raise spec.resources.limits.memory",
            ),
            Obstacle::NodeNotReady => ("NodeNotReady", "is on a node that does not report"),
            Obstacle::ReadinessGate => ("ReadinessGate", "waits for a readiness gate of its pod"),
        }
    }
}
