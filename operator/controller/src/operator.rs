//! State that all passes share: clients, metrics, cached secrets, permits and recently failed steps.

use std::sync::{Arc, atomic::AtomicBool};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use tokio::sync::Semaphore;
use witan_members::Members;
use witan_plan::model::UnixSeconds;

use crate::{
    metrics::Metrics,
    observe::{Objects, Observation, Secrets, observe},
    options::Environment,
    passes::PassError,
    requests,
    resources::Cluster,
    rollouts::Rollouts,
    tried::AllTried,
    warnings::explain_mounts,
};

pub(crate) struct Operator<M> {
    pub(crate) client: Client,
    pub(crate) members: M,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) environment: Environment,
    pub(crate) recorder: Recorder,
    secrets: Secrets,
    /// Permits for passes over clusters. Each running pass holds one.
    pub(crate) passes: Semaphore,
    pub(crate) rollouts: Rollouts,
    pub(crate) limit: u32,
    pub(crate) acting_since: UnixSeconds,
    pub(crate) stopping: AtomicBool,
    pub(crate) tried: AllTried,
}

/// Number of clusters that the operator handles concurrently.
pub(crate) struct Limits {
    /// Number of concurrent passes.
    pub(crate) passes: u16,
    /// Number of concurrent rollouts.
    pub(crate) rollouts: u16,
}

impl<M: Members> Operator<M> {
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
            stopping: AtomicBool::new(false),
            tried: AllTried::default(),
            client,
            members,
            metrics,
            environment,
        }
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
}
