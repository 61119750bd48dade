//! Finds names that a cluster needs and other objects use. Such objects can lack the cluster's label, so they are looked up by
//! name.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{Api, Client, api::DynamicObject};
use witan_plan::model::{Holder, Ordinal, Part};

use super::objects::Objects;
use crate::{
    api_server::{ApiFailure, cannot, kind_of},
    resources::{Cluster, Ownership, holder_of, ownership},
};

/// Number of additional ordinals to look up, because a new member may get one of them.
const SPARE_ORDINALS: usize = 2;

/// Looks up the names of `parts`, except secrets and Certificates. Returns the parts whose names are taken, with their holders.
pub(super) async fn find_taken_names(
    client: &Client,
    cluster: &Cluster<'_>,
    parts: Vec<Part>,
) -> Result<BTreeMap<Part, Holder>, ApiFailure> {
    let names = &cluster.resource;
    let found = parts.into_iter().map(async |part| {
        let (kind, name) = match part {
            Part::ClientService => (kind_of::<Service>(), names.client_service()),
            Part::PeerService => (kind_of::<Service>(), names.peer_service()),
            Part::Budget => (kind_of::<PodDisruptionBudget>(), cluster.name.clone()),
            Part::Pod(ordinal) => (kind_of::<Pod>(), names.member(ordinal)),
            Part::Claim(ordinal) => (kind_of::<PersistentVolumeClaim>(), cluster.claim(ordinal)),
            // Secrets and Certificates are always read by name.
            Part::Secret(_) | Part::Request(_) => return Ok(None),
        };
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &cluster.namespace, &kind);
        let found = api.get_metadata_opt(&name).await;
        let found = found.map_err(cannot("read the objects with the cluster's names"))?;
        let others = found.filter(|found| ownership(cluster, found) != Ownership::Ours);
        Ok::<_, ApiFailure>(others.map(|found| (part, holder_of(cluster, &kind.kind, &found))))
    });
    Ok(try_join_all(found).await?.into_iter().flatten().collect())
}

/// Returns the parts that the cluster may need and that were not found by label. Omits parts whose names are known to be taken.
pub(super) fn missing(cluster: &Cluster<'_>, objects: &Objects) -> Vec<Part> {
    let services = [
        (Part::ClientService, cluster.resource.client_service()),
        (Part::PeerService, cluster.resource.peer_service()),
    ];
    let services = services.into_iter();
    let services = services.filter(|(_, name)| !objects.services.contains_key(name));
    let budget = objects.budget.is_none().then_some(Part::Budget);
    let wanted = wanted(cluster);
    let durable = cluster.spec().is_durable();
    let lacks = |ordinal: &Ordinal| {
        !objects.pods.contains_key(ordinal) || (durable && !objects.claims.contains_key(ordinal))
    };
    let needed = match wanted.iter().any(lacks) {
        true => with_spare(objects, wanted),
        false => BTreeSet::new(),
    };
    // Replaced members have higher ordinals.
    let known = known_ordinals(cluster);
    let of_members = missing_members(cluster, objects, known.chain(needed).collect());
    let others = services.map(|(part, _)| part).chain(budget);
    let others = others.filter(|part| !objects.taken.contains_key(part));
    others.chain(of_members).collect()
}

/// Iterates over the ordinals of the members in the status.
pub(super) fn known_ordinals(cluster: &Cluster<'_>) -> impl Iterator<Item = Ordinal> {
    let status = cluster.resource.status.iter();
    let members = status.flat_map(|status| &status.members);
    members.filter_map(|member| Ordinal::try_from(member.ordinal?).ok())
}

/// Returns the missing pods and claims of the required ordinals, and of the new members after the last ordinal. An in-place
/// restore, or its undo, needs these names once it has stopped all members.
pub(super) fn missing_in_restore(cluster: &Cluster<'_>, objects: &Objects) -> Vec<Part> {
    let next = objects.ordinals().last().map_or(0, |last| last + 1);
    let new = next..next + cluster.spec().members();
    let needed = with_spare(objects, wanted(cluster));
    missing_members(cluster, objects, new.chain(needed).collect())
}

/// Returns the pods and claims of these ordinals that were not found, except those whose names are known to be taken.
fn missing_members(
    cluster: &Cluster<'_>,
    objects: &Objects,
    ordinals: BTreeSet<Ordinal>,
) -> Vec<Part> {
    let durable = cluster.spec().is_durable();
    let parts = ordinals.into_iter().flat_map(|ordinal| {
        let pod = (!objects.pods.contains_key(&ordinal)).then_some(Part::Pod(ordinal));
        let claim = durable && !objects.claims.contains_key(&ordinal);
        pod.into_iter().chain(claim.then_some(Part::Claim(ordinal)))
    });
    let unknown = parts.filter(|part| !objects.taken.contains_key(part));
    unknown.collect()
}

/// Returns the lowest ordinals for the members in the spec, and the ordinals of the initial members and of the disks that the
/// last restore names. A restored cluster can have high ordinals, so the ordinals in between are omitted.
fn wanted(cluster: &Cluster<'_>) -> BTreeSet<Ordinal> {
    let status = cluster.resource.status.as_ref();
    let members = status.and_then(|status| status.bootstrap_members);
    let restore = status.and_then(|status| status.restore.as_ref());
    let first = restore.and_then(|restore| restore.first_ordinal);
    let ordinal = |number: Option<i32>| number.and_then(|number| Ordinal::try_from(number).ok());
    let (first, members) = (ordinal(first).unwrap_or(0), ordinal(members).unwrap_or(0));
    let lowest = 0..cluster.spec().members();
    let mut ordinals: BTreeSet<_> = lowest.chain(first..first + members).collect();
    if let Some(last) = restore {
        let disks = last.kept_disks.iter().chain(&last.disks);
        ordinals.extend(disks.filter_map(|name| cluster.ordinal_of_claim(name)));
    }
    ordinals
}

/// Adds the lowest [`SPARE_ORDINALS`] other ordinals that have neither a pod nor a claim.
fn with_spare(objects: &Objects, mut ordinals: BTreeSet<Ordinal>) -> BTreeSet<Ordinal> {
    let known = objects.ordinals();
    let is_spare = |at: &Ordinal| !ordinals.contains(at) && !known.contains(at);
    let spare = (0..Ordinal::MAX).filter(is_spare);
    let spare: Vec<_> = spare.take(SPARE_ORDINALS).collect();
    ordinals.extend(spare);
    ordinals
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::testing::named;

    /// The claim may have lost its labels.
    #[test]
    fn the_objects_of_every_known_member_are_looked_up() {
        let status = json!({"members": [{"name": "orders-7", "ordinal": 7}]});
        let named = named(&json!({"spec": {"replicas": 1}, "status": status}));
        let missing = missing(&named, &Objects::default());
        assert!(missing.contains(&Part::Claim(7)) && missing.contains(&Part::Pod(7)));
    }

    /// A request for each lower number would exhaust the operator's memory.
    #[test]
    fn few_names_are_looked_up_if_a_restore_has_high_numbers() {
        let restore = json!({
            "operation": "again", "operationUID": "u", "number": 1, "phase": "Done", "startedAt": "2026-01-02T03:04:05Z",
            "firstOrdinal": 900_001, "keptDisks": ["data-orders-900000"],
        });
        let status = json!({"bootstrapMembers": 3, "restore": restore});
        let named = named(&json!({"status": status}));
        let objects = Objects::default();
        for look_up in [missing, missing_in_restore] {
            let parts = look_up(&named, &objects);
            for ordinal in [0, 3, 4, 900_000, 900_003] {
                assert!(parts.contains(&Part::Pod(ordinal)), "{ordinal}");
            }
            assert!(parts.len() < 30, "{}", parts.len());
        }
    }

    /// While all members run, only a restore needs other names.
    #[test]
    fn the_names_of_a_restore_are_looked_up_while_the_members_run() {
        let named = named(&json!({"spec": {"replicas": 3}}));
        let objects = Objects {
            pods: (0..3).map(|ordinal| (ordinal, Arc::default())).collect(),
            claims: (1..4).map(|ordinal| (ordinal, Arc::default())).collect(),
            ..Objects::default()
        };
        let claims = missing_in_restore(&named, &objects);
        for ordinal in [0, 4, 5, 6] {
            assert!(claims.contains(&Part::Claim(ordinal)), "{claims:?}");
        }
        assert!(
            [4, 5, 6]
                .iter()
                .all(|ordinal| claims.contains(&Part::Pod(*ordinal)))
        );
        assert!(!claims.contains(&Part::Claim(3)));
        // The restore waits only for names that it needs.
        assert!(!claims.contains(&Part::Claim(7)) && !claims.contains(&Part::Pod(7)));
    }
}
