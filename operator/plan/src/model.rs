//! Plain values that the parts of the operator exchange: the observed state of a cluster, and the next step. They use no types
//! of Kubernetes or the network, so `plan` can be tested without either.

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

/// The id of a member in its cluster. A member that was recreated without its disk has another one.
pub type MemberId = u64;

/// Seconds since 1970.
pub type UnixSeconds = i64;

/// The observed state of one cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Time of the observation.
    pub now: UnixSeconds,
    /// When this operator began to act: its start, or when it became the leader among its replicas.
    pub acting_since: UnixSeconds,
    /// Whether the EtcdCluster or its namespace has a deletion timestamp.
    pub deleting: bool,
    /// `metadata.generation` of the EtcdCluster.
    pub generation: i64,
    /// Pod and claim of every ordinal that has either.
    pub ordinals: BTreeMap<Ordinal, OrdinalSeen>,
    /// The members' reports; `None` if no member answered.
    pub membership: Option<Membership>,
    /// Why a member did not answer.
    pub call_error: Option<String>,
    /// The service for clients.
    pub client_service: ObjectState,
    /// The service of members.
    pub peer_service: ObjectState,
    /// The pod disruption budget; `None` if there is none.
    pub budget: Option<BudgetSeen>,
    /// The existing certificates that the operator issues, by role.
    pub certificates: BTreeMap<CertificateRole, CertificateSeen>,
    /// The authority of these certificates.
    pub authority: AuthoritySeen,
    /// The state of cert-manager's Certificates, one for each role that the spec takes from cert-manager.
    pub requests: BTreeMap<CertificateRole, RequestSeen>,
    /// Names of missing secrets that the spec names or that cert-manager is to write.
    pub missing_secrets: BTreeSet<String>,
    /// Parts whose name is taken by another object. They are not applied.
    pub taken: BTreeMap<Part, Holder>,
    /// The version in `spec.version` or of the operator's member image; `None` if the user sets an image, or if the tag is not
    /// a version.
    pub wanted_version: Option<String>,
    /// Whether the cluster waits for a permit because the limit on concurrent updates is reached.
    pub rollout_queued: bool,
    /// Ordinals in the annotation `witan.dev/fenced-members`.
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
    /// Why the backup for the first members cannot be used; `None` if it can be, or if there is none.
    pub no_backup: Option<String>,
    /// Why no pods or claims can be made from the spec. Until it is corrected, the last valid spec applies, if it is known.
    pub rejected: Option<String>,
}

/// The state of an object compared with the one that `resources` builds.
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
    /// `spec.minAvailable`, if it is a number.
    pub min_available: Option<u32>,
    /// The state of labels, selector and the fields that the user sets.
    pub state: ObjectState,
}

/// The pod and the claim of one ordinal.
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
    /// It is being deleted and has exceeded its grace period: its node does not terminate it.
    pub overdue: bool,
    /// Its phase.
    pub phase: PodPhase,
    /// Its condition `Ready`.
    pub ready: bool,
    /// When that condition last changed; the creation of the pod if it never did.
    pub ready_changed: UnixSeconds,
    /// A cause outside the member that a new disk would not fix.
    pub obstacle: Option<Obstacle>,
    /// The message of the kubelet or the scheduler about that obstacle.
    pub said: Option<String>,
    /// The exit code of its container, if the container has terminated and is not running.
    pub exit: Option<i32>,
    /// The fingerprint of its template (image, flags and so on). Equal templates have equal fingerprints.
    pub template: String,
    /// Whether its template differs from the spec's for the same peer TLS.
    pub outdated: bool,
    /// The API server's refusal of the spec's template, if the pod was made from an earlier one for that reason.
    pub refused: Option<String>,
    /// Its peer TLS (annotation `witan.dev/peer-tls`).
    pub peer_tls: PeerTls,
    /// Its kind of start (annotation `witan.dev/start`).
    pub start: StartKind,
    /// Its label `witan.dev/role`.
    pub role: Role,
    /// True if the container is running; otherwise it is waiting for its image or has not started yet.
    pub running: bool,
    /// The version in the tag of its image, comparable with `spec.version`. Members themselves report the version of etcd that
    /// they implement.
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

/// Peer TLS of a member's pod. A running cluster changes between `Off` and `On` through `Ready`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerTls {
    /// It listens in clear text and has no certificate.
    #[default]
    Off,
    /// It listens in clear text and has a certificate, so it can connect to members that listen with TLS.
    Ready,
    /// It listens with TLS.
    On,
}

/// The claim of a member's disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimSeen {
    /// It has a deletion timestamp, or will be deleted with an earlier EtcdCluster of the same name.
    pub deleting: bool,
    /// It was a disk of a cluster that a quorum served (annotation `witan.dev/cluster-id`).
    pub served: bool,
    /// It is being deleted and has exceeded its grace period.
    pub overdue: bool,
    /// Its volume is lost (phase `Lost`).
    pub lost: bool,
    /// Its member was removed (annotation `witan.dev/retired`): it is kept, and no member starts from it.
    pub retired: bool,
    /// It is deleted once another member votes in place of its own.
    pub held: bool,
    /// When the pod of its silent member was last recreated (annotation `witan.dev/remade-at`).
    pub remade: Option<UnixSeconds>,
    /// Peer TLS of its member at the last start (annotation `witan.dev/peer-tls`).
    pub peer_tls: PeerTls,
    /// The requested bytes.
    pub requested_bytes: u64,
    /// The requested bytes that the API server refused.
    pub refused_bytes: Option<u64>,
    /// The message of that refusal.
    pub refusal: String,
    /// The state of owner, labels and annotations.
    pub state: ObjectState,
    /// The cluster owns it and must not, or does not own it and must.
    pub other_owner: bool,
    /// Its member must be replaced by one with a new claim: the spec requests a different or a smaller claim, or an
    /// EtcdOperation `migrateStorage` that began later is running.
    pub must_migrate: bool,
}

impl ClaimSeen {
    /// Returns whether a member can start from it.
    pub fn is_usable(&self) -> bool {
        !self.deleting && !self.lost && !self.retired
    }
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

    /// Returns the listed member of an ordinal, whether or not a quorum confirmed the list.
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
