//! Decides the next action of an operation from its record and the observed cluster.
//!
//! Operations that the plan executes are recorded in `status.requests` of the EtcdCluster. The operation then watches the
//! progress of the plan.

use kube::ResourceExt as _;
use witan_crd::{
    CertificateRole, EtcdOperation, EtcdOperationStatus, OperationRequest, RecoveryPhase, Requests,
    RestoreStatus, Verb,
};
use witan_plan::model::{MemberId, MemberSeen, Membership, Observed, OrdinalSeen, Rotation};

use super::restore::{self, UNFINISHED};
use crate::{observe::is_issued, resources::Cluster};

const NO_QUORUM: &str = "waiting until a quorum of the members serves";

const NO_CERTIFICATES: &str = "the operator does not issue the certificates of this cluster. If spec.tls has an issuerRef, renew the \
    Certificate with cert-manager; if it names a secretRef, write another certificate into that secret; without spec.tls \
    there are no certificates";

const NO_CLAIMS: &str =
    "the members have no claims: spec.storage keeps their data in emptyDir or memory";

const ON_DELETE: &str =
    "spec.updateStrategy.type is OnDelete: the operator does not restart members";

#[derive(Debug, PartialEq)]
pub(super) enum Start {
    /// The operation waits, for this reason.
    Hold(String),
    /// The operation starts. Holds the name and the id of the member that the operation names, if any.
    Begin(Option<(String, MemberId)>),
    /// The operation ends immediately, with this message.
    End(Result<String, String>),
}

#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Request(Box<Requests>),
    MoveLeader {
        from: MemberId,
        to: MemberId,
    },
    Compare,
    CheckBackup,
    Record(Box<RestoreStatus>),
    /// Waits for the cluster, with this progress message.
    Watch(String),
    End(Result<String, String>),
}

/// Decides whether a pending operation starts, waits or ends.
pub(super) fn begin(verb: Verb<'_>, cluster: &Cluster<'_>, seen: &Observed) -> Start {
    let begun = match verb {
        Verb::ConsistencyCheck => Ok(Start::Begin(None)),
        Verb::Restore(of) => managed(cluster).map(|()| restore::may_restore(cluster, seen, of)),
        Verb::UndoRestore(of) => managed(cluster).map(|()| restore::may_return(cluster, seen, of)),
        Verb::RecoverQuorum(of) => {
            free(cluster).map(|()| begin_recovery(cluster, seen, &of.survivor))
        }
        Verb::MoveLeader(of) => serving(cluster, seen)
            .map(|list| begin_leader_transfer(cluster, seen, list, of.to.as_deref())),
        Verb::ReplaceMember(of) => {
            serving(cluster, seen).map(|list| begin_replacement(cluster, seen, list, &of.name))
        }
        Verb::Restart | Verb::MigrateStorage | Verb::RotateCertificates => {
            may_restart(verb, cluster, seen)
        }
    };
    begun.unwrap_or_else(|held| held)
}

/// Fails with [`Start::Hold`] if the operator does not act on the cluster, because the cluster is paused or hibernated.
pub(super) fn managed(cluster: &Cluster<'_>) -> Result<(), Start> {
    let spec = cluster.spec();
    let why = if spec.paused {
        "spec.paused of the EtcdCluster is true: the operator changes nothing"
    } else if spec.replicas == 0 {
        "the EtcdCluster is hibernated: spec.replicas is 0"
    } else {
        return Ok(());
    };
    Err(Start::Hold(why.to_owned()))
}

/// Fails if the operator does not act on the cluster, or if a restore has not ended.
fn free(cluster: &Cluster<'_>) -> Result<(), Start> {
    managed(cluster)?;
    restore::in_progress(cluster).map_or(Ok(()), |by| {
        let text = format!("the restore of EtcdOperation {by} has not ended: {UNFINISHED}");
        Err(Start::Hold(text))
    })
}

/// Returns the list of members. Fails if no quorum serves, the operator does not act on the cluster, or a restore has not
/// ended.
fn serving<'a>(cluster: &Cluster<'_>, seen: &'a Observed) -> Result<&'a Membership, Start> {
    free(cluster)?;
    confirmed(seen).ok_or_else(|| Start::Hold(NO_QUORUM.to_owned()))
}

/// Decides whether an operation that restarts all members starts. Fails with [`Start::Hold`] if the operation must wait.
/// Returns [`Start::End`] if the operation is impossible.
fn may_restart(verb: Verb<'_>, cluster: &Cluster<'_>, seen: &Observed) -> Result<Start, Start> {
    free(cluster)?;
    let spec = cluster.spec();
    let is_issued = is_issued(cluster, CertificateRole::Authority);
    let why = if verb == Verb::RotateCertificates && !is_issued {
        NO_CERTIFICATES
    } else if verb == Verb::MigrateStorage && !spec.is_durable() {
        NO_CLAIMS
    } else if !spec.updates_members() {
        ON_DELETE
    } else if serving(cluster, seen)?.voters().count() == 1 && !spec.is_durable() {
        "the only member has no durable disk: a restart would lose all data"
    } else {
        return Ok(Start::Begin(None));
    };
    Ok(Start::End(Err(why.to_owned())))
}

/// Returns the request for the status of the EtcdCluster while the operation runs; `None` if the operation has no status or
/// uid.
fn request_of(operation: &EtcdOperation) -> Option<OperationRequest> {
    let replaced = operation.status.as_ref()?.member_id.clone();
    let recovered = operation.spec.recover_quorum.as_ref();
    Some(OperationRequest {
        name: operation.name_any(),
        uid: operation.uid()?,
        replace_member: replaced.filter(|_| operation.spec.replace_member.is_some()),
        recover_quorum: recovered.map(|of| of.survivor.clone()),
        migrate_storage: operation.spec.migrate_storage.is_some(),
    })
}

/// Decides the next action of a running operation. Ends the operation with an error if the spec no longer permits it.
pub(super) fn advance(
    verb: Verb<'_>,
    operation: &EtcdOperation,
    cluster: &Cluster<'_>,
    seen: &Observed,
) -> Next {
    let status = &operation.status.clone().unwrap_or_default();
    let own = || request(cluster, |after| after.operation = request_of(operation));
    let watch = || Next::Watch(progress(cluster));
    match verb {
        Verb::ConsistencyCheck => Next::Compare,
        Verb::MoveLeader(_) => advance_leader_transfer(status, seen),
        Verb::ReplaceMember(of) => {
            let Some(list) = confirmed(seen) else {
                return watch();
            };
            if list.by_id(recorded_member(status)).is_some() {
                return own().unwrap_or_else(watch);
            }
            let id = status.member_id.clone().unwrap_or_default();
            let text = format!("a new member has replaced {} (id {id})", of.name);
            ended(settled(cluster, seen, |_| true), &text).unwrap_or_else(watch)
        }
        Verb::Restart | Verb::MigrateStorage | Verb::RotateCertificates
            if !cluster.spec().updates_members() =>
        {
            Next::End(Err(ON_DELETE.to_owned()))
        }
        Verb::Restart => {
            let done = settled(cluster, seen, is_updated);
            request(cluster, |after| after.restart = operation.uid())
                .or_else(|| ended(done, "all members have been restarted"))
                .unwrap_or_else(watch)
        }
        Verb::MigrateStorage => {
            let done = settled(cluster, seen, has_migrated);
            own()
                .or_else(|| ended(done, "all members have new claims"))
                .unwrap_or_else(watch)
        }
        Verb::RotateCertificates if !is_issued(cluster, CertificateRole::Authority) => {
            Next::End(Err(NO_CERTIFICATES.to_owned()))
        }
        Verb::RotateCertificates => {
            let rests = !seen.authority.requested && seen.authority.rotation == Rotation::Rest;
            let done = rests && settled(cluster, seen, is_updated);
            let text = "all members have certificates from the new CA, and trust only this CA";
            request(cluster, |after| after.rotate_certificates = operation.uid())
                .or_else(|| ended(done, text))
                .unwrap_or_else(watch)
        }
        Verb::RecoverQuorum(of) => {
            let held = managed(cluster).err().map(|_| watch());
            recovered(cluster, &of.survivor)
                .or(held)
                .or_else(own)
                .unwrap_or_else(watch)
        }
        Verb::Restore(_) | Verb::UndoRestore(_) => restore::next(operation, cluster, seen),
    }
}

/// Returns the action that records a request in the status of the cluster; `None` if the request is already recorded.
fn request(cluster: &Cluster<'_>, change: impl FnOnce(&mut Requests)) -> Option<Next> {
    let before = cluster.resource.requests();
    let mut after = before.clone();
    change(&mut after);
    (after != before).then(|| Next::Request(Box::new(after)))
}

/// Returns the successful end of a recovery from `survivor`; `None` until the status records that the recovery is done.
fn recovered(cluster: &Cluster<'_>, survivor: &str) -> Option<Next> {
    let recorded = cluster.resource.status.as_ref()?.recovery.as_ref()?;
    let done = recorded.member == survivor && recorded.phase == RecoveryPhase::Done;
    let text = format!(
        "a quorum serves: a new cluster was forced from {survivor}, or the other members recovered first"
    );
    ended(done, &text)
}

/// Returns the successful end of an operation if `done`, with the message `text`.
fn ended(done: bool, text: &str) -> Option<Next> {
    done.then(|| Next::End(Ok(text.to_owned())))
}

/// Returns the list of members; `None` unless a quorum has confirmed it.
fn confirmed(seen: &Observed) -> Option<&Membership> {
    let list = seen.membership.as_ref();
    list.filter(|list| list.is_confirmed())
}

/// Decides whether a recovery starts. Returns [`Start::End`] if the survivor is not a known member or a quorum serves. Returns
/// [`Start::Hold`] while a finished recovery is recorded or another recovery is requested.
fn begin_recovery(cluster: &Cluster<'_>, seen: &Observed, survivor: &str) -> Start {
    let status = cluster.resource.status.as_ref();
    let members = status.map(|status| &status.members[..]).unwrap_or_default();
    let is_listed = members.is_empty() || members.iter().any(|member| member.name == survivor);
    if cluster.resource.ordinal(survivor).is_none() || !is_listed {
        let name = &cluster.name;
        return Start::End(Err(format!("{survivor} is not a member of {name}")));
    }
    if confirmed(seen).is_some() {
        let text = "a quorum serves, so there is nothing to recover; use replaceMember to replace a lost member";
        return Start::End(Err(text.to_owned()));
    }
    let recorded = status.and_then(|status| status.recovery.as_ref());
    let is_done = recorded.is_some_and(|one| one.phase == RecoveryPhase::Done);
    // A recovery whose survivor cannot start continues with another survivor.
    if is_done || seen.recover.is_some() {
        let text = "status.recovery of the EtcdCluster records another recovery";
        return Start::Hold(text.to_owned());
    }
    Start::Begin(None)
}

/// Decides whether a leader transfer starts. Without a name, chooses the healthy follower with the highest applied index.
/// Succeeds immediately if the named member is the leader, and ends with an error if it is not a healthy voter.
fn begin_leader_transfer(
    cluster: &Cluster<'_>,
    seen: &Observed,
    list: &Membership,
    to: Option<&str>,
) -> Start {
    let name = |member: &MemberSeen| seen.name_of(&cluster.name, member.id);
    let others = list.voters();
    let others = others.filter(|voter| list.leader != Some(voter.id) && voter.healthy);
    let found = match to {
        Some(to) => list.voters().find(|voter| name(voter) == to),
        None => others.max_by_key(|voter| (voter.raft_index, std::cmp::Reverse(voter.id))),
    };
    match found {
        Some(voter) if list.leader == Some(voter.id) => {
            Start::End(Ok(format!("{} is already the leader", name(voter))))
        }
        Some(voter) if !voter.healthy => {
            let text = format!(
                "{} is not healthy, so it cannot become the leader",
                name(voter)
            );
            Start::End(Err(text))
        }
        Some(voter) => Start::Begin(Some((name(voter), voter.id))),
        None => {
            let voters: Vec<_> = list.voters().map(name).collect();
            let why = match to {
                Some(to) => format!("{to} is not a voter"),
                None => "no other voter is healthy".to_owned(),
            };
            Start::End(Err(format!("{why}; the voters are {}", voters.join(", "))))
        }
    }
}

/// Decides whether the replacement of the member `named` starts. The operation fails unless the member is a voter and a pod of
/// this cluster.
fn begin_replacement(
    cluster: &Cluster<'_>,
    seen: &Observed,
    list: &Membership,
    named: &str,
) -> Start {
    let name = |member: &MemberSeen| seen.name_of(&cluster.name, member.id);
    let Some(member) = list.members.iter().find(|member| name(member) == named) else {
        let all: Vec<_> = list.members.iter().map(name).collect();
        let text = format!(
            "{named} is not a member; the members are {}",
            all.join(", ")
        );
        return Start::End(Err(text));
    };
    let why = if member.ordinal.is_none() {
        "is not a pod of this cluster"
    } else if member.learner {
        "is a learner: the operator replaces learners automatically"
    } else {
        return Start::Begin(Some((named.to_owned(), member.id)));
    };
    Start::End(Err(format!("{named} {why}")))
}

/// Returns the next action of a leader transfer. Ends with an error once the member is no longer a voter. Waits while it is not
/// healthy, because members accept no writes during a transfer, and this transfer would end only with a timeout.
fn advance_leader_transfer(status: &EtcdOperationStatus, seen: &Observed) -> Next {
    let Some(list) = confirmed(seen) else {
        return Next::Watch(NO_QUORUM.to_owned());
    };
    let to = recorded_member(status);
    let name = status.member.clone().unwrap_or_default();
    let voter = list.voters().find(|voter| voter.id == to);
    match (list.leader, voter) {
        (Some(leader), _) if leader == to => Next::End(Ok(format!("{name} is the leader"))),
        (_, Some(voter)) if !voter.healthy => {
            Next::Watch(format!("waiting until {name} is healthy"))
        }
        (Some(from), Some(_)) => Next::MoveLeader { from, to },
        (Some(_) | None, _) => Next::End(Err(format!("{name} is no longer a voter"))),
    }
}

/// Returns the id of the recorded member; 0, which no member has, if no valid id is recorded.
fn recorded_member(status: &EtcdOperationStatus) -> MemberId {
    let id = status.member_id.as_deref().unwrap_or_default();
    u64::from_str_radix(id, 16).unwrap_or_default()
}

/// Returns whether a quorum confirmed the list, the number of members is as desired, and all of them vote and serve. Also, no
/// existing pod may be unready or being deleted, and `current` must return `true` for each ordinal.
pub(super) fn settled(
    cluster: &Cluster<'_>,
    seen: &Observed,
    current: impl Fn(&OrdinalSeen) -> bool,
) -> bool {
    confirmed(seen).is_some_and(|list| {
        let all = list.members.len() == cluster.spec().members() as usize;
        all && list.members.iter().all(|member| {
            let own = member.ordinal.and_then(|at| seen.ordinals.get(&at));
            let pod = own.and_then(|own| own.pod.as_ref());
            let stays = pod.is_none_or(|pod| pod.ready && !pod.deleting);
            member.healthy && !member.learner && stays && own.is_none_or(&current)
        })
    })
}

/// Returns whether the pod of an ordinal has the current template or does not exist.
pub(super) fn is_updated(own: &OrdinalSeen) -> bool {
    own.pod.as_ref().is_none_or(|pod| !pod.outdated)
}

/// Returns whether the claim of an ordinal needs no migration or does not exist.
fn has_migrated(own: &OrdinalSeen) -> bool {
    own.claim.as_ref().is_none_or(|claim| !claim.must_migrate)
}

/// Describes what the operator is doing to the cluster, or else why the cluster is degraded, according to its status.
pub(super) fn progress(cluster: &Cluster<'_>) -> String {
    let status = cluster.resource.status.clone().unwrap_or_default();
    let now = status.operation.and_then(|now| now.message);
    let mut conditions = status.conditions.into_iter();
    let degraded = conditions.find(|each| each.type_ == "Degraded" && each.status == "True");
    now.or_else(|| degraded.map(|degraded| degraded.message))
        .or(status.phase)
        .unwrap_or_else(|| "the operator is observing the cluster".to_owned())
}
