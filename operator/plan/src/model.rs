//! Plain values between the parts of the operator: the observed state of a cluster, and the step that follows from it.
//!
//! They use no type of Kubernetes or of the network, so that `plan` can be tested without either.

mod certificates;
mod membership;
mod notice;
mod reasons;
mod refusal;
mod start;
mod step;
mod taken;
mod why;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use witan_crd::CertificateRole;

pub use certificates::{AuthoritySeen, CertificateSeen, RequestSeen, Rotation};
pub use membership::{ClusterReport, MemberSeen, Membership};
pub use notice::Notice;
pub use reasons::{Obstacle, Removal, Stop};
pub use refusal::Refusal;
pub use start::{Bootstrap, JoinMember, PodPlan, StartKind};
pub use step::Step;
pub use taken::{Holder, Part};
pub use why::{FORKED, Why};

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
    /// Since when this operator acts: its start, or the time at which it became the leader among its replicas.
    pub acting_since: UnixSeconds,
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
    /// The service for clients.
    pub client_service: ObjectState,
    /// The service of members.
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
    /// when its tag is not a version.
    pub wanted_version: Option<String>,
    /// The limit on concurrent updates is reached, and this cluster has no permit.
    pub rollout_queued: bool,
    /// Ordinals that the annotation `witan.dev/fenced-members` names.
    pub fenced: BTreeSet<Ordinal>,
    /// The member that a running EtcdOperation replaces.
    pub replace: Option<MemberId>,
    /// The member from which a running EtcdOperation forces a new cluster.
    pub recover: Option<Ordinal>,
    /// The value of the annotation `witan.dev/allow-leader-restart`.
    pub allow_leader_restart: Option<i64>,
    /// Whether authentication is on; `None` if no member has answered.
    pub auth_enabled: Option<bool>,
    /// Steps that failed a short time ago.
    pub refused: Vec<Refusal>,
    /// Why the backup that the first members begin from cannot be used; `None` if it can, or there is none.
    pub no_backup: Option<String>,
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
    /// The cluster owns it and must not, or must own it and does not.
    pub other_owner: bool,
    /// Its member is replaced by one with a new claim: the spec asks for another claim or a smaller size, which no claim can follow, or
    /// an EtcdOperation `migrateStorage` runs that began later.
    pub must_migrate: bool,
}

impl Observed {
    /// Returns the pod of an ordinal; `None` if there is none.
    pub fn pod(&self, ordinal: Ordinal) -> Option<&PodSeen> {
        self.ordinals.get(&ordinal)?.pod.as_ref()
    }

    /// Returns the claim of an ordinal; `None` if there is none.
    pub fn claim(&self, ordinal: Ordinal) -> Option<&ClaimSeen> {
        self.ordinals.get(&ordinal)?.claim.as_ref()
    }

    /// Iterates over all pods in the order of their ordinals.
    pub fn pods(&self) -> impl Iterator<Item = (Ordinal, &PodSeen)> {
        let ordinals = self.ordinals.iter();
        ordinals.filter_map(|(ordinal, seen)| Some((*ordinal, seen.pod.as_ref()?)))
    }

    /// Iterates over all claims.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimSeen> {
        let ordinals = self.ordinals.values();
        ordinals.filter_map(|seen| seen.claim.as_ref())
    }

    /// Returns the member of an ordinal from the list of members, whether a quorum confirmed the list or not.
    pub fn member(&self, ordinal: Ordinal) -> Option<&MemberSeen> {
        self.membership.as_ref()?.of(ordinal)
    }

    /// Iterates over the list of members; there are none if no member answered.
    pub fn members(&self) -> impl Iterator<Item = &MemberSeen> {
        self.membership.iter().flat_map(|list| &list.members)
    }

    /// Counts the voters that are healthy.
    pub fn healthy_voters(&self) -> usize {
        let voters = self.members().filter(|member| !member.learner);
        voters.filter(|voter| voter.healthy).count()
    }

    /// Returns the name of a member: its own, else the one that its peer URL contains, else its id.
    pub fn name_of(&self, cluster: &str, id: MemberId) -> String {
        let member = self.members().find(|member| member.id == id);
        let name = member.map(|member| member.name.clone());
        let ordinal = member.and_then(|member| member.ordinal);
        name.filter(|name| !name.is_empty())
            .or_else(|| ordinal.map(|ordinal| format!("{cluster}-{ordinal}")))
            .unwrap_or_else(|| format!("{id:x}"))
    }
}
