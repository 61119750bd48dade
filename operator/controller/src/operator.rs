//! State that all passes share: clients, metrics, cached secrets, permits and recently failed steps.

use std::sync::{Arc, atomic::AtomicBool};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Client, ResourceExt as _,
    runtime::events::{Recorder, Reporter},
};
use tokio::sync::Semaphore;
use witan_crd::{EtcdOperation, OperationRequest};
use witan_members::Members;
use witan_plan::model::UnixSeconds;

use crate::{
    api_server::{ApiFailure, get},
    metrics::Metrics,
    observe::{Objects, Observation, Secrets, observe},
    options::{Environment, Options},
    passes::PassError,
    resources::Cluster,
    retries::AllRetries,
    rollouts::Rollouts,
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
    /// The total number of permits in `passes`.
    pub(crate) limit: u32,
    pub(crate) acting_since: UnixSeconds,
    pub(crate) stopping: AtomicBool,
    pub(crate) retries: AllRetries,
}

impl<M: Members> Operator<M> {
    /// Creates an operator that acts from now on. Its events contain `identity`.
    pub(crate) fn new(
        client: Client,
        members: M,
        metrics: Arc<Metrics>,
        options: &Options,
        identity: &str,
    ) -> Self {
        let reporter = Reporter {
            controller: "witan.dev/operator".to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            secrets: Secrets::default(),
            passes: Semaphore::new(options.max_concurrent_reconciles.into()),
            rollouts: Rollouts::new(options.max_concurrent_rollouts),
            limit: options.max_concurrent_reconciles.into(),
            acting_since: Timestamp::now().as_second(),
            stopping: AtomicBool::new(false),
            retries: AllRetries::default(),
            client,
            members,
            metrics,
            environment: options.environment.clone(),
        }
    }

    /// Observes a cluster. Sets `trust` and `active_request` of `cluster`. With `fresh`, rereads cached secrets. Reads events
    /// of pods that wait for volumes.
    pub(crate) async fn observe(
        &self,
        cluster: &mut Cluster<'_>,
        objects: Objects,
        fresh: bool,
    ) -> Result<Observation, PassError> {
        let secrets = self.secrets.of(&self.client, cluster, fresh).await?;
        cluster.trust = secrets.trust.clone();
        cluster.active_request = active_request(&self.client, cluster).await?;
        let mut observation = observe(cluster, objects, secrets, &self.members).await;
        let Observation { seen, objects, .. } = &mut observation;
        explain_mounts(&self.client, seen, objects).await;
        Ok(observation)
    }
}

/// Returns the active request; `None` if its EtcdOperation has finished, was deleted, or is being deleted.
async fn active_request(
    client: &Client,
    cluster: &Cluster<'_>,
) -> Result<Option<OperationRequest>, ApiFailure> {
    let Some(request) = cluster.active_request.clone() else {
        return Ok(None);
    };
    let action = "read the EtcdOperation of a request";
    let found = get::<EtcdOperation>(client, &cluster.namespace, &request.name, action).await?;
    let runs = found.is_some_and(|operation| {
        let status = operation.status.as_ref();
        let ended = status.is_some_and(|status| status.completed_at.is_some());
        let deleted = operation.metadata.deletion_timestamp.is_some();
        operation.uid().as_ref() == Some(&request.uid) && !ended && !deleted
    });
    Ok(Some(request).filter(|_| runs))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{api::FakeApi, named, with};

    #[tokio::test]
    async fn a_request_ends_with_its_operation() {
        let request = json!({"name": "replace", "uid": "o1", "replaceMember": "a1"});
        let named = named(&json!({"status": {"requests": {"operation": request}}}));
        let operation = json!({
            "apiVersion": "witan.dev/v1", "kind": "EtcdOperation",
            "metadata": {"name": "replace", "namespace": "shop", "uid": "o1"},
            "spec": {"clusterName": "orders", "replaceMember": {"name": "orders-1"}},
        });
        let at = "2026-01-02T03:04:05Z";
        for (change, runs) in [
            (Some(json!({})), true),
            (Some(json!({"status": {"phase": "Running"}})), true),
            (Some(json!({"status": {"completedAt": at}})), false),
            (Some(json!({"metadata": {"uid": "o2"}})), false),
            (Some(json!({"metadata": {"deletionTimestamp": at}})), false),
            (None::<Value>, false),
        ] {
            let fake = FakeApi::default();
            if let Some(change) = &change {
                fake.put(with(operation.clone(), change));
            }
            let found = active_request(&fake.client(), &named)
                .await
                .expect("an answer");
            assert_eq!(found.is_some(), runs, "{change:?}");
        }
    }
}
