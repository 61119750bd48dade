//! Builds the objects of a cluster with pure functions. `act` applies them.
//!
//! Reading order: this file → `names` → `pod`, `pod_template`, `flags` (its command line) → `claim` → `services`, `budget` →
//! `tls`, `cert_manager` → `restore` (init containers) → `backup` (jobs), `changes`, `store` (access to backups) → `merge`.

pub(crate) mod backup;
mod budget;
pub(crate) mod cert_manager;
mod changes;
mod claim;
mod flags;
mod merge;
mod names;
mod pod;
mod pod_template;
mod restore;
mod services;
mod store;
pub(crate) mod tls;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use sha2::{Digest, Sha256};

pub(crate) use budget::{budget, min_available};
pub(crate) use changes::{CHANGES, STATUS_PORT, changes_pod};
pub(crate) use claim::{applied_to, claim, grown, must_migrate, owners_of_claim};
pub(crate) use names::{
    BACKUP, BACKUP_OF, CLUSTER_ID, Cluster, INITIAL_STATE, INITIAL_STATE_VARIABLE, MANAGER,
    OPERATION, PEER_TLS, REFUSED, REQUESTED, RETIRED, ROLE, ROTATED_AT, ROTATION, SCHEDULE, SPEC,
    START, TEMPLATE, VERSION,
};
pub(crate) use pod::{pod, template};
pub(crate) use restore::{FETCH, RESTORE, check, check_name};
pub(crate) use services::{client_service, peer_service};
pub(crate) use store::location;
use witan_crd::{CLUSTER, EtcdCluster, Object};
use witan_plan::model::{Holder, ObjectState, PeerTls};

/// The reason why an object cannot be built from the spec.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ResourceError(String);

type BuildResult<T> = Result<T, ResourceError>;

/// Returns a reference to `resource` as the controller of an object, so that Kubernetes deletes the object with `resource`.
fn owner<K: Resource<DynamicType = ()>>(resource: &K) -> OwnerReference {
    let controller = resource.controller_owner_ref(&()).unwrap_or_default();
    OwnerReference { block_owner_deletion: Some(true), ..controller }
}

/// Returns whether `owner` is the uid of one of an object's owners.
pub(crate) fn is_owned<K: Resource>(object: &K, owner: Option<&str>) -> bool {
    let mut owners = object.owner_references().iter();
    owners.any(|one| Some(one.uid.as_str()) == owner)
}

/// Who owns an object that has the name of one of the cluster's objects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ownership {
    Ours,
    /// The object belongs to an earlier EtcdCluster of the same name, and Kubernetes deletes it with that EtcdCluster.
    Ending,
    Foreign,
}

/// Returns the owner of an object. An object with the cluster's label but without a controller is `Ours`. Examples are a
/// kept claim, and an object after `kubectl delete --cascade=orphan`.
pub(crate) fn ownership<K: Resource>(cluster: &Cluster<'_>, object: &K) -> Ownership {
    let kind = EtcdCluster::kind(&());
    let owners = object.owner_references();
    let mut clusters = owners.iter().filter(|owner| owner.kind == kind);
    if is_owned(object, Some(&cluster.uid)) {
        return Ownership::Ours;
    }
    if object.labels().get(CLUSTER) != Some(&cluster.name) {
        return Ownership::Foreign;
    }
    if clusters.any(|owner| owner.name == cluster.name) {
        return Ownership::Ending;
    }
    if owners.iter().any(|owner| owner.controller == Some(true)) {
        return Ownership::Foreign;
    }
    Ownership::Ours
}

/// Like [`holder_of`], for an object whose type determines its kind.
pub(crate) fn holder<K: Resource<DynamicType = ()>>(cluster: &Cluster<'_>, object: &K) -> Holder {
    holder_of(cluster, &K::kind(&()), object)
}

/// Describes an object that has the name of one of the cluster's objects. Includes its kind, its name, its controller or else
/// its first owner, and whether it is [`Ownership::Ending`].
pub(crate) fn holder_of(cluster: &Cluster<'_>, kind: &str, object: &impl Resource) -> Holder {
    let owners = object.owner_references();
    let controls = |owner: &&OwnerReference| owner.controller == Some(true);
    let owner = owners.iter().find(controls).or(owners.first());
    let whose = match owner {
        Some(owner) => format!("of {} {}", owner.kind, owner.name),
        None => "without an owner".to_owned(),
    };
    Holder {
        object: format!("{kind} {} {whose}", object.name_any()),
        ending: ownership(cluster, object) == Ownership::Ending,
    }
}

/// Returns the serialized name of a unit variant, for a spec, a label or an annotation; empty for any other value.
fn word(value: impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns the first 16 hexadecimal digits of the SHA-256 of an object's JSON.
fn fingerprint(object: &impl Serialize) -> String {
    let text = serde_json::to_vec(object).unwrap_or_default();
    format!("{:.16x}", Sha256::digest(&text))
}

/// Adds the annotation [`SPEC`] with the fingerprint of the object.
fn with_fingerprint<K: Object>(mut object: K) -> K {
    let print = fingerprint(&object);
    object.annotations_mut().insert(SPEC.to_owned(), print);
    object
}

/// Returns whether the fingerprint, cluster owners and labels of a live object are in the desired state. Ignores owners and
/// labels that other programs added, because an apply would not remove them. Also ignores changes of other live fields.
pub(crate) fn is_current<K: Resource>(wanted: &K, seen: &K) -> bool {
    let print = |object: &K| object.annotations().get(SPEC).cloned();
    let kind = EtcdCluster::kind(&());
    let owners = |object: &K| {
        let owners = object.owner_references().iter();
        let clusters = owners.filter(|owner| owner.kind == kind);
        clusters.map(|owner| owner.uid.clone()).collect::<Vec<_>>()
    };
    let mut labels = wanted.labels().iter();
    print(wanted) == print(seen)
        && owners(wanted) == owners(seen)
        && labels.all(|(key, value)| seen.labels().get(key) == Some(value))
}

/// Compares a live object, or `None` if it does not exist, with the desired object by [`is_current`].
pub(crate) fn state<K: Resource>(live: Option<&K>, wanted: &K) -> ObjectState {
    match live {
        None => ObjectState::Missing,
        Some(live) if is_current(wanted, live) => ObjectState::Current,
        Some(_) => ObjectState::Outdated,
    }
}

/// Returns why no pods or no claims can be built from the spec; `None` if both can be built.
pub(crate) fn rejected(cluster: &Cluster<'_>) -> Option<ResourceError> {
    let pods = template(cluster, PeerTls::On).err();
    pods.or_else(|| claim(cluster, 0, PeerTls::On).err())
}

#[cfg(test)]
mod tests;
