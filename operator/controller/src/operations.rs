//! EtcdOperations: one-time operations on a cluster. This file starts, records and ends operations.
//!
//! An operation takes effect through a request in the status of the EtcdCluster or through a call to members. Nothing here
//! stops or starts a member. The status of an operation is written before the operation changes anything. Therefore, an
//! operation continues after a restart of the operator, and a finished operation never runs again.
//!
//! Reading order: this file → `record` (status, order) → `once` (refuses repetitions) → `decide` (the next action of each verb)
//! → `restore` (in place) → `compare` (the verb `consistencyCheck`).

mod compare;
mod decide;
mod once;
mod record;
mod restore;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures_util::stream::BoxStream;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{ResourceExt as _, api::ListParams, runtime::controller::Action};
use tokio::sync::Mutex;
use witan_crd::{
    EtcdCluster, EtcdClusterStatus, EtcdOperation, EtcdOperationStatus, OperationPhase,
    RestoreStatus, Verb,
};
use witan_members::{Address, Change, Members};
use witan_plan::model::Notice;

use crate::{
    announce,
    api_server::{delete, get, list_readable, write_status},
    backups::no_cluster,
    observe::{Objects, Observation, find_backup},
    operator::Operator,
    passes::{self, PassError, PassResult, Passes, with_timeout},
    resources::Cluster,
};
use compare::{Compared, compare, verdict};
use decide::{Next, Start, advance, begin};
use once::Outcome;
use record::{conditions, described, first, member_to_replace, now, phase, was_replaced};

const POLL: Duration = Duration::from_secs(2);
/// Interval between checks of a pending operation. More frequent checks of many operations would load the members.
const HOLD: Duration = Duration::from_secs(10);
/// The time limit of a pass. A comparison of members waits up to 60 s for their hashes.
const PASS_LONGEST: Duration = Duration::from_secs(120);
/// Seconds for which a finished operation is kept by default, unless it is destructive.
const TTL_DEFAULT_S: i64 = 24 * 3600;
const LATER_PHASE: &str =
    "ignoring an EtcdOperation in a phase that only a later release of the operator knows";
const LATER_RECORD: &str = "is known only to a later release of the operator; upgrade the operator";

pub(crate) struct Operations<M> {
    operator: Arc<Operator<M>>,
    /// The lock that is held while the next operation of a cluster is chosen.
    turn: Mutex<()>,
}

impl<M: Members> Operations<M> {
    pub(crate) fn new(operator: Arc<Operator<M>>) -> Self {
        Self { operator, turn: Mutex::default() }
    }

    /// Returns a stream that runs the passes over the operations of a namespace (`None` for all).
    pub(crate) fn stream(self: Arc<Self>, namespace: Option<&str>) -> BoxStream<'static, ()> {
        let (client, metrics) = (&self.operator.client, &self.operator.metrics);
        passes::run(self.clone(), client, metrics, namespace, []).1
    }

    /// Starts, continues or ends an operation, or deletes a finished operation that has expired. Ignores an operation that is
    /// being deleted, has no known verb or is in an unknown phase.
    async fn reconcile(&self, operation: &EtcdOperation) -> PassResult {
        let status = operation.status.clone().unwrap_or_default();
        if operation.metadata.deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        if let Some(completed) = &status.completed_at {
            return self.expire(operation, completed).await;
        }
        let Some(verb) = operation.spec.verb() else {
            return Ok(Action::await_change());
        };
        if let Some(OperationPhase::Unknown(phase)) = &status.phase {
            let (namespace, name) = (operation.namespace(), operation.name_any());
            tracing::error!(namespace, operation = name, phase, "{LATER_PHASE}");
            return Ok(Action::await_change());
        }
        let runs = status.phase == Some(OperationPhase::Running);
        let namespace = operation.namespace().unwrap_or_default();
        let (client, name) = (&self.operator.client, &operation.spec.cluster_name);
        let action = "read the EtcdCluster";
        let found = get::<EtcdCluster>(client, &namespace, name, action).await?;
        let may_use = |cluster: &EtcdCluster| !runs || cluster.uid() == status.cluster_uid;
        let Some(cluster) = found.filter(may_use) else {
            return self.without_cluster(operation, runs).await;
        };
        let cluster_status = cluster.status.as_ref();
        if let Some(phase) = cluster_status.and_then(EtcdClusterStatus::unknown_phase) {
            let text = format!("{phase} of the EtcdCluster {LATER_RECORD}");
            return match runs {
                true => self.watch(operation, text).await,
                false => self.hold(operation, Some(&cluster), text).await,
            };
        }
        let refusal = match runs {
            true => once::exceeded(operation, &cluster),
            false => once::refused(operation, &cluster, Timestamp::now()),
        };
        if let Some(refusal) = refusal {
            return self.end(operation, Some(&cluster), Err(refusal)).await;
        }
        // An operation that waits for another operation does not query the members.
        if !runs && let Some(why) = self.ahead(operation).await? {
            return self.hold(operation, Some(&cluster), why).await;
        }
        let mut named = Cluster::new(&cluster, &self.operator.environment)?;
        let mut objects = Objects::from_api_server(client, &named).await?;
        let restores = matches!(verb, Verb::Restore(_) | Verb::UndoRestore(_));
        if restores && restore::recorded(operation, &named).is_none() {
            objects.find_names_of_restore(client, &named).await?;
        }
        let observation = self.operator.observe(&mut named, objects, true).await?;
        let at = At { operation, cluster: &named, observation: &observation };
        if runs {
            let next = advance(verb, operation, &named, &observation.seen);
            return self.advance(&at, next).await;
        }
        // The lock covers the decision and the record of the start.
        let _turn = self.turn.lock().await;
        let start = match self.ahead(operation).await? {
            Some(why) => Start::Hold(why),
            None => begin(verb, &named, &observation.seen),
        };
        self.begin(&at, start).await
    }

    /// Returns a message if another operation on the same cluster comes first.
    async fn ahead(&self, of: &EtcdOperation) -> Result<Option<String>, PassError> {
        let namespace = of.namespace().unwrap_or_default();
        let (client, action) = (&self.operator.client, "list the EtcdOperations");
        let all = list_readable(client, &namespace, ListParams::default(), action).await?;
        Ok(first(of, &all).map(|other| {
            let (name, phase) = (other.name_any(), phase(other));
            format!(
                "waiting for EtcdOperation {name} ({phase:?}) on the same cluster: only one operation runs at a time. To run this operation first, delete {name}"
            )
        }))
    }

    /// Fails a running operation whose cluster was deleted. A pending operation waits for the cluster until its start deadline.
    async fn without_cluster(&self, operation: &EtcdOperation, runs: bool) -> PassResult {
        let name = &operation.spec.cluster_name;
        if runs {
            let text = format!("EtcdCluster {name} was deleted before the operation ended");
            return self.end(operation, None, Err(text)).await;
        }
        if let Some(refusal) = once::missed_start(operation, Timestamp::now()) {
            return self.end(operation, None, Err(refusal)).await;
        }
        let namespace = operation.namespace().unwrap_or_default();
        let text = no_cluster(&namespace, name);
        self.hold(operation, None, text).await
    }

    /// Records that an operation starts, waits, or ends immediately. A restore waits or ends instead of starting if its backup
    /// cannot be used. A replacement ends if another member now has the name. The start is first recorded in the EtcdCluster;
    /// after a conflict, the next pass tries again.
    async fn begin(&self, at: &At<'_>, start: Start) -> PassResult {
        let (client, cluster) = (&self.operator.client, at.cluster.resource);
        let member = match start {
            Start::Hold(why) => return self.hold(at.operation, Some(cluster), why).await,
            Start::End(result) => return self.end(at.operation, Some(cluster), result).await,
            Start::Begin(member) => member,
        };
        let mut status = described(at.operation);
        if let Some(asked) = &at.operation.spec.restore {
            match find_backup(client, &at.cluster.namespace, &asked.from).await? {
                Err(why) => return self.hold(at.operation, Some(cluster), why).await,
                Ok(found) => {
                    if let Some(text) = restore::wrong_cluster(&found, asked, &at.cluster.name) {
                        return self.end(at.operation, Some(cluster), Err(text)).await;
                    }
                    if let Some(why) = found.level_above(at.cluster) {
                        return self.hold(at.operation, Some(cluster), why).await;
                    }
                    status.source = Some(found.point);
                }
            }
        }
        if let Some(text) = was_replaced(&status, member.as_ref()) {
            return self.end(at.operation, Some(cluster), Err(text)).await;
        }
        let action = "record the operation in the EtcdCluster";
        let before = cluster.status.clone().unwrap_or_default();
        if let Some(after) = once::recorded(at.operation, &before)
            && !write_status(client, cluster, &after, action).await?
        {
            return Ok(Action::requeue(POLL));
        }
        status.phase = Some(OperationPhase::Running);
        status.started_at = Some(now());
        status.cluster_uid = cluster.uid();
        status.message = None;
        if let Some((name, id)) = member {
            (status.member, status.member_id) = (Some(name), Some(format!("{id:x}")));
        }
        if self.write(at.operation, status, "Running").await? {
            let text = "has begun".to_owned();
            self.publish(at.operation, cluster, "OperationBegun", text)
                .await;
        }
        Ok(Action::requeue(Duration::ZERO))
    }

    /// Carries out the next action of a running operation and records its progress or its end. A failed leader transfer is
    /// recorded as progress. The next pass repeats the transfer, and a request that could not be written because of a conflict.
    async fn advance(&self, at: &At<'_>, next: Next) -> PassResult {
        let cluster = at.cluster.resource;
        let progress = match next {
            Next::End(result) => return self.end(at.operation, Some(cluster), result).await,
            Next::Compare => return self.compare(at).await,
            Next::CheckBackup => return self.check_backup(at).await,
            Next::Record(record) => return self.record(at, *record).await,
            Next::Request(requests) => {
                let known = cluster.status.clone().unwrap_or_default();
                let after = EtcdClusterStatus { requests: *requests, ..known };
                let action = "record the request in the EtcdCluster";
                write_status(&self.operator.client, cluster, &after, action).await?;
                "the EtcdCluster records the request".to_owned()
            }
            Next::MoveLeader { from, to } => {
                let (leader, change) = (at.observation.address(from), Change::MoveLeader(to));
                let members = &self.operator.members;
                match members.change(leader.cloned().as_slice(), &change).await {
                    Ok(()) => "the leader is transferring leadership".to_owned(),
                    Err(error) => error.to_string(),
                }
            }
            Next::Watch(progress) => progress,
        };
        self.watch(at.operation, progress).await
    }

    /// Writes the record of a restore into the status of its cluster. After a conflict, the next pass writes it. Does nothing if
    /// the operation was deleted, which the watch may report later.
    async fn record(&self, at: &At<'_>, record: RestoreStatus) -> PassResult {
        let (client, cluster) = (&self.operator.client, at.cluster.resource);
        let (name, uid) = (at.operation.name_any(), at.operation.uid());
        let action = "read the EtcdOperation of a restore";
        let live = get::<EtcdOperation>(client, &at.cluster.namespace, &name, action).await?;
        let is_live = live
            .is_some_and(|live| live.uid() == uid && live.metadata.deletion_timestamp.is_none());
        if !is_live {
            return Ok(Action::await_change());
        }
        let mut after = cluster.status.clone().unwrap_or_default();
        after.restore = Some(record);
        let action = "record the restore in the EtcdCluster";
        let text = match write_status(client, cluster, &after, action).await? {
            true => "the members are stopped, and their disks are kept",
            false => "the EtcdCluster has changed; reading it again",
        };
        self.watch(at.operation, text.to_owned()).await
    }

    /// Writes the progress of a running operation, and requests the next pass.
    async fn watch(&self, operation: &EtcdOperation, progress: String) -> PassResult {
        let mut status = described(operation);
        status.progress = Some(progress);
        self.write(operation, status, "Running").await?;
        Ok(Action::requeue(POLL))
    }

    /// Compares the keys of all members and ends the operation with the result. The next pass tries again if the members have
    /// been compacted in the meantime or, after a restore, if a member is silent.
    async fn compare(&self, at: &At<'_>) -> PassResult {
        let restored = restore::recorded(at.operation, at.cluster);
        let cluster = Some(at.cluster.resource);
        match self.hashes(at).await {
            Compared::Again(why) => self.watch(at.operation, why).await,
            Compared::Silent(why) if restored.is_some() => self.watch(at.operation, why).await,
            Compared::Silent(why) => self.end(at.operation, cluster, Err(why)).await,
            Compared::Hashes(revision, hashes) => {
                let mut result = verdict(revision, &hashes);
                if let Some(restored) = restored {
                    result = restore::result(restored, &at.cluster.namespace, result);
                }
                let mut operation = at.operation.clone();
                let status = operation.status.get_or_insert_default();
                (status.revision, status.hashes) = (Some(revision), hashes);
                self.end(&operation, cluster, result).await
            }
        }
    }

    /// Reads the hashes of all members' keys. Returns `Silent` if any member has no known address.
    async fn hashes(&self, at: &At<'_>) -> Compared {
        let seen = &at.observation.seen;
        let mut members = seen.members();
        let unknown = members.find(|member| at.observation.address(member.id).is_none());
        let addresses: Vec<Address> = at.observation.addresses.values().cloned().collect();
        if addresses.is_empty() || unknown.is_some() {
            let name = unknown.map(|member| seen.name_of(&at.cluster.name, member.id));
            let name = name.unwrap_or_else(|| "any member".to_owned());
            let why = format!("cannot reach {name}: it has no pod with an address");
            return Compared::Silent(why);
        }
        compare(&self.operator.members, &addresses).await
    }

    /// Records that an operation is waiting, and the id of the member to replace, because another member may get its name.
    /// Fails a recovery instead, because it must not stop members at a later, unexpected time.
    async fn hold(
        &self,
        operation: &EtcdOperation,
        cluster: Option<&EtcdCluster>,
        why: String,
    ) -> PassResult {
        if operation.spec.recover_quorum.is_some() {
            let advice = "a recovery does not wait: try again later with another EtcdOperation";
            let text = format!("{why}; {advice}");
            return self.end(operation, cluster, Err(text)).await;
        }
        let mut status = described(operation);
        let replaced = || member_to_replace(operation, cluster?);
        status.member_id = status.member_id.or_else(replaced);
        status.phase = Some(OperationPhase::Pending);
        status.message = Some(why);
        self.write(operation, status, "Pending").await?;
        Ok(Action::requeue(HOLD))
    }

    /// Withdraws the request, records the end of the operation (and its start, if it never started), and then counts and
    /// announces the end. This order ensures that a finished operation does not run again. If the cluster or the operation has
    /// changed in the meantime, stops, and a later pass tries again. Without `cluster`, only records and counts the end.
    async fn end(
        &self,
        operation: &EtcdOperation,
        cluster: Option<&EtcdCluster>,
        result: Result<String, impl Into<Outcome>>,
    ) -> PassResult {
        let succeeded = result.is_ok();
        let (phase, event) = match succeeded {
            true => (OperationPhase::Succeeded, "OperationSucceeded"),
            false => (OperationPhase::Failed, "OperationFailed"),
        };
        let done = |text| Outcome { reason: "Done", text };
        let Outcome { reason, text } = result.map_or_else(Into::into, done);
        let mut status = described(operation);
        status.phase = Some(phase.clone());
        status.started_at.get_or_insert_with(now);
        status.completed_at = Some(now());
        status.progress = None;
        status.message = Some(text.clone());
        if let Some(cluster) = cluster {
            let action = "record the result in the EtcdCluster";
            if let Some(after) = once::with_result(operation, cluster, phase)
                && !write_status(&self.operator.client, cluster, &after, action).await?
            {
                return Ok(Action::requeue(POLL));
            }
        }
        if !self.write(operation, status, reason).await? {
            return Ok(Action::requeue(POLL));
        }
        if let (Some(verb), Some(namespace)) = (operation.spec.verb(), operation.namespace()) {
            let cluster = &operation.spec.cluster_name;
            let metrics = &self.operator.metrics;
            metrics.operation([&namespace, cluster, verb.name()], succeeded);
        }
        if let Some(cluster) = cluster {
            self.publish(operation, cluster, event, text).await;
        }
        Ok(Action::requeue(Duration::ZERO))
    }

    /// Sets the conditions and writes the status. Returns `false` if the operation has changed, so that another pass follows.
    async fn write(
        &self,
        operation: &EtcdOperation,
        mut status: EtcdOperationStatus,
        reason: &str,
    ) -> Result<bool, PassError> {
        status.conditions = conditions(operation, &status, reason);
        if operation.status.as_ref() == Some(&status) {
            return Ok(true);
        }
        let client = &self.operator.client;
        Ok(write_status(client, operation, &status, "write the status").await?)
    }

    /// Publishes a message about an operation as an event of the EtcdCluster. The reason `OperationFailed` makes the event a
    /// warning.
    async fn publish(
        &self,
        operation: &EtcdOperation,
        cluster: &EtcdCluster,
        reason: &'static str,
        text: String,
    ) {
        let (name, verb) = (operation.name_any(), operation.spec.verb().map(Verb::name));
        let verb = verb.unwrap_or_default();
        let message = format!("EtcdOperation {name} ({verb}): {text}");
        let warning = reason == "OperationFailed";
        let member = operation.status.as_ref();
        let member = member.and_then(|status| status.member.clone());
        let notice = Notice { reason, member, message, warning };
        announce::publish(&self.operator.recorder, cluster, &notice).await;
    }

    /// Deletes a finished operation once its TTL has passed. Keeps a destructive operation unless the spec sets a TTL.
    async fn expire(&self, operation: &EtcdOperation, completed: &Time) -> PassResult {
        let is_kept = operation.spec.verb().is_some_and(Verb::is_destructive);
        let by_default = (!is_kept).then_some(TTL_DEFAULT_S);
        let Some(kept) = operation.spec.ttl_seconds_after_finished.or(by_default) else {
            return Ok(Action::await_change());
        };
        let (now, completed) = (Timestamp::now().as_second(), completed.0.as_second());
        let age = now.saturating_sub(completed);
        if let Ok(rest) = u64::try_from(kept.saturating_sub(age))
            && rest > 0
        {
            return Ok(Action::requeue(Duration::from_secs(rest)));
        }
        let action = "delete the EtcdOperation";
        delete(&self.operator.client, operation, action).await?;
        Ok(Action::await_change())
    }
}

impl<M: Members> Passes<EtcdOperation> for Operations<M> {
    async fn pass(&self, operation: &EtcdOperation) -> PassResult {
        let outcome = with_timeout(PASS_LONGEST, self.reconcile(operation)).await;
        let (metrics, cluster) = (&self.operator.metrics, &operation.spec.cluster_name);
        outcome.inspect_err(|_| metrics.failed_pass(operation, cluster))
    }
}

struct At<'a> {
    operation: &'a EtcdOperation,
    cluster: &'a Cluster<'a>,
    observation: &'a Observation,
}
