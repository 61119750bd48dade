//! The steps and their descriptions.

use std::time::Duration;

use witan_crd::CertificateRole;

use super::{
    MemberId, Notice, Observed, Ordinal, PeerTls, PodPlan, Removal, Role, Rotation, Stop, Why,
    notice::Notices,
};

/// The next action. Every step can be repeated, so the operator may crash at any time.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing differs from the spec.
    Done,
    /// No action is possible now. The next pass runs after `after`, or when an object changes.
    Wait {
        why: Why,
        /// Maximum time until the next pass.
        after: Duration,
    },
    /// Applies the services for clients and for peers.
    ApplyServices,
    /// Applies the pod disruption budget with this `minAvailable`; `None` deletes it.
    ApplyBudget(Option<u32>),
    /// Issues a certificate and stores it in its secret.
    IssueCertificate(CertificateRole),
    /// Applies cert-manager's Certificate of a role.
    RequestCertificate(CertificateRole),
    /// Makes a cert-manager Certificate the owner of the secret that cert-manager wrote for it.
    OwnCertificate(CertificateRole),
    /// Advances the CA rotation to this stage. Changes only the secret of the CA.
    RotateAuthority(Rotation),
    /// Records the number of initial members in the status, before the first pod starts.
    BeginBootstrap {
        members: u32,
        /// URL of the discovery token, if the members use discovery.
        discovery_url: Option<String>,
    },
    /// Records in the status that a new cluster is forced from this member, before anything else changes.
    BeginRecovery(Ordinal),
    /// Creates a discovery token for this many members and records the number and the token's URL in the status.
    CreateDiscoveryToken(u32),
    /// Applies the claim and then the pod of a member.
    StartMember(PodPlan),
    /// Adds the member of this ordinal to the cluster as a learner.
    AddLearner {
        ordinal: Ordinal,
        /// Determines the peer URL of the learner: `https` if `On`, otherwise `http`.
        peer_tls: PeerTls,
        /// Whether the learner replaces a member in a rolling update.
        rolling: bool,
    },
    /// Promotes a learner to a voter.
    Promote(MemberId),
    /// Sets the label `witan.dev/role` of a pod. If the member is an initial one, also records that its cluster exists.
    LabelPod { ordinal: Ordinal, role: Role },
    /// Transfers leadership.
    MoveLeader {
        /// The current leader.
        from: MemberId,
        /// The voter that takes over.
        to: MemberId,
    },
    /// Removes a member from the cluster.
    RemoveMember { id: MemberId, reason: Removal },
    /// Changes the peer URL of a member. The member's pod listens at the new URL only after a later step recreates it.
    UpdatePeerUrl {
        id: MemberId,
        ordinal: Ordinal,
        /// Determines the peer URL: `https` if `On`, otherwise `http`.
        peer_tls: PeerTls,
    },
    /// Deletes a pod. If its member stays, a later step creates the pod again.
    DeletePod { ordinal: Ordinal, reason: Stop },
    /// Deletes the claim of a removed member, and with it the data.
    DeleteClaim(Ordinal),
    /// Marks the claim of a removed member as retired: the claim is kept, and no member starts from it.
    RetireClaim {
        ordinal: Ordinal,
        /// Whether the claim is deleted once another member votes instead.
        held: bool,
    },
    /// Sets or removes the cluster as the owner of a claim, as the retention policy requires.
    OwnClaim(Ordinal),
    /// Applies the owner, labels and annotations of a claim.
    ApplyClaim {
        ordinal: Ordinal,
        /// Value of the annotation `witan.dev/peer-tls`.
        peer_tls: PeerTls,
    },
    /// Raises the requested size of a claim.
    GrowClaim { ordinal: Ordinal, bytes: u64 },
    /// Removes the retired mark of a claim, so that its member can start from it again.
    ReviveClaim(Ordinal),
    /// Records that a restored cluster starts with new members on new disks. All earlier disks are retired.
    BeginRestored {
        /// The lowest ordinal of the new members.
        first: Ordinal,
        members: u32,
    },
    /// Records that the cluster returns to the disks that a restore kept.
    ReturnToDisks,
    /// Disarms the CORRUPT alarm of a removed member.
    DisarmCorrupt(MemberId),
    /// Compacts the key space up to this revision because of the NOSPACE alarm and records the compaction in the status.
    Compact(i64),
    /// Disarms the NOSPACE alarm after a compaction, and records in the status that the alarm was disarmed.
    DisarmNoSpace,
    /// Creates the user `root` with the password in its secret and enables authentication.
    EnableAuth,
    /// Disables authentication.
    DisableAuth,
}

// Long messages of `Step::notice`.
const BUDGET_DELETED: &str = "deleting the PodDisruptionBudget";
const LEARNER_ADDED: &str = "adding member {member} as a learner";
const URL_CHANGED: &str = "changing the peer URL of member {member}";
const QUOTA_USED_UP: &str = "the quota is used up, and spec.selfHealing.compactOnNoSpace is set";
const SPACE_FREED: &str = "disarming the NOSPACE alarm: the compaction has freed space";
const RECOVERY_BEGUN: &str = "an EtcdOperation forces a new cluster from member {member}: \
    the other members are stopped and do not start again; their disks are kept";
const POLICY_APPLIED: &str = "applying the retention policy to the claim of {member}";
const RETURNED: &str = "starting the cluster from the disks that the last restore kept";

impl Step {
    /// Returns the name of the variant, which is the value of a metric label.
    pub fn kind(&self) -> String {
        let mut name = format!("{self:?}");
        name.truncate(name.find([' ', '(']).unwrap_or(name.len()));
        name
    }

    /// Returns whether the step changes anything.
    pub fn acts(&self) -> bool {
        !matches!(self, Step::Done | Step::Wait { .. })
    }

    /// Returns whether the step records facts in the status. All other steps run after the status is stored.
    pub fn records(&self) -> bool {
        matches!(
            self,
            Step::BeginBootstrap { .. }
                | Step::BeginRecovery(_)
                | Step::CreateDiscoveryToken(_)
                | Step::BeginRestored { .. }
                | Step::ReturnToDisks
                | Step::Compact(_)
                | Step::DisarmNoSpace
        )
    }

    /// Returns whether the step stops, removes or adds a member in a rolling update.
    pub fn updates(&self) -> bool {
        matches!(
            self,
            Step::DeletePod { reason: Stop::Outdated | Stop::PeerTls, .. }
                | Step::RemoveMember { reason: Removal::Ephemeral | Removal::Migrated, .. }
                | Step::AddLearner { rolling: true, .. }
        )
    }

    /// Returns whether the cluster is changing: this step acts, or the effect of an earlier step is pending.
    pub fn progresses(&self) -> bool {
        let Step::Wait { why, .. } = self else {
            return *self != Step::Done;
        };
        why.ends_by_itself()
    }

    /// Returns whether no update is in progress: nothing is left to do, or only the user can continue.
    pub fn rests(&self) -> bool {
        let Step::Wait { why, .. } = self else {
            return *self == Step::Done;
        };
        why.needs_user_action()
    }

    /// Describes the step for users; `None` for `Step::Done`.
    #[expect(
        clippy::too_many_lines,
        reason = "the match is a table with a row for each variant"
    )]
    pub fn notice(&self, cluster: &str, seen: &Observed) -> Option<Notice> {
        let tell = Notices { cluster, seen, warning: false };
        let of =
            |what: &str, role: &CertificateRole| format!("{what} of role {role:?}").to_lowercase();
        Some(match self {
            Step::Done => return None,
            Step::Wait { why, .. } => why.notice(cluster, seen),
            Step::ApplyServices => tell.all("ServicesApplied", "applying the Services"),
            Step::ApplyBudget(Some(voters)) => {
                let text = format!(
                    "applying the PodDisruptionBudget: evictions must leave {voters} voters"
                );
                tell.all("DisruptionBudgetApplied", text)
            }
            Step::ApplyBudget(None) => tell.all("DisruptionBudgetDeleted", BUDGET_DELETED),
            Step::IssueCertificate(role) => {
                tell.all("CertificateIssued", of("issuing the certificate", role))
            }
            Step::RequestCertificate(role) => {
                let text = of("requesting the certificate from cert-manager", role);
                tell.all("CertificateRequested", text)
            }
            Step::OwnCertificate(role) => {
                let text = of("making the Certificate the owner of the secret", role);
                tell.all("CertificateOwned", text)
            }
            Step::RotateAuthority(to) => tell.all("AuthorityRotated", to.text()),
            Step::BeginBootstrap { members, .. } => {
                let text = format!("bootstrapping a cluster of {members} members");
                tell.all("Bootstrapping", text)
            }
            Step::BeginRecovery(ordinal) => tell.pod(*ordinal, "RecoveryBegun", RECOVERY_BEGUN),
            Step::CreateDiscoveryToken(members) => {
                let text = format!("creating a discovery token for {members} members");
                tell.all("DiscoveryTokenCreated", text)
            }
            Step::StartMember(plan) => {
                let text = format!("starting member {{member}} ({:?})", plan.bootstrap.kind());
                tell.pod(plan.ordinal, "MemberStarted", text)
            }
            Step::AddLearner { ordinal, .. } => tell.pod(*ordinal, "MemberAdded", LEARNER_ADDED),
            Step::Promote(id) => tell.member(
                *id,
                "LearnerPromoted",
                "promoting the learner {member} to a voter",
            ),
            Step::LabelPod { ordinal, role } => {
                let text = match role {
                    Role::Voter => "member {member} is a voter",
                    Role::Learner => "member {member} is a learner",
                };
                tell.pod(*ordinal, "MemberLabeled", text)
            }
            Step::MoveLeader { from, to } => {
                let from = tell.name_of(*from);
                let text = format!("transferring leadership from {from} to {{member}}");
                tell.member(*to, "LeaderTransferred", text)
            }
            Step::RemoveMember { id, reason } => reason.notice(tell.name_of(*id)),
            Step::UpdatePeerUrl { id, .. } => tell.member(*id, "PeerUrlUpdated", URL_CHANGED),
            Step::DeletePod { ordinal, reason } => reason.notice(format!("{cluster}-{ordinal}")),
            Step::DeleteClaim(ordinal) => {
                let text = "deleting the claim of the removed member {member}";
                tell.pod(*ordinal, "ClaimDeleted", text)
            }
            Step::RetireClaim { ordinal, held } => {
                let until = held
                    .then_some(" until a new member votes")
                    .unwrap_or_default();
                let text = format!("keeping the claim of the removed member {{member}}{until}");
                tell.pod(*ordinal, "ClaimRetained", text)
            }
            Step::ReviveClaim(ordinal) => {
                let text = "using the claim of {member} again";
                tell.pod(*ordinal, "ClaimRevived", text)
            }
            Step::BeginRestored { members, .. } => {
                let text = format!("starting a cluster of {members} members from the backup");
                tell.all("RestoreBegun", text)
            }
            Step::ReturnToDisks => tell.all("RestoreUndone", RETURNED),
            Step::OwnClaim(ordinal) => tell.pod(*ordinal, "ClaimOwned", POLICY_APPLIED),
            Step::ApplyClaim { ordinal, .. } => {
                let text = "applying the owner and the labels of the claim of {member}";
                tell.pod(*ordinal, "ClaimApplied", text)
            }
            Step::GrowClaim { ordinal, bytes } => {
                let text = format!("expanding the claim of {{member}} to {bytes} bytes");
                tell.pod(*ordinal, "StorageResized", text)
            }
            Step::DisarmCorrupt(id) => {
                let text = format!("disarming the CORRUPT alarm of the removed member {id:x}");
                tell.all("AlarmCleared", text)
            }
            Step::Compact(revision) => {
                let text = format!("compacting up to revision {revision}: {QUOTA_USED_UP}");
                tell.all("KeysCompacted", text)
            }
            Step::DisarmNoSpace => tell.all("AlarmCleared", SPACE_FREED),
            Step::EnableAuth => tell.all("AuthEnabled", "enabling authentication"),
            Step::DisableAuth => tell.all("AuthDisabled", "disabling authentication"),
        })
    }
}
