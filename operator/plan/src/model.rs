//! The observed state of a cluster and the next step, as plain values without types of Kubernetes or the network.
//!
//! Reading order: this file (the observation) → `membership`, `certificates`, `taken` (its parts) → `step`, `start` → `why`
//! (reasons to wait), `reasons` (of removals and unready pods) → `notice`.

#![expect(
    missing_docs,
    reason = "some fields and variants are described by their names or texts"
)]

mod certificates;
mod membership;
mod notice;
mod reasons;
mod start;
mod step;
mod taken;
mod why;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use witan_crd::CertificateRole;

pub use certificates::{AuthoritySeen, CertificateSeen, ObservedRequest, Rotation};
pub use membership::{ClusterReport, MemberSeen, Membership};
pub use notice::{Notice, Refusal};
pub use reasons::{Obstacle, Removal, Stop};
pub use start::{Bootstrap, JoinMember, PodPlan, StartKind};
pub use step::Step;
pub use taken::{Holder, Part};
pub use why::{FORKED, Why};

/// The number at the end of a member's name: `<cluster>-<ordinal>`.
pub type Ordinal = u32;

/// The id of a member in its cluster. A member that is recreated without its disk gets another id.
pub type MemberId = u64;

/// Unix time in seconds.
pub type UnixSeconds = i64;

/// The observed state of one cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub now: UnixSeconds,
    /// The time at which this operator process started, or became the leader among the operator's replicas.
    pub acting_since: UnixSeconds,
    /// Whether the EtcdCluster has a deletion timestamp.
    pub deleting: bool,
    pub generation: i64,
    /// The pod and the claim of every ordinal that has either.
    pub ordinals: BTreeMap<Ordinal, OrdinalSeen>,
    /// The members' reports; `None` if no member answered.
    pub membership: Option<Membership>,
    /// The reason why a member did not answer the operator; `None` if all members answered.
    pub call_error: Option<String>,
    pub client_service: ObjectState,
    pub peer_service: ObjectState,
    /// The pod disruption budget; `None` if it does not exist.
    pub budget: Option<BudgetSeen>,
    /// The existing certificates that the operator or cert-manager issued, by role.
    pub certificates: BTreeMap<CertificateRole, CertificateSeen>,
    pub authority: AuthoritySeen,
    /// The state of the cert-manager Certificates, one for each role that the spec takes from cert-manager.
    pub requests: BTreeMap<CertificateRole, ObservedRequest>,
    /// Names of missing secrets to which the spec refers or that cert-manager should write.
    pub missing_secrets: BTreeSet<String>,
    /// Parts of the cluster whose names other objects already use. These parts are not applied.
    pub taken: BTreeMap<Part, Holder>,
    /// The version in `spec.version` or in the tag of the operator's member image; `None` if unknown or if `spec.image` is set.
    pub wanted_version: Option<String>,
    /// Whether the cluster must wait because the limit on concurrent rollouts is reached.
    pub rollout_queued: bool,
    /// Ordinals in the annotation `witan.dev/fenced-members`.
    pub fenced: BTreeSet<Ordinal>,
    /// The member that a running EtcdOperation replaces.
    pub replace: Option<MemberId>,
    /// The member from which a running EtcdOperation forces a new cluster.
    pub recover: Option<Ordinal>,
    /// The value of the annotation `witan.dev/allow-leader-restart`.
    pub allow_leader_restart: Option<i64>,
    /// Whether authentication is enabled; `None` if unknown, because no member has answered or the operator has no password.
    pub auth_enabled: Option<bool>,
    /// Recently failed steps.
    pub refused: Vec<Refusal>,
    /// The reason why the backup for the initial members cannot be used; `None` if the backup can be used, or if the spec names
    /// no backup.
    pub no_backup: Option<String>,
    /// A value that only a later release of the operator knows, as `name=value`. It is a phase in the status, or an annotation
    /// of a pod or claim. `None` if all values are known.
    pub later: Option<String>,
    /// The reason why no pods or claims can be built from the spec. Until the spec is corrected, the last valid spec applies,
    /// if it is known.
    pub rejected: Option<String>,
}

/// How an object compares with the object that the operator builds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ObjectState {
    /// The object does not exist.
    #[default]
    Missing,
    /// The object differs from the object that the operator builds.
    Outdated,
    /// The object matches the object that the operator builds.
    Current,
}

/// A pod disruption budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BudgetSeen {
    /// `spec.minAvailable`, if it is a number. If it is not set, 0 for a budget that was made for a sole voter, otherwise
    /// `None`.
    pub min_available: Option<u32>,
    /// State of the budget's labels, selector and user-defined fields.
    pub state: ObjectState,
}

/// The pod and the claim of one ordinal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrdinalSeen {
    pub pod: Option<PodSeen>,
    pub claim: Option<ClaimSeen>,
}

/// A pod of a member.
#[derive(Clone, Debug, PartialEq)]
pub struct PodSeen {
    /// Whether the pod has a deletion timestamp.
    pub deleting: bool,
    /// Whether the pod is being deleted and has exceeded its grace period, because its node does not terminate it.
    pub overdue: bool,
    pub phase: PodPhase,
    /// Whether the `Ready` condition is true.
    pub ready: bool,
    /// The time at which the `Ready` condition last changed; the creation time if it never did.
    pub ready_changed: UnixSeconds,
    /// The reason, other than its disk, why the pod does not become ready.
    pub obstacle: Option<Obstacle>,
    /// The message about the obstacle, from the kubelet, the scheduler or a failed restore.
    pub said: Option<String>,
    /// The exit code of the container's last run; `None` while the container runs, and before its first exit.
    pub exit: Option<i32>,
    /// Fingerprint of the pod template (image, flags and so on). Equal templates have equal fingerprints.
    pub template: String,
    /// Whether the template differs from the template built from the spec with the same peer TLS mode.
    pub outdated: bool,
    /// The reason why the API server refused the spec's template; `None` unless the pod was therefore built from an earlier
    /// template.
    pub refused: Option<String>,
    /// Peer TLS mode of the pod (annotation `witan.dev/peer-tls`).
    pub peer_tls: PeerTls,
    /// How the member started (annotation `witan.dev/start`).
    pub start: StartKind,
    /// Whether the annotation `witan.dev/initial-cluster-state` is `new`, or an initial member's pod has lost it. If so, the
    /// member would form a new cluster if its container restarted on an empty disk.
    pub is_initial: bool,
    /// Value of the label `witan.dev/role`.
    pub role: Role,
    /// Whether the container is running, even if it is not ready.
    pub running: bool,
    /// The version in the image tag, comparable with `spec.version`. A member reports the etcd version instead.
    pub version: Option<String>,
}

/// The phase of a pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PodPhase {
    /// The pod has no node yet, or its image is being pulled.
    Pending,
    /// The container was started.
    Running,
    /// All containers have ended, or the pod was evicted. The pod will not start again.
    Ended,
    /// The node does not report.
    Unknown,
}

/// Value of the label by which the client service and the disruption budget select members.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Voter,
    /// The member replicates the log and has no vote.
    Learner,
}

/// The peer TLS mode of a pod. A running cluster passes through `Ready` when it changes between `Off` and `On`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerTls {
    /// The member listens without TLS and has no certificate.
    #[default]
    Off,
    /// The member listens without TLS and has a certificate, so it can connect to members that listen with TLS.
    Ready,
    /// The member listens with TLS.
    On,
}

/// The claim of a member's disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimSeen {
    /// Whether the claim has a deletion timestamp, or will be deleted with an earlier EtcdCluster of the same name.
    pub deleting: bool,
    /// Whether the claim belonged to a cluster that had a quorum (annotation `witan.dev/cluster-id`).
    pub served: bool,
    /// Whether the claim is being deleted and has exceeded its grace period.
    pub overdue: bool,
    /// Whether the volume is lost (phase `Lost`).
    pub lost: bool,
    /// Whether the claim's member was removed (annotation `witan.dev/retired`). No member starts from a retired claim.
    pub retired: bool,
    /// Whether the claim is kept only until another member votes in place of the removed member.
    pub held: bool,
    /// The time at which the pod was last recreated because its member was silent (annotation `witan.dev/remade-at`).
    pub remade: Option<UnixSeconds>,
    /// Peer TLS mode of the member at its last start (annotation `witan.dev/peer-tls`).
    pub peer_tls: PeerTls,
    pub requested_bytes: u64,
    /// The requested size in bytes that the API server refused.
    pub refused_bytes: Option<u64>,
    /// The message of that refusal.
    pub refusal: String,
    /// State of the claim's owner, labels and annotations.
    pub state: ObjectState,
    /// Whether the cluster must become the owner of the claim, or must stop being its owner.
    pub other_owner: bool,
    /// Whether the member must move to a new claim: the spec requests a different or smaller claim, or a `migrateStorage`
    /// operation newer than the claim is running.
    pub must_migrate: bool,
}

impl ClaimSeen {
    /// Returns whether a member can start from the claim: the claim is not being deleted, lost or retired.
    pub fn is_usable(&self) -> bool {
        !self.deleting && !self.lost && !self.retired
    }
}

impl Observed {
    /// Returns the pod of an ordinal, or `None` if it does not exist.
    pub fn pod(&self, ordinal: Ordinal) -> Option<&PodSeen> {
        self.ordinals.get(&ordinal)?.pod.as_ref()
    }

    /// Returns the claim of an ordinal, or `None` if it does not exist.
    pub fn claim(&self, ordinal: Ordinal) -> Option<&ClaimSeen> {
        self.ordinals.get(&ordinal)?.claim.as_ref()
    }

    /// Iterates over all pods with their ordinals, in ascending order.
    pub fn pods(&self) -> impl Iterator<Item = (Ordinal, &PodSeen)> {
        let ordinals = self.ordinals.iter();
        ordinals.filter_map(|(ordinal, seen)| Some((*ordinal, seen.pod.as_ref()?)))
    }

    /// Iterates over all claims.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimSeen> {
        let ordinals = self.ordinals.values();
        ordinals.filter_map(|seen| seen.claim.as_ref())
    }

    /// Returns the member of an ordinal in the member list, even if no quorum confirmed the list. Returns `None` if no listed
    /// member has the ordinal.
    pub fn member(&self, ordinal: Ordinal) -> Option<&MemberSeen> {
        self.membership.as_ref()?.of(ordinal)
    }

    /// Iterates over the members in the list; yields nothing if no member answered.
    pub fn members(&self) -> impl Iterator<Item = &MemberSeen> {
        self.membership.iter().flat_map(|list| &list.members)
    }

    /// Returns whether a quorum confirmed the member list and its leader.
    pub fn is_confirmed(&self) -> bool {
        let list = self.membership.as_ref();
        list.is_some_and(Membership::is_confirmed)
    }

    /// Counts the healthy voters.
    pub fn healthy_voters(&self) -> usize {
        let voters = self.members().filter(|member| !member.learner);
        voters.filter(|voter| voter.healthy).count()
    }

    /// Returns the name of a member: the reported name, or else `<cluster>-<ordinal>`, or else the id in hexadecimal.
    pub fn name_of(&self, cluster: &str, id: MemberId) -> String {
        let member = self.members().find(|member| member.id == id);
        let name = member.map(|member| member.name.clone());
        let ordinal = member.and_then(|member| member.ordinal);
        name.filter(|name| !name.is_empty())
            .or_else(|| ordinal.map(|ordinal| format!("{cluster}-{ordinal}")))
            .unwrap_or_else(|| format!("{id:x}"))
    }
}
