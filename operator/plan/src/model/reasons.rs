//! The reasons why a member is removed, a pod is stopped, or a pod is not ready.

use super::Notice;

/// The reason why a member is removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Removal {
    ScaleIn,
    Silent,
    BadDisk,
    Requested,
    DiskLost,
    NodeLost,
    Corrupt,
    Ephemeral,
    Migrated,
    LearnerOnOldClaim,
    StuckLearner,
}

impl Removal {
    /// Returns the notice about the removal of a member. `member` is the member's name.
    pub(super) fn notice(self, member: String) -> Notice {
        let (reason, warning) = match self {
            Removal::ScaleIn | Removal::Ephemeral => ("MemberRemoved", false),
            Removal::Silent | Removal::BadDisk | Removal::DiskLost | Removal::NodeLost => {
                ("ReplacingDeadMember", true)
            }
            Removal::Requested => ("ReplacingMember", false),
            Removal::Corrupt => ("ReplacingCorruptMember", true),
            Removal::LearnerOnOldClaim => ("LearnerRemoved", false),
            Removal::StuckLearner => ("LearnerRemoved", true),
            Removal::Migrated => ("StorageMigrated", false),
        };
        let because = match self {
            Removal::ScaleIn => "spec.replicas is lower than the number of members",
            Removal::Silent => "it did not recover in time",
            Removal::BadDisk => {
                "its process reports that its disk cannot be used; the disk is kept until a new member votes"
            }
            Removal::Requested => "an EtcdOperation replaces it",
            Removal::DiskLost => "its disk is lost",
            Removal::NodeLost => {
                "it did not answer for spec.selfHealing.nodeLostAfter, and its node is unreachable"
            }
            Removal::Corrupt => "its data differs from the data of the other members",
            Removal::Ephemeral => "it has no disk, and its template or peer TLS changed",
            Removal::LearnerOnOldClaim => "it does not answer, and its claim must be replaced",
            Removal::StuckLearner => "it does not answer, and a voter must be replaced first",
            Removal::Migrated => {
                "a member with a claim that matches spec.storage votes in its place"
            }
        };
        let message = format!("removing member {member}: {because}");
        Notice { reason, member: Some(member), message, warning }
    }
}

/// The reason why a pod is stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    NotAMember,
    ScaleIn,
    Outdated,
    PeerTls,
    Ended,
    WrongStart,
    NoClaim,
    Silent,
    Fenced,
    Hibernated,
    Recovery,
    Restore,
}

impl Stop {
    /// Returns the notice about the stop of a pod. `pod` is the pod's name.
    pub(super) fn notice(self, pod: String) -> Notice {
        let reason = match self {
            Stop::NotAMember => "PodRemoved",
            Stop::ScaleIn | Stop::Recovery | Stop::Restore => "MemberStopped",
            Stop::Outdated | Stop::PeerTls => "MemberUpdated",
            Stop::Ended | Stop::WrongStart | Stop::NoClaim | Stop::Silent => "MemberRestarted",
            Stop::Fenced => "MemberFenced",
            Stop::Hibernated => "MemberHibernated",
        };
        let because = match self {
            Stop::NotAMember => "it is not a pod of a member",
            Stop::ScaleIn => "spec.replicas is lower than the number of members",
            Stop::Outdated => "its template changed",
            Stop::PeerTls => "its peer port changes between plaintext and TLS",
            Stop::Ended => "its container has terminated and is not restarted",
            Stop::WrongStart => "its flags do not match the current state of the cluster",
            Stop::NoClaim => "its claim was deleted before its container started",
            Stop::Silent => "it does not answer, and there is no evidence that its disk is bad",
            Stop::Fenced => "the annotation witan.dev/fenced-members names it",
            Stop::Recovery => "an EtcdOperation forces a new cluster from another member",
            Stop::Hibernated => "spec.replicas is 0",
            Stop::Restore => "an EtcdOperation restores the cluster; its disk is kept",
        };
        let message = format!("stopping pod {pod}: {because}");
        Notice { reason, member: Some(pod), message, warning: false }
    }
}

/// The reason why a pod is not ready even though its member may be healthy. An obstacle is reported, but the member is not
/// replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Obstacle {
    Unschedulable,
    CannotStart,
    OutOfMemory,
    RestoreFailed,
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
            Obstacle::RestoreFailed => ("RestoreFailed", "cannot restore its backup"),
            Obstacle::NodeNotReady => ("NodeNotReady", "is on a node that does not report"),
            Obstacle::ReadinessGate => ("ReadinessGate", "waits for a readiness gate of its pod"),
        }
    }
}
