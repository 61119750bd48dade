//! Observes a cluster: converts Kubernetes objects and members' responses to plain values for `plan`.
//!
//! A pass reads objects from the watch caches and rereads them from the API server before it acts.
//!
//! Reading order: `objects` → this file → `pods` (also claims) → `membership` → `secrets` → `taken` (names) → `restore`.

mod membership;
mod objects;
pub(crate) mod pods;
mod restore;
mod secrets;
mod taken;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::{core::v1::Service, policy::v1::PodDisruptionBudget},
    jiff::Timestamp,
};
use kube::ResourceExt as _;
use witan_crd::{
    ALLOW_LEADER_RESTART, CertificateRole, EtcdCluster, EtcdClusterStatus, FENCED_MEMBERS,
};
use witan_members::{Address, Members};
use witan_plan::{
    ReleaseVersion,
    model::{BudgetSeen, MemberId, Observed, Ordinal, OrdinalSeen, UnixSeconds},
};

use crate::resources::{self, Cluster, state, tls};

pub(crate) use objects::{Objects, Stores};
pub(crate) use pods::{HELD, REFUSED_BYTES, REMADE_AT, client_address};
pub(crate) use restore::{FoundBackup, find_backup, restore_source};
pub(crate) use secrets::{Secrets, SecretsSeen, is_issued, is_only_for_bootstrap};

/// The observed state: plain values for `plan`, and the objects that steps need.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) seen: Observed,
    pub(crate) objects: Objects,
    pub(crate) addresses: BTreeMap<Ordinal, Address>,
    pub(crate) secrets: Arc<SecretsSeen>,
}

impl Observation {
    /// Returns the address of a member; `None` if the member is not a pod of this cluster, or if its pod has no address.
    pub(crate) fn address(&self, id: MemberId) -> Option<&Address> {
        let member = self.seen.membership.as_ref()?.by_id(id)?;
        self.addresses.get(&member.ordinal?)
    }
}

/// Queries the members and converts the observed state. Sets `acting_since` to the current time, and leaves other fields that
/// the operator alone knows, such as `refused`, at their defaults.
pub(crate) async fn observe<M: Members>(
    cluster: &Cluster<'_>,
    objects: Objects,
    secrets: Arc<SecretsSeen>,
    members: &M,
) -> Observation {
    let addresses = pods::addresses(cluster, &objects.pods, &secrets);
    let asked: Vec<Address> = addresses.values().cloned().collect();
    let answers = members.survey(&asked).await;
    for answer in &answers {
        if let Err(error) = &answer.report {
            tracing::debug!(member = answer.member, %error, "member does not answer");
        }
    }
    let service = |wanted: &Service| {
        let live = objects.services.get(&wanted.name_any());
        state(live.map(AsRef::as_ref), wanted)
    };
    let budget = objects.budget.as_ref();
    let authority = secrets.issued.get(&CertificateRole::Authority);
    let authority = authority.map(|authority| tls::authority_seen(cluster, authority));
    let taken = objects.taken.iter().chain(&secrets.taken);
    let taken = taken.map(|(part, holder)| (*part, holder.clone()));
    let mut errors = answers
        .iter()
        .filter_map(|answer| answer.report.as_ref().err());
    let resource = cluster.resource;
    let status = resource.status.as_ref();
    let later = status.and_then(EtcdClusterStatus::unknown_phase);
    let request = cluster.active_request.as_ref();
    let now = Timestamp::now().as_second();
    let seen = Observed {
        now,
        acting_since: now,
        deleting: resource.metadata.deletion_timestamp.is_some(),
        generation: resource.metadata.generation.unwrap_or(0),
        ordinals: ordinals(cluster, &objects, now),
        membership: membership::choose(cluster, &answers, &objects.ordinals()),
        call_error: errors.next().map(ToString::to_string),
        client_service: service(&resources::client_service(cluster)),
        peer_service: service(&resources::peer_service(cluster)),
        budget: budget.map(|budget| budget_seen(cluster, budget)),
        certificates: secrets.certificates.clone(),
        authority: authority.unwrap_or_default(),
        requests: secrets.requested.clone(),
        missing_secrets: secrets.missing.clone(),
        taken: taken.collect(),
        wanted_version: wanted_version(cluster),
        fenced: fenced(cluster),
        replace: request
            .and_then(|asked| u64::from_str_radix(asked.replace_member.as_ref()?, 16).ok()),
        recover: request.and_then(|asked| resource.ordinal(asked.recover_quorum.as_ref()?)),
        allow_leader_restart: annotation(resource, ALLOW_LEADER_RESTART)
            .and_then(|text| text.trim().parse().ok()),
        auth_enabled: membership::users(&answers),
        later: later.or_else(|| pods::unknown_mark(&objects)),
        rejected: resources::rejected(cluster).map(|error| error.to_string()),
        ..Observed::default()
    };
    Observation { seen, objects, addresses, secrets }
}

/// Reads the values for `plan` from the pod and the claim of each ordinal that has either.
fn ordinals(
    cluster: &Cluster<'_>,
    objects: &Objects,
    now: UnixSeconds,
) -> BTreeMap<Ordinal, OrdinalSeen> {
    let seen = |ordinal: Ordinal| {
        let (pod, claim) = (objects.pod(ordinal), objects.claim(ordinal));
        let pod = pod.map(|pod| pods::seen(cluster, pod, now));
        let claim = claim.map(|claim| pods::claim_seen(cluster, ordinal, claim, now));
        (ordinal, OrdinalSeen { pod, claim })
    };
    objects.ordinals().into_iter().map(seen).collect()
}

/// Compares a disruption budget with the wanted one for the same number of voters.
fn budget_seen(cluster: &Cluster<'_>, budget: &PodDisruptionBudget) -> BudgetSeen {
    let number = resources::min_available(budget);
    // If the live budget has no number, every number except 0 results in the same wanted budget.
    let wanted = resources::budget(cluster, number.unwrap_or(1));
    BudgetSeen { min_available: number, state: state(Some(budget), &wanted) }
}

/// Returns the image tag of the members. Returns `None` if the spec sets the image, or if the tag is not a version.
fn wanted_version(cluster: &Cluster<'_>) -> Option<String> {
    let tag = cluster.tag()?;
    let composed = cluster.spec().image.is_none() && ReleaseVersion::parse(tag).is_some();
    composed.then(|| tag.to_owned())
}

/// Returns the ordinals in the annotation [`FENCED_MEMBERS`]. Ignores names that belong to no ordinal.
fn fenced(cluster: &Cluster<'_>) -> BTreeSet<Ordinal> {
    let names = annotation(cluster.resource, FENCED_MEMBERS).unwrap_or_default();
    let names = names.split(',').map(str::trim);
    let ordinals = names.filter_map(|name| cluster.resource.ordinal(name));
    ordinals.collect()
}

fn annotation<'a>(cluster: &'a EtcdCluster, key: &str) -> Option<&'a str> {
    cluster.annotations().get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use witan_plan::model::ObjectState;

    use super::*;
    use crate::testing::named;

    /// With `IfHealthyBudget`, a budget of 0 allows no eviction of a sole unready member. With `AlwaysAllow`, a drain could
    /// evict unready members that still vote. If an applied budget were not current, each pass would apply it again.
    #[test]
    fn only_a_budget_of_zero_always_allows_evictions_and_each_budget_is_current() {
        let (always, healthy) = ("AlwaysAllow", "IfHealthyBudget");
        for (options, needed, seen, policy) in [
            (json!({}), 0, Some(0), always),
            (json!({}), 2, Some(2), healthy),
            (json!({"minAvailable": 0}), 2, Some(0), always),
            (json!({"minAvailable": 1}), 0, Some(1), healthy),
            (json!({"minAvailable": "50%"}), 0, None, healthy),
            (json!({"minAvailable": "50%"}), 2, None, healthy),
            (json!({"maxUnavailable": 1}), 0, Some(0), always),
            (json!({"maxUnavailable": 1}), 2, None, healthy),
        ] {
            let cluster = named(&json!({"spec": {"podDisruptionBudget": options}}));
            let applied = resources::budget(&cluster, needed);
            let budget = budget_seen(&cluster, &applied);
            assert_eq!(budget.min_available, seen, "{options} {needed}");
            assert_eq!(budget.state, ObjectState::Current, "{options} {needed}");
            let allows = applied
                .spec
                .and_then(|spec| spec.unhealthy_pod_eviction_policy);
            assert_eq!(allows.as_deref(), Some(policy), "{options} {needed}");
        }
    }
}
