//! The reconcile loop: watches trigger passes, and a pass over a cluster observes, plans, acts and reports.
//!
//! Watches of pods, claims, services and budgets lead to their cluster by its label, so a lost member is noticed at once. A
//! pass reads the stores of the watches and queries the members. Only if there is a step to take or a status to write, it
//! rereads everything from the API server and plans again, so no step is based on outdated state. A cluster that matches its
//! spec causes no requests to the API server.

pub(crate) mod announce;
pub(crate) mod readable;
mod rollouts;
pub(crate) mod watches;

use std::{
    fmt::Debug,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client, ResourceExt as _,
    runtime::{
        applier,
        controller::{Action, Config, trigger_self},
        events::{Recorder, Reporter},
        reflector::ObjectRef,
    },
};
use tokio::sync::Semaphore;
use tracing::Instrument as _;
use witan_crd::{EtcdCluster, EtcdClusterStatus};
use witan_members::Members;
use witan_plan::{
    model::{Refusal, Step, UnixSeconds, Why},
    plan,
};

use crate::{
    act::{ActError, Actor},
    api_server::{ApiFailure, get, log_watch, write_status},
    backups::{Backups, progress::fetched_revision},
    metrics::Metrics,
    observe::{Objects, Observation, Secrets, Stores, observe, restore_source},
    operations::Operations,
    options::Environment,
    report::{self, Subject},
    requests,
    resources::{Cluster, ResourceError},
    tried::{AllTried, Tried},
    warnings::explain_mounts,
};
use rollouts::Rollouts;
use watches::parts;

/// The longest time between two passes over a cluster: no watch reports the leader or the size of the data.
const POLL: Duration = Duration::from_secs(10);
/// When to repeat a pass that lost a race, or whose step the members temporarily refuse.
const RETRY: Duration = Duration::from_millis(500);
/// How long running passes may take to finish: less than a pod's grace period.
const LAST_PASSES: Duration = Duration::from_secs(5);
/// The time limit of a pass, so that an unresponsive API server does not delay passes over other clusters.
const PASS_LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error(transparent)]
    Resource(#[from] ResourceError),
    #[error("step {step}: {source}")]
    Act {
        step: String,
        #[source]
        source: Box<ActError>,
    },
    #[error("the pass did not finish within {} s", .0.as_secs())]
    TooLong(Duration),
    #[error(transparent)]
    Api(#[from] ApiFailure),
}

pub(crate) struct Operator<M> {
    pub(crate) client: Client,
    pub(crate) members: M,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) environment: Environment,
    pub(crate) recorder: Recorder,
    secrets: Secrets,
    passes: Semaphore,
    rollouts: Rollouts,
    limit: u32,
    acting_since: UnixSeconds,
    ends: AtomicBool,
    tried: AllTried,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Maximum number of concurrent passes.
    pub(crate) passes: u16,
    /// Maximum number of clusters that are updated concurrently.
    pub(crate) rollouts: u16,
}

/// Aborts a pass after `longest`: a request that is never answered must not hold resources that other passes need.
pub(crate) async fn bounded(
    longest: Duration,
    pass: impl Future<Output = Result<Action, PassError>>,
) -> Result<Action, PassError> {
    let ended = tokio::time::timeout(longest, pass).await;
    ended.unwrap_or(Err(PassError::TooLong(longest)))
}

struct Scope<M> {
    operator: Arc<Operator<M>>,
    stores: Stores,
}

impl<M: Members> Operator<M> {
    /// Creates an operator that acts from now on.
    pub(crate) fn new(
        client: Client,
        members: M,
        metrics: Arc<Metrics>,
        environment: Environment,
        identity: &str,
        limits: Limits,
    ) -> Self {
        let reporter = Reporter {
            controller: "witan.dev/operator".to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            secrets: Secrets::default(),
            passes: Semaphore::new(limits.passes.into()),
            rollouts: Rollouts::new(limits.rollouts),
            limit: limits.passes.into(),
            acting_since: Timestamp::now().as_second(),
            ends: AtomicBool::new(false),
            tried: AllTried::default(),
            client,
            members,
            metrics,
            environment,
        }
    }

    /// Reconciles all clusters of the namespaces (`None` for all) until `end` resolves. If its value is `true`, running passes
    /// may finish, so that the next leader acts alone; otherwise they are aborted. Returns that value, or `false` if the
    /// watches ended first.
    pub(crate) async fn run(
        self: Arc<Self>,
        scopes: Vec<Option<String>>,
        readiness: Arc<AtomicBool>,
        end: impl Future<Output = bool>,
    ) -> bool {
        let mut ready = Vec::new();
        let mut queues = Vec::new();
        let backups = Arc::new(Backups::new(&*self));
        let operations = Arc::new(Operations::new(self.clone()));
        for scope in scopes {
            let (stores, queue) = self.clone().scope(scope.as_deref());
            ready.push(stores);
            queues.push(queue);
            queues.push(backups.clone().stream(scope.as_deref()));
            queues.push(operations.clone().stream(scope.as_deref()));
        }
        let begun = async {
            for stores in &ready {
                if stores.clusters.wait_until_ready().await.is_err()
                    || stores.pods.wait_until_ready().await.is_err()
                {
                    return;
                }
            }
            readiness.store(true, Ordering::Relaxed);
            tracing::info!("the watches have started");
        };
        let work = stream::select_all(queues).for_each(async |()| ());
        let mut end = pin!(end);
        let mut both = pin!(async { futures_util::join!(begun, work) });
        let asked = tokio::select! {
            asked = &mut end => asked,
            _ = &mut both => {
                tracing::error!("the watches have ended; stopping the operator");
                false
            }
        };
        self.ends.store(true, Ordering::Relaxed);
        if asked {
            // each pass holds a permit, so all permits are free once the last pass has finished
            let last = async {
                tokio::select! {
                    _ = self.passes.acquire_many(self.limit) => {}
                    _ = &mut both => {}
                }
            };
            if tokio::time::timeout(LAST_PASSES, last).await.is_err() {
                tracing::warn!(
                    "aborting a pass that did not finish within {} s after the stop signal",
                    LAST_PASSES.as_secs()
                );
            }
        }
        asked
    }

    /// Creates the watches of one namespace (`None` for all). Returns their stores, and the stream that runs a pass for each
    /// event.
    fn scope(
        self: Arc<Self>,
        namespace: Option<&str>,
    ) -> (Stores, futures_util::stream::BoxStream<'static, ()>) {
        let client = &self.client;
        let (clusters, changed) = readable::watch::<EtcdCluster>(client, namespace);
        let (pods, of_pods) = parts(client, namespace);
        let (claims, of_claims) = parts(client, namespace);
        let (services, of_services) = parts(client, namespace);
        let (budgets, of_budgets) = parts(client, namespace);
        let changed = trigger_self(changed, ()).boxed();
        let queue = stream::select_all([changed, of_pods, of_claims, of_services, of_budgets]);
        let stores = Stores { clusters: clusters.clone(), pods, claims, services, budgets };
        let scope = Arc::new(Scope { operator: self, stores: stores.clone() });
        let pass = |cluster: Arc<EtcdCluster>, scope: Arc<Scope<M>>| {
            Box::pin(async move { scope.pass(&cluster).await })
        };
        let failed = |cluster: Arc<EtcdCluster>, error: &PassError, scope: Arc<Scope<M>>| {
            scope.operator.on_failed(&cluster, error)
        };
        let passes = applier(
            pass,
            failed,
            scope.clone(),
            clusters,
            queue,
            Config::default(),
        );
        let logged = passes.map(move |outcome| {
            if let Err(kube::runtime::controller::Error::ObjectNotFound(gone)) = &outcome {
                let namespace = gone.namespace.as_deref().unwrap_or_default();
                let cluster = ObjectRef::new(&gone.name).within(namespace);
                scope.operator.rollouts.forget(&cluster);
                scope.operator.metrics.forget_cluster(namespace, &gone.name);
                scope.operator.tried.forget(namespace, &gone.name);
            }
            log_watch(outcome);
        });
        (stores, logged.boxed())
    }

    /// Observes a cluster: its objects, its secrets and the reports of its members. Sets `trust` and `active_request` of
    /// `cluster`. With `fresh`, rereads cached secrets.
    pub(crate) async fn observe(
        &self,
        cluster: &mut Cluster<'_>,
        objects: Objects,
        fresh: bool,
    ) -> Result<Observation, PassError> {
        let secrets = self.secrets.of(&self.client, cluster, fresh).await?;
        cluster.trust = secrets.trust.clone();
        cluster.active_request = requests::active_request(&self.client, cluster).await?;
        let mut observation = observe(cluster, objects, secrets, &self.members).await;
        let Observation { seen, objects, .. } = &mut observation;
        explain_mounts(&self.client, seen, objects).await;
        Ok(observation)
    }

    /// Counts a failed pass over a cluster. Returns when to retry.
    fn on_failed(&self, cluster: &EtcdCluster, error: &PassError) -> Action {
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        let delay = self.tried.of(&namespace, &name, Tried::on_pass_failed);
        tracing::warn!(namespace, cluster = name, %error, delay_ms = delay.as_millis(), "pass failed; retrying after delay_ms");
        Action::requeue(delay)
    }
}

impl<M: Members> Scope<M> {
    /// Waits for a permit, runs one pass over a cluster and records its metrics. Does nothing once the operator is stopping.
    async fn pass(&self, cluster: &EtcdCluster) -> Result<Action, PassError> {
        let operator = &self.operator;
        let permit = operator.passes.acquire().await;
        // no pass starts while the operator is stopping
        if permit.is_err() || operator.ends.load(Ordering::Relaxed) {
            return Ok(Action::await_change());
        }
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        let begun = Instant::now();
        let span = tracing::info_span!("pass", namespace, cluster = name);
        let look = bounded(PASS_LONGEST, self.plan_from_watches(cluster));
        let outcome = look.instrument(span).await;
        operator
            .metrics
            .pass(&namespace, &name, begun.elapsed(), outcome.is_err());
        if outcome.is_ok() {
            operator
                .tried
                .of(&namespace, &name, Tried::on_pass_succeeded);
        }
        outcome
    }

    /// Plans from the stores of the watches. If there is a step to take or a status to write, calls [`Scope::act`], which plans
    /// again from the state of the API server.
    async fn plan_from_watches(&self, cluster: &EtcdCluster) -> Result<Action, PassError> {
        let mut named = Cluster::new(cluster, &self.operator.environment)?;
        let objects = Objects::from_watches(&self.stores, &named);
        let unlabelled = objects.lacks_mounted_claim(&named);
        let observation = self.observe(&mut named, objects, false).await?;
        let before = cluster.status.clone().unwrap_or_default();
        let step = plan(&cluster.spec, &before, &observation.seen);
        let status = self.report(&named, &before, &observation, &step);
        if step.acts() || status != before || unlabelled {
            return self.act(cluster).await;
        }
        self.operator
            .rollouts
            .note(ObjectRef::from_obj(cluster), &step);
        Ok(next_pass(&step))
    }

    /// Reads the cluster and its objects from the API server, plans a step, executes it and writes the status. Does nothing if
    /// the cluster was deleted or recreated.
    async fn act(&self, known: &EtcdCluster) -> Result<Action, PassError> {
        let operator = &self.operator;
        let (namespace, name) = (known.namespace().unwrap_or_default(), known.name_any());
        let (client, what) = (&operator.client, "read the EtcdCluster");
        let read = get::<EtcdCluster>(client, &namespace, &name, what).await?;
        let Some(cluster) = read.filter(|cluster| cluster.uid() == known.uid()) else {
            return Ok(Action::await_change());
        };
        let mut named = Cluster::new(&cluster, &operator.environment)?;
        let objects = Objects::from_api_server(&operator.client, &named).await?;
        let observation = self.observe(&mut named, objects, true).await?;
        let before = cluster.status.clone().unwrap_or_default();
        let mut facts = before.clone();
        let mut step = plan(&cluster.spec, &before, &observation.seen);
        let this = ObjectRef::from_obj(&cluster);
        if !operator.rollouts.note(this, &step) {
            // another pass has taken the last permit meanwhile
            step = Step::Wait { why: Why::RolloutQueued, after: POLL };
        }
        let actor = Actor {
            client: &operator.client,
            members: &operator.members,
            cluster: &named,
            observation: &observation,
        };
        // recording steps write the status after they run; other steps are announced before they run
        let records = matches!(
            step,
            Step::BeginBootstrap { .. }
                | Step::BeginRecovery(_)
                | Step::CreateDiscoveryToken(_)
                | Step::BeginRestored { .. }
                | Step::ReturnToDisks
                | Step::Compact(_)
                | Step::DisarmNoSpace
        );
        let mut done = Ok(());
        if records {
            done = actor.act(&step, &mut facts).await;
        }
        let status = self.report(&named, &facts, &observation, &step);
        let what = "write the status of the EtcdCluster";
        if status != before && !write_status(client, &cluster, &status, what).await? {
            return Ok(Action::requeue(RETRY));
        }
        if !records {
            done = actor.act(&step, &mut facts).await;
        }
        self.conclude(&cluster, [&before, &status], &observation, &step, done)
            .await
    }

    /// Counts and logs the attempted step, publishes its events, and returns when to run the next pass.
    async fn conclude(
        &self,
        cluster: &EtcdCluster,
        [before, status]: [&EtcdClusterStatus; 2],
        observation: &Observation,
        step: &Step,
        done: Result<(), ActError>,
    ) -> Result<Action, PassError> {
        let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
        if let Err(error) = done {
            if error.namespace_is_ending() {
                return Ok(Action::await_change());
            }
            if error.is_premature() {
                tracing::info!(step = step.kind(), %error, "the members temporarily refuse the step; retrying");
                return Ok(Action::requeue(RETRY));
            }
            if let Some(said) = error.refusal() {
                // no member was stopped, and only a person can resolve the refusal, so the permit is released
                if step.updates() {
                    self.operator.rollouts.forget(&ObjectRef::from_obj(cluster));
                }
                let failed = |tried: &mut Tried| tried.on_failed(step, &said, Instant::now());
                if self.operator.tried.of(&namespace, &name, failed) {
                    let (step, idle) = (step.clone(), false);
                    let notice = Refusal { step, held: true, idle, said }.notice();
                    announce::publish(&self.operator.recorder, cluster, &notice).await;
                }
            }
            return Err(PassError::Act { step: step.kind(), source: Box::new(error) });
        }
        let notice = step.notice(&name, &observation.seen);
        if step.acts() {
            let done = |tried: &mut Tried| tried.on_done(step, &observation.seen, Instant::now());
            if self.operator.tried.of(&namespace, &name, done) {
                tracing::warn!(step = step.kind(), "the step has no effect; pausing it");
            }
            self.operator.metrics.step(&namespace, &name, &step.kind());
            if let Some(notice) = &notice {
                tracing::info!(
                    reason = notice.reason,
                    member = notice.member,
                    "{}",
                    notice.message
                );
                announce::publish(&self.operator.recorder, cluster, notice).await;
            }
        } else if let Some(notice) = notice.filter(|notice| notice.warning)
            && changed(before, status, "Degraded")
        {
            tracing::warn!(
                reason = notice.reason,
                member = notice.member,
                "{}",
                notice.message
            );
            announce::publish(&self.operator.recorder, cluster, &notice).await;
        }
        for notice in report::events(before, status) {
            announce::publish(&self.operator.recorder, cluster, &notice).await;
        }
        Ok(next_pass(step))
    }

    /// Observes a cluster like [`Operator::observe`], and adds the backup for its first members, the refused steps and the
    /// update permit. Also sets `restore` of `cluster`.
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
        let refused = |tried: &mut Tried| tried.refused(&observation.seen, Instant::now());
        let refused = operator
            .tried
            .of(&cluster.namespace, &cluster.name, refused);
        observation.seen.refused = refused;
        let this = ObjectRef::from_obj(cluster.resource);
        observation.seen.rollout_queued = !operator.rollouts.admits(&this);
        Ok(observation)
    }

    /// Computes the status of a cluster, and updates its gauges.
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
        let state = report::state(cluster.spec(), &observation.seen, &status);
        self.operator
            .metrics
            .cluster(&cluster.namespace, &cluster.name, state);
        status
    }
}

/// Returns whether the status or the reason of the condition `kind` changed.
fn changed(before: &EtcdClusterStatus, after: &EtcdClusterStatus, kind: &str) -> bool {
    let reason = |status: &EtcdClusterStatus| {
        let mut conditions = status.conditions.iter();
        let found = conditions.find(|condition| condition.type_ == kind);
        found.map(|condition| (condition.status.clone(), condition.reason.clone()))
    };
    reason(before) != reason(after)
}

/// Returns when to run the next pass: immediately after a step that acted, otherwise after the wait, but at most after
/// [`POLL`]. A cluster that is being deleted waits for a change.
fn next_pass(step: &Step) -> Action {
    if let Step::Wait { why, after } = step {
        return if *why == Why::Deleting {
            Action::await_change()
        } else {
            Action::requeue((*after).min(POLL))
        };
    }
    Action::requeue(if step.acts() { Duration::ZERO } else { POLL })
}

#[cfg(test)]
mod tests;
