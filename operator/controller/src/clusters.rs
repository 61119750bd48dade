//! Passes over clusters: a pass observes, plans, acts and reports.
//!
//! A change of a pod, claim, service or budget starts a pass over the cluster in its label. Therefore, the operator notices a
//! lost member immediately. A pass reads the watch caches and queries the members. If there is a step to take or a status to
//! write, the pass rereads everything from the API server and plans again. Therefore, no step is based on outdated state, and a
//! cluster that matches its spec causes no requests to the API server.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    api::DynamicObject,
    runtime::{
        controller::Action,
        reflector::{ObjectRef, Store},
    },
};
use tracing::Instrument as _;
use witan_crd::{EtcdCluster, EtcdClusterStatus};
use witan_members::Members;
use witan_plan::{
    model::{Refusal, Step, Why},
    plan,
};

use crate::{
    act::{ActError, Actor},
    announce,
    api_server::{get, write_status},
    backups::progress::fetched_revision,
    observe::{Objects, Observation, Stores, restore_source},
    operator::Operator,
    passes::{self, PassError, PassResult, Passes, with_timeout},
    report::{self, Subject},
    resources::Cluster,
    retries::Retries,
};

/// The maximum time between two passes over a cluster. No watch reports the leader or the size of the data.
const POLL: Duration = Duration::from_secs(10);
/// The time until the next pass after a pass lost a race or the members temporarily refused its step.
const RETRY: Duration = Duration::from_millis(500);
/// The time limit of a pass. The limit prevents an unresponsive API server from delaying passes over other clusters.
const PASS_LONGEST: Duration = Duration::from_secs(60);

pub(crate) struct Scope<M> {
    operator: Arc<Operator<M>>,
    stores: Stores,
}

/// Creates the watches of one namespace (`None` for all). Returns the stores of clusters and pods, and the stream of passes.
pub(crate) fn watch<M: Members>(
    operator: Arc<Operator<M>>,
    namespace: Option<&str>,
) -> ((Store<DynamicObject>, Store<Pod>), BoxStream<'static, ()>) {
    let (client, metrics) = (operator.client.clone(), operator.metrics.clone());
    let (pods, of_pods) = passes::parts(&client, namespace);
    let (claims, of_claims) = passes::parts(&client, namespace);
    let (services, of_services) = passes::parts(&client, namespace);
    let (budgets, of_budgets) = passes::parts(&client, namespace);
    let others = [of_pods, of_claims, of_services, of_budgets];
    let stores = Stores { pods: pods.clone(), claims, services, budgets };
    let scope = Arc::new(Scope { operator, stores });
    let (clusters, passes) =
        passes::run::<EtcdCluster>(scope, &client, &metrics, namespace, others);
    ((clusters, pods), passes)
}

impl<M: Members> Passes<EtcdCluster> for Scope<M> {
    /// Waits for a permit, runs one pass over a cluster and records its metrics. Does nothing while the operator is stopping.
    /// Fails after [`PASS_LONGEST`].
    async fn pass(&self, cluster: &EtcdCluster) -> PassResult {
        let operator = &self.operator;
        let permit = operator.passes.acquire().await;
        if permit.is_err() || operator.stopping.load(Ordering::Relaxed) {
            return Ok(Action::await_change());
        }
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        let begun = Instant::now();
        let span = tracing::info_span!("pass", namespace, cluster = name);
        let look = with_timeout(PASS_LONGEST, self.plan_from_watches(cluster));
        let outcome = look.instrument(span).await;
        let (took, metrics) = (begun.elapsed(), &operator.metrics);
        metrics.pass(&namespace, &name, took, outcome.is_err());
        if outcome.is_ok() {
            let this = ObjectRef::from_obj(cluster);
            operator.retries.with(&this, Retries::on_pass_succeeded);
        }
        outcome
    }

    /// Counts the failed pass and returns the backoff.
    fn retry(&self, namespace: &str, name: &str) -> Duration {
        let cluster = ObjectRef::new(name).within(namespace);
        let retries = &self.operator.retries;
        retries.with(&cluster, Retries::on_pass_failed)
    }

    /// Drops the permit, the metrics and the retries of a deleted cluster.
    fn forget(&self, namespace: &str, name: &str) {
        let cluster = ObjectRef::new(name).within(namespace);
        self.operator.rollouts.forget(&cluster);
        self.operator.metrics.forget_cluster(namespace, name);
        self.operator.retries.forget(&cluster);
    }
}

impl<M: Members> Scope<M> {
    /// Plans the next step from the watch caches and the members' reports. Calls [`Scope::act`] if there is a step to take, a
    /// status to write or a mounted claim without labels. Otherwise, releases a rollout permit that the cluster no longer
    /// needs.
    async fn plan_from_watches(&self, cluster: &EtcdCluster) -> PassResult {
        let mut named = Cluster::new(cluster, &self.operator.environment)?;
        let objects = Objects::from_watches(&self.stores, &named);
        let unlabeled = objects.lacks_mounted_claim(&named);
        let observation = self.observe(&mut named, objects, false).await?;
        let before = cluster.status.clone().unwrap_or_default();
        let step = plan(&cluster.spec, &before, &observation.seen);
        let status = self.report(&named, &before, &observation, &step);
        if step.acts() || status != before || unlabeled {
            return self.act(cluster).await;
        }
        let this = ObjectRef::from_obj(cluster);
        let rollouts = &self.operator.rollouts;
        rollouts.take_or_release(this, &step, &observation.seen);
        Ok(next_pass(&step))
    }

    /// Rereads the cluster, plans and executes a step, and writes the status. Does nothing if the cluster was deleted or
    /// recreated. If the cluster changes before the status is written, the next pass tries again; a step that runs after the
    /// write is skipped.
    async fn act(&self, known: &EtcdCluster) -> PassResult {
        let operator = &self.operator;
        let (namespace, name) = (known.namespace().unwrap_or_default(), known.name_any());
        let (client, action) = (&operator.client, "read the EtcdCluster");
        let read = get::<EtcdCluster>(client, &namespace, &name, action).await?;
        let Some(cluster) = read.filter(|cluster| cluster.uid() == known.uid()) else {
            return Ok(Action::await_change());
        };
        let mut named = Cluster::new(&cluster, &operator.environment)?;
        let objects = Objects::from_api_server(&operator.client, &named).await?;
        let observation = self.observe(&mut named, objects, true).await?;
        let before = cluster.status.clone().unwrap_or_default();
        let mut facts = before.clone();
        let mut step = plan(&cluster.spec, &before, &observation.seen);
        let (this, seen) = (ObjectRef::from_obj(&cluster), &observation.seen);
        if !operator.rollouts.take_or_release(this, &step, seen) {
            // Another pass has taken the last permit since the observation.
            step = Step::Wait { why: Why::RolloutQueued, after: POLL };
        }
        let actor = Actor {
            client: &operator.client,
            members: &operator.members,
            cluster: &named,
            observation: &observation,
        };
        // Steps that record facts run before the status is written.
        let mut done = Ok(());
        if step.records() {
            done = actor.act(&step, &mut facts).await;
        }
        let status = self.report(&named, &facts, &observation, &step);
        let action = "write the status of the EtcdCluster";
        if status != before && !write_status(client, &cluster, &status, action).await? {
            return Ok(Action::requeue(RETRY));
        }
        if !step.records() {
            done = actor.act(&step, &mut facts).await;
        }
        self.conclude(&cluster, [&before, &status], &observation, &step, done)
            .await
    }

    /// Counts a step that succeeded, and publishes events. Later passes skip a refused or ineffective step for a while. A
    /// refused update releases its rollout permit. Returns when to run the next pass. `statuses` are the previous and the new
    /// status. Fails with the step's error, unless the refusal is temporary or the namespace is being deleted.
    async fn conclude(
        &self,
        cluster: &EtcdCluster,
        statuses: [&EtcdClusterStatus; 2],
        observation: &Observation,
        step: &Step,
        done: Result<(), ActError>,
    ) -> PassResult {
        let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
        let (this, retries) = (ObjectRef::from_obj(cluster), &self.operator.retries);
        if let Err(error) = done {
            if error.namespace_is_ending() {
                return Ok(Action::await_change());
            }
            let premature = |tries: &mut Retries| tries.on_premature(step);
            if error.is_premature() && !retries.with(&this, premature) {
                tracing::info!(step = step.kind(), %error, "the members temporarily refuse the step; retrying");
                return Ok(Action::requeue(RETRY));
            }
            if let Some(said) = error.refusal() {
                // No member was stopped, and only the user can resolve the refusal, so the permit is released.
                if step.updates() {
                    self.operator.rollouts.forget(&this);
                }
                let refusal = Refusal { step: step.clone(), held: true, idle: false, said };
                let notice = refusal.notice();
                if retries.with(&this, |tries| tries.hold(refusal, Instant::now())) {
                    announce::publish(&self.operator.recorder, cluster, &notice).await;
                }
            }
            return Err(PassError::Act { step: step.kind(), source: Box::new(error) });
        }
        let notice = step.notice(&name, &observation.seen);
        if step.acts() {
            let done = |tries: &mut Retries| tries.on_done(step, &observation.seen, Instant::now());
            if retries.with(&this, done) {
                tracing::warn!(step = step.kind(), "the step has no effect; pausing it");
            }
            self.operator.metrics.step(&namespace, &name, &step.kind());
            if let Some(notice) = &notice {
                announce::publish(&self.operator.recorder, cluster, notice).await;
            }
        }
        let mut events = report::events(&observation.seen, statuses, notice.as_ref());
        // The notice of a step that acted is already published.
        events.retain(|event| !step.acts() || Some(event) != notice.as_ref());
        for event in events {
            announce::publish(&self.operator.recorder, cluster, &event).await;
        }
        Ok(next_pass(step))
    }

    /// Observes a cluster, the backup from which it starts, refused steps and the rollout permit. Sets `cluster.restore`, or
    /// records why the backup cannot be used. With `fresh`, rereads cached secrets.
    async fn observe(
        &self,
        cluster: &mut Cluster<'_>,
        objects: Objects,
        fresh: bool,
    ) -> Result<Observation, PassError> {
        let operator = &self.operator;
        let mut observation = operator.observe(cluster, objects, fresh).await?;
        let restore = restore_source(&operator.client, cluster).await?;
        observation.seen.no_backup = restore.as_ref().err().cloned();
        cluster.restore = restore.unwrap_or_default();
        observation.seen.acting_since = operator.acting_since;
        let this = ObjectRef::from_obj(cluster.resource);
        let refused =
            |tries: &mut Retries| tries.refresh_refusals(&observation.seen, Instant::now());
        observation.seen.refused = operator.retries.with(&this, refused);
        observation.seen.rollout_queued = !operator.rollouts.admits(&this);
        Ok(observation)
    }

    /// Computes the status of a cluster and updates its gauges. `facts` is the previous status with the step's facts. Reads a
    /// missing restored revision from the pods.
    fn report(
        &self,
        cluster: &Cluster<'_>,
        facts: &EtcdClusterStatus,
        observation: &Observation,
        step: &Step,
    ) -> EtcdClusterStatus {
        let of = Subject { cluster, before: facts };
        let mut status = report::status(of, &observation.seen, step);
        if status.restored_from.is_some() && status.restored_revision.is_none() {
            let pods = observation.objects.pods.values();
            status.restored_revision = pods.map(AsRef::as_ref).find_map(fetched_revision);
        }
        let (labels, spec) = ([&*cluster.namespace, &*cluster.name], cluster.spec());
        let metrics = &self.operator.metrics;
        metrics.cluster(labels, spec, &observation.seen, &status);
        status
    }
}

/// Returns when to run the next pass: immediately after a step that acts, otherwise within [`POLL`]. A cluster that is being
/// deleted waits for a change.
fn next_pass(step: &Step) -> Action {
    if let Step::Wait { why, after } = step {
        return match *why == Why::Deleting {
            true => Action::await_change(),
            false => Action::requeue((*after).min(POLL)),
        };
    }
    Action::requeue(if step.acts() { Duration::ZERO } else { POLL })
}

#[cfg(test)]
mod tests;
