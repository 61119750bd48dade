//! The reasons to wait and their descriptions.

use witan_crd::ALLOW_LEADER_RESTART;

use super::{MemberId, Notice, Observed, Obstacle, Ordinal, Part, notice::Notices};

/// Why a pass waits.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    Deleting,
    Paused,
    Hibernated,
    CannotHibernate,
    CannotStop(Ordinal),
    ClusterIdMismatch,
    Forked,
    QuorumLost,
    CannotRecover(Ordinal),
    ForeignVoters(Ordinal),
    Recovering(Ordinal),
    Unreachable,
    DataLost,
    Bootstrapping,
    NameTaken(Part),
    SecretsMissing,
    BackupMissing,
    OldDisks,
    CertificatesPending,
    CertManagerMissing,
    GrowthRefused(Ordinal),
    StorageTooSmall,
    RolloutQueued,
    VersionStep {
        from: String,
        to: String,
    },
    LevelRisen {
        release: String,
        supported: u32,
        level: u32,
    },
    Refused,
    SpecRejected,
    StillListed(Ordinal),
    PodEnding(Ordinal),
    ClaimEnding(Ordinal),
    LearnerBehind(MemberId),
    Unhealthy(Ordinal),
    Obstacle(Ordinal, Obstacle),
    Silent(Ordinal),
    Exited(Ordinal, i32),
    UnprovenTemplate(Ordinal),
    CannotReplace(Ordinal),
    Corrupt(Ordinal),
    ForeignUnhealthy(MemberId),
    CannotFence(Ordinal),
    Fenced(Ordinal),
    Approval(Ordinal),
    OnlyCopy(Ordinal),
    Undecided,
    Settling(Ordinal),
    LaterOperator,
}

/// The reason of the `Degraded` condition while a cluster has two histories.
pub const FORKED: &str = "Forked";

// Long messages of `Why::notice`.
const CANNOT_HIBERNATE: &str = "spec.replicas is 0, but the members have no disks: stopping them would lose all data. Set spec.replicas to \
    another number";
const CANNOT_STOP: &str = "spec.replicas is 0, but the claim of {member} is being deleted: the members are not stopped, because \
    the disk would be lost. Set spec.replicas to another number until another member has replaced {member}";
const STORAGE_TOO_SMALL: &str = "spec.storage requests less than twice the size of the data, so the members do not move to smaller claims; \
    request a larger size";
const QUORUM_LOST: &str = "the cluster has no quorum, because too few voters serve. Members with a disk are started, and \
    nothing else is changed";
const CANNOT_RECOVER: &str = "the cluster has no quorum, and the survivor {member} of the EtcdOperation is fenced, or has no vote or \
    no disk. Delete the EtcdOperation, and create another one with a different name, whose survivor votes and has its disk";
const FOREIGN_VOTERS: &str = "the cluster has no quorum, and some voters are not pods of this cluster, so the operator cannot tell whether \
    they are stopped: no new cluster is forced from {member}";
const STILL_LISTED: &str = "the leader has removed {member}, but another member still lists it: its pod and disk are kept until all \
    members agree";
const RECOVERING: &str = "a new cluster is forced from member {member}; if the member does not start, see the log of its pod";
const DATA_LOST: &str = "the disks of all members are lost; restore a backup into a new cluster";
const SECRETS_MISSING: &str = "secrets that the spec refers to do not exist";
const OLD_DISKS: &str = "spec.bootstrap.restore is set, but disks of an earlier cluster with this name exist. Delete their claims to \
    restore the backup, or recreate the EtcdCluster without spec.bootstrap.restore to keep their data";
const CERT_MANAGER_MISSING: &str =
    "cert-manager is not installed: the API server has no kind Certificate";
const ROLLOUT_QUEUED: &str = "the rollout waits for rollouts of other clusters: \
    the operator's limit --max-concurrent-rollouts is reached";
const LEVEL_RISEN: &str = "no member is updated. Set spec.version to a later release; to return to the \
    earlier release, restore a backup that the cluster saved before the level rose";
const UNHEALTHY: &str = "member {member} is not healthy; \
    if it does not recover in time, it is restarted or replaced";
const SILENT: &str = "member {member} does not answer, and there is no evidence that its disk is \
    bad; its pod is not recreated, because that was done within the last hour, or because \
    spec.selfHealing.enabled is false. To replace the member, create an EtcdOperation with replaceMember";
const UNPROVEN_TEMPLATE: &str = "the process of member {member} reports that its disk cannot be used, but \
    no member serves with the same image and flags; see the log of pod \
    {member}";
const CANNOT_REPLACE: &str = "member {member} must be restarted or replaced, but the other members have no \
    quorum without it, or spec.selfHealing forbids it";
const CORRUPT: &str = "the data of member {member} differs from the data of the other members; if the member cannot \
    restore its state from the leader, it is replaced, unless spec.selfHealing.onCorruption is AlarmOnly";
const UNDECIDED: &str = "the members' data differs, and no majority agrees on one state, so v3 writes are refused. Planned changes wait. \
    Find the member with the correct data, replace the other members with EtcdOperations, and run etcdctl alarm disarm";
const FOREIGN_UNHEALTHY: &str =
    "member {member}, which is not a pod of this cluster, is not healthy";
const CANNOT_FENCE: &str =
    "member {member} cannot be fenced: the other members have no quorum without it";
const FENCED: &str = "member {member} is fenced: planned changes wait until you remove it from the annotation \
    witan.dev/fenced-members";
const SETTLING: &str =
    "member {member} became ready recently: waiting for spec.updateStrategy.minReadySeconds";
const ONLY_COPY: &str = "member {member} has the only copy of the data and no durable disk; \
    increase spec.replicas, so that its template can change without data loss";
const LATER_OPERATOR: &str =
    "a later release of the operator wrote it. Nothing is changed until you upgrade the operator";

impl Why {
    /// Returns whether the wait ends once an earlier step has taken effect.
    pub(super) fn ends_by_itself(&self) -> bool {
        matches!(
            self,
            Why::Bootstrapping
                | Why::Recovering(_)
                | Why::CertificatesPending
                | Why::StillListed(_)
                | Why::PodEnding(_)
                | Why::ClaimEnding(_)
                | Why::LearnerBehind(_)
                | Why::Settling(_)
                | Why::Deleting
        )
    }

    /// Returns whether the wait can last indefinitely, because the user has to act or is deleting the cluster. Returns `false`
    /// for a member that does not recover from an update, because other clusters could get the same image and must wait.
    pub(super) fn needs_user_action(&self) -> bool {
        matches!(
            self,
            Why::Paused
                | Why::Hibernated
                | Why::CannotHibernate
                | Why::CannotStop(_)
                | Why::StorageTooSmall
                | Why::SpecRejected
                | Why::SecretsMissing
                | Why::BackupMissing
                | Why::OldDisks
                | Why::Deleting
                | Why::Approval(_)
                | Why::VersionStep { .. }
                | Why::LevelRisen { .. }
                | Why::OnlyCopy(_)
                | Why::Undecided
                | Why::CertManagerMissing
                | Why::NameTaken(_)
                | Why::GrowthRefused(_)
                | Why::LaterOperator
        )
    }

    #[expect(
        clippy::too_many_lines,
        reason = "the match is a table with a row for each variant"
    )]
    /// Describes to users why the operator waits.
    pub(super) fn notice(&self, cluster: &str, seen: &Observed) -> Notice {
        let tell = Notices { cluster, seen, warning: false };
        let warn = Notices { warning: true, ..tell };
        match self {
            Why::Deleting => tell.all("Deleting", "the cluster is being deleted"),
            Why::Paused => tell.all("Paused", "spec.paused is true: nothing is changed"),
            Why::Hibernated => tell.all("Hibernated", "no member runs; the disks are kept"),
            Why::CannotHibernate => warn.all("SpecRejected", CANNOT_HIBERNATE),
            Why::CannotStop(at) => warn.pod(*at, "ClaimDeleted", CANNOT_STOP),
            Why::ClusterIdMismatch => warn.all("ClusterIDMismatch", clusters_differ(cluster, seen)),
            Why::Forked => warn.all(FORKED, forked(cluster, seen)),
            Why::QuorumLost => warn.all("QuorumLost", quorum_lost(cluster, seen)),
            Why::CannotRecover(at) => warn.pod(*at, "CannotRecover", CANNOT_RECOVER),
            Why::ForeignVoters(at) => warn.pod(*at, "CannotRecover", FOREIGN_VOTERS),
            Why::Recovering(at) => warn.pod(*at, "QuorumRecovery", RECOVERING),
            Why::Unreachable => warn.all("ClusterUnreachable", unreachable(seen)),
            Why::DataLost => warn.all("DataLost", DATA_LOST),
            Why::Bootstrapping => {
                tell.all("BootstrapInProgress", "the initial members are starting")
            }
            Why::NameTaken(part) => {
                let holder = seen.taken.get(part);
                let whose = holder.map_or("another object", |holder| holder.object.as_str());
                if holder.is_some_and(|holder| holder.ending) {
                    let text = "is being deleted with an earlier cluster of this name";
                    return tell.all("NameTaken", format!("{whose} {text}"));
                }
                let text = "has a name that this cluster needs";
                let advice = part.advice(cluster);
                let text = format!("{whose} {text}; {advice}, or use another name for the cluster");
                warn.all("NameTaken", text)
            }
            Why::SecretsMissing => {
                let names = missing_secrets(seen);
                warn.all("SecretMissing", format!("{SECRETS_MISSING}: {names}"))
            }
            Why::BackupMissing => {
                warn.all("BackupMissing", seen.no_backup.clone().unwrap_or_default())
            }
            Why::OldDisks => warn.all("OldDisks", OLD_DISKS),
            Why::CertificatesPending => {
                let text = "cert-manager has not written ca.crt, tls.crt and tls.key into these secrets \
                            (see the status of their Certificates)";
                let names = missing_secrets(seen);
                tell.all("CertificatePending", format!("{text}: {names}"))
            }
            Why::CertManagerMissing => warn.all("CertManagerMissing", CERT_MANAGER_MISSING),
            Why::GrowthRefused(at) => {
                let said = seen.claim(*at).map_or("", |claim| claim.refusal.as_str());
                let text = "the claim of {member} cannot grow to the size in spec.storage";
                let help = "create an EtcdOperation with migrateStorage to replace the members with members that have larger claims";
                warn.pod(*at, "StorageNotResized", format!("{text}: {said}; {help}"))
            }
            Why::StorageTooSmall => warn.all("SpecRejected", STORAGE_TOO_SMALL),
            Why::RolloutQueued => tell.all("RolloutQueued", ROLLOUT_QUEUED),
            Why::VersionStep { from, to } => {
                let text = "set spec.version to the next minor version first";
                let text = format!("version {from} cannot be updated to {to} in one step; {text}");
                warn.all("SpecRejected", text)
            }
            Why::LevelRisen { release, supported, level } => {
                let text = format!("release {release} supports only feature level {supported}");
                let text = format!("the cluster has feature level {level}, but {text}");
                warn.all("LevelRisen", format!("{text}: {LEVEL_RISEN}"))
            }
            Why::Refused => match seen.refused.first() {
                Some(refusal) => refusal.notice(),
                None => warn.all("StepRefused", "a step was refused"),
            },
            Why::SpecRejected => {
                warn.all("SpecRejected", seen.rejected.clone().unwrap_or_default())
            }
            Why::StillListed(at) => tell.pod(*at, "StillListed", STILL_LISTED),
            Why::PodEnding(at) => tell.pod(*at, "PodEnding", "pod {member} is being deleted"),
            Why::ClaimEnding(at) => {
                tell.pod(*at, "ClaimEnding", "the claim of {member} is being deleted")
            }
            Why::LearnerBehind(id) => {
                tell.member(*id, "LearnerCatchingUp", "learner {member} is catching up")
            }
            Why::Unhealthy(at) => warn.pod(*at, "MemberUnhealthy", UNHEALTHY),
            Why::Obstacle(at, obstacle) => {
                let (reason, text) = obstacle.words();
                let said = seen.pod(*at).and_then(|pod| pod.said.as_ref());
                let said = said.map(|said| format!(": {said}")).unwrap_or_default();
                warn.pod(*at, reason, format!("member {{member}} {text}{said}"))
            }
            Why::Silent(at) => warn.pod(*at, "MemberSilent", SILENT),
            Why::Exited(at, code) => {
                let text = "which a new disk would not fix; see the log of pod {member}";
                let ends = format!("the process of member {{member}} exits with code {code}");
                warn.pod(*at, "MemberExits", format!("{ends}, {text}"))
            }
            Why::UnprovenTemplate(at) => warn.pod(*at, "UnprovenTemplate", UNPROVEN_TEMPLATE),
            Why::CannotReplace(at) => warn.pod(*at, "CannotReplaceMember", CANNOT_REPLACE),
            Why::Corrupt(at) => warn.pod(*at, "MemberCorrupt", CORRUPT),
            Why::ForeignUnhealthy(id) => warn.member(*id, "MemberUnhealthy", FOREIGN_UNHEALTHY),
            Why::CannotFence(at) => warn.pod(*at, "CannotFenceMember", CANNOT_FENCE),
            Why::Fenced(at) => tell.pod(*at, "MemberFenced", FENCED),
            Why::Approval(at) => {
                let text = "the leader {member} is the last member to restart; to restart it, set the annotation";
                let annotation = format!("{ALLOW_LEADER_RESTART}={}", seen.generation);
                tell.pod(*at, "WaitingForApproval", format!("{text} {annotation}"))
            }
            Why::Undecided => warn.all("MembersDiffer", UNDECIDED),
            Why::OnlyCopy(at) => warn.pod(*at, "OnlyCopy", ONLY_COPY),
            Why::Settling(at) => tell.pod(*at, "MemberSettling", SETTLING),
            Why::LaterOperator => {
                let value = seen.later.as_deref().unwrap_or_default();
                let text = format!("the value in {value} is unknown: {LATER_OPERATOR}");
                warn.all("LaterOperator", text)
            }
        }
    }
}

/// Describes the loss of the quorum, and suggests the answering voter with the highest applied index as the survivor of a
/// recovery. Suggests no survivor if no voter answers, or if that voter is not a pod of this cluster.
fn quorum_lost(cluster: &str, seen: &Observed) -> String {
    let answering = seen
        .members()
        .filter(|member| member.answers && !member.learner);
    let best = answering.max_by_key(|member| member.raft_index);
    let best = best.and_then(|member| Some((member.ordinal?, member.raft_index)));
    let Some((ordinal, index)) = best else {
        return QUORUM_LOST.to_owned();
    };
    format!(
        "{QUORUM_LOST}. If the disks of the other members are permanently lost, create an EtcdOperation with recoverQuorum and \
         the survivor {cluster}-{ordinal}, which answers and has applied the log up to index {index}"
    )
}

/// Describes why the operator reaches no member: the error of a call, or that no pod has an address. Also lists missing
/// secrets.
fn unreachable(seen: &Observed) -> String {
    let error = seen.call_error.as_deref();
    let error = error.unwrap_or("no pod has an address");
    let secrets = match seen.missing_secrets.is_empty() {
        true => String::new(),
        false => format!("; {SECRETS_MISSING}: {}", missing_secrets(seen)),
    };
    format!("pods are ready, but no member answers the operator: {error}{secrets}")
}

/// Lists the names of the missing secrets.
fn missing_secrets(seen: &Observed) -> String {
    let names = seen.missing_secrets.iter().map(String::as_str);
    Vec::from_iter(names).join(", ")
}

/// Describes a fork: the pods of the other quorum, or else the pods and claims that the list lacks, and all remaining ordinals.
fn forked(cluster: &str, seen: &Observed) -> String {
    let list = seen.membership.clone().unwrap_or_default();
    let ordinals = seen.ordinals.keys().copied();
    let (mut own, lacking): (Vec<Ordinal>, Vec<Ordinal>) =
        ordinals.partition(|ordinal| list.of(*ordinal).is_some());
    let mut apart: Vec<_> = list.forked().collect();
    if apart.is_empty() {
        apart = lacking;
    }
    own.retain(|ordinal| !apart.contains(ordinal));
    format!(
        "the cluster has split: {} and {} each have, or had, a quorum with the same cluster ID. Nothing is changed. \
         Stop the clients, compare both sides, and delete the claims, and then the pods, of the side that you discard \
         (docs/operating/runbook.md#two-histories)",
        names(cluster, &apart),
        names(cluster, &own),
    )
}

/// Lists the names of the members of these ordinals.
fn names<'a>(cluster: &str, ordinals: impl IntoIterator<Item = &'a Ordinal>) -> String {
    let names = ordinals.into_iter().map(|at| format!("{cluster}-{at}"));
    Vec::from_iter(names).join(", ")
}

/// Describes the mismatch: either some members are in other clusters, or all are in a cluster that this EtcdCluster did not
/// bootstrap.
fn clusters_differ(cluster: &str, seen: &Observed) -> String {
    let list = seen.membership.clone().unwrap_or_default();
    let id = list.cluster_id;
    let others = list.of_other_clusters();
    let others: Vec<_> = others
        .map(|(ordinal, report)| format!("{cluster}-{ordinal} is in {:x}", report.cluster_id))
        .collect();
    if !others.is_empty() {
        return format!(
            "members are in different clusters: {}; the other members are in {id:x}. Nothing is changed. \
             Decide which data to keep, and delete the claims, and then the pods, of the other \
             members. The claims may need the annotation witan.dev/allow-deletion=true",
            others.join(", ")
        );
    }
    format!(
        "these members are in cluster {id:x}, which is not the cluster of this EtcdCluster: {}. Nothing is changed. \
         To use the cluster's own data, restore its claims; to use the data \
         of these members, recreate the EtcdCluster without its status and with their number of \
         replicas; to discard their data, delete their claims, and then their pods. The claims may need the annotation \
         witan.dev/allow-deletion=true",
        names(cluster, list.reports.keys())
    )
}
