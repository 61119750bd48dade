//! The claim of a member's disk.

use std::collections::BTreeMap;

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
    names::{CLUSTER_ID, Cluster, PEER_TLS},
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
    Ok(claim)
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
