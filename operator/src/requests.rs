//! The request of an EtcdOperation about one member ends with the EtcdOperation.

use kube::ResourceExt as _;
use witan_crd::EtcdOperation;
use witan_plan::model::Observed;

use crate::{
    api_server::{ApiFailure, get},
    resources::Cluster,
};

/// Drops the request to replace a member or to recover the quorum if its EtcdOperation has ended or was deleted.
pub(crate) async fn withdraw_ended(
    client: &kube::Client,
    cluster: &Cluster<'_>,
    seen: &mut Observed,
) -> Result<(), ApiFailure> {
    let Some(request) = cluster.resource.requests().operation else {
        return Ok(());
    };
    let what = "read the EtcdOperation of a request";
    let found = get::<EtcdOperation>(client, &cluster.namespace, &request.name, what).await?;
    let runs = found.is_some_and(|operation| {
        let ended = operation
            .status
            .as_ref()
            .is_some_and(|status| status.completed_at.is_some());
        let deleted = operation.metadata.deletion_timestamp.is_some();
        operation.uid() == Some(request.uid) && !ended && !deleted
    });
    if !runs {
        (seen.replace, seen.recover) = (None, None);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{api::FakeApi, cluster, environment, with};

    #[tokio::test]
    async fn a_request_ends_with_its_operation() {
        let request = json!({"name": "replace", "uid": "o1", "replaceMember": "a1"});
        let resource = cluster(&json!({"status": {"requests": {"operation": request}}}));
        let resource = serde_json::from_value(resource).expect("an EtcdCluster");
        let named = Cluster::new(&resource, environment("witan:1.0.0")).expect("a cluster");
        let operation = json!({
            "apiVersion": "witan.dev/v1", "kind": "EtcdOperation",
            "metadata": {"name": "replace", "namespace": "shop", "uid": "o1"},
            "spec": {"clusterName": "orders", "replaceMember": {"name": "orders-1"}},
        });
        for (change, stays) in [
            (Some(json!({})), true),
            (Some(json!({"status": {"phase": "Running"}})), true),
            (
                Some(json!({"status": {"completedAt": "2026-01-02T03:04:05Z"}})),
                false,
            ),
            (Some(json!({"metadata": {"uid": "o2"}})), false),
            (
                Some(json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}})),
                false,
            ),
            (None::<Value>, false),
        ] {
            let fake = FakeApi::default();
            if let Some(change) = &change {
                fake.put(with(operation.clone(), change));
            }
            let mut seen = Observed { replace: Some(0xa1), ..Observed::default() };
            let done = withdraw_ended(&fake.client(), &named, &mut seen).await;
            done.expect("an answer");
            assert_eq!(seen.replace.is_some(), stays, "{change:?}");
        }
    }
}
