//! Writes the status of exactly one resource, and not of a later one of the same name.

use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde::Serialize;
use serde_json::json;
use witan_crd::Object;

use crate::resources::MANAGER;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Written {
    Yes,
    Gone,
    /// The resource has changed since it was read, or another one has its name: the observed state may be outdated.
    Stale,
}

/// Applies the status to a resource exactly as it was read.
pub(crate) async fn write<K: Object>(
    api: &Api<K>,
    resource: &K,
    status: &impl Serialize,
) -> Result<Written, kube::Error> {
    let name = resource.name_any();
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": name,
            "uid": resource.uid(),
            "resourceVersion": resource.resource_version(),
        },
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    match api.patch_status(&name, &params, &Patch::Apply(&body)).await {
        Ok(_) => Ok(Written::Yes),
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(Written::Gone),
        Err(kube::Error::Api(refusal)) if refusal.code == 409 => Ok(Written::Stale),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use witan_crd::{EtcdCluster, EtcdClusterStatus};

    use super::*;
    use crate::testing::api::FakeApi;

    /// The status of a cluster that was deleted while a pass ran is not written into the next one of its name.
    #[tokio::test]
    async fn a_status_is_written_into_the_resource_that_was_read_and_into_no_other() {
        let fake = FakeApi::default();
        fake.put(json!({
            "apiVersion": "witan.dev/v1", "kind": "EtcdCluster",
            "metadata": {"name": "a", "namespace": "ns", "uid": "old"}, "spec": {},
        }));
        let api = Api::<EtcdCluster>::namespaced(fake.client(), "ns");
        let read = api.get("a").await.unwrap();
        let status = EtcdClusterStatus {
            cluster_id: Some("c1".to_owned()),
            ..EtcdClusterStatus::default()
        };
        assert_eq!(write(&api, &read, &status).await.unwrap(), Written::Yes);
        let stale = write(&api, &read, &status).await.unwrap();
        assert_eq!(stale, Written::Stale, "it has changed since");
        fake.put(json!({
            "apiVersion": "witan.dev/v1", "kind": "EtcdCluster",
            "metadata": {"name": "a", "namespace": "ns", "uid": "new"}, "spec": {},
        }));
        assert_eq!(write(&api, &read, &status).await.unwrap(), Written::Stale);
        let next = api.get("a").await.unwrap();
        assert_eq!(next.status, None, "another resource of the same name");
    }
}
