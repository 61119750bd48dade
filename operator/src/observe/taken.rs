//! Finds names of a cluster's objects that are taken by other objects. Those lack the cluster's label, so missing parts are
//! looked up by name.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{Api, Client};
use witan_crd::Object;
use witan_plan::model::{Holder, Ordinal, Part};

use super::Objects;
use crate::{
    api_server::{ApiFailure, cannot},
    resources::{Cluster, Ownership, holder, ownership},
};

/// How many ordinals above the wanted ones are looked up while a wanted one is free, because a new member may get one of them.
const SPARE_ORDINALS: Ordinal = 2;

/// Looks up the names of the cluster's missing objects. Returns the parts whose names are taken, with their holders.
pub(super) async fn find_taken_names(
    client: &Client,
    cluster: &Cluster<'_>,
    objects: &Objects,
) -> Result<BTreeMap<Part, Holder>, ApiFailure> {
    let missing = missing(cluster, objects);
    let found = missing.into_iter().map(async |part| {
        Ok::<_, ApiFailure>(
            match part {
                Part::ClientService => {
                    get::<Service>(client, cluster, cluster.resource.client_service()).await
                }
                Part::PeerService => {
                    get::<Service>(client, cluster, cluster.resource.peer_service()).await
                }
                Part::Budget => {
                    get::<PodDisruptionBudget>(client, cluster, cluster.name.clone()).await
                }
                Part::Pod(ordinal) => {
                    get::<Pod>(client, cluster, cluster.resource.member(ordinal)).await
                }
                Part::Claim(ordinal) => {
                    get::<PersistentVolumeClaim>(client, cluster, cluster.claim(ordinal)).await
                }
                // these are always read by name
                Part::Secret(_) | Part::Request(_) => Ok(None),
            }?
            .map(|holder| (part, holder)),
        )
    });
    Ok(try_join_all(found).await?.into_iter().flatten().collect())
}

/// Returns the parts that the cluster may need and that its label did not find.
fn missing(cluster: &Cluster<'_>, objects: &Objects) -> Vec<Part> {
    let services = [
        (Part::ClientService, cluster.resource.client_service()),
        (Part::PeerService, cluster.resource.peer_service()),
    ];
    let services = services
        .into_iter()
        .filter(|(_, name)| !objects.services.contains_key(name))
        .map(|(part, _)| part);
    let budget = objects.budget.is_none().then_some(Part::Budget);
    let wanted = cluster.spec().members().max(first_members(cluster));
    let durable = cluster.spec().is_durable();
    let lacks = |ordinal: &Ordinal| {
        !objects.pods.contains_key(ordinal) || (durable && !objects.claims.contains_key(ordinal))
    };
    let last = if (0..wanted).any(|ordinal| lacks(&ordinal)) {
        wanted + SPARE_ORDINALS
    } else {
        0
    };
    // replaced members have higher ordinals
    let known = cluster
        .resource
        .status
        .iter()
        .flat_map(|status| &status.members);
    let known = known.filter_map(|member| Ordinal::try_from(member.ordinal?).ok());
    let ordinals: BTreeSet<Ordinal> = (0..last).chain(known).collect();
    let of_members = ordinals.into_iter().flat_map(|ordinal| {
        let pod = (!objects.pods.contains_key(&ordinal)).then_some(Part::Pod(ordinal));
        let claim = durable && !objects.claims.contains_key(&ordinal);
        pod.into_iter().chain(claim.then_some(Part::Claim(ordinal)))
    });
    let all = services.chain(budget).chain(of_members);
    all.filter(|part| !objects.taken.contains_key(part))
        .collect()
}

/// Returns the end of the range of the first members' ordinals; 0 before they are recorded.
fn first_members(cluster: &Cluster<'_>) -> Ordinal {
    let status = cluster.resource.status.as_ref();
    let members = status.and_then(|status| status.bootstrap_members);
    let restore = status.and_then(|status| status.restore.as_ref());
    let first = restore.and_then(|restore| restore.first_ordinal);
    let ordinal = |number: Option<i32>| number.and_then(|number| Ordinal::try_from(number).ok());
    ordinal(members).unwrap_or(0) + ordinal(first).unwrap_or(0)
}

/// Returns the object with this name and its owner; `None` if it does not exist or belongs to the cluster.
async fn get<K: Object>(
    client: &Client,
    cluster: &Cluster<'_>,
    name: String,
) -> Result<Option<Holder>, ApiFailure> {
    let found = Api::<K>::namespaced(client.clone(), &cluster.namespace)
        .get_metadata_opt(&name)
        .await;
    let found = found.map_err(cannot("read objects of its names of the cluster"))?;
    let others = found.filter(|found| ownership(cluster, found) != Ownership::Ours);
    Ok(others.map(|found| holder(cluster, &found)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{cluster, environment};

    /// Its claim may have lost its labels.
    #[test]
    fn the_objects_of_every_known_member_are_looked_up() {
        let status = json!({"members": [{"name": "orders-7", "ordinal": 7}]});
        let resource = cluster(&json!({"spec": {"replicas": 1}, "status": status}));
        let resource = serde_json::from_value(resource).expect("an EtcdCluster");
        let named = Cluster::new(&resource, environment("witan:1.0.0")).expect("a cluster");
        let missing = missing(&named, &Objects::default());
        assert!(missing.contains(&Part::Claim(7)) && missing.contains(&Part::Pod(7)));
    }
}
