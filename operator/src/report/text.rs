//! Steps and reasons to wait in words: for events, for `status.operation` and `status.phase`, for logs and labels of metrics.

use super::{Notice, is_true};
use crate::crd::EtcdClusterStatus;
use crate::model::{
    MemberId, Membership, Observed, Obstacle, Ordinal, Refusal, Removal, Rotation, Step, Stop, Why,
};

/// The reason of a member whose peer URLs are not its pod's.
pub(super) const FOREIGN_ADDRESS: &str = "ForeignAddress";

/// The reason of `Degraded` while a pod has an earlier template because the present one was refused.
pub(super) const TEMPLATE_REFUSED: &str = "TemplateRefused";

/// Describes a step in words; `None` for `Step::Done`.
#[rustfmt::skip]
pub fn step(cluster: &str, seen: &Observed, step: &Step) -> Option<Notice> {
    let pod = |ordinal: &Ordinal| format!("{cluster}-{ordinal}");
    let named = |id: &MemberId| name_of(cluster, seen, *id);
    let (reason, member, message) = match step {
        Step::Done => return None,
        Step::Wait { why, .. } => return Some(wait(cluster, seen, why)),
        Step::RemoveMember { id, reason } => return Some(removal(named(id), *reason)),
        Step::DeletePod { ordinal, reason } => return Some(stop(pod(ordinal), *reason)),
        Step::ApplyServices => ("ServicesApplied", None, "applying the services".to_owned()),
        Step::ApplyBudget { min_available: Some(voters) } => ("DisruptionBudgetApplied", None, format!("an eviction must leave {voters} voters")),
        Step::ApplyBudget { min_available: None } => ("DisruptionBudgetDeleted", None, "deleting the pod disruption budget".to_owned()),
        Step::IssueCertificate { role } => ("CertificateIssued", None, format!("issuing the certificate of role {role:?}").to_lowercase()),
        Step::RequestCertificate { role } => ("CertificateRequested", None, format!("asking cert-manager for the certificate of role {role:?}").to_lowercase()),
        Step::OwnCertificate { role } => ("CertificateOwned", None, format!("making the Certificate the owner of the secret of role {role:?}").to_lowercase()),
        Step::RotateAuthority { to } => ("AuthorityRotated", None, rotation(*to).to_owned()),
        Step::BeginBootstrap { members, .. } => ("Bootstrapping", None, format!("bootstrapping a cluster of {members} members")),
        Step::CreateDiscoveryToken { members } => ("DiscoveryTokenCreated", None, format!("making a discovery token for {members} members")),
        Step::StartMember { ordinal, bootstrap, .. } => ("MemberStarted", Some(pod(ordinal)), format!("starting member {} ({:?})", pod(ordinal), bootstrap.kind())),
        Step::AddLearner { ordinal, .. } => ("MemberAdded", Some(pod(ordinal)), format!("adding member {} as a learner", pod(ordinal))),
        Step::Promote { id } => ("LearnerPromoted", Some(named(id)), format!("giving member {} its vote", named(id))),
        Step::LabelPod { ordinal, role } => ("MemberLabeled", Some(pod(ordinal)), format!("member {} is a {role:?}", pod(ordinal)).to_lowercase()),
        Step::MoveLeader { from, to } => ("LeaderTransferred", Some(named(to)), format!("handing leadership over from {} to {}", named(from), named(to))),
        Step::UpdatePeerUrl { id, .. } => ("PeerUrlUpdated", Some(named(id)), format!("changing the peer URL of member {}", named(id))),
        Step::DeleteClaim { ordinal } => ("ClaimDeleted", Some(pod(ordinal)), format!("deleting the claim of the removed member {}", pod(ordinal))),
        Step::RetireClaim { ordinal, held } => {
            let until = if *held { " until another one votes" } else { "" };
            ("ClaimRetained", Some(pod(ordinal)), format!("keeping the claim of the removed member {}{until}", pod(ordinal)))
        }
        Step::ApplyClaim { ordinal, .. } => ("ClaimApplied", Some(pod(ordinal)), format!("applying owner and labels of the claim of {}", pod(ordinal))),
        Step::GrowClaim { ordinal, bytes } => ("StorageResized", Some(pod(ordinal)), format!("growing the claim of {} to {bytes} bytes", pod(ordinal))),
        Step::DisarmCorrupt { id } => ("AlarmCleared", None, format!("lowering the alarm CORRUPT of the removed member {id:x}")),
        Step::EnableAuth => ("AuthEnabled", None, "turning authentication on".to_owned()),
        Step::DisableAuth => ("AuthDisabled", None, "turning authentication off".to_owned()),
    };
    Some(Notice { reason, member, message, warning: false })
}

/// Describes a failed step, with the message of the refusal.
pub fn refused(refusal: &Refusal) -> Notice {
    let reason = if refusal.idle {
        "NoProgress"
    } else {
        "StepRefused"
    };
    let message = format!("{}: {}", refusal.step.kind(), refusal.said);
    Notice { reason, member: None, message, warning: true }
}

fn rotation(to: Rotation) -> &'static str {
    match to {
        Rotation::Introduced => "trusting the next authority beside the present one",
        Rotation::Switched => "signing with the next authority",
        Rotation::Rest => "removing the former authority from the trusted ones",
    }
}

fn removal(member: String, why: Removal) -> Notice {
    let (reason, because, warning) = match why {
        Removal::ScaleIn => (
            "MemberRemoved",
            "spec.replicas asks for fewer members",
            false,
        ),
        Removal::Dead => ("ReplacingDeadMember", "it did not come back in time", true),
        Removal::BadDisk => (
            "ReplacingDeadMember",
            "its process says that its disk cannot be used; the disk is kept until another member votes",
            true,
        ),
        Removal::Asked => (
            "ReplacingMember",
            "the annotation witan.dev/replace-member names it",
            false,
        ),
        Removal::DiskLost => ("ReplacingDeadMember", "its disk is lost", true),
        Removal::Corrupt => (
            "ReplacingCorruptMember",
            "its data differs from that of the others",
            true,
        ),
        Removal::Ephemeral => (
            "MemberRemoved",
            "it has no disk, and its template changed",
            false,
        ),
    };
    let message = format!("removing member {member}: {because}");
    Notice { reason, member: Some(member), message, warning }
}

fn stop(pod: String, why: Stop) -> Notice {
    let (reason, because) = match why {
        Stop::NotAMember => ("PodRemoved", "it belongs to no member of the cluster"),
        Stop::ScaleIn => ("MemberStopped", "spec.replicas asks for fewer members"),
        Stop::Outdated => ("MemberUpdated", "its template changed"),
        Stop::PeerTls => ("MemberUpdated", "it changes between clear text and TLS"),
        Stop::Ended => (
            "MemberRestarted",
            "its container has ended and is not restarted",
        ),
        Stop::WrongStart => (
            "MemberRestarted",
            "its flags do not fit the present state of the cluster",
        ),
        Stop::Silent => (
            "MemberRestarted",
            "it does not answer, and nothing says that its disk is bad",
        ),
        Stop::Fenced => (
            "MemberFenced",
            "the annotation witan.dev/fenced-members names it",
        ),
        Stop::Hibernated => ("MemberHibernated", "spec.replicas is 0"),
    };
    let message = format!("stopping pod {pod}: {because}");
    Notice { reason, member: Some(pod), message, warning: false }
}

fn wait(cluster: &str, seen: &Observed, why: &Why) -> Notice {
    let pod = |ordinal: &Ordinal| format!("{cluster}-{ordinal}");
    let named = |id: &MemberId| name_of(cluster, seen, *id);
    let (reason, member, message, warning) = match why {
        Why::Deleting => ("Deleting", None, "the cluster is being deleted".to_owned(), false),
        Why::Paused => ("Paused", None, "spec.paused is set: nothing is changed".to_owned(), false),
        Why::Hibernated => ("Hibernated", None, "no member runs; the disks are kept".to_owned(), false),
        Why::CannotHibernate => ("SpecRejected", None, "spec.replicas is 0, and without disks all data would be lost".to_owned(), true),
        Why::ClusterIdMismatch => ("ClusterIDMismatch", None, strangers(cluster, seen), true),
        Why::QuorumLost => ("QuorumLost", None, "too few voters serve; pods that can come back are started, nothing else is changed".to_owned(), true),
        Why::Unreachable => {
            let error = seen.call_error.as_deref().unwrap_or("no pod has an address");
            ("ClusterUnreachable", None, format!("pods are ready and no member answers the operator: {error}"), true)
        }
        Why::DataLost => ("DataLost", None, "the disks of all members are lost: restore a backup into a new cluster".to_owned(), true),
        Why::Bootstrapping => ("BootstrapInProgress", None, "the first members are starting".to_owned(), false),
        Why::NameTaken(part) => {
            let holder = seen.taken.get(part);
            let whose = holder.map_or_else(|| format!("{part:?}"), |holder| holder.object.clone());
            let ending = holder.is_some_and(|holder| holder.ending);
            let text = if ending { "is being deleted with an earlier cluster of this name" } else { "has a name that this cluster needs: remove it, or give the cluster another name" };
            ("NameTaken", None, format!("{whose} {text}"), !ending)
        }
        Why::SecretsMissing => {
            let names: Vec<_> = seen.missing_secrets.iter().map(String::as_str).collect();
            ("SecretMissing", None, format!("secrets that the specification names do not exist: {}", names.join(", ")), true)
        }
        Why::CertificatesPending => {
            let names: Vec<_> = seen.missing_secrets.iter().map(String::as_str).collect();
            ("CertificatePending", None, format!("cert-manager has not written these secrets with ca.crt, tls.crt and tls.key; their Certificates say why: {}", names.join(", ")), false)
        }
        Why::CertManagerMissing => ("CertManagerMissing", None, "cert-manager is not installed: the API server knows no Certificates".to_owned(), true),
        Why::GrowthRefused(ordinal) => {
            let claim = seen.ordinals.get(ordinal).and_then(|at| at.claim.as_ref());
            let words = claim.map_or("", |claim| claim.refusal.as_str());
            ("StorageNotResized", Some(pod(ordinal)), format!("the claim of {} cannot grow to spec.storage.size: {words}", pod(ordinal)), true)
        }
        Why::RolloutQueued => ("RolloutQueued", None, "the members are updated after other clusters: the operator's --max-concurrent-rollouts is reached".to_owned(), false),
        Why::VersionStep { from, to } => ("SpecRejected", None, format!("version {from} cannot be updated to {to} in one step: set spec.version to the next minor version first"), true),
        Why::Refused => match seen.refused.first() {
            Some(refusal) => return refused(refusal),
            None => ("StepRefused", None, "a step was refused".to_owned(), true),
        },
        Why::SpecRejected => ("SpecRejected", None, seen.rejected.clone().unwrap_or_default(), true),
        Why::PodEnding(ordinal) => ("PodEnding", Some(pod(ordinal)), format!("pod {} is being deleted", pod(ordinal)), false),
        Why::ClaimEnding(ordinal) => ("ClaimEnding", Some(pod(ordinal)), format!("the claim of {} is being deleted", pod(ordinal)), false),
        Why::LearnerBehind(id) => ("LearnerCatchingUp", Some(named(id)), format!("learner {} is catching up", named(id)), false),
        Why::Unhealthy(ordinal) => ("MemberUnhealthy", Some(pod(ordinal)), format!("member {} is not healthy; it is replaced or restarted if it does not recover in time", pod(ordinal)), true),
        Why::Obstacle(ordinal, obstacle) => {
            let (reason, text) = obstacle_text(*obstacle);
            let found = seen.ordinals.get(ordinal).and_then(|at| at.pod.as_ref()?.said.clone());
            let said = found.map(|said| format!(": {said}")).unwrap_or_default();
            (reason, Some(pod(ordinal)), format!("member {} {text}{said}", pod(ordinal)), true)
        }
        Why::Silent(ordinal) => ("MemberSilent", Some(pod(ordinal)), format!("member {0} does not answer, and nothing says that its disk is bad; its pod was recreated within the last hour. To replace the member, delete the claim of its disk and pod {0}", pod(ordinal)), true),
        Why::Exited(ordinal, code) => ("MemberExits", Some(pod(ordinal)), format!("the process of member {0} ends with exit code {code}, which a new disk would not fix: see the log of pod {0}", pod(ordinal)), true),
        Why::UnprovenTemplate(ordinal) => ("UnprovenTemplate", Some(pod(ordinal)), format!("the process of member {0} says that its disk cannot be used, but no member serves with the same image and flags: see the log of pod {0}", pod(ordinal)), true),
        Why::CannotReplace(ordinal) => ("CannotReplaceMember", Some(pod(ordinal)), format!("member {} has to be replaced, and the others alone have no quorum or spec.selfHealing forbids it", pod(ordinal)), true),
        Why::Corrupt(ordinal) => ("MemberCorrupt", Some(pod(ordinal)), format!("the data of member {} differs from that of the others; spec.selfHealing leaves it to a person", pod(ordinal)), true),
        Why::ForeignUnhealthy(id) => ("MemberUnhealthy", Some(named(id)), format!("member {} is no pod of this cluster and is not healthy", named(id)), true),
        Why::CannotFence(ordinal) => ("CannotFenceMember", Some(pod(ordinal)), format!("member {} cannot be fenced: the others alone have no quorum", pod(ordinal)), true),
        Why::Fenced(ordinal) => ("MemberFenced", Some(pod(ordinal)), format!("member {} is fenced; planned changes wait until the annotation witan.dev/fenced-members does not name it any more", pod(ordinal)), false),
        Why::Approval(ordinal) => ("WaitingForApproval", Some(pod(ordinal)), format!("the leader {} is the last to restart and waits for the annotation witan.dev/allow-leader-restart", pod(ordinal)), false),
        Why::OnlyCopy(ordinal) => ("OnlyCopy", Some(pod(ordinal)), format!("member {} has the only copy of the data and no disk: scale out to change its template", pod(ordinal)), true),
        Why::Settling(ordinal) => ("MemberSettling", Some(pod(ordinal)), format!("member {} has just become ready", pod(ordinal)), false),
    };
    Notice { reason, member, message, warning }
}

/// Says which members are in which cluster, and how a person can resolve it.
fn strangers(cluster: &str, seen: &Observed) -> String {
    let list = seen.membership.as_ref();
    let id = list.map_or(0, |list| list.cluster_id);
    let others = list.into_iter().flat_map(Membership::strangers);
    let others =
        others.map(|(ordinal, said)| format!("{cluster}-{ordinal} is in {:x}", said.cluster_id));
    let others: Vec<_> = others.collect();
    if !others.is_empty() {
        return format!(
            "members are in different clusters: {}, the others are in {id:x}. Nothing is changed until a person decides which data to keep and deletes the claims, and then the pods, of the other members",
            others.join(", ")
        );
    }
    let all = list.into_iter().flat_map(|list| list.said.keys());
    let all: Vec<_> = all.map(|ordinal| format!("{cluster}-{ordinal}")).collect();
    format!(
        "in cluster {id:x}, which is not that of this EtcdCluster, are {}: nothing is changed until a person decides. To use the cluster's own data, restore its claims; to use the data of these members, recreate the EtcdCluster without its status and with their number of replicas; to discard their data, delete their claims, and then their pods",
        all.join(", ")
    )
}

fn obstacle_text(obstacle: Obstacle) -> (&'static str, &'static str) {
    match obstacle {
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

/// Returns the name of a member: its own, else the one that its peer URL contains, else its id.
pub(super) fn name_of(cluster: &str, seen: &Observed, id: MemberId) -> String {
    let member = seen
        .membership
        .as_ref()
        .and_then(|membership| membership.by_id(id));
    match member {
        Some(member) if !member.name.is_empty() => member.name.clone(),
        Some(member) => member.ordinal.map_or_else(
            || format!("{id:x}"),
            |ordinal| format!("{cluster}-{ordinal}"),
        ),
        None => format!("{id:x}"),
    }
}

/// Returns events for conditions that changed between two statuses.
pub fn turns(before: &EtcdClusterStatus, after: &EtcdClusterStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    let notice = |reason, message: &str, warning| Notice {
        reason,
        member: None,
        message: message.to_owned(),
        warning,
    };
    match (is_true(before, "Available"), is_true(after, "Available")) {
        _ if before.cluster_id.is_none() => {}
        (true, false) => notices.push(notice("QuorumLost", "the cluster does not serve", true)),
        (false, true) => notices.push(notice("QuorumRestored", "the cluster serves", false)),
        (true, true) | (false, false) => {}
    }
    let elsewhere = |status: &EtcdClusterStatus| -> Vec<String> {
        let reason = Some(FOREIGN_ADDRESS);
        let members = status.members.iter();
        let those = members.filter(|member| member.reason.as_deref() == reason);
        those.map(|member| member.name.clone()).collect()
    };
    let known = elsewhere(before);
    for name in elsewhere(after)
        .into_iter()
        .filter(|name| !known.contains(name))
    {
        let message = format!(
            "the peer URL of member {name} is not that of its pod: other members reach it elsewhere, or not at all"
        );
        notices.push(Notice {
            reason: FOREIGN_ADDRESS,
            member: Some(name),
            message,
            warning: true,
        });
    }
    let refused = |status: &EtcdClusterStatus| {
        let mut conditions = status.conditions.iter();
        let found = conditions.find(|each| each.reason == TEMPLATE_REFUSED);
        found.map(|each| each.message.clone())
    };
    if let (None, Some(message)) = (refused(before), refused(after)) {
        notices.push(notice(TEMPLATE_REFUSED, &message, true));
    }
    match (before.alarms.is_empty(), after.alarms.is_empty()) {
        (true, false) => notices.push(notice("AlarmRaised", &after.alarms.join(", "), true)),
        (false, true) => notices.push(notice("AlarmCleared", "no alarm is raised any more", false)),
        (true, true) | (false, false) => {}
    }
    notices
}
