//! Ensures that operations that replace data or disks run once, soon after their creation, and only on the intended cluster. A
//! manifest in Git, a restored object or a repeated job can create the same operation again with another UID.
//!
//! The status of the EtcdCluster records such an operation before it starts and keeps the record after its deletion.
//! This module also limits the time for which an operation waits and runs.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt as _;
use witan_crd::{
    EtcdCluster, EtcdClusterStatus, EtcdOperation, OperationPhase, PastOperation, ReplaceMember,
    Verb,
};

use super::record::now;

/// Default time limit in seconds within which a destructive operation must start.
const START_DEADLINE_S: i64 = 600;

/// Default time limit in seconds within which an operation that stops all members must begin to stop them.
const ACTIVE_DEADLINE_S: i64 = 3600;

/// Maximum number of past operations in the status of a cluster.
const RECORDED: usize = 50;

/// The reason and the message of the condition of a finished operation.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) reason: &'static str,
    pub(super) text: String,
}

impl From<String> for Outcome {
    fn from(text: String) -> Self {
        Self { reason: "Failed", text }
    }
}

fn refusal(reason: &'static str, text: String) -> Option<Outcome> {
    Some(Outcome { reason, text })
}

/// Returns whether an operation replaces data or disks ([`Verb::is_destructive`]); `false` if its spec has no known verb.
fn is_destructive(operation: &EtcdOperation) -> bool {
    operation.spec.verb().is_some_and(Verb::is_destructive)
}

/// Returns the UID of the EtcdCluster that the operation names, unless it is the UID of this cluster.
fn other_cluster<'a>(operation: &'a EtcdOperation, cluster: &EtcdCluster) -> Option<&'a String> {
    let named = operation.spec.cluster_uid.as_ref();
    named.filter(|uid| Some(*uid) != cluster.metadata.uid.as_ref())
}

/// Returns why a pending operation must not start on this cluster; `None` if the operation may start.
pub(super) fn refused(
    operation: &EtcdOperation,
    cluster: &EtcdCluster,
    at: Timestamp,
) -> Option<Outcome> {
    let name = &operation.spec.cluster_name;
    if let Some(asked) = other_cluster(operation, cluster) {
        let found = cluster.uid().unwrap_or_default();
        let text = format!(
            "spec.clusterUID is {asked}, but EtcdCluster {name} has the UID {found}. To run the operation on this EtcdCluster, create an \
             EtcdOperation with this UID"
        );
        return refusal("ClusterUIDMismatch", text);
    }
    if is_destructive(operation) {
        if let Some((uid, began)) = same_name(operation, cluster) {
            let (name, began) = (operation.name_any(), began.0);
            let text = format!(
                "the EtcdCluster has a record of another EtcdOperation {name} (UID {uid}) from {began}. To run the operation again, create \
                 an EtcdOperation with another name"
            );
            return refusal("AlreadyDone", text);
        }
        if let (Some(asked), Some(made)) =
            (operation.creation_timestamp(), cluster.creation_timestamp())
            && asked <= made
        {
            let (asked, made) = (asked.0, made.0);
            let text = format!(
                "the EtcdOperation was created at {asked}, before EtcdCluster {name} ({made}). To run the operation on this EtcdCluster, create an EtcdOperation with another name"
            );
            return refusal("ClusterIsYounger", text);
        }
    }
    missed_start(operation, at)
}

/// Returns the outcome of an operation that did not start within `spec.startDeadlineSeconds`, otherwise `None`. Without this
/// field, only a destructive operation has a limit.
pub(super) fn missed_start(operation: &EtcdOperation, at: Timestamp) -> Option<Outcome> {
    let by_default = is_destructive(operation).then_some(START_DEADLINE_S);
    let limit = operation.spec.start_deadline_seconds.or(by_default)?;
    let created = operation.creation_timestamp()?.0;
    if at.as_second().saturating_sub(created.as_second()) < limit {
        return None;
    }
    let waited = operation.status.as_ref();
    let waited = waited.and_then(|status| status.message.as_ref());
    let waited = waited.map(|why| format!(". Last reason: {why}"));
    let text = format!(
        "the operation did not start within {limit} s of its creation (spec.startDeadlineSeconds), and nothing was changed{}. To try again, create an EtcdOperation with another name",
        waited.unwrap_or_default()
    );
    refusal("StartDeadlineExceeded", text)
}

/// Returns the outcome of a running operation that has exceeded `spec.activeDeadlineSeconds`, otherwise `None`. Without this
/// field, only an operation that stops all members has a limit. Also returns `None` once members have been stopped for a
/// restore or a recovery, because such an operation must be completed.
pub(super) fn exceeded(operation: &EtcdOperation, cluster: &EtcdCluster) -> Option<Outcome> {
    let stops_all = operation.spec.verb().is_some_and(Verb::stops_all_members);
    let by_default = stops_all.then_some(ACTIVE_DEADLINE_S);
    let limit = operation.spec.active_deadline_seconds.or(by_default)?;
    let begun = operation.status.as_ref()?.started_at.as_ref()?;
    let age = now().0.as_second().saturating_sub(begun.0.as_second());
    if age < limit || has_stopped_members(operation, cluster) {
        return None;
    }
    let rest = match operation.spec.verb()? {
        Verb::ReplaceMember(_) => "its request is removed",
        Verb::MigrateStorage => "the remaining members keep their claims",
        Verb::Restart | Verb::RotateCertificates => {
            "the operator continues with the remaining members"
        }
        Verb::RecoverQuorum(_) | Verb::Restore(_) | Verb::UndoRestore(_) => "no member was stopped",
        Verb::MoveLeader(_) | Verb::ConsistencyCheck => "nothing was changed",
    };
    let progress = operation.status.as_ref()?.progress.clone();
    let progress = progress.map(|last| format!("; last progress: {last}"));
    let text = format!(
        "the operation did not {} within {limit} s (spec.activeDeadlineSeconds); {rest}{}",
        if stops_all { "stop members" } else { "end" },
        progress.unwrap_or_default()
    );
    refusal("DeadlineExceeded", text)
}

/// Returns whether the status of the cluster records the restore or recovery of this operation.
fn has_stopped_members(operation: &EtcdOperation, cluster: &EtcdCluster) -> bool {
    let Some(status) = &cluster.status else {
        return false;
    };
    let (restore, recovery) = (status.restore.as_ref(), status.recovery.as_ref());
    let restores = restore.is_some_and(|one| Some(&one.operation_uid) == operation.uid().as_ref());
    let asked = operation.spec.recover_quorum.as_ref();
    let survivor = asked.map(|asked| &asked.survivor);
    restores || recovery.is_some_and(|recovery| Some(&recovery.member) == survivor)
}

/// Returns the UID and start time of an earlier operation with the same name, or `None` if there was none. Earlier releases
/// recorded only the last restore.
fn same_name<'a>(
    operation: &EtcdOperation,
    cluster: &'a EtcdCluster,
) -> Option<(&'a str, &'a Time)> {
    let status = cluster.status.as_ref()?;
    let past = status.past_operations.iter();
    let past = past.map(|past| (&past.name, &past.uid, &past.started_at));
    let restore = status.restore.iter();
    let restore = restore.map(|last| (&last.operation, &last.operation_uid, &last.started_at));
    let mut same = past.chain(restore).filter(|(name, uid, _)| {
        **name == operation.name_any() && Some(*uid) != operation.uid().as_ref()
    });
    same.next().map(|(_, uid, began)| (uid.as_str(), began))
}

/// Returns the status of the cluster with a record of this operation; `None` if the operation needs no record or already has a
/// record. Beyond [`RECORDED`] records, drops the oldest record of a replacement, or else the oldest record.
pub(super) fn recorded(
    operation: &EtcdOperation,
    status: &EtcdClusterStatus,
) -> Option<EtcdClusterStatus> {
    let verb = operation.spec.verb().filter(|verb| verb.is_destructive())?;
    let mut status = status.clone();
    let uid = operation.uid().unwrap_or_default();
    let past = &mut status.past_operations;
    if past.iter().any(|past| past.uid == uid) {
        return None;
    }
    past.push(PastOperation {
        name: operation.name_any(),
        uid,
        verb: verb.name().to_owned(),
        started_at: now(),
        result: None,
    });
    if past.len() > RECORDED {
        // There can be many replacements, which must not displace the record of a restore.
        let replace = Verb::ReplaceMember(&ReplaceMember::default()).name();
        let mut earlier = past[..RECORDED].iter();
        let replaced = earlier.position(|past| past.verb == replace);
        past.remove(replaced.unwrap_or(0));
    }
    Some(status)
}

/// Returns the status of the cluster with the result of this operation and without its request; `None` if nothing changes. An
/// operation that failed before it started is also recorded, because it could start at an unexpected time if it were recreated.
pub(super) fn with_result(
    operation: &EtcdOperation,
    cluster: &EtcdCluster,
    result: OperationPhase,
) -> Option<EtcdClusterStatus> {
    let known = cluster.status.clone().unwrap_or_default();
    let mut status = known.clone();
    let uid = operation.uid()?;
    let request = &mut status.requests.operation;
    request.take_if(|request| request.uid == uid);
    if other_cluster(operation, cluster).is_none() && same_name(operation, cluster).is_none() {
        status = recorded(operation, &status).unwrap_or(status);
        let mut past = status.past_operations.iter_mut();
        let own = past.find(|past| past.uid == uid && past.result.is_none());
        if let Some(own) = own {
            own.result = Some(result);
        }
    }
    (status != known).then_some(status)
}
