//! Why a member is removed, a pod is stopped, or a pod is not ready.

use super::Notice;

/// Why a member is removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the texts in `notice` describe the variants")]
pub enum Removal {
    ScaleIn,
    Silent,
    BadDisk,
    Asked,
    DiskLost,
    NodeLost,
    Corrupt,
    Ephemeral,
    Migrated,
    LearnerOnOldClaim,
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
#[expect(missing_docs, reason = "the texts in `notice` describe the variants")]
pub enum Stop {
    NotAMember,
    ScaleIn,
    Outdated,
    PeerTls,
    Ended,
    WrongStart,
    Silent,
    Fenced,
    Hibernated,
    Recovery,
    Restore,
}

impl Stop {
    /// Returns the notice of a pod's stop. `pod` is the pod's name.
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
#[expect(missing_docs, reason = "the texts in `words` describe the variants")]
pub enum Obstacle {
    Unschedulable,
    CannotStart,
    OutOfMemory,
    NodeNotReady,
    ReadinessGate,
}

impl Obstacle {
    /// Returns the reason of the condition and the text that follows the member's name.
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
                "was killed at its memory limit; raise spec.resources.limits.memory",
            ),
            Obstacle::NodeNotReady => ("NodeNotReady", "is on a node that does not report"),
            Obstacle::ReadinessGate => ("ReadinessGate", "waits for a readiness gate of its pod"),
        }
    }
}
