//! Looks up the request of a running EtcdOperation. The request ends with its EtcdOperation.

use kube::ResourceExt as _;
use witan_crd::{EtcdOperation, OperationRequest};

use crate::{
    api_server::{ApiFailure, get},
    resources::Cluster,
};

/// Returns the active request; `None` if its EtcdOperation has finished, was deleted, or is being deleted.
pub(crate) async fn active_request(
    client: &kube::Client,
    cluster: &Cluster<'_>,
) -> Result<Option<OperationRequest>, ApiFailure> {
    let Some(request) = cluster.active_request.clone() else {
        return Ok(None);
    };
    let what = "read the EtcdOperation of a request";
    let found = get::<EtcdOperation>(client, &cluster.namespace, &request.name, what).await?;
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
