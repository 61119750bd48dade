//! Plain values between the parts of the operator: the observed state of a cluster, and the step that follows from it.
//!
//! They use no type of Kubernetes or of the network, so that `plan` can be tested without either.

mod certificates;
mod refusal;
mod said;
mod start;
mod taken;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use certificates::{AuthoritySeen, CertificateRole, CertificateSeen, RequestSeen, Rotation};
pub use refusal::Refusal;
pub use said::Said;
pub use start::{Bootstrap, JoinMember, StartKind};
pub use taken::{Holder, Part};

/// The number at the end of a member's name: `<cluster>-<ordinal>`.
pub type Ordinal = u32;

/// The id that a cluster gives a member. A member that was recreated after losing its disk has another one.
pub type MemberId = u64;

/// Seconds since 1970.
pub type UnixSeconds = i64;

/// The observed state of one cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Time of the observation.
    pub now: UnixSeconds,
    /// The EtcdCluster has a deletion timestamp, or its namespace has.
    pub deleting: bool,
    /// `metadata.generation` of the EtcdCluster.
    pub generation: i64,
    /// Pod and claim of every ordinal that has either.
    pub ordinals: BTreeMap<Ordinal, OrdinalSeen>,
    /// The members' reports; `None` when no member answered.
    pub membership: Option<Membership>,
    /// Why a member did not answer, if one did not.
    pub call_error: Option<String>,
    /// Service `<cluster>-client`.
    pub client_service: ObjectState,
    /// Service `<cluster>-peer`.
    pub peer_service: ObjectState,
    /// The pod disruption budget; `None` when there is none.
    pub budget: Option<BudgetSeen>,
    /// Certificates that the operator issues, by role; without those that do not exist.
    pub certificates: BTreeMap<CertificateRole, CertificateSeen>,
    /// The authority of these certificates.
    pub authority: AuthoritySeen,
    /// Requests to cert-manager, one for each role whose certificate the spec takes from cert-manager.
    pub requests: BTreeMap<CertificateRole, RequestSeen>,
    /// Names of missing secrets that the spec refers to or that cert-manager will write.
    pub missing_secrets: BTreeSet<String>,
    /// Parts whose name another object has. They are not applied.
    pub taken: BTreeMap<Part, Holder>,
    /// The version that `spec.version` or the operator's member image asks for; `None` with an image of the user's own, or
    /// when the tag is no version.
    pub wanted_version: Option<String>,
    /// The limit on concurrent updates is reached, and this cluster has no permit.
    pub rollout_queued: bool,
    /// Ordinals that the annotation `witan.dev/fenced-members` names.
    pub fenced: BTreeSet<Ordinal>,
    /// The member that the annotation `witan.dev/replace-member` names.
    pub replace: Option<MemberId>,
    /// The value of the annotation `witan.dev/allow-leader-restart`.
    pub allow_leader_restart: Option<i64>,
    /// Whether authentication is on; `None` if no member has answered.
    pub auth_enabled: Option<bool>,
    /// Steps that failed a short time ago.
    pub refused: Vec<Refusal>,
    /// Why the spec makes no pods or claims. Until it is corrected, the last valid spec applies, if it is known.
    pub rejected: Option<String>,
}

/// State of an object compared with the one that `resources` builds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ObjectState {
    /// It does not exist.
    #[default]
    Missing,
    /// It differs.
    Outdated,
    /// It is as wanted.
    Current,
}

/// A pod disruption budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BudgetSeen {
    /// `spec.minAvailable`, when it is a number.
    pub min_available: Option<u32>,
    /// Whether labels, selector and the user's fields are as wanted.
    pub state: ObjectState,
}

/// The objects of one ordinal in Kubernetes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrdinalSeen {
    /// The pod.
    pub pod: Option<PodSeen>,
    /// The claim of its disk.
    pub claim: Option<ClaimSeen>,
}

/// A pod of a member.
#[derive(Clone, Debug, PartialEq)]
pub struct PodSeen {
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// It is being deleted and has exceeded its grace period: its node does not end it.
    pub overdue: bool,
    /// Its phase.
    pub phase: PodPhase,
    /// Its condition `Ready`.
    pub ready: bool,
    /// When that condition last changed; the pod's creation when it never did.
    pub ready_changed: UnixSeconds,
    /// A reason beyond the member that a new disk would not fix.
    pub obstacle: Option<Obstacle>,
    /// The message of the kubelet or the scheduler about that obstacle.
    pub said: Option<String>,
    /// The exit code of its container, if that has ended and is not running.
    pub exit: Option<i32>,
    /// The fingerprint of the template that it was made from; equal ones are the same image, flags and so on.
    pub template: String,
    /// The template (image, flags, resources and so on) differs from the spec's for the same peer TLS.
    pub outdated: bool,
    /// The API server's refusal of the spec's template, if the pod was therefore made from an earlier one.
    pub refused: Option<String>,
    /// Its peer TLS (annotation `witan.dev/peer-tls`).
    pub peer_tls: PeerTls,
    /// Its kind of start (annotation `witan.dev/start`).
    pub start: StartKind,
    /// Its label `witan.dev/role`.
    pub role: Role,
    /// Its container runs. One that does not waits to be started, or for its image.
    pub running: bool,
    /// The version in the tag of its image, if the tag is one. It is a version of `spec.version`; members report the
    /// version of etcd that they implement.
    pub version: Option<String>,
}

/// The phase of a pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PodPhase {
    /// Not on a node yet, or its image is being pulled.
    Pending,
    /// Its container was started.
    Running,
    /// All containers have ended, or the pod was evicted: it will not start again.
    Ended,
    /// The node does not report.
    Unknown,
}

/// Why a pod is not ready although its member may be healthy: reported, and no reason to replace the member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// No node has the capacity for it, or its volume cannot be attached.
    Unschedulable,
    /// Its image cannot be pulled, or its configuration (a secret, a volume) is missing.
    CannotStart,
    /// It was killed at its memory limit.
    OutOfMemory,
    /// Its node does not report: its containers are ready, and the pod is not.
    NodeNotReady,
    /// Its containers are ready, but a readiness gate of the pod is not.
    ReadinessGate,
}

/// Label that selects a member for the client service and the disruption budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It votes.
    Voter,
    /// It follows the log and has no vote.
    Learner,
}

/// Peer TLS of a member's pod. A running cluster changes between `Off` and `On` by way of `Ready`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerTls {
    /// In clear text, and it has no certificate.
    #[default]
    Off,
    /// It listens in clear text, and its certificate lets it call members that listen with TLS.
    Ready,
    /// It listens with TLS.
    On,
}

/// The claim of a member's disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimSeen {
    /// It has a deletion timestamp, or it is about to be deleted with an earlier EtcdCluster of the same name.
    pub deleting: bool,
    /// It was the disk of a cluster that a quorum has served (annotation `witan.dev/cluster-id`).
    pub served: bool,
    /// It is being deleted and has exceeded its grace period.
    pub overdue: bool,
    /// Its volume is lost (phase `Lost`).
    pub lost: bool,
    /// Its member was removed (annotation `witan.dev/retired`): it is kept and never started from.
    pub retired: bool,
    /// It is kept until another member votes in place of its own, then deleted.
    pub held: bool,
    /// When the pod of its silent member was last recreated (annotation `witan.dev/remade-at`).
    pub remade: Option<UnixSeconds>,
    /// Peer TLS of its member at the last start (annotation `witan.dev/peer-tls`).
    pub peer_tls: PeerTls,
    /// The requested bytes.
    pub requested_bytes: u64,
    /// The bytes that the API server refused to grant.
    pub refused_bytes: Option<u64>,
    /// The answer of the API server.
    pub refusal: String,
    /// Whether owner, labels and annotations are as wanted.
    pub state: ObjectState,
}

/// The members' reports about their cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Membership {
    /// The id of the cluster that has this list.
    pub cluster_id: u64,
    /// The cluster of each pod as it reports it; a pod can be in another cluster.
    pub said: BTreeMap<Ordinal, Said>,
    /// The list of members was confirmed by a quorum. Without that the cluster must not be changed.
    pub linearizable: bool,
    /// The leader according to the confirmed answer.
    pub leader: Option<MemberId>,
    /// Ids that are no member and for which the alarm CORRUPT is raised.
    pub stale_corrupt: Vec<MemberId>,
    /// All members, including those that did not answer, in the order of their ids.
    pub members: Vec<MemberSeen>,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberSeen {
    /// Its id.
    pub id: MemberId,
    /// Its name; empty until it has started.
    pub name: String,
    /// The ordinal of its pod; `None` for a member that is no pod of this cluster.
    pub ordinal: Option<Ordinal>,
    /// It is a pod of this cluster, and its peer URLs are not those of the pod.
    pub foreign_address: bool,
    /// URLs for other members.
    pub peer_urls: Vec<String>,
    /// It has announced client URLs, which it does once it serves.
    pub started: bool,
    /// It has no vote.
    pub learner: bool,
    /// It answered the operator: its process runs on its disk.
    pub answers: bool,
    /// It answered, knows a leader and has no alarm of corruption.
    pub healthy: bool,
    /// The version that it reported.
    pub version: Option<String>,
    /// The last index of its log that it has applied.
    pub raft_index: u64,
    /// Bytes of its key space.
    pub db_size: u64,
    /// The alarm CORRUPT is raised for it.
    pub corrupt: bool,
    /// The alarm NOSPACE is raised for it.
    pub no_space: bool,
}

/// The next action for the observed state. Every step may be repeated, and may be the last before the operator ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing differs from the spec.
    Done,
    /// Nothing may be done now. The pass repeats after `after`, or when an object changes.
    Wait {
        /// The reason.
        why: Why,
        /// When to look again.
        after: Duration,
    },
    /// Applies both services.
    ApplyServices,
    /// Applies the pod disruption budget, or deletes it when `min_available` is `None`.
    ApplyBudget {
        /// Voters that an eviction must leave.
        min_available: Option<u32>,
    },
    /// Issues a certificate (with its authority first, when that is the role) into its secret.
    IssueCertificate {
        /// The certificate's role.
        role: CertificateRole,
    },
    /// Applies cert-manager's Certificate of a role.
    RequestCertificate {
        /// The certificate's role.
        role: CertificateRole,
    },
    /// Makes the Certificate the owner of the secret that cert-manager has written for it.
    OwnCertificate {
        /// The certificate's role.
        role: CertificateRole,
    },
    /// Takes the rotation of the authority one step further, in the authority's secret alone.
    RotateAuthority {
        /// The stage after the step.
        to: Rotation,
    },
    /// Records the number of members at bootstrap in the status, before the first pod.
    BeginBootstrap {
        /// The number of members.
        members: u32,
        /// The token's URL, if the members find each other by discovery.
        discovery_url: Option<String>,
    },
    /// Makes a discovery token and records its URL and `members` in the status, as `BeginBootstrap` does.
    CreateDiscoveryToken {
        /// The number of members of the token.
        members: u32,
    },
    /// Applies the claim and then the pod of a member.
    StartMember {
        /// The member's ordinal.
        ordinal: Ordinal,
        /// The flags about its cluster.
        bootstrap: Bootstrap,
        /// Its peer TLS.
        peer_tls: PeerTls,
        /// Its label.
        role: Role,
    },
    /// Adds the member of this ordinal as a learner, with the peer URL that `peer_tls` gives it.
    AddLearner {
        /// The member's ordinal.
        ordinal: Ordinal,
        /// `On` gives an `https` URL.
        peer_tls: PeerTls,
    },
    /// Gives a learner its vote.
    Promote {
        /// The member's id.
        id: MemberId,
    },
    /// Sets the label `witan.dev/role` of a pod.
    LabelPod {
        /// The member's ordinal.
        ordinal: Ordinal,
        /// The label.
        role: Role,
    },
    /// Hands leadership over.
    MoveLeader {
        /// The present leader.
        from: MemberId,
        /// The next leader.
        to: MemberId,
    },
    /// Removes a member from the cluster.
    RemoveMember {
        /// The member's id.
        id: MemberId,
        /// The reason.
        reason: Removal,
    },
    /// Gives a member another peer URL, before its pod begins to listen there.
    UpdatePeerUrl {
        /// The member's id.
        id: MemberId,
        /// Its ordinal.
        ordinal: Ordinal,
        /// `On` gives an `https` URL, the others an `http` one.
        peer_tls: PeerTls,
    },
    /// Stops a pod. Starting it again is another step.
    DeletePod {
        /// The member's ordinal.
        ordinal: Ordinal,
        /// The reason.
        reason: Stop,
    },
    /// Deletes the claim of a removed member, with its data.
    DeleteClaim {
        /// The member's ordinal.
        ordinal: Ordinal,
    },
    /// Marks the claim of a removed member: it is kept, and no member starts from it.
    RetireClaim {
        /// The member's ordinal.
        ordinal: Ordinal,
        /// Whether it is deleted as soon as another member votes in place of its own.
        held: bool,
    },
    /// Applies owner, labels and annotations of a claim.
    ApplyClaim {
        /// The member's ordinal.
        ordinal: Ordinal,
        /// The value of its annotation `witan.dev/peer-tls`.
        peer_tls: PeerTls,
    },
    /// Raises the requested size of a claim.
    GrowClaim {
        /// The member's ordinal.
        ordinal: Ordinal,
        /// Bytes.
        bytes: u64,
    },
    /// Lowers the alarm CORRUPT of a removed member.
    DisarmCorrupt {
        /// The member's id.
        id: MemberId,
    },
    /// Creates the user `root` with the password of its secret, and turns authentication on.
    EnableAuth,
    /// Turns authentication off.
    DisableAuth,
}

impl Step {
    /// Returns the kind of the step, a label of a metric: the name of its variant.
    pub fn kind(&self) -> String {
        let mut name = format!("{self:?}");
        name.truncate(name.find(' ').unwrap_or(name.len()));
        name
    }
}

/// Why a member is removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Removal {
    /// The spec asks for fewer members.
    ScaleIn,
    /// It did not come back in time, and has no disk of value.
    Dead,
    /// Its process ended with an exit code which says that its disk cannot be used.
    BadDisk,
    /// The annotation names it.
    Asked,
    /// Its disk is lost.
    DiskLost,
    /// Its data differs from that of the others.
    Corrupt,
    /// It has no disk of its own, so that a new template means a new member.
    Ephemeral,
}

/// Why a pod is stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// Its member was removed, or never was one.
    NotAMember,
    /// The spec asks for fewer: its member is removed next.
    ScaleIn,
    /// The template changed.
    Outdated,
    /// It changes between clear text and TLS.
    PeerTls,
    /// It has ended and will not be restarted.
    Ended,
    /// Its flags do not fit the present state of the cluster.
    WrongStart,
    /// Its member is silent for longer than allowed: it may come back on another node.
    Silent,
    /// The annotation names it.
    Fenced,
    /// `spec.replicas` is 0.
    Hibernated,
}

/// Why a pass waits, or which action of a person it needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// The EtcdCluster is being deleted; Kubernetes collects what it owns.
    Deleting,
    /// `spec.paused`.
    Paused,
    /// `spec.replicas` is 0 and no pod runs.
    Hibernated,
    /// `spec.replicas` is 0, and without disks all data would be lost.
    CannotHibernate,
    /// Members report different cluster ids, or another one than the status: a person has to decide.
    ClusterIdMismatch,
    /// Too few voters serve. Pods that can come back are started; nothing else is touched.
    QuorumLost,
    /// Pods are ready and no member answers the operator: nothing is touched.
    Unreachable,
    /// All disks are lost, and the data with them: a person has to decide.
    DataLost,
    /// The first members are starting.
    Bootstrapping,
    /// Another object has the name of a part of the cluster.
    NameTaken(Part),
    /// Secrets that the spec names do not exist.
    SecretsMissing,
    /// cert-manager has not issued yet.
    CertificatesPending,
    /// The spec asks for certificates of cert-manager, which is not installed.
    CertManagerMissing,
    /// A claim should grow, and the API server refuses that.
    GrowthRefused(Ordinal),
    /// The limit on concurrent updates is reached.
    RolloutQueued,
    /// The wanted version is more than one minor version away from the running one.
    VersionStep {
        /// The running version.
        from: String,
        /// The version of `spec.version` or of the operator's member image.
        to: String,
    },
    /// A step was refused, and there is nothing else to do.
    Refused,
    /// The spec makes no pods or claims.
    SpecRejected,
    /// A pod is being deleted, and the next step waits for its end.
    PodEnding(Ordinal),
    /// A claim is being deleted, and the next step waits for its end.
    ClaimEnding(Ordinal),
    /// A learner catches up.
    LearnerBehind(MemberId),
    /// A member is not healthy, and may still recover.
    Unhealthy(Ordinal),
    /// A member is not healthy for a reason that replacing it would not fix.
    Obstacle(Ordinal, Obstacle),
    /// A member does not answer, and there is no evidence against its disk.
    Silent(Ordinal),
    /// A member's process ends with this exit code, which a new disk would not fix.
    Exited(Ordinal, i32),
    /// A member's process finds its disk bad, but none that serves has the same template.
    UnprovenTemplate(Ordinal),
    /// A member must be replaced, and the others alone would have no quorum, or the spec forbids it.
    CannotReplace(Ordinal),
    /// A member is corrupt, and the spec asks to raise the alarm only.
    Corrupt(Ordinal),
    /// A member that is no pod of this cluster is not healthy.
    ForeignUnhealthy(MemberId),
    /// The annotation fences a member, and the others alone would have no quorum.
    CannotFence(Ordinal),
    /// A member is fenced: no planned change starts until the fence is removed.
    Fenced(Ordinal),
    /// The leader is the last to restart, and the spec asks for approval.
    Approval(Ordinal),
    /// The only member has no disk, so that a new template would lose the data.
    OnlyCopy(Ordinal),
    /// A member has just become ready.
    Settling(Ordinal),
}

impl Membership {
    /// Iterates over the pods whose member is in another cluster than that of this list.
    pub fn strangers(&self) -> impl Iterator<Item = (Ordinal, &Said)> {
        let said = self.said.iter().map(|(ordinal, said)| (*ordinal, said));
        said.filter(|(_, said)| said.cluster_id != self.cluster_id)
    }

    /// Iterates over the members that vote.
    pub fn voters(&self) -> impl Iterator<Item = &MemberSeen> {
        self.members.iter().filter(|member| !member.learner)
    }

    /// Returns the member whose pod has this ordinal; `None` if there is none.
    pub fn of(&self, ordinal: Ordinal) -> Option<&MemberSeen> {
        let mut members = self.members.iter();
        members.find(|member| member.ordinal == Some(ordinal))
    }

    /// Returns the member with this id; `None` if there is none.
    pub fn by_id(&self, id: MemberId) -> Option<&MemberSeen> {
        self.members.iter().find(|member| member.id == id)
    }
}

/// Returns how many votes a decision of `voters` members needs.
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}
