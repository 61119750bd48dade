//! Collects the objects of a cluster from the watch caches or from the API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{future::try_join_all, try_join};
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{Client, Resource, ResourceExt as _, runtime::reflector::Store};
use witan_crd::{CLUSTER, Object};
use witan_plan::model::{Holder, Ordinal, Part};

use super::taken;
use crate::{
    api_server::{ApiFailure, get, list},
    resources::{self, Cluster, Ownership, holder},
};

/// The Kubernetes objects of a cluster, by ordinal or by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    pub(crate) pods: BTreeMap<Ordinal, Arc<Pod>>,
    pub(crate) claims: BTreeMap<Ordinal, Arc<PersistentVolumeClaim>>,
    pub(crate) services: BTreeMap<String, Arc<Service>>,
    pub(crate) budget: Option<Arc<PodDisruptionBudget>>,
    /// Parts of the cluster whose names other objects use.
    pub(crate) taken: BTreeMap<Part, Holder>,
}

/// The watch caches of one namespace or of all namespaces.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) pods: Store<Pod>,
    pub(crate) claims: Store<PersistentVolumeClaim>,
    pub(crate) services: Store<Service>,
    pub(crate) budgets: Store<PodDisruptionBudget>,
}

impl Objects {
    /// Collects the labeled objects of a cluster from the watch caches. Misses claims without labels, and names that unlabeled
    /// objects use.
    pub(crate) fn from_watches(stores: &Stores, cluster: &Cluster<'_>) -> Self {
        Self::new(
            cluster,
            stores.pods.state_filter(|each| is_part(each, cluster)),
            stores.claims.state_filter(|each| is_part(each, cluster)),
            stores.services.state_filter(|each| is_part(each, cluster)),
            stores.budgets.state_filter(|each| is_part(each, cluster)),
        )
    }

    /// Reads the objects of a cluster from the API server, and finds taken names. Also finds a claim without labels if a pod
    /// mounts the claim or the status lists its member.
    pub(crate) async fn from_api_server(
        client: &Client,
        cluster: &Cluster<'_>,
    ) -> Result<Self, ApiFailure> {
        let (pods, claims, services, budgets) = try_join!(
            labeled::<Pod>(client, cluster),
            labeled::<PersistentVolumeClaim>(client, cluster),
            labeled::<Service>(client, cluster),
            labeled::<PodDisruptionBudget>(client, cluster),
        )?;
        let listed: BTreeSet<String> = claims.iter().map(|claim| claim.name_any()).collect();
        let mounted = pods.iter().filter_map(|pod| mounted_claim(cluster, pod));
        // A claim without labels may have no pod that mounts it.
        let is_durable = cluster.spec().is_durable();
        let ordinals = taken::known_ordinals(cluster).filter(|_| is_durable);
        let of_members = ordinals.map(|ordinal| cluster.claim(ordinal));
        let named: BTreeSet<String> = mounted.chain(of_members).collect();
        let unlisted = named.into_iter().filter(|name| !listed.contains(name));
        let reads = try_join_all(unlisted.map(async |name| {
            let action = "read the claim of a member by its name";
            get::<PersistentVolumeClaim>(client, &cluster.namespace, &name, action).await
        }));
        let found = reads.await?.into_iter().flatten().map(Arc::new);
        let claims = claims.into_iter().chain(found).collect();
        let mut all = Self::new(cluster, pods, claims, services, budgets);
        let missing = taken::missing(cluster, &all);
        let taken = taken::find_taken_names(client, cluster, missing).await?;
        all.taken.extend(taken);
        Ok(all)
    }

    /// Adds to `taken` the taken names that only an in-place restore needs, after it has stopped all members.
    pub(crate) async fn find_names_of_restore(
        &mut self,
        client: &Client,
        cluster: &Cluster<'_>,
    ) -> Result<(), ApiFailure> {
        let missing = taken::missing_in_restore(cluster, self);
        let taken = taken::find_taken_names(client, cluster, missing).await?;
        self.taken.extend(taken);
        Ok(())
    }

    /// Indexes objects by ordinal or name. Skips pods and claims without an ordinal in the name. Records an object that does
    /// not belong to the cluster as the holder of its name. Accepts two more kinds of claims: a claim that a pod of the
    /// cluster mounts, and a claim of an earlier cluster of this name.
    fn new(
        cluster: &Cluster<'_>,
        pods: Vec<Arc<Pod>>,
        claims: Vec<Arc<PersistentVolumeClaim>>,
        services: Vec<Arc<Service>>,
        budgets: Vec<Arc<PodDisruptionBudget>>,
    ) -> Self {
        let mut all = Self::default();
        let mounted = pods.iter().filter_map(|pod| mounted_claim(cluster, pod));
        let mounted: BTreeSet<String> = mounted.collect();
        for pod in pods {
            let Some(ordinal) = cluster.resource.ordinal(&pod.name_any()) else {
                continue;
            };
            // The operator adopts no pod.
            if resources::is_owned(&*pod, Some(&cluster.uid)) {
                all.pods.insert(ordinal, pod);
            } else {
                all.taken.insert(Part::Pod(ordinal), holder(cluster, &*pod));
            }
        }
        for claim in claims {
            let Some(ordinal) = cluster.ordinal_of_claim(&claim.name_any()) else {
                continue;
            };
            // A claim of an earlier cluster of this name is treated as a claim that is being deleted.
            let is_foreign = resources::ownership(cluster, &*claim) == Ownership::Foreign;
            if is_foreign && !mounted.contains(&claim.name_any()) {
                all.taken
                    .insert(Part::Claim(ordinal), holder(cluster, &*claim));
            } else {
                all.claims.insert(ordinal, claim);
            }
        }
        for service in services {
            let name = service.name_any();
            if resources::ownership(cluster, &*service) == Ownership::Ours {
                all.services.insert(name, service);
                continue;
            }
            let holder = holder(cluster, &*service);
            if name == cluster.resource.client_service() {
                all.taken.insert(Part::ClientService, holder);
            } else if name == cluster.resource.peer_service() {
                all.taken.insert(Part::PeerService, holder);
            }
        }
        let mut budgets = budgets.into_iter();
        all.budget = budgets.find(|budget| budget.name_any() == cluster.name);
        let is_foreign = |budget: &mut Arc<PodDisruptionBudget>| {
            resources::ownership(cluster, &**budget) != Ownership::Ours
        };
        if let Some(other) = all.budget.take_if(is_foreign) {
            all.taken.insert(Part::Budget, holder(cluster, &*other));
        }
        all
    }

    /// Returns the pod of an ordinal, or `None` if it does not exist.
    pub(crate) fn pod(&self, ordinal: Ordinal) -> Option<&Pod> {
        self.pods.get(&ordinal).map(AsRef::as_ref)
    }

    /// Returns the claim of an ordinal, or `None` if it does not exist.
    pub(crate) fn claim(&self, ordinal: Ordinal) -> Option<&PersistentVolumeClaim> {
        self.claims.get(&ordinal).map(AsRef::as_ref)
    }

    /// Returns whether a pod mounts a claim that was not found, because the claim has lost its labels.
    pub(crate) fn lacks_mounted_claim(&self, cluster: &Cluster<'_>) -> bool {
        let mut pods = self.pods.iter();
        let lacks = |ordinal: &Ordinal| !self.claims.contains_key(ordinal);
        pods.any(|(ordinal, pod)| mounted_claim(cluster, pod).is_some() && lacks(ordinal))
    }

    /// Returns the ordinals with a pod or a claim.
    pub(super) fn ordinals(&self) -> BTreeSet<Ordinal> {
        let ordinals = self.pods.keys().chain(self.claims.keys());
        ordinals.copied().collect()
    }
}

/// Returns the name of the claim that a pod mounts as its member's disk. Returns `None` if the pod mounts no such claim or is
/// not a pod of the cluster.
fn mounted_claim(cluster: &Cluster<'_>, pod: &Pod) -> Option<String> {
    let ordinal = cluster.resource.ordinal(&pod.name_any())?;
    let wanted = cluster.claim(ordinal);
    let volumes = pod.spec.as_ref()?.volumes.iter().flatten();
    let mut claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    let mounts = claims.any(|claim| claim.claim_name == wanted);
    (mounts && resources::is_owned(pod, Some(&cluster.uid))).then_some(wanted)
}

/// Returns whether an object has the label of this cluster and is in its namespace.
fn is_part<K: Resource>(object: &K, cluster: &Cluster<'_>) -> bool {
    object.meta().namespace.as_ref() == Some(&cluster.namespace)
        && object.labels().get(CLUSTER) == Some(&cluster.name)
}

/// Lists the objects with the label of the cluster. Fails if one of them cannot be parsed.
async fn labeled<K: Object>(
    client: &Client,
    cluster: &Cluster<'_>,
) -> Result<Vec<Arc<K>>, ApiFailure> {
    let action = "list the objects of the cluster";
    let found = list(client, &cluster.namespace, (CLUSTER, &cluster.name), action).await?;
    Ok(found.into_iter().map(Arc::new).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{CLAIM, api::FakeApi, named, object};

    /// The pod may also be missing, for example after a drain of its node. If the claim were not found, its disk would be
    /// considered lost.
    #[tokio::test]
    async fn a_claim_without_labels_or_pod_is_found_by_the_name_of_its_member() {
        let members = json!([{"name": "orders-1", "ordinal": 1}]);
        let named = named(&json!({"status": {"clusterID": "c1", "members": members}}));
        let owners = json!([{"apiVersion": "witan.dev/v1", "kind": "EtcdCluster", "name": "orders", "uid": "u", "controller": true}]);
        for (owners, is_own) in [(owners, true), (Value::Null, false)] {
            let fake = FakeApi::default();
            let meta = json!({"ownerReferences": owners});
            fake.put(object("v1", CLAIM, "data-orders-1", &meta));
            let objects = Objects::from_api_server(&fake.client(), &named).await;
            let objects = objects.expect("objects");
            assert_eq!(objects.claim(1).is_some(), is_own);
            assert_eq!(objects.taken.contains_key(&Part::Claim(1)), !is_own);
        }
    }
}
