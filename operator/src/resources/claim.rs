//! The claim of a member's disk.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference},
};
use kube::ResourceExt as _;
use witan_crd::{AccessMode, Retention, Storage};
use witan_plan::model::{Ordinal, PeerTls};

use super::{
    ResourceError,
    merge::typed,
    names::{CLUSTER_ID, Cluster, MIGRATION, PEER_TLS, SIZE},
    owner, with_fingerprint, word,
};

/// Makes the claim of a member. The EtcdCluster owns it if the policy says that claims are deleted with the
/// cluster.
pub(crate) fn claim(
    cluster: &Cluster<'_>,
    ordinal: Ordinal,
    peer_tls: PeerTls,
) -> Result<PersistentVolumeClaim, ResourceError> {
    let storage = cluster.spec().storage.as_ref();
    let template = storage.and_then(|storage| storage.volume_claim_template.as_ref());
    let mut claim: PersistentVolumeClaim = match template {
        Some(template) => typed("storage.volumeClaimTemplate", template)?,
        None => PersistentVolumeClaim::default(),
    };
    let template_meta = std::mem::take(&mut claim.metadata);
    claim.metadata = cluster.member_meta(cluster.claim(ordinal), ordinal);
    let labels = claim.metadata.labels.get_or_insert_default();
    for (key, value) in template_meta.labels.unwrap_or_default() {
        labels.entry(key).or_insert(value);
    }
    let annotations = claim.metadata.annotations.get_or_insert_default();
    annotations.extend(template_meta.annotations.unwrap_or_default());
    if let Some(id) = cluster.id() {
        annotations.insert(CLUSTER_ID.to_owned(), id.to_owned());
    }
    if cluster.spec().claim_retention().when_deleted == Retention::Retain {
        claim.metadata.owner_references = None;
    }
    let spec = claim.spec.get_or_insert_default();
    complete(spec, storage);
    // Fields that may differ from claim to claim are not part of the fingerprint.
    let resources = spec.resources.take();
    let mut claim = with_fingerprint(claim);
    claim.spec.get_or_insert_default().resources = resources;
    let annotations = claim.metadata.annotations.get_or_insert_default();
    annotations.insert(PEER_TLS.to_owned(), word(peer_tls));
    if let Some(bytes) = Storage::requested(storage).bytes() {
        annotations.insert(SIZE.to_owned(), bytes.to_string());
    }
    if let Some(migration) = migration(cluster) {
        annotations.insert(MIGRATION.to_owned(), migration);
    }
    Ok(claim)
}

/// Returns the claim for an apply to `live`: with its spec, which Kubernetes does not let change, and with its record of what it
/// was created for.
pub(crate) fn applied_to(
    live: &PersistentVolumeClaim,
    mut claim: PersistentVolumeClaim,
) -> PersistentVolumeClaim {
    claim.spec.clone_from(&live.spec);
    let annotations = claim.metadata.annotations.get_or_insert_default();
    for key in [SIZE, MIGRATION] {
        annotations.remove(key);
        let kept = live.annotations().get_key_value(key);
        annotations.extend(kept.map(|(key, value)| (key.clone(), value.clone())));
    }
    claim
}

/// Whether a member must move from `live` to a claim like `wanted`: the class, the access modes or the volume mode differ, the
/// operator has requested more bytes than the spec does now, or a migration was requested after `live` was created. A claim that
/// somebody else has enlarged stays.
pub(crate) fn must_migrate(live: &PersistentVolumeClaim, wanted: &PersistentVolumeClaim) -> bool {
    let (Some(is), Some(asked)) = (&live.spec, &wanted.spec) else {
        return false;
    };
    let differs = |is: &Option<String>, asked: &Option<String>| asked.is_some() && is != asked;
    let modes = |of: &PersistentVolumeClaimSpec| {
        let modes = of.access_modes.iter().flatten().cloned();
        modes.collect::<BTreeSet<_>>()
    };
    let bytes = |of: &PersistentVolumeClaim| of.annotations().get(SIZE)?.parse::<u64>().ok();
    let is_larger = bytes(live)
        .zip(bytes(wanted))
        .is_some_and(|(is, asked)| is > asked);
    let migration = wanted.annotations().get(MIGRATION);
    differs(&is.storage_class_name, &asked.storage_class_name)
        || differs(&is.volume_mode, &asked.volume_mode)
        || modes(is) != modes(asked)
        || is_larger
        || migration.is_some_and(|asked| live.annotations().get(MIGRATION) != Some(asked))
}

/// Returns the last request to migrate all members, as text.
fn migration(cluster: &Cluster<'_>) -> Option<String> {
    let at = cluster.resource.requests().migrate_storage;
    at.map(|at| at.0.to_string())
}

/// Returns the owners that a claim must have: the cluster, if the policy says that claims are deleted with the cluster,
/// and all owners that are not this cluster.
pub(crate) fn owners_of_claim(
    cluster: &Cluster<'_>,
    claim: &PersistentVolumeClaim,
) -> Vec<OwnerReference> {
    let owners = claim.owner_references().iter();
    let others = owners.filter(|owner| owner.uid != cluster.uid).cloned();
    let deletes = cluster.spec().claim_retention().when_deleted == Retention::Delete;
    let own = deletes.then(|| owner(cluster.resource));
    others.chain(own).collect()
}

/// Returns the claim with `bytes` as its requested size.
pub(crate) fn grown(mut claim: PersistentVolumeClaim, bytes: u64) -> PersistentVolumeClaim {
    let spec = claim.spec.get_or_insert_default();
    let resources = spec.resources.get_or_insert_default();
    let requests = resources.requests.get_or_insert_default();
    requests.insert("storage".to_owned(), Quantity(bytes.to_string()));
    let annotations = claim.metadata.annotations.get_or_insert_default();
    annotations.insert(SIZE.to_owned(), bytes.to_string());
    claim
}

/// Completes the spec of a claim from `storage`: access modes (`ReadWriteOnce` if nothing names one), storage
/// class and requested size.
fn complete(spec: &mut PersistentVolumeClaimSpec, storage: Option<&Storage>) {
    let modes = storage
        .map(|storage| storage.access_modes.clone())
        .unwrap_or_default();
    if !modes.is_empty() {
        spec.access_modes = Some(modes.into_iter().map(word).collect());
    } else if spec.access_modes.is_none() {
        spec.access_modes = Some(vec![word(AccessMode::ReadWriteOnce)]);
    }
    if let Some(class) = storage.and_then(|storage| storage.storage_class_name.clone()) {
        spec.storage_class_name = Some(class);
    }
    let size = Quantity(Storage::requested(storage).0);
    spec.resources = Some(VolumeResourceRequirements {
        requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
        limits: None,
    });
}
