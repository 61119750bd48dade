//! Builds the pod disruption budget, which prevents evictions that would break the quorum of the voters.

use k8s_openapi::{
    api::policy::v1::PodDisruptionBudget, apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::json;
use witan_plan::model::Role;

use super::{
    merge::built,
    names::{Cluster, ROLE},
    with_fingerprint, word,
};

const ALWAYS_ALLOW: &str = "AlwaysAllow";

/// Returns the `minAvailable` of a live budget; `None` for a percentage. Without `minAvailable`, returns 0 for the budget of a
/// sole voter, whose unready pod can always be evicted, otherwise `None`.
pub(crate) fn min_available(budget: &PodDisruptionBudget) -> Option<u32> {
    let spec = budget.spec.as_ref()?;
    match &spec.min_available {
        Some(IntOrString::Int(number)) => u32::try_from(*number).ok(),
        Some(IntOrString::String(_)) => None,
        None => {
            let policy = spec.unhealthy_pod_eviction_policy.as_deref();
            (policy == Some(ALWAYS_ALLOW)).then_some(0)
        }
    }
}

/// Returns the disruption budget of the voters. `min_available` applies unless the spec sets `minAvailable` or
/// `maxUnavailable`.
pub(crate) fn budget(cluster: &Cluster<'_>, min_available: u32) -> PodDisruptionBudget {
    let options = cluster.spec().pod_disruption_budget.clone();
    let options = options.unwrap_or_default();
    let mut selector = cluster.selector();
    selector.insert(ROLE.to_owned(), word(Role::Voter));
    let number = i32::try_from(min_available).unwrap_or(i32::MAX);
    let max = options.max_unavailable;
    let min = options.min_available;
    let min = min.or_else(|| max.is_none().then_some(IntOrString::Int(number)));
    // `IfHealthyBudget` protects unready members, because they can still vote. With a budget of 0, as for a sole member, it
    // would never allow the eviction of an unready pod.
    let policy = match (&min, number) {
        (Some(IntOrString::Int(0)), _) | (None, 0) => ALWAYS_ALLOW,
        _ => "IfHealthyBudget",
    };
    with_fingerprint(PodDisruptionBudget {
        metadata: cluster.meta(cluster.name.clone()),
        spec: built(json!({
            "minAvailable": min,
            "maxUnavailable": max,
            "selector": {"matchLabels": selector},
            "unhealthyPodEvictionPolicy": policy,
        })),
        status: None,
    })
}
