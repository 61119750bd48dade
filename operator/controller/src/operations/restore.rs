//! Restores in place: decides whether a restore may begin and builds its record for the status of the EtcdCluster.
//!
//! A job first restores the backup in a scratch directory (`check`). Then the record is written. `plan` stops and starts the
//! members according to the record, even if the EtcdOperation is deleted.

mod check;

use kube::ResourceExt as _;
use witan_crd::{
    EtcdOperation, ORDINAL_MAX, RestoreInPlace, RestorePhase, RestorePoint, RestoreStatus,
    UndoRestore, quorum,
};
use witan_plan::model::{Observed, Ordinal, Part};

use super::{
    decide::{Next, Start, is_updated, managed, progress, settled},
    record::now,
};
use crate::{
    observe::{FoundBackup, is_only_for_bootstrap},
    resources::Cluster,
};

const NO_DISKS: &str = "the members have no durable disks that could be kept; delete the EtcdCluster, and create an EtcdCluster that \
    starts from the backup (spec.bootstrap.restore)";

const NO_PODS: &str = "the pods of the members could not be recreated";

const FOREIGN: &str = "is not a pod of this EtcdCluster, so the operator cannot stop it; remove it with etcdctl member remove first";

const NOTHING_KEPT: &str = "there is nothing to undo: no restore of this EtcdCluster has kept the disks of a \
    cluster that served";

const GO_BACK: &str = "to return to the previous disks, delete this EtcdOperation and create an EtcdOperation with undoRestore: {}";

/// Advice for an unfinished restore whose EtcdOperation was deleted.
pub(super) const UNFINISHED: &str = "wait, or create an EtcdOperation with undoRestore: {}";

/// Returns the name of the operation whose recorded restore has not finished, or `None` if no restore is in progress.
pub(super) fn in_progress<'a>(cluster: &Cluster<'a>) -> Option<&'a str> {
    let restore = last(cluster).filter(|last| last.phase != RestorePhase::Done)?;
    Some(&restore.operation)
}

/// Returns the record of the last restore or return, finished or not; `None` if there was none.
fn last<'a>(cluster: &Cluster<'a>) -> Option<&'a RestoreStatus> {
    cluster.resource.status.as_ref()?.restore.as_ref()
}

/// Returns an operation's record in the status of its cluster; `None` if the last record belongs to another operation.
pub(super) fn recorded<'a>(
    operation: &EtcdOperation,
    cluster: &Cluster<'a>,
) -> Option<&'a RestoreStatus> {
    let uid = operation.uid();
    last(cluster).filter(|last| Some(&last.operation_uid) == uid.as_ref())
}

/// Returns why no member could start after the restore or undo, so that members must not be stopped yet. `disks` are the disks
/// to which the cluster returns; empty for new members. Returns `None` if members can start, or if an unfinished restore may
/// already have stopped members.
fn cannot_start(cluster: &Cluster<'_>, seen: &Observed, disks: &[String]) -> Option<String> {
    if in_progress(cluster).is_some() {
        return None;
    }
    if let Some(said) = &seen.rejected {
        return Some(format!("{NO_PODS}: {said}"));
    }
    let missing = seen.missing_secrets.iter().map(String::as_str);
    // The restore replaces the backup in `spec.bootstrap.restore`.
    let missing = missing.filter(|name| !is_only_for_bootstrap(cluster, name));
    let missing = missing.collect::<Vec<_>>().join(", ");
    if !missing.is_empty() {
        let text = "no member was stopped: secrets that the spec refers to do not exist";
        return Some(format!("{text}: {missing}"));
    }
    let next = seen.ordinals.keys().next_back().map_or(0, |last| last + 1);
    if disks.is_empty() && next + cluster.spec().members() > ORDINAL_MAX + 1 {
        let claim = cluster.claim(next - 1);
        let text = "is too high for further members; delete this claim";
        return Some(format!(
            "no member was stopped: the number of {claim} {text}"
        ));
    }
    let starts = |ordinal: Ordinal| match disks {
        [] => ordinal >= next,
        disks => disks.contains(&cluster.claim(ordinal)),
    };
    let is_needed = |part: &Part| {
        matches!(part, Part::Claim(_)) || matches!(part, Part::Pod(ordinal) if starts(*ordinal))
    };
    let mut taken = seen.taken.iter().filter(|taken| is_needed(taken.0));
    let (part, holder) = taken.next()?;
    let (holder, advice) = (&holder.object, part.advice(&cluster.name));
    Some(format!(
        "no member was stopped: {holder} has a name that the members would need; {advice}"
    ))
}

/// Decides whether a restore from a backup may start. An undo must be able to return to the disks in use, so the members must
/// have durable disks and be pods of the cluster.
pub(super) fn may_restore(cluster: &Cluster<'_>, seen: &Observed, asked: &RestoreInPlace) -> Start {
    if let Some(said) = &seen.rejected {
        return Start::Hold(format!("{NO_PODS}: {said}"));
    }
    let kept = kept_disks_refusal(cluster, seen);
    let why = if !cluster.spec().is_durable() {
        NO_DISKS.to_owned()
    } else if let Some(name) = elsewhere(cluster, seen) {
        format!("{name} {FOREIGN}")
    } else if let Some(kept) = kept.filter(|_| !asked.forget_kept_disks) {
        kept
    } else {
        return cannot_start(cluster, seen, &[]).map_or(Start::Begin(None), Start::Hold);
    };
    Start::End(Err(why))
}

/// Returns why a new restore is refused, or `None` if it is allowed. After the new restore, an undo could no longer return to
/// the usable disks that the last finished restore kept. Ignores disks that an undo, or a restore of a cluster that never
/// served, has kept.
fn kept_disks_refusal(cluster: &Cluster<'_>, seen: &Observed) -> Option<String> {
    let last = last(cluster)?;
    let returns = last.phase == RestorePhase::Done && last.source.is_some();
    let kept = last.kept_disks.iter().map(String::as_str);
    let kept: Vec<_> = kept.filter(|name| is_usable(cluster, seen, name)).collect();
    (returns && last.kept_cluster_id.is_some() && !kept.is_empty()).then(|| {
        format!(
            "after this restore, undoRestore could no longer return to the PVCs {1}, which the restore of EtcdOperation {0} has \
             kept; delete these PVCs, or set restore.forgetKeptDisks",
            last.operation,
            kept.join(", ")
        )
    })
}

/// Returns a refusal if the backup is from a cluster other than `own` and the operation does not name that cluster. Accepts a
/// backup of an unknown cluster.
pub(super) fn wrong_cluster(
    found: &FoundBackup,
    asked: &RestoreInPlace,
    own: &str,
) -> Option<String> {
    let meant = asked.from_cluster.as_deref().unwrap_or(own);
    let of = found.of.as_deref().filter(|of| *of != meant)?;
    Some(format!(
        "the EtcdBackup is a backup of EtcdCluster {of}, not of {meant}; to restore it nevertheless, set restore.fromCluster to {of}"
    ))
}

/// Decides whether a cluster can return to the disks that its last restore kept. If it has already returned, the operation
/// succeeds and does nothing, because a repeated request must not toggle between two sets of disks. An unfinished return
/// continues.
pub(super) fn may_return(cluster: &Cluster<'_>, seen: &Observed, asked: &UndoRestore) -> Start {
    let Some(last) = last(cluster) else {
        return Start::End(Err(NOTHING_KEPT.to_owned()));
    };
    let by = &last.operation;
    if let Some(meant) = asked.operation.as_ref().filter(|meant| *meant != by) {
        return Start::End(Err(format!(
            "there is nothing to undo: EtcdOperation {meant} has not stopped members, or {by} has stopped them since then"
        )));
    }
    if last.source.is_none() {
        let disks = last.disks.join(", ");
        let text = format!("nothing to do: EtcdOperation {by} returned the cluster to {disks}");
        return match last.phase == RestorePhase::Done {
            true => Start::End(Ok(text)),
            false => Start::Begin(None),
        };
    }
    match cannot_return(cluster, seen, last) {
        Some(why) => Start::End(Err(why)),
        None => {
            let waits = cannot_start(cluster, seen, &last.kept_disks);
            waits.map_or(Start::Begin(None), Start::Hold)
        }
    }
}

/// Returns whether the claim of this name exists and is neither being deleted nor lost.
fn is_usable(cluster: &Cluster<'_>, seen: &Observed, name: &str) -> bool {
    let ordinal = cluster.ordinal_of_claim(name);
    let claim = ordinal.and_then(|ordinal| seen.claim(ordinal));
    claim.is_some_and(|claim| !claim.deleting && !claim.lost)
}

/// Returns why a cluster cannot return to the disks that its last restore kept, or `None` if it can.
fn cannot_return(cluster: &Cluster<'_>, seen: &Observed, last: &RestoreStatus) -> Option<String> {
    if let Some(name) = elsewhere(cluster, seen) {
        return Some(format!("{name} {FOREIGN}"));
    }
    if last.kept_cluster_id.is_none() {
        return Some(NOTHING_KEPT.to_owned());
    }
    let kept = &last.kept_disks;
    let is_used = |name: &&String| {
        let ordinal = cluster.ordinal_of_claim(name);
        ordinal.is_some_and(|at| seen.pod(at).is_some() || seen.member(at).is_some())
    };
    // Release 0.1.0 could give the number of a deleted disk to a later member.
    if last.phase == RestorePhase::Done
        && let Some(name) = kept.iter().find(is_used)
    {
        return Some(format!(
            "a member of the current cluster has the PVC {name}, so the kept PVC of this name no longer exists"
        ));
    }
    let usable = kept.iter().filter(|name| is_usable(cluster, seen, name));
    let (found, all, names) = (usable.count(), kept.len(), kept.join(", "));
    (found < quorum(all)).then(|| {
        format!("{found} of the {all} kept PVCs can be used, which is not a majority: {names}")
    })
}

/// Returns the name of a member outside the pods of the cluster, from the member list or the status; `None` if there is no such
/// member.
fn elsewhere(cluster: &Cluster<'_>, seen: &Observed) -> Option<String> {
    let now = seen.members().find(|member| member.ordinal.is_none());
    let status = cluster.resource.status.as_ref();
    let mut known = status.into_iter().flat_map(|status| &status.members);
    let known = known.find(|member| member.ordinal.is_none());
    now.map(|member| seen.name_of(&cluster.name, member.id))
        .or_else(|| known.map(|member| member.name.clone()))
}

/// Decides the next action of a running restore or undo. Until the restore is recorded, waits while the cluster is paused or
/// hibernated.
pub(super) fn next(operation: &EtcdOperation, cluster: &Cluster<'_>, seen: &Observed) -> Next {
    let Some(record) = recorded(operation, cluster) else {
        if let Err(Start::Hold(why)) = managed(cluster) {
            return Next::Watch(why);
        }
        let Some(asked) = &operation.spec.undo_restore else {
            return cannot_start(cluster, seen, &[]).map_or(Next::CheckBackup, Next::Watch);
        };
        return match may_return(cluster, seen, asked) {
            Start::End(result) => Next::End(result),
            Start::Hold(why) => Next::Watch(why),
            Start::Begin(_) => Next::Record(Box::new(returning(operation, cluster, seen))),
        };
    };
    if record.phase == RestorePhase::Done && settled(cluster, seen, is_updated) {
        return Next::Compare;
    }
    let progress = progress(cluster);
    match record.phase == RestorePhase::Starting && record.source.is_some() {
        true => Next::Watch(format!("{progress}; {GO_BACK}")),
        false => Next::Watch(progress),
    }
}

/// Returns the result message of a restore: the source, the comparison of the keys, and the kept disks. The result is an error
/// if `compared` is an error.
pub(super) fn result(
    restore: &RestoreStatus,
    namespace: &str,
    compared: Result<String, String>,
) -> Result<String, String> {
    let from = match &restore.source {
        Some(source) => {
            let revision = source.to_revision.filter(|_| source.to_time.is_some());
            let revision = revision.map(|revision| format!(" (revision {revision})"));
            let (url, revision) = (source.url(), revision.unwrap_or_default());
            format!("the cluster serves the data of {url}{revision}")
        }
        None => format!("the cluster serves from {}", restore.disks.join(", ")),
    };
    let (all, list) = (restore.kept_disks.join(", "), restore.kept_disks.join(" "));
    let delete = format!("to delete them: kubectl delete pvc --namespace {namespace} {list}");
    let kept = match &restore.kept_cluster_id {
        _ if all.is_empty() => String::new(),
        Some(_) if restore.source.is_some() => format!(
            "; the previous PVCs are kept: {all}; to return to them, create an EtcdOperation with undoRestore: {{}}; {delete}"
        ),
        Some(_) => format!("; the PVCs of the restored cluster are kept: {all}; {delete}"),
        None => format!("; the PVCs of members that have never served are kept: {all}; {delete}"),
    };
    let text = |compared: String| format!("{from}; {compared}{kept}");
    compared.map(text).map_err(text)
}

/// Returns the record of a restore from `source`. The restore keeps the disks in use. If an earlier restore is unfinished,
/// keeps the disks from before that restore instead. If an undo is unfinished, keeps the disks of the undo.
fn restoring(
    operation: &EtcdOperation,
    cluster: &Cluster<'_>,
    seen: &Observed,
    source: RestorePoint,
) -> RestoreStatus {
    let last = last(cluster);
    let (kept_disks, kept_cluster_id) = match last.filter(|last| last.phase != RestorePhase::Done) {
        // The members of the unfinished restore have less data than the disks kept before it.
        Some(last) if last.source.is_some() => {
            (last.kept_disks.clone(), last.kept_cluster_id.clone())
        }
        Some(last) => (last.disks.clone(), last.cluster_id.clone()),
        None => in_use(cluster, seen, &[]),
    };
    RestoreStatus {
        number: last.map_or(1, |last| last.number + 1),
        source: Some(source),
        kept_disks,
        kept_cluster_id,
        ..new_record(operation)
    }
}

/// Returns the record of a return to the disks that the last restore kept. The disks in use are kept. An unfinished return is
/// continued with the same disks.
fn returning(operation: &EtcdOperation, cluster: &Cluster<'_>, seen: &Observed) -> RestoreStatus {
    let Some(last) = last(cluster) else {
        return new_record(operation);
    };
    if last.source.is_none() {
        // The operation of this return was deleted before it finished, so only the operation in the record changes.
        let RestoreStatus { operation, operation_uid, .. } = new_record(operation);
        return RestoreStatus { operation, operation_uid, ..last.clone() };
    }
    let (kept_disks, kept_cluster_id) = match last.phase {
        RestorePhase::Done => in_use(cluster, seen, &[]),
        RestorePhase::Stopping | RestorePhase::Starting | RestorePhase::Unknown(_) => {
            (in_use(cluster, seen, &last.kept_disks).0, None)
        }
    };
    RestoreStatus {
        number: last.number,
        disks: last.kept_disks.clone(),
        cluster_id: last.kept_cluster_id.clone(),
        kept_disks,
        kept_cluster_id,
        ..new_record(operation)
    }
}

/// Returns the record of a restore or return whose disks are not chosen yet.
fn new_record(operation: &EtcdOperation) -> RestoreStatus {
    RestoreStatus {
        operation: operation.name_any(),
        operation_uid: operation.uid().unwrap_or_default(),
        number: 0,
        phase: RestorePhase::Stopping,
        started_at: now(),
        source: None,
        first_ordinal: None,
        disks: Vec::new(),
        cluster_id: None,
        kept_disks: Vec::new(),
        kept_cluster_id: None,
    }
}

/// Returns the names of the claims, except `but`, that are neither retired nor being deleted, and the id of the cluster.
fn in_use(cluster: &Cluster<'_>, seen: &Observed, but: &[String]) -> (Vec<String>, Option<String>) {
    let claims = seen.ordinals.iter().filter(|(_, at)| {
        let claim = at.claim.as_ref();
        claim.is_some_and(|claim| !claim.retired && !claim.deleting)
    });
    let names = claims.map(|(ordinal, _): (&Ordinal, _)| cluster.claim(*ordinal));
    let names = names.filter(|name| !but.contains(name)).collect();
    (names, cluster.id().map(str::to_owned))
}
